#!/bin/bash
# The part of the benchmark that runs in the emulated host with the instruction clock.
#
#   inside.sh PREFIX MEASURE PEER_INITRAMFS ROUNDS
#
# Everything measured is copied to memory first and runs in a chroot there, dynamic linker and all: no
# figure holds the file sharing between the host and the emulated host. Prints measure's lines, then the
# smaps of a VMM with 128 MiB, each line after the word "smaps".
set -euo pipefail
prefix=$1 measure=$2 peer_initramfs=$3 rounds=$4
work=/run/bench
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HULL_EMULATED_HOST=never HULL_ROOT=$work/root

# copy_program PROGRAM: the binary and what it is linked with, to the same paths below $work.
copy_program() {
  local path
  path=$(command -v "$1")
  cp -L "$path" "$work/peers/"
  { ldd "$path" 2>/dev/null || true; } | grep -oE '/[^ ]+\.so[^ ]*' | while read -r library; do
    mkdir -p "$work$(dirname "$library")"
    cp -Ln "$library" "$work$library"
  done
}

mkdir -p $work
mount -t tmpfs -o mode=755 bench $work
# The paths are the same inside the chroot and outside it.
mkdir -p $work/run $work/tmp $work/proc $work/sys $work/dev $work/peers
ln -s .. $work/run/bench
for directory in proc sys dev; do mount --rbind /$directory $work/$directory; done
mkdir -p $work/bundle/rootfs/bin $work/root
cp -r "$prefix/bin" "$prefix/share" $work/
cp "$measure" "$peer_initramfs" $work/
for program in runc crun qemu-system-x86_64 $work/bin/hull-unpack; do copy_program $program; done
mkdir -p $work/firmware
cp -L /usr/share/qemu/bios-microvm.bin /usr/share/qemu/linuxboot_dma.bin $work/firmware/

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
mkdir -p $work/bundle/rootfs/{proc,dev,sys}

qemu=($work/peers/qemu-system-x86_64 -L $work/firmware
  -M microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off -accel kvm -cpu host -m 128M -smp 1
  -nodefaults -no-user-config -display none -no-reboot
  -kernel $work/share/vmlinux -initrd "$work/$(basename "$peer_initramfs")")

tab() { local IFS=$'\t'; printf '%s\n' "$*"; }
{
  tab nothing 0 $work/bundle/rootfs/bin/true
  tab hull 0 $work/bin/hull run --rm busybox true
  tab crun 0 $work/peers/crun run --bundle $work/bundle bench-crun
  tab runc 0 $work/peers/runc run --bundle $work/bundle bench-runc
  tab qemu 0 "${qemu[@]}" -append 'quiet reboot=t panic=-1'
} >$work/candidates
# Loads the built-in image, which is not part of a start.
chroot $work $work/bin/hull run --rm busybox true
chroot $work "$work/measure" "$rounds" <$work/candidates

# Resident memory of the VMM that is not the guest's: everything mapped, less the range of mappings
# that together are exactly the guest's RAM.
chroot $work $work/bin/hull run --rm --memory 128m busybox sh -c 'echo ready; sleep 1000' \
  >$work/ready &
run=$!
for _ in $(seq 300); do
  [[ -s $work/ready ]] && break
  sleep 0.1
done
vmm=
for p in /proc/[0-9]*; do
  [[ $(readlink "$p/exe") == */hull-vmm ]] && vmm=${p#/proc/}
done 2>/dev/null
sed 's/^/smaps /' "/proc/$vmm/smaps"
# hull's third interrupt kills the container.
for _ in 1 2 3; do
  kill -INT $run
  sleep 0.2
done
wait $run || true
