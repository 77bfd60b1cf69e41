// What a command asks a container's monitor about the container: its processes, what it uses.

#ifndef VMM_CONTAINER_MONITOR_QUESTION_H_
#define VMM_CONTAINER_MONITOR_QUESTION_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/agent_messages.h"

namespace hull::container {

// They take a connection to the monitor of a container that runs, and block until `timeout`
// (kDeadlineExceeded). kFailedPrecondition if the container ends meanwhile, or has not started.
//
// At most kMaxShownProcesses, in the order of their pids.
absl::StatusOr<std::vector<ListedProcess>> AskForProcesses(int socket, absl::Duration timeout);
absl::StatusOr<GuestStatistics> AskForStatistics(int socket, absl::Duration timeout);

// Likewise: has the machine paused, or go on if not `pause`. kAborted if somebody else wanted the
// opposite meanwhile.
absl::Status AskToPause(int socket, bool pause, absl::Duration timeout);

}  // namespace hull::container

#endif  // VMM_CONTAINER_MONITOR_QUESTION_H_
