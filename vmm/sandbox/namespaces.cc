#include "vmm/sandbox/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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
