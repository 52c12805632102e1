#!/bin/sh
# layers.sh SOURCE-DIR COMPILER [FLAG...]: an include goes down or sideways,
# never up (docs/design.md). The compiler tells what a file includes, directly
# or not.
set -u
cd "$1" || exit 1
shift
top=$PWD
compiler="$*"
bad=0

# check ROOM PATTERN...: what the room's files must not include.
check() {
  room=$1
  shift
  for file in "src/$room"/*.c; do
    headers=$($compiler -M "$file") || exit 1
    up=$(printf '%s\n' "$headers" | tr -d '\\' | tr -s ' ' '\n' |
      sed "s|^$top/||; /^src\/alloc\.h$/d" | grep -E "$@")
    for header in $up; do
      echo "$file must not include $header"
      bad=1
    done
  done
}

objects='^src/[^/]*\.h$'
frames='frame|mask|utf8|message|close-code|accept-key|handshake|extensions'

check protocol -e "$objects" -e '^src/net/' -e '/uv\.h$' -e '/mbedtls/ssl\.h$' \
  -e '/sys/socket\.h$'
check net -e "$objects" -e "^src/protocol/($frames)\.h$"
exit $bad
