# Sourced by ./hull when the prefix is missing or older than the sources: defines setup().
#
# Each step is idempotent and leaves either its whole result or nothing, so a step that was
# interrupted is simply run again. Standard output stays the command's own: everything here goes to
# standard error.

log=$prefix/log

say() { printf 'hull: %s\n' "$*" >&2; }

# Packages named in a list file, without comments.
packages_of() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$1"; }

missing_packages() {
  local wanted
  wanted=$(for list in "$@"; do packages_of "$list"; done)
  # dpkg-query prints nothing on standard output for a package it has never heard of.
  comm -23 <(sort -u <<<"$wanted") \
    <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
      sed -n 's/^installed //p' | sort -u)
}

# How long an interrupted step may take to end before it is killed.
interrupt_patience_s=15

# Ends the step of process group $1 and exits with status $2. With SIGTERM, as SIGINT is ignored by
# all that a script started in the background of another starts itself.
interrupted() {
  local group=$1 status=$2 deadline=$((SECONDS + interrupt_patience_s))
  trap '' INT TERM HUP
  [[ -t 2 ]] && printf '\r\033[K' >&2
  say "interrupted; ending what was begun …"
  kill -TERM -- "-$group" 2>/dev/null
  while kill -0 -- "-$group" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
  kill -KILL -- "-$group" 2>/dev/null
  say "the next ./hull goes on from here"
  exit "$status"
}

# Runs a command with its output in a log file; shows what it does, how far it is, how long it took.
#   step LOG-NAME TEXT COMMAND...
# The progress is read from the log, or from $progress_log if the command has one of its own.
step() {
  local name=$1 text=$2 start=$SECONDS status
  shift 2
  mkdir -p "$log"
  # In a process group of its own, so that an interruption reaches all of it. Descriptor 9 is
  # setup()'s lock, which a daemon that the step leaves behind (Bazel's server) must not hold.
  set -m
  "$@" >"$log/$name.log" 2>&1 </dev/null 9>&- &
  local pid=$!
  set +m
  trap "interrupted $pid 130" INT
  trap "interrupted $pid 143" TERM
  trap "interrupted $pid 129" HUP
  # A step that had nothing to do says nothing.
  local announced=
  for _ in {1..15}; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  if kill -0 "$pid" 2>/dev/null; then
    announced=1
    [[ -t 2 ]] || say "$text …"
  fi
  if [[ -t 2 ]]; then
    while kill -0 "$pid" 2>/dev/null; do
      printf '\r\033[Khull: %s … %s (%d s)' "$text" "$(progress_of "${progress_log:-$log/$name.log}")" \
        $((SECONDS - start)) >&2
      sleep 0.5
    done
    printf '\r\033[K' >&2
  fi
  wait "$pid"
  status=$?
  trap - INT TERM HUP
  if ((status != 0)); then
    say "$text: failed (status $status) after $((SECONDS - start)) s; the last lines of $log/$name.log:"
    tail -n 15 "$log/$name.log" | sed 's/^/  | /' >&2
    return 1
  fi
  [[ -z $announced ]] || say "$text: done in $((SECONDS - start)) s"
}

# The newest progress mark in a log: Bazel's "[12 / 340]", or the number of objects that the kernel's
# makefiles have announced, or how many packages dpkg has set up.
progress_of() {
  local mark
  mark=$(tail -c 4000 "$1" 2>/dev/null | grep -oE '\[[0-9,]+ / [0-9,]+\]' | tail -n 1)
  if [[ -z $mark ]]; then
    mark=$(grep -cE '^  (CC|AS|AR|LD) |^Setting up ' "$1" 2>/dev/null)
    [[ ${mark:-0} -gt 0 ]] && mark="$mark files" || mark=
  fi
  printf '%s' "$mark"
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    sudo -n "$@"
  fi
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  # An installation that was interrupted half way is completed first; nothing else helps dpkg then.
  as_root dpkg --configure -a &&
    as_root apt-get -o DPkg::Lock::Timeout=300 update -qq &&
    as_root apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}

# install_packages LIST-FILE...
install_packages() {
  local missing
  command -v apt-get >/dev/null || {
    say "this is not Debian (no apt-get); install by hand what $1 lists, then run ./hull again"
    return 1
  }
  missing=$(missing_packages "$@")
  [[ -n $missing ]] || return 0
  # shellcheck disable=SC2086 # a list of words
  if ((EUID != 0)) && ! sudo -n true 2>/dev/null; then
    say "packages are missing and this user may not install them; run once:"
    say "  sudo apt-get install --no-install-recommends" $missing
    return 1
  fi
  say "installing Debian packages:" $missing
  # shellcheck disable=SC2086
  step packages "installing $(wc -w <<<"$missing") packages" apt_install $missing
}

bazel_options() {
  # A server of this tree's own, which goes away when it is no longer used.
  echo --max_idle_secs=600
  [[ -n ${HOME-} && -w ${HOME-} ]] || echo "--output_user_root=$prefix/cache/bazel"
}

# hull_bazel COMMAND ARG...: bazel as every script of this tree calls it.
hull_bazel() {
  # shellcheck disable=SC2046 # options are words
  (cd "$repo" && exec bazel $(bazel_options) "$@")
}

build_binaries() {
  hull_bazel build --color=no --curses=no --show_progress_rate_limit=2 \
    //vmm/cli:hull //vmm/cli:hull-vmm //images:hull-unpack //guest-agent:initramfs \
    //vmm/display:hull-display //vmm/emulated_host:hull-hostd || return 1
  # Each file is replaced by a rename: a running hull keeps its old one, a starting one never sees
  # half of the new.
  local from to
  while read -r from to; do
    install -D -m "$([[ $to == bin/* ]] && echo 755 || echo 644)" "$repo/.bazel/bin/$from" \
      "$prefix/$to.new" || return 1
    [[ $to == bin/* ]] && { strip "$prefix/$to.new" || return 1; }
    mv -f "$prefix/$to.new" "$prefix/$to" || return 1
  done <<'X'
vmm/cli/hull bin/hull
vmm/cli/hull-vmm bin/hull-vmm
images/hull-unpack bin/hull-unpack
vmm/display/hull-display bin/hull-display
vmm/emulated_host/hull-hostd bin/hull-hostd
guest-agent/initramfs.cpio share/initramfs.cpio
X
}

build_kernel() {
  "$repo/kernel-config/build" --out "$prefix/share" --cache "$prefix/cache/kernel"
}

build_busybox() {
  "$repo/images/busybox/build" --out "$prefix/share/busybox.tar.new" &&
    mv -f "$prefix/share/busybox.tar.new" "$prefix/share/busybox.tar"
}

setup() {
  local first=
  mkdir -p "$prefix/share" "$prefix/bin" || {
    say "cannot write to $prefix; Hull builds itself there. Clone it to a directory of your own."
    return 1
  }
  # One at a time; a second ./hull waits and then finds everything done.
  exec 9>"$prefix/lock"
  if ! flock -n 9; then
    say "another ./hull is building in $prefix; waiting for it …"
    flock 9
    if up_to_date; then
      exec 9>&-
      return 0
    fi
  fi
  [[ -e $stamp ]] || first=1
  # The stamp gets the time before the build: a source that is edited meanwhile is newer.
  touch "$stamp.new"
  if [[ -n $first ]]; then
    say "first use: installing, building and preparing; this takes a few minutes, once."
  fi
  install_packages "$repo/third_party/packages.txt" &&
    step binaries "building the programs" build_binaries &&
    progress_log=$prefix/cache/kernel/build.log \
      step kernel "building the guest kernel" build_kernel &&
    step busybox "building the image busybox" build_busybox &&
    prepare_emulated_host || return 1
  mv -f "$stamp.new" "$stamp"
  exec 9>&-
}

make_emulated_host() {
  local prepare=("$repo/vmm/emulated_host/prepare" "$prefix/share/emulated-host"
    "$prefix/bin/hull-hostd")
  # Old package lists name a kernel that the mirror no longer has.
  "${prepare[@]}" || { as_root apt-get update -qq && "${prepare[@]}"; }
}

prepare_emulated_host() {
  # The same question that hull asks before each command; only a CPU that cannot run Linux guests
  # itself needs this.
  grep -qwE 'vmx|svm' /proc/cpuinfo && [[ -e /dev/kvm ]] && return 0
  step emulated-host "preparing the emulated host (this CPU offers no virtualisation)" \
    make_emulated_host
}
