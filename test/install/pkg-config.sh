#!/bin/sh
# pkg-config.sh PREFIX COMPILER [FLAG...]: a program outside the tree builds
# with what pkg-config says of the installed library, shared and static.
set -eu
prefix=$1
shift
main=$(dirname "$0")/main.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

PKG_CONFIG_PATH=$(find "$prefix" -name pkgconfig)
export PKG_CONFIG_PATH
"$@" "$main" -o "$work/shared" $(pkg-config --cflags --libs uvws) \
  "-Wl,-rpath,$(pkg-config --variable=libdir uvws)"
"$work/shared"

# Moved elsewhere, and the static library alone.
cp -R "$prefix" "$work/moved"
find "$work/moved" -name 'libuvws.so*' -delete
PKG_CONFIG_PATH=$(find "$work/moved" -name pkgconfig)
"$@" "$main" -o "$work/static" $(pkg-config --static --cflags --libs uvws)
"$work/static"
