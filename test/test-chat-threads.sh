#!/bin/sh
# test-chat-threads.sh BIN-DIR [LAUNCHER...]: chat-server with two threads, over
# which the kernel spreads the members, then with one that hands them over to
# the other: everybody hears everybody all the same. What a program prints goes
# to a file, which is looked at until it has what it should; the timeout below
# is for all of it. UVWS_TEST_TLS is a directory of cmake/ca's: then all goes
# over TLS.
set -eu
case ${UVWS_TEST_CHAT-} in
  '') UVWS_TEST_CHAT=1 exec timeout 200 sh "$0" "$@" ;;
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
members='alice bob carol dave erin frank'
work=$(mktemp -d)
pids=
rounds=0
trap 'kill -KILL $pids 2> /dev/null || :; rm -rf "$work"' EXIT
trap 'exit 1' TERM
cd "$work"

fail() {
  printf 'FAILED: %s\n' "$*"
  tail -n 30 ./*.out ./*.err
  exit 1
}

# count FILE LINE: how often the file has the line.
count() {
  grep -cFx -e "$2" "$1" || :
}

# expect FILE LINE [N]: until the file has the line, or has it N times.
expect() {
  printf 'expecting in %s: %s\n' "$1" "$2"
  tries=0
  until [ "$(count "$1" "$2")" -ge "${3-1}" ]; do
    tries=$((tries + 1))
    [ $tries -lt 400 ] || fail "waited in vain for '$2' in $1"
    sleep 0.05
  done
}

# exits NAME PID STATUS
exits() {
  echo "expecting: $1 exits with $3"
  status=0
  wait "$2" || status=$?
  [ "$status" -eq "$3" ] || fail "$1: exit status $status"
}

# join NAME FD: NAME.in is held open by the descriptor until the input ends. No
# other program may hold it, or the client would not see that end.
join() {
  mkfifo "$1.in"
  $run "$bin/chat" $client_tls "$url" "$1" > "$1.out" 2> "$1.err" < "$1.in" \
    3>&- 4>&- 5>&- 6>&- 7>&- 8>&- &
  eval "$1=$!"
  pids="$pids $!"
  eval "exec $2> $1.in"
  expect "$1.out" "* $1 joined"
}

# refused NICK: it is in use, on whatever thread the request arrives.
refused() {
  for i in 1 2 3 4; do
    status=0
    $run "$bin/chat" $client_tls "$url" "$1" < /dev/null > refused.out \
      2> refused.err || status=$?
    [ "$status" -eq 1 ] || fail "exit status $status"
    grep -q 'HTTP status 409' refused.err || fail "$1 was not refused"
  done
}

# Each line once, by everybody but the speaker, and nothing else. Who left, as
# all do in the end, may or may not have been heard by then.
heard_all() {
  for listener in $members; do
    for speaker in $members; do
      n=1
      [ "$speaker" != "$listener" ] || n=0
      [ "$(count "$listener.out" "$speaker: I am $speaker")" -eq $n ] ||
        fail "$listener did not hear $speaker $n times"
    done
    [ "$(grep -c ': ' "$listener.out")" -eq 5 ] ||
      fail "$listener heard something else"
  done
  for name in $members; do
    n=1
    [ $name != bob ] || n=2
    [ "$(count alice.out "* $name joined")" -eq $n ] ||
      fail "alice did not hear $name join $n times"
  done
}

# round ARG...: of the server.
round() {
  rounds=$((rounds + 1))
  mkdir "$work/$rounds"
  cd "$work/$rounds"
  $run "$bin/chat-server" $server_tls "$@" 0 < /dev/null > server.out \
    2> server.err &
  server=$!
  pids=$server
  tries=0
  until grep -qs '^listening on .*/$' server.out; do
    tries=$((tries + 1))
    [ $tries -lt 400 ] || fail 'the server does not listen'
    sleep 0.05
  done
  url=$(sed -n 's/^listening on //p' server.out)
  echo "the server is at $url: $*"

  fd=3
  for name in $members; do
    join "$name" $fd
    fd=$((fd + 1))
  done
  for name in $members; do expect alice.out "* $name joined"; done
  refused alice

  fd=3
  for name in $members; do
    echo "I am $name" >&$fd
    fd=$((fd + 1))
    for listener in $members; do
      [ "$name" = "$listener" ] || expect "$listener.out" "$name: I am $name"
    done
  done

  # A nick is free again when its owner has left.
  exec 4>&-
  exits bob "$bob" 0
  for listener in alice carol dave erin frank; do
    expect "$listener.out" '* bob left'
  done
  mv bob.out bob.first
  rm bob.in
  join bob 4
  expect alice.out '* bob joined' 2
  for listener in carol dave erin frank; do
    expect "$listener.out" '* bob joined'
  done
  mv bob.first bob.out

  # Who does not answer is waited for, but not after a second signal.
  kill -STOP "$frank"
  kill -TERM "$server"
  for name in alice bob carol dave erin; do
    eval "exits $name \$$name 1"
    grep -q 'hung up: 1001' "$name.err" ||
      fail "$name was not told that the server hung up"
  done
  kill -TERM "$server" 2> /dev/null || :
  exits chat-server "$server" 0
  kill -CONT "$frank"
  exits frank "$frank" 1
  pids=
  [ ! -s server.err ] || fail 'the server complained'
  [ "$(cat server.out)" = "listening on $url" ] || fail 'the server said more'
  heard_all
  exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&-
}

# The usage has both options, and numbers are checked.
for arguments in '--threads 0' '--threads 65' '--threads' '--threads 2x' '-1'; do
  status=0
  $run "$bin/chat-server" $arguments > usage.out 2> usage.err || status=$?
  [ "$status" -eq 2 ] || fail "$arguments: exit status $status"
  grep -q 'usage: .*--threads N.*--hand-over' usage.err || fail "no usage"
done

round --threads 2
round --threads 2 --hand-over
round --hand-over
