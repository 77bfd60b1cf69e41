#include "vmm/sandbox/jail.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/magic.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/sandbox/namespaces.h"

namespace hull::sandbox {
namespace {

// What the process sees as its host's name: in the jail there is nothing to tell machines apart by.
constexpr char kHostName[] = "hull-vmm";

absl::Status Unverified(absl::string_view what) {
  return absl::InternalError(absl::StrCat("jail: ", what, ", although the kernel said so"));
}

absl::Status CloseOthers(std::vector<int> kept) {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) kept.push_back(fd);
  std::sort(kept.begin(), kept.end());
  unsigned first = 0;
  for (const int fd : kept) {
    const auto number = static_cast<unsigned>(fd);
    if (number > first && close_range(first, number - 1, 0) != 0) {
      return PosixError("jail: close inherited descriptors");
    }
    first = std::max(first, number + 1);
  }
  if (close_range(first, ~0U, 0) != 0) return PosixError("jail: close inherited descriptors");
  return absl::OkStatus();
}

// Keeps other tenants' threads off the sibling of a hardware thread while one of ours runs on it.
// Only narrows: `hull info` says where it is missing.
absl::Status TakeCoreCookie() {
  constexpr int kThreadGroup = 1;  // PR_SCHED_CORE_SCOPE_THREAD_GROUP
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, kThreadGroup, 0) == 0) return absl::OkStatus();
  // No such kernel option; no SMT.
  if (errno == EINVAL || errno == ENODEV) return absl::OkStatus();
  return PosixError("jail: core scheduling");
}

struct Limit {
  __rlimit_resource resource;
  const char* name;
  uint64_t value;
};

absl::Status SetLimit(const Limit& limit) {
  rlimit current;
  if (getrlimit(limit.resource, &current) != 0) return PosixError("jail: getrlimit");
  // One that is lower already stays, as only root may raise it.
  const rlim_t value = std::min<rlim_t>(limit.value, current.rlim_max);
  const rlimit wanted = {value, value};
  if (setrlimit(limit.resource, &wanted) != 0 || getrlimit(limit.resource, &current) != 0) {
    return PosixError(absl::StrCat("jail: limit ", limit.name));
  }
  if (current.rlim_cur > limit.value || current.rlim_max > limit.value) {
    return Unverified(absl::StrCat("the limit of ", limit.name, " is not set"));
  }
  return absl::OkStatus();
}

absl::Status SetLimits(const JailOptions& options) {
  // Beyond the end of a file's room a write is an error, not the end of the machine.
  signal(SIGXFSZ, SIG_IGN);
  const Limit limits[] = {
      {RLIMIT_CORE, "core dumps", 0},
      {RLIMIT_NOFILE, "open files", options.max_descriptors},
      {RLIMIT_NPROC, "threads", options.max_threads},
      {RLIMIT_AS, "address space", options.max_address_space},
      {RLIMIT_FSIZE, "file size", options.max_file_size},
      {RLIMIT_MEMLOCK, "locked memory", 0},
      {RLIMIT_MSGQUEUE, "message queues", 0},
      {RLIMIT_NICE, "niceness", 0},
      {RLIMIT_RTPRIO, "real-time priority", 0},
      {RLIMIT_SIGPENDING, "queued signals", 64},
  };
  for (const Limit& limit : limits) HULL_RETURN_IF_ERROR(SetLimit(limit));
  return absl::OkStatus();
}

// Every line of /proc/self/cgroup ends in "/" when this process's own cgroup is the root of what it
// sees.
absl::Status CheckCgroupNamespace() {
  HULL_ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/self/cgroup", 65536));
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (!absl::EndsWith(line, ":/")) return Unverified("the cgroup namespace is not new");
  }
  return absl::OkStatus();
}

// A new network namespace has a loopback device, which is down, and nothing else.
absl::Status CheckNetworkNamespace() {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return PosixError("jail: create a socket");
  ifreq request = {};
  request.ifr_ifindex = 1;
  if (ioctl(socket.get(), SIOCGIFNAME, &request) != 0 ||
      ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) {
    return PosixError("jail: look at the network");
  }
  if (strcmp(request.ifr_name, "lo") != 0 || (request.ifr_flags & IFF_UP) != 0) {
    return Unverified("the network namespace is not new");
  }
  ifconf all = {};  // the devices that have an address
  if (ioctl(socket.get(), SIOCGIFCONF, &all) != 0 || all.ifc_len != 0) {
    return Unverified("the network namespace has addresses");
  }
  return absl::OkStatus();
}

absl::Status CheckNamespaces() {
  constexpr uid_t kNobody = 65534;  // what the kernel shows for a user without a number
  if (getuid() != kNobody || geteuid() != kNobody || getgid() != kNobody) {
    return Unverified("the user namespace is not new");
  }
  if (sethostname(kHostName, strlen(kHostName)) != 0) return PosixError("jail: set the host name");
  utsname name;
  if (uname(&name) != 0 || strcmp(name.nodename, kHostName) != 0) {
    return Unverified("the UTS namespace is not new");
  }
  shm_info shared = {};
  // SAFETY: SHM_INFO fills a shm_info through a pointer of the other commands' type.
  if (shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&shared)) < 0 || shared.used_ids != 0) {
    return Unverified("the IPC namespace is not new");
  }
  HULL_RETURN_IF_ERROR(CheckCgroupNamespace());
  return CheckNetworkNamespace();
}

absl::Status EmptyRoot() {
  // /proc is a directory that every host has; nothing is left of it or the rest in a moment. (The
  // kernel has made every mount of this namespace one that passes nothing on to the host's, as
  // they belong to different users.)
  constexpr unsigned long kFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("hull", "/proc", "tmpfs", kFlags, "size=4k,nr_inodes=1,mode=0555") != 0) {
    return PosixError("jail: mount an empty root");
  }
  if (chdir("/proc") != 0) return PosixError("jail: enter the empty root");
  // With both arguments the same the old root ends up on top of the new one (pivot_root(2),
  // "NOTES").
  if (syscall(SYS_pivot_root, ".", ".") != 0) {
    const int error = errno;
    return PosixError(error, absl::StrCat("jail: change to the empty root",
                                          error == EINVAL ? " (the root directory is no mount of "
                                                            "its own: a chroot, or an initramfs)"
                                                          : ""));
  }
  if (umount2(".", MNT_DETACH) != 0) return PosixError("jail: let go of the host's root");
  if (chdir("/") != 0) return PosixError("jail: enter the empty root");

  struct statfs root;
  if (statfs("/", &root) != 0) return PosixError("jail: look at the root");
  if (root.f_type != TMPFS_MAGIC || (root.f_flags & ST_RDONLY) == 0) {
    return Unverified("the root is not read-only");
  }
  DIR* const directory = opendir("/");
  if (directory == nullptr) return PosixError("jail: read the root");
  bool empty = true;
  while (const dirent* entry = readdir(directory)) {
    empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
  }
  closedir(directory);
  return empty ? absl::OkStatus() : Unverified("the root is not empty");
}

absl::Status DropCapabilities() {
  // None comes back by an exec, either.
  constexpr unsigned kBits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                             SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                             SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (prctl(PR_SET_SECUREBITS, kBits) != 0) return PosixError("jail: lock the secure bits");
  int known = 0;
  while (prctl(PR_CAPBSET_DROP, known) == 0) ++known;
  // EINVAL: beyond the last that this kernel knows.
  if (errno != EINVAL) return PosixError("jail: drop a capability");
  for (int capability = 0; capability < known; ++capability) {
    if (prctl(PR_CAPBSET_READ, capability) != 0) return Unverified("a capability is left");
  }
  if (known == 0 || prctl(PR_CAPBSET_READ, known) >= 0) return Unverified("a capability is left");
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capset, &header, sets) != 0) return PosixError("jail: drop all capabilities");
  memset(sets, 0xff, sizeof(sets));
  if (syscall(SYS_capget, &header, sets) != 0)
    return PosixError("jail: read the capabilities back");
  for (const __user_cap_data_struct& set : sets) {
    if ((set.effective | set.permitted | set.inheritable) != 0) {
      return Unverified("a capability is left");
    }
  }
  return absl::OkStatus();
}

absl::Status StayWithParent(int parent) {
  // Only now: the kernel forgets the request when the user changes.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return PosixError("jail: ask for the parent's end");
  int number = 0;
  if (prctl(PR_GET_PDEATHSIG, &number) != 0 || number != SIGKILL) {
    return Unverified("this process does not die with its parent");
  }
  if (parent < 0) return absl::OkStatus();
  // A parent that ended before the request sends nothing any more.
  pollfd end = {.fd = parent, .events = POLLIN, .revents = 0};
  int ended;
  do {
    ended = poll(&end, 1, 0);
  } while (ended < 0 && errno == EINTR);
  if (ended < 0) return PosixError("jail: look for the process that started this one");
  if (ended > 0) return absl::AbortedError("the process that started this one is gone");
  close(parent);
  return absl::OkStatus();
}

// Whoever gets hold of a directory's descriptor can do nothing with it. Only narrows: `hull info`
// says where it is missing.
absl::Status ForbidFiles() {
  // Everything of the first version, which all later ones have.
  landlock_ruleset_attr rules = {};
  rules.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  const UniqueFd ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0)));
  if (!ruleset.valid()) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return absl::OkStatus();
    return PosixError("jail: Landlock");
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return PosixError("jail: Landlock");
  }
  if (open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES) {
    return Unverified("a directory can still be opened");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status EnterJail(const JailOptions& options) {
  if (getpid() != 1) return absl::InternalError("jail: not in a PID namespace of its own");
  std::vector<int> kept = options.descriptors;
  if (options.parent >= 0) kept.push_back(options.parent);
  HULL_RETURN_IF_ERROR(CloseOthers(std::move(kept)));
  HULL_RETURN_IF_ERROR(TakeCoreCookie());
  HULL_RETURN_IF_ERROR(SetLimits(options));
  if (!options.host_left) {
    if (const FailedStep step = LeaveHost(options.user); step.error != 0) return StepError(step);
  }
  HULL_RETURN_IF_ERROR(CheckNamespaces());
  HULL_RETURN_IF_ERROR(EmptyRoot());
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return PosixError("jail: no_new_privs");
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return Unverified("no_new_privs is not set");
  HULL_RETURN_IF_ERROR(DropCapabilities());
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return PosixError("jail: dumpable");
  if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return Unverified("the process is dumpable");
  HULL_RETURN_IF_ERROR(StayWithParent(options.parent));
  return ForbidFiles();
}

}  // namespace hull::sandbox
