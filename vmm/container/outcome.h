// How a container ended, as `hull run` tells it.

#ifndef VMM_CONTAINER_OUTCOME_H_
#define VMM_CONTAINER_OUTCOME_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// Exit statuses of every container command line.
inline constexpr int kHullFailed = 125;
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;
inline constexpr int SignalStatus(int signal) { return 128 + signal; }

struct Outcome {
  int exit_status = 0;  // 0 to 255
  // Of Hull or of the machine: one line without a line break, fit for a terminal. Empty: the
  // process itself ended with `exit_status`.
  std::string error = {};
  // The client has left, and what it was attached to goes on.
  bool detached = false;
};

// Text that came from a guest or from another process, made harmless for a terminal: control and
// non-ASCII bytes are escaped, and it is cut at 1000 bytes.
std::string Printable(absl::string_view text);

// The end of a microVM before its container's process was known to have ended. `wait_status` is
// waitpid(2)'s, with the meanings that vmm/README.md gives to hull-vmm's exit statuses; `name` is
// the container's; `last_words` is what the VMM wrote to standard error, may be empty.
Outcome MachineFailure(absl::string_view name, int wait_status, absl::string_view last_words);

}  // namespace hull::container

#endif  // VMM_CONTAINER_OUTCOME_H_
