// The user and the namespaces of a jailed process. The PID namespace takes a new process, which
// must be born into it; the other namespaces that process makes itself.

#ifndef VMM_SANDBOX_NAMESPACES_H_
#define VMM_SANDBOX_NAMESPACES_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hull::sandbox {

// How this process's user makes one: root as it is; anybody else by a user namespace around it, in
// which the user is root.
class Birth {
 public:
  Birth();

  // For clone(2).
  uint64_t clone_flags() const { return clone_flags_; }

  // The child's first step: gives its user the number 0 in its user namespace. Makes system calls
  // only, as a child that shares its parent's memory must. 0 or an errno.
  int Begin() const;

 private:
  uint64_t clone_flags_;
  std::array<char, 32> user_map_;  // empty: none is needed
  std::array<char, 32> group_map_;
};

// What clone(2) with Birth's flags said, with a hint what the host's owner can do about it.
absl::Status BirthError(int error);

// A fork(2) of this process, which has one thread, as the first process of a new PID namespace.
// Returns 0 in the child.
absl::StatusOr<pid_t> ForkIntoNamespace();

// A step that failed; `error` 0: none did.
struct FailedStep {
  const char* what = nullptr;
  int error = 0;  // an errno; EPROTO: the kernel said yes, but it is not so
};

// What only needs the kernel, and so is possible in a process that shares its parent's memory and
// has yet to execute its program: the calling process, the first of its PID namespace, becomes
// `user` (with root's rights; nullopt: stays who it is), and gets user, mount, network, IPC, UTS
// and cgroup namespaces of its own. In the user namespace no id is mapped, and all capabilities are
// in it only. What can no longer be seen afterwards is read back here, the rest by EnterJail
// (jail.h).
FailedStep LeaveHost(std::optional<uid_t> user);

// After LeaveHost: the program that is executed next still has what EnterJail's later steps take,
// and drop. Capabilities would otherwise end with the exec, as this process's user has no number.
FailedStep KeepCapabilities();

// What a step said, with a hint what the host's owner can do about it.
absl::Status StepError(const FailedStep& step);

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_NAMESPACES_H_
