#!/bin/sh
# test-chat.sh BIN-DIR [LAUNCHER...]: the chat of docs/examples/chat, as people
# use it. What a program prints comes through a fifo, so reading a line is also
# waiting for it; a line that never comes ends in the timeout below, and the
# last one expected was then printed. UVWS_TEST_TLS is a directory of cmake/ca's:
# then all goes over TLS.
set -eu
case ${UVWS_TEST_CHAT-} in
  '') UVWS_TEST_CHAT=1 exec timeout 60 sh "$0" "$@" ;;
esac
bin=$1
shift
run=$*
server_tls=
client_tls=
if [ -n "${UVWS_TEST_TLS-}" ]; then
  server_tls="--cert $UVWS_TEST_TLS/localhost.crt --key $UVWS_TEST_TLS/localhost.key"
  client_tls="--ca $UVWS_TEST_TLS/ca.crt"
fi
work=$(mktemp -d)
pids=
trap 'kill $pids 2> /dev/null || :; rm -rf "$work"' EXIT
cd "$work"

fail() {
  printf 'FAILED: %s\n' "$*"
  cat ./*.err
  exit 1
}

# start NAME ARG...: NAME.in, NAME.out and NAME.err are its ends. The caller's
# own ends must not stay open in it, or it would never see that input has ended.
start() {
  name=$1
  shift
  mkfifo "$name.in" "$name.out"
  $run "$@" < "$name.in" > "$name.out" 2> "$name.err" \
    3>&- 4>&- 5>&- 6>&- 7>&- 8>&- &
  pid=$!
  pids="$pids $pid"
}

# expect FD LINE
expect() {
  printf 'expecting: %.60s\n' "$2"
  IFS= read -r line <&"$1" || fail "the end instead of: $2"
  [ "$line" = "$2" ] || fail "got: $line"
}

# exits PID STATUS
exits() {
  echo "expecting: exit status $2"
  status=0
  wait "$1" || status=$?
  [ "$status" -eq "$2" ] || fail "exit status $status"
}

# refused TEXT ARG...: the client exits with 1 and says TEXT.
refused() {
  text=$1
  shift
  echo "expecting: $text"
  status=0
  $run "$bin/chat" $client_tls "$@" < /dev/null > refused.out 2> refused.err || status=$?
  [ "$status" -eq 1 ] || fail "exit status $status"
  case $(cat refused.err) in
    *"$text"*) ;;
    *) fail "got this:" ;;
  esac
  [ ! -s refused.out ] || fail "printed: $(cat refused.out)"
}

start server "$bin/chat-server" $server_tls 0
server=$pid
exec 3> server.in 4< server.out
IFS= read -r line <&4
url=${line#listening on }
echo "the server is at $url"

start alice "$bin/chat" $client_tls "$url" alice
alice=$pid
exec 5> alice.in 6< alice.out
expect 6 '* alice joined'

start bob "$bin/chat" $client_tls "$url" 'bob & co+%'
bob=$pid
exec 7> bob.in 8< bob.out
expect 6 '* bob & co+% joined'
expect 8 '* bob & co+% joined'

refused 'HTTP status 409' "$url" alice
refused 'HTTP status 400' "$url" ''
refused 'HTTP status 400' "$url" "$(printf 'two\nlines')"
refused 'HTTP status 400' "$url" 'a-nick-that-has-33-bytes-in-it---'
refused 'no nick' "$url" "$(printf 'half \303')"

# Others hear it, the sender does not; empty lines and what could command a
# terminal do not come through.
printf 'hello   \\n w\303\266rld\n\n\033[2J\302\233K\177\t!\n' >&5
expect 8 "$(printf 'alice: hello   \\n w\303\266rld')"
expect 8 'alice:  [2J K  !'

# The end of the input: what it left without a newline is sent.
printf 'one\ntwo' >&7
exec 7>&-
expect 6 'bob & co+%: one'
expect 6 'bob & co+%: two'
expect 6 '* bob & co+% left'
exits $bob 0
! IFS= read -r line <&8 || fail "bob also got: $line"
exec 8<&-

# A file as the input; a line that is too long arrives in pieces, cut between
# characters.
{
  printf 'first\n%4094s' ''
  printf '\303\266\302\247tail\nlast'
} > letter
$run "$bin/chat" $client_tls "$url" carol < letter > carol.out 2> carol.err ||
  fail "carol: exit status $?"
expect 6 '* carol joined'
expect 6 'carol: first'
expect 6 "$(printf 'carol: %4094s' '')"
expect 6 "$(printf 'carol: \303\266\302\247tail')"
expect 6 'carol: last'
expect 6 '* carol left'
[ "$(cat carol.out)" = '* carol joined' ] || fail 'carol missed something'

# Who is killed has left, too.
start dave "$bin/chat" $client_tls "$url" dave
dave=$pid
exec 7> dave.in 8< dave.out
expect 8 '* dave joined'
expect 6 '* dave joined'
kill -KILL $dave
expect 6 '* dave left'
exec 7>&- 8<&-

# Ctrl-C leaves cleanly.
start erin "$bin/chat" $client_tls "$url" erin
erin=$pid
exec 7> erin.in 8< erin.out
expect 8 '* erin joined'
expect 6 '* erin joined'
kill -INT $erin
expect 6 '* erin left'
exits $erin 0

kill -TERM $server
exits $server 0
exits $alice 1
case $(cat alice.err) in
  *'hung up: 1001'*) ;;
  *) fail 'alice was not told that the server hung up' ;;
esac
! IFS= read -r line <&6 || fail "alice also got: $line"

refused "$url" "$url" alice
