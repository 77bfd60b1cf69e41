// What `hull exec` asks of a container's monitor.

#ifndef VMM_CONTAINER_EXEC_REQUEST_H_
#define VMM_CONTAINER_EXEC_REQUEST_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/container/config.h"

namespace hull::container {

struct ExecRequest {
  Process process;
  // Nobody waits for it, and what it prints is for nobody.
  bool detach = false;
  // It is the agent's own archiver: process.args say what that is to do (guest-agent/archiver.h),
  // process.attach_stdin if it reads, and the rest of `process` is of no use.
  bool archiver = false;
};

// The longest request that a monitor takes; the agent's bound on one message is the same.
inline constexpr size_t kMaxExecRequest = size_t{1} << 20;

std::string SerializeExecRequest(const ExecRequest& request);

// kInvalidArgument for what SerializeExecRequest() does not write: no command, a NUL byte, a
// working directory that is not absolute, a terminal's size out of range.
absl::StatusOr<ExecRequest> ParseExecRequest(absl::string_view bytes);

}  // namespace hull::container

#endif  // VMM_CONTAINER_EXEC_REQUEST_H_
