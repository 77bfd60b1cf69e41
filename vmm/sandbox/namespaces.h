// The PID namespace that a jailed process must be born into; the other namespaces it makes itself
// (jail.h), as only this one takes a new process.

#ifndef VMM_SANDBOX_NAMESPACES_H_
#define VMM_SANDBOX_NAMESPACES_H_

#include <sys/types.h>

#include <array>
#include <cstdint>

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

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_NAMESPACES_H_
