#!/bin/bash
# Part one of the benchmark: runs in the emulated host with the instruction clock.
#
#   inside.sh PREFIX PROGRAMS IMAGE PEER_INITRAMFS ROUNDS
#
# PREFIX: the product; PROGRAMS: a directory with measure; IMAGE: an OCI layout with mark-true;
# PEER_INITRAMFS: the product's initramfs with guest_init added. Everything measured is copied to
# memory first and runs with that as its root, dynamic linker and all: no figure holds the file sharing
# between the host and the emulated host.
#
# Prints records (report.py reads them): lines of measure, "memory N works|fails", and texts between
# "begin KIND NAME" and "end".
set -euo pipefail
prefix=$1 programs=$2 image=$3 peer_initramfs=$4 rounds=$5
work=/run/bench
tracing=/sys/kernel/tracing
# Some ten times what the slowest candidate takes, on a clock that counts instructions.
deadline_ms=1000 pause_ms=300
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=inside_common.sh
. "$here/inside_common.sh"

make_work_directory
mkdir -p $work/bundle/rootfs/{bin,proc,dev,sys}
cp -r "$image" $work/image
cp "$peer_initramfs" $work/peer.cpio
cp "$programs/measure" $work/
# The clock jumps while the file sharing is waited for: what runs under a deadline lies in memory.
for program in runc crun qemu-system-x86_64 timeout; do copy_program $program; done

cp /bin/busybox $work/bundle/rootfs/bin/true
cat >$work/bundle/config.json <<'X'
{"ociVersion": "1.0.2",
 "process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/",
   "env": ["PATH=/bin"], "noNewPrivileges": true},
 "root": {"path": "rootfs", "readonly": true},
 "mounts": [
   {"destination": "/proc", "type": "proc", "source": "proc"},
   {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
    "options": ["nosuid", "mode=755", "size=65536k"]},
   {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]}],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
   {"type": "mount"}, {"type": "cgroup"}]}}
X

hull=$work/bin/hull
qemu=("${qemu_microvm[@]}" -m 128M -kernel $work/share/vmlinux -initrd $work/peer.cpio)
# Parameters of the kernel, then of guest_init.
qemu_reset='quiet reboot=t panic=-1 rdinit=/guest_init -- reset'
qemu_idle='quiet rdinit=/guest_init -- idle'

# candidate NAME: its line for measure.
candidate() {
  local tab=$'\t'
  local -A command=(
    [nothing]=$work/bundle/rootfs/bin/true
    [hull]="$hull${tab}run${tab}--rm${tab}busybox${tab}true"
    [hull-mark]="$hull${tab}run${tab}--rm${tab}bench${tab}/mark-true"
    [hull-mark-2]="$hull${tab}run${tab}--rm${tab}--cpus${tab}2${tab}bench${tab}/mark-true"
    [crun]="$work/peers/crun${tab}run${tab}--bundle${tab}$work/bundle${tab}bench-crun"
    [runc]="$work/peers/runc${tab}run${tab}--bundle${tab}$work/bundle${tab}bench-runc"
    [qemu]=$(IFS=$tab; printf '%s' "${qemu[*]}")"$tab-append$tab$qemu_reset"
  )
  printf '%s\t0\t%s\n' "$1" "${command[$1]}"
}

stage "starts"
# Loading the images is not part of a start.
"${in_root[@]}" $hull load /image >/dev/null
"${in_root[@]}" $hull run --rm busybox true

for name in nothing hull hull-mark crun runc qemu; do candidate $name; done >$work/candidates
"${in_root[@]}" /measure "$rounds" $deadline_ms $pause_ms <$work/candidates

# The same once more under the kernel's tracing, for what lies within a start. These runs give no
# totals.
mount -t tracefs tracing $tracing 2>/dev/null || mountpoint -q $tracing
echo 0 >$tracing/tracing_on
echo mono >$tracing/trace_clock
echo 4096 >$tracing/buffer_size_kb
echo 'p:bench/kvm_dev_ioctl kvm:kvm_dev_ioctl command=%si:u32' >$tracing/kprobe_events

# traced KIND NAME...: each candidate in turn, all rounds.
traced() {
  local kind=$1 round name
  shift
  for ((round = 0; round < rounds; round++)); do
    for name in "$@"; do
      candidate "$name" >$work/candidate
      echo >$tracing/trace
      [[ $kind != exits ]] || echo "$histogram" >$tracing/events/kvm/kvm_exit/trigger
      echo 1 >$tracing/tracing_on
      "${in_root[@]}" /measure 1 $deadline_ms $pause_ms <$work/candidate >$work/measured
      echo 0 >$tracing/tracing_on
      printf 'begin %s %s\n' "$kind" "$name"
      cat $work/measured
      case $kind in
        exits)
          cat $tracing/events/kvm/kvm_exit/hist
          echo "!$histogram" >$tracing/events/kvm/kvm_exit/trigger
          ;;
        *) grep -v '^#' $tracing/trace ;;
      esac
      echo end
    done
  done
}

# switch 0|1 EVENT...
switch() {
  local state=$1 event
  shift
  for event in "$@"; do echo "$state" >"$tracing/events/$event/enable"; done
}

events=(bench/kvm_dev_ioctl sched/sched_process_exec sched/sched_process_exit kvm/kvm_entry
  kvm/kvm_exit kvm/kvm_cpuid kvm/kvm_pio)
# KVM_CREATE_VM; entries before the kernel has its own address space; CPUID (0x72 is SVM's number of it)
# in user mode, which is neither that nor the kernel's half; the exit port.
echo 'command == 0xae01' >$tracing/events/bench/kvm_dev_ioctl/filter
echo 'rip < 0x10000000' >$tracing/events/kvm/kvm_entry/filter
echo 'exit_reason == 0x72 && guest_rip >= 0x10000000 && guest_rip < 0x800000000000' >$tracing/events/kvm/kvm_exit/filter
echo 'port == 0x501' >$tracing/events/kvm/kvm_pio/filter
switch 1 "${events[@]}"
stage "phases of a start"
traced phases hull-mark hull-mark-2 qemu
switch 0 "${events[@]}"

events=(sched/sched_switch sched/sched_process_fork sched/sched_process_exec)
switch 1 "${events[@]}"
stage "processor time of a start"
traced time hull
switch 0 "${events[@]}"

histogram='hist:keys=exit_reason.hex'
stage "exits of a start"
traced exits hull qemu

# Memory: two idle containers of the same kernel, and an idle QEMU.
idle() {
  "${in_root[@]}" $hull run --rm --memory 128m busybox sh -c 'echo ready; sleep 100000' >"$1" &
  await test -s "$1"
}
smaps() {
  printf 'begin smaps %s\n' "$1"
  cat "/proc/$2/smaps"
  echo end
}
stage "memory"
idle $work/ready1
first=$!
idle $work/ready2
second=$!
mapfile -t vmms < <(processes_of hull-vmm)
smaps hull "${vmms[0]}"
smaps hull-second "${vmms[1]}"
# The third interrupt within four seconds kills the container.
interrupt_both() {
  kill -INT $first $second 2>/dev/null || true
  ! kill -0 $first 2>/dev/null && ! kill -0 $second 2>/dev/null
}
await interrupt_both
wait $first $second || true

"${in_root[@]}" "${qemu[@]}" -append "$qemu_idle" </dev/null >/dev/null &
# The clock does not stop while QEMU's files are read: its guest runs when it has taken memory.
peer=$!
peer_runs() { (($(awk '/^VmRSS/ { print $2 }' /proc/$peer/status) > 60000)); }
await peer_runs
sleep 3
smaps qemu "$(processes_of qemu-system-x86_64)"
kill $!
wait $! || true

for mebibytes in 64 48 40 32 28 24; do
  said=$("${in_root[@]}" /peers/timeout 120 $hull run --rm --memory ${mebibytes}m busybox sh -c 'echo works' \
    2>/dev/null) || true
  [[ $said == works ]] || said=fails
  printf 'memory\t%s\t%s\n' $mebibytes "$said"
  [[ $said == works ]] || break
done
