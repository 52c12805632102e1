#!/bin/sh
# readme.sh README PREFIX COMPILER [FLAG...]: the README's first C program
# compiles and links against the installed library.
set -eu
readme=$1
PKG_CONFIG_PATH=$(find "$2" -name pkgconfig)
export PKG_CONFIG_PATH
shift 2
program=$(mktemp)
trap 'rm -f "$program"' EXIT

awk '/^```c$/ { inside = 1; next } /^```/ && inside { exit } inside' "$readme" |
  "$@" -Wall -Wextra -Werror -x c - -o "$program" \
    $(pkg-config --cflags --libs uvws)
