// What a process gives up before it touches anything that a guest can write to.
//
// README.md says what each step is for; the order is that of Enter's comment.

#ifndef VMM_SANDBOX_JAIL_H_
#define VMM_SANDBOX_JAIL_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"

namespace hull::sandbox {

struct JailOptions {
  // What stays open besides the three standard streams.
  std::vector<int> descriptors = {};
  // The user and group to become; needs root's rights. Without it the process keeps its own user.
  std::optional<uid_t> user = {};
  // Whoever made this process has it do LeaveHost (namespaces.h) before it executed this program.
  bool host_left = false;
  // A pidfd of the process without which this one is not to run, or -1. It is closed.
  int parent = -1;
  // Limits (getrlimit(2)): open descriptors, threads, bytes of address space, bytes of a file.
  uint64_t max_descriptors = 64;
  uint64_t max_threads = 1;
  uint64_t max_address_space = 0;
  uint64_t max_file_size = 0;
};

// Takes the calling process, which has one thread and is the first of a PID namespace of its own
// (namespaces.h), into the jail, for ever. In this order, each step read back from the kernel where
// it can be read:
//
//   1. every descriptor but the listed ones is closed
//   2. a core-scheduling cookie of its own (where the kernel and the CPU have such)
//   3. resource limits
//   4. supplementary groups, group and user
//   5. user, mount, network, IPC, UTS and cgroup namespaces of its own; in the user namespace no id
//      is mapped, so there is no other user to become (4 and 5: LeaveHost, perhaps done already)
//   6. an empty, read-only root directory in place of the host's
//   7. no_new_privs
//   8. no capability in any set, the bounding set included
//   9. not dumpable: no core dump, no ptrace, no look into /proc/PID
//  10. killed when the parent ends, which is still there
//  11. no file may be opened at all (Landlock, where the kernel has it)
//
// The lists of system calls come after this (seccomp.h). An error names the step and what the host
// lacks; the process is then half-way in and must end.
absl::Status EnterJail(const JailOptions& options);

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_JAIL_H_
