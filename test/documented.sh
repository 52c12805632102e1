#!/bin/sh
# documented.sh HEADER...: every public declaration stands right below a /**
# comment.
exec awk '
  /^UVWS_EXTERN/ && !documented {
    printf "%s:%d: undocumented: %s\n", FILENAME, FNR, $0
    bad = 1
  }
  /^UVWS_EXTERN/ { declarations++ }
  /^\/\*\*/ { doc = 1 }
  { documented = doc && /\*\/$/ }
  /\*\/$/ { doc = 0 }
  END {
    print declarations + 0, "declarations"
    exit bad || !declarations
  }' "$@"
