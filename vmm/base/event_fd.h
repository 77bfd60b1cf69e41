// A counter that wakes an event loop: eventfd(2).

#ifndef VMM_BASE_EVENT_FD_H_
#define VMM_BASE_EVENT_FD_H_

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"

namespace hull {

// Non-blocking and close-on-exec. Signal() may be called from any thread and from signal handlers.
class EventFd {
 public:
  static absl::StatusOr<EventFd> Create();

  EventFd(EventFd&&) = default;
  EventFd& operator=(EventFd&&) = default;

  // Adds one to the counter. A full counter (2^64 - 2 pending signals) still wakes the reader, so
  // that is not an error.
  void Signal() const;
  // Takes the counter's value and sets it to zero; 0 when nothing was signalled.
  uint64_t Drain() const;

  absl::StatusOr<EventFd> Duplicate() const;
  int fd() const { return fd_.get(); }

 private:
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace hull

#endif  // VMM_BASE_EVENT_FD_H_
