#!/bin/sh
# docs.sh SOURCE-DIR COMPILER [FLAG...]: the guide's snippets compile, and the
# tables of errors and limits have a row for whatever the headers declare.
set -eu
docs=$1/docs
src=$1/src
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

# Each snippet is a file of its own; the compiler names the guide's lines.
awk -v work="$work" '
  /^```c$/ { file = sprintf("%s/%02d.c", work, ++n)
             printf "#line %d \"docs/guide.md\"\n", NR + 1 > file; next }
  /^```/ { file = "" }
  file { print > file }' "$docs/guide.md"
"$@" -fsyntax-only -Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter \
  -include signal.h -include stdio.h -include stdlib.h -include string.h \
  -include unistd.h \
  -include uvws/reconnect.h "$work"/*.c || bad=1

# rows HEADER MAP PARAMETERS ROW COMPILER...: an X-macro's rows as lines of a
# Markdown table.
rows() {
  header=$1
  map=$2
  parameters=$3
  row=$4
  shift 4
  printf '#include "%s"\n#define X(%s) ROW | %s | ;\n%s(X)\n' \
    "$header" "$parameters" "$row" "$map" |
    "$@" -I"$src" -x c -E -P - | tr '\n;' ' \n' | sed -n 's/.*ROW //p' |
    tr -d '"' | tr -s ' ' | sed 's/| 0 |/| - |/; s/ $//'
}

# require FILE: has each line of what was expected, apart from the layout.
require() {
  [ -s "$work/expected" ]
  tr -d '`' < "$docs/$1" | tr -s ' ' > "$work/have"
  if grep -vxF -f "$work/have" "$work/expected" > "$work/missing"; then
    sed "s|^|docs/$1 lacks: |" "$work/missing"
    bad=1
  fi
}

rows uvws.h UVWS_ERRNO_MAP 'name, value, text' \
  'UVWS_##name | value | text' "$@" > "$work/expected"
rows protocol/failure.h UVWS__FAILURE_MAP 'name, status, code, http, text' \
  'name | status | code | http | text' "$@" >> "$work/expected"
require errors.md

# The members of the options structs, with comments taken away; in the table
# they stand first in their rows.
for struct in uvws_options_s uvws_server_options_s uvws_accept_options_s \
  uvws_adopt_options_s uvws_deflate_options_s uvws_reconnect_options_s \
  uvws_tls_options_s uvws_tls_certificate_s; do
  echo '#include "uvws/reconnect.h"' | "$@" -x c -E -P - |
    sed -n "/^struct $struct {/,/^};/p" | grep -o '[a-z_][a-z_]*;' |
    tr -d ';' > "$work/members"
  [ -s "$work/members" ]
  sed -n "/${struct%_s}_t:*\$/,/^## /p" "$docs/limits.md" > "$work/section"
  while read -r member; do
    grep -q "^| [^|]*\`$member\`" "$work/section" ||
      echo "docs/limits.md lacks: $member of ${struct%_s}_t"
  done < "$work/members" > "$work/missing"
  cat "$work/missing"
  [ ! -s "$work/missing" ] || bad=1
done
exit $bad
