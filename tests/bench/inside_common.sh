# Sourced by the scripts that run in the emulated host; they have set $work, $prefix and $programs.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HULL_EMULATED_HOST=never HULL_ROOT=$work/root HULL_RUN=/run/hull

# copy_program PROGRAM: the binary to $work/peers, what it is linked with to the same paths below $work.
copy_program() {
  local path
  path=$(command -v "$1")
  cp -L "$path" "$work/peers/"
  { ldd "$path" 2>/dev/null || true; } | grep -oE '/[^ ]+\.so[^ ]*' | while read -r library; do
    mkdir -p "$work$(dirname "$library")"
    cp -Ln "$library" "$work$library"
  done
}

# "${in_root[@]}" COMMAND...: runs it, in this process, with $work as the root of a mount namespace of
# its own. Not in a chroot alone: in one nobody may make a user namespace, which Hull's jail needs.
in_root=(unshare --mount sh -c 'cd "$0" && mount --move . / && exec chroot . "$@"' "$work")

# A directory in memory that is a root: the paths are the same with it as the root and outside it.
make_work_directory() {
  mkdir -p "$work"
  mount -t tmpfs -o mode=755 bench "$work"
  mkdir -p "$work"/{run,tmp,proc,sys,dev,peers,root,firmware}
  ln -s .. "$work/run/${work##*/}"
  local directory
  for directory in proc sys dev; do mount --rbind "/$directory" "$work/$directory"; done
  cp -r "$prefix/bin" "$prefix/share" "$work/"
  copy_program "$work/bin/hull-unpack"
  cp -L /usr/share/qemu/{bios-microvm.bin,linuxboot_dma.bin,qboot.rom} "$work/firmware/"
}

# QEMU's fastest way to run the same kernel: no device that the guest does not use.
qemu_microvm=("$work/peers/qemu-system-x86_64" -L "$work/firmware"
  -M microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off -accel kvm -cpu host -smp 1
  -nodefaults -no-user-config -display none -no-reboot)

# stage TEXT: what is done now, for whoever waits.
stage() { printf 'bench: %s\n' "$*" >&2; }

# await COMMAND...: until it succeeds; at most 60 s.
await() {
  local try
  for ((try = 0; try < 600; try++)); do
    "$@" && return
    sleep 0.1
  done
  printf 'bench: 60 s without: %s\n' "$*" >&2
  return 1
}

# processes_of PROGRAM: the ids of the processes that run it, oldest first.
processes_of() { pgrep -f "^([^ ]*/)?$1( |\$)"; }
