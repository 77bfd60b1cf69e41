#include "vmm/sandbox/namespaces.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"

namespace hull::sandbox {
namespace {

int WriteText(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const auto size = static_cast<ssize_t>(strlen(text));
  const int error = write(fd, text, strlen(text)) == size ? 0 : errno;
  close(fd);
  return error;
}

constexpr char kNamespaces[] = "make namespaces of its own";

FailedStep Failed(const char* what) { return {.what = what, .error = errno}; }
FailedStep Unverified(const char* what) { return {.what = what, .error = EPROTO}; }

// By the bare system calls: the C library's functions look for other threads to take along, of
// which the parent, whose memory this may be, could have some.
FailedStep BecomeUser(uid_t user) {
  if (syscall(SYS_setgroups, 0, nullptr) != 0) return Failed("drop the supplementary groups");
  if (syscall(SYS_setresgid, user, user, user) != 0) return Failed("become the group of its own");
  if (syscall(SYS_setresuid, user, user, user) != 0) return Failed("become the user of its own");
  uid_t uids[3];
  gid_t gids[3];
  if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
      getresgid(&gids[0], &gids[1], &gids[2]) != 0) {
    return Failed("read the user back");
  }
  for (int i = 0; i < 3; ++i) {
    if (uids[i] != user || gids[i] != user) return Unverified("another user is left");
  }
  if (getgroups(0, nullptr) != 0) return Unverified("groups are left");
  return {};
}

}  // namespace

Birth::Birth() : clone_flags_(CLONE_NEWPID), user_map_{}, group_map_{} {
  if (geteuid() == 0) return;
  clone_flags_ |= CLONE_NEWUSER;
  snprintf(user_map_.data(), user_map_.size(), "0 %u 1", geteuid());
  snprintf(group_map_.data(), group_map_.size(), "0 %u 1", getegid());
}

int Birth::Begin() const {
  if (user_map_[0] == '\0') return 0;
  // Without this the kernel lets no user map a group: with setgroups(2) one could leave a group
  // that is denied something.
  if (const int error = WriteText("/proc/self/setgroups", "deny")) return error;
  if (const int error = WriteText("/proc/self/gid_map", group_map_.data())) return error;
  return WriteText("/proc/self/uid_map", user_map_.data());
}

absl::Status BirthError(int error) {
  const char* hint = "";
  if (error == EPERM) {
    hint = geteuid() == 0
               ? " (root without CAP_SYS_ADMIN, as in many containers, cannot jail anything)"
               : " (this host gives users no user namespaces, which the jail needs: set the sysctl "
                 "kernel.unprivileged_userns_clone to 1 or "
                 "kernel.apparmor_restrict_unprivileged_userns to 0, or run hull as root; in a "
                 "chroot nobody has them)";
  } else if (error == ENOSPC || error == EUSERS) {
    hint =
        " (this host allows no more of them: raise the sysctls user.max_user_namespaces and "
        "user.max_pid_namespaces)";
  } else if (error == EINVAL) {
    hint = " (this host's kernel lacks user or PID namespaces, which the jail needs)";
  }
  return PosixError(error, absl::StrCat("jail: make a process in namespaces of its own", hint));
}

FailedStep LeaveHost(std::optional<uid_t> user) {
  if (user.has_value()) {
    if (const FailedStep step = BecomeUser(*user); step.error != 0) return step;
  }
  // In one call, as the kernel then makes them all or none. The new user namespace has no mapping:
  // in it, this process's user has no number.
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
              CLONE_NEWCGROUP) != 0) {
    return Failed(kNamespaces);
  }
  return {};
}

FailedStep KeepCapabilities() {
  // To mount and to name the host; to drop the bounding set and lock the secure bits.
  constexpr int kKept[] = {CAP_SYS_ADMIN, CAP_SETPCAP};
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  for (const int capability : kKept) {
    sets[CAP_TO_INDEX(capability)].effective |= CAP_TO_MASK(capability);
    sets[CAP_TO_INDEX(capability)].permitted |= CAP_TO_MASK(capability);
    sets[CAP_TO_INDEX(capability)].inheritable |= CAP_TO_MASK(capability);
  }
  if (syscall(SYS_capset, &header, sets) != 0) return Failed("drop most capabilities");
  for (const int capability : kKept) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) {
      return Failed("keep a capability until the jail is entered");
    }
  }
  return {};
}

absl::Status StepError(const FailedStep& step) {
  if (step.error == EPROTO) {
    return absl::InternalError(absl::StrCat("jail: ", step.what, ", although the kernel said so"));
  }
  const char* hint = "";
  if (step.what == kNamespaces) {
    hint = step.error == EPERM
               ? " (this host forbids it to users: see the sysctls "
                 "kernel.unprivileged_userns_clone and "
                 "kernel.apparmor_restrict_unprivileged_userns; or this is a chroot)"
           : step.error == ENOSPC || step.error == EUSERS
               ? " (this host allows no more of them: see the sysctls user.max_*_namespaces)"
               : " (this host's kernel lacks them)";
  }
  return PosixError(step.error, absl::StrCat("jail: ", step.what, hint));
}

absl::StatusOr<pid_t> ForkIntoNamespace() {
  const Birth birth;
  // As fork(3), but for the new namespaces. glibc's own fork has no flags; what it does besides is
  // for processes with threads.
  const long pid = syscall(SYS_clone, birth.clone_flags() | SIGCHLD, nullptr, nullptr, nullptr, 0);
  if (pid < 0) return BirthError(errno);
  if (pid > 0) return static_cast<pid_t>(pid);
  if (const int error = birth.Begin()) {
    return PosixError(error, "jail: map the user into its user namespace");
  }
  return 0;
}

}  // namespace hull::sandbox
