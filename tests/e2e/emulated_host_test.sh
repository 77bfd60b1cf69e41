#!/usr/bin/env bash
# The emulated host, for real: starts it, runs commands in it, breaks it in every way, and looks for what is left behind.
#
#   HULL=/path/to/prefix/bin/hull tests/e2e/emulated_host_test.sh [NAME...]     NAME: only these tests
#
# HULL's prefix must hold share/emulated-host, made by vmm/emulated_host/prepare. Works in a directory of its own, which it
# removes. Needs no privileges (one test, of a full disk, needs root to mount a small file system). The last line is
# "N passed, N failed".
set -uo pipefail

hull=$(realpath "${HULL:?set HULL to the hull program under test}")
work=$(mktemp -d "${TMPDIR:-/tmp}/hull-emulated-host.XXXXXX")
cd "$work" || exit 1
export HULL_ROOT=$work/root
unset HULL_RUN HULL_EMULATED_HOST
instance=$HULL_ROOT/emulated-host
limit=120 # seconds, for any single command: a hang is a failure, not a wait

passed=0 failed=0 failures=()
fail() { echo "      $*"; broken=1; }
equal() { [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"; }
h() { timeout -k 5 "$limit" "$hull" host "$@"; }
inside() { h exec -- "$@"; }
field() { h status | awk -v key="$1" 'index($0, key) {sub(/,/, "", $NF); print; exit}'; }
supervisor() { h status | sed -n 's/.*supervisor \([0-9]*\),.*/\1/p'; }
qemu() { h status | sed -n 's/.*QEMU \([0-9]*\).*/\1/p'; }
# PID: has ended. One whose parent has not looked yet (init, as a rule) has ended too.
ended() { ! grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null; }
gone() { wait_for 10 ended "$1"; }
wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}
cleanup() {
  h stop >/dev/null 2>&1
  mountpoint -q "$work/small" && umount "$work/small"
  rm -rf "$work"
}
trap cleanup EXIT

test_start_status_stop() {
  h start || fail "start: status $?"
  h status | grep -q 'is running' || fail "status does not say that it runs"
  local s q; s=$(supervisor) q=$(qemu)
  [ -d "/proc/$s" ] && [ -d "/proc/$q" ] || fail "no processes $s, $q"
  h start || fail "second start: status $?"
  equal "supervisor after a second start" "$(supervisor)" "$s"
  h stop || fail "stop: status $?"
  ended "$s" && ended "$q" || fail "a process is left"
  equal "files left" "$(ls "$instance" | xargs)" "data.img lock log"
  h status | grep -q 'is stopped' || fail "status does not say that it is stopped"
  h stop || fail "second stop: status $?"
}

test_exit_statuses() {
  local n
  for n in 0 1 7 125 255; do inside sh -c "exit $n"; equal "exit status" $? $n; done
  for n in TERM KILL ABRT SEGV USR1; do
    # Through a shell of ours, which says how hull itself ended.
    (h exec -- sh -c "kill -$n \$\$") 2>/dev/null; equal "death by SIG$n" $? $((128 + $(kill -l $n)))
  done
  "$hull" host exec -- sh -c 'kill -TERM $$' & wait $! ; equal "death by a signal, seen by the parent" $? 143
  inside /no/such/program 2>err; equal "no such program" $? 127
  grep -q 'No such file' err || fail "no reason given: $(cat err)"
  inside /etc/passwd 2>/dev/null; equal "not executable" $? 126
  h exec 2>/dev/null; equal "usage" $? 64
  h nonsense 2>/dev/null; equal "usage" $? 64
}

test_streams() {
  equal "output" "$(inside sh -c 'echo out; echo err >&2' 2>err)" out
  equal "error" "$(cat err)" err
  equal "input" "$(echo hello | inside cat)" hello
  equal "empty input" "$(inside cat </dev/null | wc -c)" 0
  head -c 20000000 /dev/urandom >big
  equal "20 MB there and back" "$(inside cat <big | sha256sum)" "$(sha256sum <big)"
  equal "20 MB in" "$(inside sha256sum <big)" "$(sha256sum <big)"
  # All of it, although the process has ended.
  equal "output before the end" "$(inside sh -c 'head -c 300000 /dev/zero' | wc -c)" 300000
  # A reader that goes away ends the writer, as a pipe does.
  timeout 60 "$hull" host exec -- yes | head -n 2 >/dev/null; equal "yes | head" "${PIPESTATUS[0]}" 141
  # A command that does not read its input does not wait for it.
  (sleep 30; echo late) | timeout 20 "$hull" host exec -- true; equal "unread input" "${PIPESTATUS[1]}" 0
  # What a command leaves of a file is the next one's.
  printf 'a\nb\n' >lines
  equal "rest of the input" "$( { inside sh -c 'read x'; cat; } <lines)" b
}

test_blocked_session() {
  # The first command's output is not read; the second runs all the same.
  mkfifo blocked
  inside sh -c 'head -c 50000000 /dev/zero; echo done >&2' >blocked 2>blocked.err &
  local pid=$!
  exec 7<blocked
  sleep 1
  equal "beside a blocked one" "$(timeout 60 "$hull" host exec -- echo fine)" fine
  equal "the blocked one is not done" "$(cat blocked.err)" ""
  equal "bytes" "$(wc -c <&7)" 50000000
  exec 7<&-
  wait $pid; equal "blocked command" $? 0
  rm -f blocked
}

test_environment() {
  mkdir -p "dir with space"
  equal "directory" "$(cd "dir with space" && inside pwd)" "$work/dir with space"
  equal "variable" "$(A='x y' inside sh -c 'echo "$A"')" "x y"
  equal "umask" "$(umask 027; inside sh -c umask)" 0027
  equal "argument" "$(inside printf '%s|' 'a b' '' '*')" 'a b||*|'
  equal "cgroups" "$(inside sh -c 'grep -c cgroup /proc/mounts; stat -fc %T /sys/fs/cgroup' | xargs)" "1 cgroup2fs"
  inside sh -c 'test -c /dev/kvm -a -c /dev/net/tun -a -c /dev/fuse -a -c /dev/loop-control -a -c /dev/vhost-vsock' || fail "a device is missing"
  equal "in place inside" "$(inside sh -c 'echo $HULL_EMULATED_HOST')" never
  equal "virtualisation" "$(inside cat /sys/module/kvm_amd/parameters/npt)" Y
  local difference=$(($(inside date +%s) - $(date +%s)))
  [ ${difference#-} -le 3 ] || fail "clocks differ by $difference s"
}

test_files() {
  echo one >file
  equal "a file of ours" "$(inside cat "$work/file")" one
  echo two >file
  equal "after an edit" "$(inside cat file)" two
  echo three >file.new; mv file.new file
  equal "after a replacement" "$(inside cat file)" three
  inside sh -c 'echo four >file; mkdir sub; echo x >sub/y'
  equal "written inside" "$(cat file)" four
  equal "made inside" "$(cat sub/y)" x
  rm -rf sub
  inside test -e sub && fail "a removed directory is still seen"
  # Many small files at once, and one that is mapped for writing.
  inside sh -c 'i=0; while [ $i -lt 50 ]; do echo $i >many.$i; i=$((i+1)); done'
  equal "many files" "$(cat many.* | wc -l)" 50
}

test_rebuilt_program() {
  # The programs beside a guest kernel are copied inside; a new one is noticed.
  mkdir -p prefix/bin prefix/share
  echo kernel >prefix/share/vmlinux
  printf '#!/bin/sh\necho version 1; cat "${0%%/*}/../share/vmlinux"; echo "$0"\n' >prefix/bin/tool
  chmod +x prefix/bin/tool
  local first; first=$(inside "$work/prefix/bin/tool" | xargs)
  case $first in "version 1 kernel /run/hull-emulated-host/prefix/"*) ;; *) fail "first: $first" ;; esac
  sed -i 's/version 1/version 2/' prefix/bin/tool
  case $(inside "$work/prefix/bin/tool" | xargs) in "version 2 kernel "*) ;; *) fail "the old program ran" ;; esac
  echo lernel >prefix/share/vmlinux # same size
  case $(inside "$work/prefix/bin/tool" | xargs) in "version 2 lernel "*) ;; *) fail "the old kernel was used" ;; esac
  # Not a prefix: run where it is.
  rm prefix/share/vmlinux
  mkdir -p plain/bin; printf '#!/bin/sh\necho "$0"\n' >plain/bin/tool; chmod +x plain/bin/tool
  equal "outside a prefix" "$(inside "$work/plain/bin/tool")" "$work/plain/bin/tool"
}

test_signals() {
  local s
  for s in INT TERM HUP QUIT USR1 USR2; do
    rm -f ready
    "$hull" host exec -- sh -c "trap 'echo got $s; exit 3' $s; echo >ready; while :; do sleep 0.1; done" >out 2>&1 &
    local pid=$!
    # A background job of a shell script ignores INT and QUIT, and hull leaves what is ignored ignored: so from another shell.
    if [ $s = INT ] || [ $s = QUIT ]; then
      kill -KILL $pid; wait $pid 2>/dev/null; rm -f ready
      python3 -c 'import os,signal,sys
for s in (signal.SIGINT, signal.SIGQUIT): signal.signal(s, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$hull" host exec -- \
        sh -c "trap 'echo got $s; exit 3' $s; echo >ready; while :; do sleep 0.1; done" >out 2>&1 &
      pid=$!
    fi
    wait_for 30 test -e ready || fail "SIG$s: not started"
    kill -$s $pid
    wait $pid; equal "SIG$s" "$? $(cat out)" "3 got $s"
  done
  # Without a handler, the signal's own death.
  rm -f ready
  "$hull" host exec -- sh -c 'echo >ready; exec sleep 100' & local pid=$!
  wait_for 30 test -e ready; kill -TERM $pid; wait $pid 2>/dev/null; equal "unhandled SIGTERM" $? 143
  # A hull that is killed takes its command along.
  rm -f ready
  "$hull" host exec -- sh -c 'echo $$ >ready; exec sleep 100' & pid=$!
  wait_for 30 test -s ready; kill -KILL $pid; wait $pid 2>/dev/null
  wait_for 20 sh -c "! timeout 60 '$hull' host exec -- kill -0 $(cat ready) 2>/dev/null" || fail "the command survived its hull"
}

test_terminal() {
  # script(1) gives hull a terminal on all three streams. Its own input stays open, or it would type an end of file.
  cat >tty.sh <<T
stty rows 33 cols 77
'$hull' host exec -- sh -c 'stty size; test -t 0 && test -t 1 && test -t 2 && echo tty; exit 5'
echo "status \$?"
stty -a | grep -q ' echo ' && echo restored
T
  SHELL=/bin/bash timeout 60 script -qec "bash tty.sh" /dev/null < <(sleep 60) >out 2>&1
  equal "on a terminal" "$(tr -d '\r' <out | xargs)" "33 77 tty status 5 restored"
  # Only the output is a terminal: the input stays a pipe.
  echo "echo data | '$hull' host exec -- sh -c 'test -t 0 || echo pipe; test -t 1 && echo tty; cat'" >tty.sh
  SHELL=/bin/bash timeout 60 script -qec "bash tty.sh" /dev/null < <(sleep 60) >out 2>&1
  equal "mixed" "$(tr -d '\r' <out | xargs)" "pipe tty data"
  # Ctrl-C goes through the inner terminal.
  printf "'%s' host exec -- sh -c 'trap \"echo interrupted; exit 9\" INT; echo >ready; while :; do sleep 0.1; done'; echo status \$?\n" "$hull" >tty.sh
  rm -f ready
  { wait_for 30 test -e ready; sleep 0.5; printf '\003'; sleep 2; } |
    SHELL=/bin/bash timeout 60 script -qec "bash tty.sh" /dev/null >out 2>&1
  case $(tr -d '\r' <out | xargs) in *interrupted*"status 9") ;; *) fail "Ctrl-C: $(cat out)" ;; esac
}

test_persistence() {
  inside sh -c 'echo kept >"$HULL_ROOT/kept"; echo gone >"$HULL_ROOT/run/gone"' || fail "write"
  [ ! -e "$HULL_ROOT/kept" ] || fail "the data disk is not a place of its own"
  h stop
  equal "after a stop" "$(inside sh -c 'cat $HULL_ROOT/kept; ls $HULL_ROOT/run')" kept
  inside sh -c 'echo more >"$HULL_ROOT/more"; sync'
  kill -KILL "$(qemu)"
  wait_for 10 sh -c "! test -e '$instance/socket'"
  equal "after kill -9" "$(inside sh -c 'cat $HULL_ROOT/more')" more
}

test_kill_qemu() {
  h start
  local s q; s=$(supervisor) q=$(qemu)
  rm -f ready
  "$hull" host exec -- sh -c 'echo >ready; sleep 100' 2>err & local pid=$!
  wait_for 30 test -e ready
  kill -KILL "$q"; wait $pid; equal "command in a killed emulated host" $? 125
  grep -q 'killed by signal 9' err || fail "no reason given: $(cat err)"
  gone "$s" || fail "the supervisor is left"
  equal "the next command" "$(inside echo again)" again
}

test_kill_supervisor() {
  h start
  local s q; s=$(supervisor) q=$(qemu)
  rm -f ready
  "$hull" host exec -- sh -c 'echo >ready; sleep 100' 2>err & local pid=$!
  wait_for 30 test -e ready
  kill -KILL "$s"; wait $pid; equal "command of a killed supervisor" $? 125
  gone "$q" || fail "QEMU is left"
  [ -S "$instance/socket" ] || fail "a stale socket was expected for this test"
  equal "the next command" "$(inside echo again)" again
  s=$(supervisor); kill -KILL "$s"; gone "$s"
  h stop || fail "stop after kill -9"
  [ ! -e "$instance/socket" ] || fail "stop left the socket"
}

test_hang() {
  h stop
  h start --answer-deadline 3
  local q s; q=$(qemu) s=$(supervisor)
  kill -STOP "$q"
  equal "a stopped QEMU is replaced" "$(inside echo back 2>err)" back
  grep -q 'did not answer' err || fail "nothing was said: $(cat err)"
  gone "$q" || fail "the old QEMU is left"
  gone "$s" || fail "the old supervisor is left"
  h stop
}

test_two_at_once() {
  h stop
  local i pids=()
  for i in 1 2 3 4 5; do inside sh -c "cat /proc/sys/kernel/random/boot_id" >boot.$i 2>&1 & pids+=($!); done
  for i in "${pids[@]}"; do wait "$i"; equal "status" $? 0; done
  equal "emulated hosts" "$(cat boot.? | sort -u | wc -l)" 1
}

test_many() {
  local i pids=()
  for i in $(seq 40); do inside sh -c "echo $i; exit $i" >many.$i 2>&1 & pids+=($!); done
  for i in $(seq 40); do wait "${pids[$((i - 1))]}"; equal "status" $? "$i"; equal "output" "$(cat many.$i)" "$i"; done
  wait_for 10 sh -c "'$hull' host status | grep -q 'commands *0'" || fail "sessions are left"
}

test_interrupted_start() {
  h stop
  timeout -s INT 0.7 "$hull" host exec -- touch ran; equal "interrupted" $? 124
  equal "afterwards" "$(inside echo fine)" fine
  [ ! -e ran ] || fail "the interrupted command ran"
  h stop
  "$hull" host start 2>/dev/null & sleep 0.5; h stop || fail "stop while it starts"
  wait $!; equal "start that was stopped" $? 125
  [ ! -e "$instance/socket" ] || fail "a socket is left"
}

test_stop_with_commands() {
  h start
  "$hull" host exec -- sh -c 'trap "" TERM HUP; while :; do sleep 1; done' 2>err & local pid=$!
  sleep 1
  local start=$SECONDS
  h stop || fail "stop: status $?"
  [ $((SECONDS - start)) -le 30 ] || fail "stop took $((SECONDS - start)) s"
  wait $pid; equal "its command" $? 125
  grep -q stopped err || fail "no reason given: $(cat err)"
}

test_bad_setups() {
  HULL_SHARE=/nonexistent HULL_ROOT=$work/other h start 2>err; equal "not prepared" $? 125
  grep -q 'not prepared' err || fail "no reason given: $(cat err)"
  mkdir -p "$work/open/emulated-host"; chmod 777 "$work/open/emulated-host"
  HULL_ROOT=$work/open h start 2>err; equal "instance directory of everybody" $? 125
  grep -q 'HULL_ROOT' err || fail "no advice: $(cat err)"
  mkdir -p "$work/damaged/emulated-host"; chmod 700 "$work/damaged/emulated-host"
  head -c 1000000 /dev/urandom >"$work/damaged/emulated-host/data.img"
  HULL_ROOT=$work/damaged h start 2>err; equal "damaged disk" $? 125
  grep -q 'damaged' err || fail "no reason given: $(cat err)"
  # A socket's address is short; paths are not.
  local long; long=$work/$(printf 'l%.0s' $(seq 150))
  equal "long path" "$(HULL_ROOT=$long inside echo fine)" fine
  HULL_ROOT=$long h stop
  echo garbage | timeout 10 socat - "UNIX-CONNECT:$instance/socket" >/dev/null 2>&1
  equal "after garbage on the socket" "$(inside echo fine)" fine
}

test_full_disk() {
  [ "$(id -u)" = 0 ] || { fail "needs root to mount"; return; }
  mkdir -p small; mount -t tmpfs -o size=200m,mode=700 tmpfs small || return
  local small=$work/small/root
  HULL_ROOT=$small h start || fail start
  HULL_ROOT=$small inside sh -c 'head -c 400000000 /dev/zero >$HULL_ROOT/fill; sync' 2>err; equal "on a full disk" $? 125
  grep -q 'no space left' err || fail "no reason given: $(cat err)"
  HULL_ROOT=$small h status | grep -q paused || fail "status does not say so"
  HULL_ROOT=$small inside true 2>err; equal "still full" $? 125
  mount -o remount,size=1g small
  equal "with space again" "$(HULL_ROOT=$small inside echo fine)" fine
  HULL_ROOT=$small h stop
  umount small
}

tests=("$@")
[ ${#tests[@]} -gt 0 ] || mapfile -t tests < <(declare -F | sed -n 's/^declare -f test_//p' | sort)
for name in "${tests[@]}"; do
  broken=0 began=$SECONDS
  "test_$name"
  if [ $broken = 0 ]; then
    echo "ok    $name ($((SECONDS - began)) s)"; passed=$((passed + 1))
  else
    echo "FAIL  $name ($((SECONDS - began)) s)"; failed=$((failed + 1)); failures+=("$name")
  fi
done
[ $failed = 0 ] || echo "failed: ${failures[*]}"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
