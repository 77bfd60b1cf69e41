#!/bin/bash
# Part three of the benchmark: runs in the emulated host with the instruction clock.
#
#   inside_io.sh PREFIX PROGRAMS BZIMAGE INITRAMFS FIO_ROOT ROUNDS
#
# The same kernel, initramfs, guest programs and files under hull-vmm and under QEMU's microvm, in turn.
# BZIMAGE is the kernel of PREFIX for QEMU, which gives no device tree to a vmlinux. Prints, between
# "begin fio hull|qemu" and "end", fio's report; between "begin vsock hull|qemu" and "end", the lines of
# vsock_host.
set -euo pipefail
prefix=$1 programs=$2 bzimage=$3 initramfs=$4 fio_root=$5 rounds=$6
work=/run/bench-io
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=inside_common.sh
. "$here/inside_common.sh"

disk_mebibytes=64
report_bytes=$((256 << 10))
# What a boot and its work take at most, on a clock that counts instructions.
deadline=20

make_work_directory
copy_program qemu-system-x86_64
# The clock jumps while the file sharing is waited for: what runs under a deadline lies in memory.
copy_program timeout
cp "$bzimage" $work/bzImage
cp "$initramfs" $work/initramfs.cpio
cp "$fio_root" $work/fio.erofs
cp "$programs/vsock_host" $work/
"$programs/peer_tree" >$work/peer.dtb
# Written, not only made long: a hole of a file in memory has no page to read.
head -c $((disk_mebibytes << 20)) /dev/zero >$work/disk

# boot_hull TASK
boot_hull() {
  cat >$work/machine.json <<X
{"version": 1, "machine": "micro", "vcpus": 1, "memory_bytes": 268435456,
 "kernel": {"path": "$work/share/vmlinux"}, "initramfs": {"path": "$work/initramfs.cpio"},
 "cmdline": "8250.nr_uarts=0 rdinit=/guest_init -- $1",
 "block": [{"id": "root", "path": "$work/fio.erofs", "read_only": true},
           {"id": "disk", "path": "$work/disk"}, {"id": "report", "path": "$work/report"}],
 "vsock": {"guest_cid": 3, "host_socket": "$work/vsock"}}
X
  # 66: the guest restarted, which is how guest_init ends.
  "${in_root[@]}" /peers/timeout $deadline /bin/hull-vmm --spec=$work/machine.json 2>$work/vmm.err || [[ $? == 66 ]] || {
    cat $work/vmm.err >&2
    return 1
  }
}

# boot_qemu TASK
boot_qemu() {
  local drives=(root,file=$work/fio.erofs,readonly=on disk,file=$work/disk report,file=$work/report)
  local arguments=() index=0 drive
  for drive in "${drives[@]}"; do
    # The host's page cache, as for hull-vmm.
    arguments+=(-drive "if=none,format=raw,cache=writeback,aio=$qemu_aio,id=$drive"
      -device "virtio-blk-device,drive=${drive%%,*},bus=virtio-mmio-bus.$index")
    index=$((index + 1))
  done
  "${in_root[@]}" /peers/timeout $deadline "${qemu_microvm[@]}" -M acpi=off -m 256M \
    -global virtio-mmio.force-legacy=false -kernel $work/bzImage -initrd $work/initramfs.cpio \
    -dtb $work/peer.dtb "${arguments[@]}" \
    -device vhost-vsock-device,guest-cid=3,bus=virtio-mmio-bus.3 \
    -append "8250.nr_uarts=0 reboot=t panic=-1 rdinit=/guest_init -- $1" </dev/null
}
qemu_aio=threads

for ((round = 0; round < rounds; round++)); do
  for vmm in hull qemu; do
    stage "disks of $vmm"
    head -c $report_bytes /dev/zero >$work/report
    boot_$vmm fio
    printf 'begin fio %s\n' $vmm
    tr -d '\0' <$work/report
    printf '\nend\n'
  done
done
for ((round = 0; round < rounds; round++)); do
  for vmm in hull qemu; do
    stage "sockets of $vmm"
    head -c $report_bytes /dev/zero >$work/report
    if [[ $vmm == hull ]]; then listen=unix:$work/vsock_5000; else listen=vsock; fi
    rm -f $work/vsock_5000
    "${in_root[@]}" /vsock_host $listen >$work/exchanged &
    host=$!
    [[ $vmm == qemu ]] || await test -S $work/vsock_5000
    boot_$vmm vsock
    # The guest ends after the host has, or without it. Nothing but that is waited for: the clock of a
    # deadline jumps while the file sharing is waited for.
    kill $host 2>/dev/null || true
    wait $host || {
      printf 'bench: the exchange of %s with port 5000 was not completed\n' $vmm >&2
      exit 1
    }
    printf 'begin vsock %s\n' $vmm
    cat $work/exchanged
    echo end
  done
done
