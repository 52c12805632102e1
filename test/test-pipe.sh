#!/bin/sh
# test-pipe.sh BIN-DIR [LAUNCHER...]: a file sent through echo-server in parts
# comes back as it was. BYTES makes it larger. UVWS_TEST_TLS is a directory of
# cmake/ca's: then all goes over TLS.
set -eu
bin=$1
shift
server_tls=
client_tls=
if [ -n "${UVWS_TEST_TLS-}" ]; then
  server_tls="--cert $UVWS_TEST_TLS/localhost.crt --key $UVWS_TEST_TLS/localhost.key"
  client_tls="--ca $UVWS_TEST_TLS/ca.crt"
fi
work=$(mktemp -d)
server=
trap 'kill $server 2> /dev/null || true; rm -rf "$work"' EXIT

head -c "${BYTES:-30000000}" /dev/urandom > "$work/file"
"$@" "$bin/echo-server" --port 0 --stream yes $server_tls > "$work/said" &
server=$!
n=0
until grep -qs '://' "$work/said"; do
  n=$((n + 1))
  [ $n -lt 300 ]
  sleep 0.1
done
url=$(grep -o 'wss*://[^ ]*' "$work/said")
for input in "$work/file" /dev/null; do
  "$@" "$bin/pipe" $client_tls "$url" < "$input" > "$work/copy"
  cmp "$input" "$work/copy"
done
cat "$work/file" | "$@" "$bin/pipe" $client_tls "$url" | cat > "$work/copy"
sha256sum "$work/file" "$work/copy" | cut -d' ' -f1
cmp "$work/file" "$work/copy"
grep VmHWM "/proc/$server/status"
kill -TERM $server
wait $server
server=
