// Starts a program with exactly the descriptors that it is to have.

#ifndef VMM_CONTAINER_SPAWN_H_
#define VMM_CONTAINER_SPAWN_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hull::container {

struct SpawnOptions {
  std::string program = {};            // path
  std::vector<std::string> argv = {};  // argv[0] included
  // Descriptor i of the child is a copy of descriptor fds[i]; -1 gives /dev/null. At least the
  // three standard streams. All others are closed, whatever this process inherited.
  std::vector<int> fds = {};
  // The child leads a session of its own: no signal of this terminal reaches it.
  bool new_session = false;
  // The signal that the child gets when this process ends, however that happens; 0: none.
  int parent_death_signal = 0;
  // The directory of the control group (version 2) that the child is born into; -1: its parent's.
  int cgroup = -1;
  // The child is born on its way into the jail: as the first process of a PID namespace of its own,
  // which then does LeaveHost (sandbox/namespaces.h). Nothing of the program runs outside.
  bool leave_host = false;
  // With it: the user to become.
  std::optional<uid_t> user = {};
};

// The child has an empty environment, / as its working directory, no blocked signals and every
// signal at its default. Returns its process id once the program runs; kNotFound,
// kPermissionDenied … if it cannot be executed.
absl::StatusOr<pid_t> Spawn(const SpawnOptions& options);

}  // namespace hull::container

#endif  // VMM_CONTAINER_SPAWN_H_
