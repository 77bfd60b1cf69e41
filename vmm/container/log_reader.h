// Reads a container's log, while it is written or afterwards.

#ifndef VMM_CONTAINER_LOG_READER_H_
#define VMM_CONTAINER_LOG_READER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/log_format.h"

namespace hull::container {

// Not thread-safe.
class LogReader {
 public:
  // The entry is valid during the call.
  using Sink = std::function<void(const LogEntry&)>;

  // `directory` is the container's.
  explicit LogReader(std::string directory) : directory_(std::move(directory)) {}

  // Passes on what was written since the last call, the first time from the oldest entry there is.
  // Lines that are no entries are passed over. No log is no error.
  absl::Status Read(const Sink& sink);

 private:
  absl::Status Drain(const Sink& sink);
  absl::Status OpenOldest();
  absl::StatusOr<bool> MoveOn();

  const std::string directory_;
  UniqueFd file_;
  std::string rest_;  // of an entry that is not complete yet
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_LOG_READER_H_
