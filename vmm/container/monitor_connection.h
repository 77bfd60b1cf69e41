// How a command that does not pass streams speaks to a container's monitor: it sends a frame or
// two, and waits for the container's start or end.

#ifndef VMM_CONTAINER_MONITOR_CONNECTION_H_
#define VMM_CONTAINER_MONITOR_CONNECTION_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/outcome.h"

namespace hull::container {

// Connects to the monitor of the container with that run directory, for AttachAndWait() or a
// MonitorConnection. kNotFound if none listens there: the container does not run, or only begins
// or ends to. kUnavailable if it does not answer.
absl::StatusOr<UniqueFd> ConnectToMonitor(const std::string& run_directory);

// Not thread-safe. Blocks.
class MonitorConnection {
 public:
  // Of ConnectToMonitor(), or one that the monitor was started with.
  explicit MonitorConnection(UniqueFd socket);

  absl::Status Send(const AttachFrame& frame);

  enum class Event {
    kStarted,      // the process runs
    kEnded,        // see outcome()
    kLost,         // the monitor is gone and has not said how the container ended
    kTimeout,      // nothing of that within the time
    kInterrupted,  // `interrupt_fd` is readable
  };
  // `until_start`: returns at the start, too, which a monitor tells once. `interrupt_fd`: -1 for
  // none.
  absl::StatusOr<Event> Await(bool until_start, absl::Duration timeout, int interrupt_fd = -1);

  const Outcome& outcome() const { return outcome_; }
  // What the user should know besides.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  absl::StatusOr<std::optional<Event>> Receive(bool until_start);

  UniqueFd socket_;
  // Not cleared at the start.
  std::unique_ptr<char[]> buffer_;
  Outcome outcome_;
  std::vector<std::string> notices_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_MONITOR_CONNECTION_H_
