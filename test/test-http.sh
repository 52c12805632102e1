#!/usr/bin/env bash
# test-http.sh BIN-DIR [LAUNCHER...]: the HTTP server of docs/examples/http,
# which hands its upgrades over. Its pages are fetched through bash's own
# sockets, so that what stands on a connection is known. What never comes ends
# in the timeout below.
set -eu
export LC_ALL=C
case ${UVWS_TEST_HTTP-} in
  '') UVWS_TEST_HTTP=1 exec timeout 120 bash "$0" "$@" ;;
esac
bin=$1
shift
work=$(mktemp -d)
pids=
trap 'kill $pids 2> /dev/null || :; rm -rf "$work"' EXIT

fail() {
  printf 'FAILED: %s\n' "$*"
  cat "$work/said"
  exit 1
}

# until_it_says TEXT: the server's next word may take a while.
until_it_says() {
  local n=0
  until grep -qs -- "$1" "$work/said"; do
    n=$((n + 1))
    [ $n -lt 300 ] || fail "waited in vain for: $1"
    sleep 0.1
  done
}

# exits PID STATUS
exits() {
  local status=0
  wait "$1" || status=$?
  [ $status -eq "$2" ] || fail "exit status $status instead of $2"
}

"$@" "$bin/http-server" 0 > "$work/said" &
server=$!
pids=$server
until_it_says 'http://'
port=$(sed -n 's|.*http://127.0.0.1:\([0-9]*\)/.*|\1|p' "$work/said")
host=127.0.0.1:$port

# get METHOD TARGET [HEADER]: a request on the connection that fd 3 is.
get() {
  printf '%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n' "$1" "$2" "$host" \
    "${3+$3$'\r\n'}" >&3
}

# response [no-body]: the next one into $status, $type, $connection and $body.
response() {
  local line length=0
  read -r -u 3 _ status _ || fail 'no response'
  while read -r -u 3 line && line=${line%$'\r'} && [ -n "$line" ]; do
    case $line in
      Content-Length:*) length=${line#*: } ;;
      Content-Type:*) type=${line#*: } ;;
      Connection:*) connection=${line#*: } ;;
    esac
  done
  body=
  [ "${1-}" = no-body ] || read -r -u 3 -N "$length" body
}

# expect STATUS CONNECTION: of the response.
expect() {
  [ "$status $connection" = "$1 $2" ] || fail "$status $connection for $*"
}

closed() {
  ! read -r -u 3 -N 1 _ || fail 'more came'
  exec 3>&-
}

echo 'a page, twice on one connection, and one that is missing'
exec 3<> "/dev/tcp/127.0.0.1/$port"
get GET /
response
expect 200 keep-alive
[[ $type == text/html* && $body == *'new WebSocket('* ]] || fail "$type: $body"
page=$body
get GET /
response
expect 200 keep-alive
[ "$body" = "$page" ] || fail 'another page'
get HEAD /
response no-body
expect 200 keep-alive
get GET /missing
response
expect 404 keep-alive
[ "$body" != "$page" ] || fail 'the page for /missing'
get GET / 'Connection: close'
response
expect 200 close
closed

echo 'three requests at once'
exec 3<> "/dev/tcp/127.0.0.1/$port"
printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n%s%s' \
  $'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc' \
  $'GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
response
expect 200 keep-alive
response
expect 200 keep-alive
response
expect 404 close
closed

echo 'HTTP/1.0, no HTTP, too much of it, and an upgrade to something else'
exec 3<> "/dev/tcp/127.0.0.1/$port"
printf 'GET / HTTP/1.0\r\n\r\n' >&3
response
expect 200 close
closed
exec 3<> "/dev/tcp/127.0.0.1/$port"
printf 'hello\r\n\r\n' >&3
response
expect 400 close
exec 3>&-
exec 3<> "/dev/tcp/127.0.0.1/$port"
printf 'GET /%016379d' 0 >&3
response
expect 431 close
exec 3>&-
exec 3<> "/dev/tcp/127.0.0.1/$port"
get GET / $'Connection: upgrade\r\nUpgrade: h2c'
response
expect 426 'close, Upgrade'
exec 3>&-

echo 'a WebSocket whose request comes in two parts, behind a page'
exec 3<> "/dev/tcp/127.0.0.1/$port"
get GET /
response
expect 200 keep-alive
printf 'GET /parts HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n' "$host" >&3
get_rest='Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
get_rest+='Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
# With a text frame, masked by zeros, right behind it.
printf "$get_rest"'\x81\x82\x00\x00\x00\x00hi' >&3
response no-body
[ "$status" = 101 ] || fail "status $status"
read -r -u 3 -N 4 frame
[ "$frame" = $'\x81\x02hi' ] || fail 'no echo'
until_it_says "open ws://$host/parts"
exec 3>&-

echo 'a file there and back'
head -c 1000000 /dev/urandom > "$work/file"
"$@" "$bin/pipe" "ws://$host/pipe" < "$work/file" > "$work/copy"
cmp "$work/file" "$work/copy"
until_it_says "open ws://$host/pipe"

echo 'a page of somebody else'
exec 3<> "/dev/tcp/127.0.0.1/$port"
printf "GET / HTTP/1.1\r\nHost: $host\r\nUpgrade: websocket\r\n%b" \
  "Origin: http://evil.example\r\n$get_rest" >&3
response
expect 403 close
exec 3>&-

echo 'the end, with an open WebSocket and a connection that waits'
"$@" "$bin/echo-client" "ws://$host/client" &
client=$!
pids="$pids $client"
until_it_says "open ws://$host/client"
exec 3<> "/dev/tcp/127.0.0.1/$port"
get GET /
response
expect 200 keep-alive
kill -TERM $server
exits $server 0
exits $client 0
closed
pids=
