#!/bin/sh
# exports.sh LIBRARY HEADER...: the shared library exports what the headers
# declare, no more and no less.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

library=$1
shift
sed '/^#/d' "$@" | tr '\n' ' ' | grep -o 'UVWS_EXTERN [^;(]*(' |
  sed 's/.*[ *]//; s/($//' | LC_ALL=C sort > "$work/declared"
nm -D --defined-only "$library" | sed 's/.* //' | LC_ALL=C sort > "$work/exported"

[ -s "$work/declared" ]
if ! diff "$work/declared" "$work/exported" > "$work/diff"; then
  sed -n 's/^</declared, not exported:/p; s/^>/exported, not declared:/p' \
    "$work/diff"
  exit 1
fi
echo "$(wc -l < "$work/declared") functions"
