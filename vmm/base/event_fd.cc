#include "vmm/base/event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull {

absl::StatusOr<EventFd> EventFd::Create() {
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return PosixError("create an eventfd");
  return EventFd(std::move(fd));
}

void EventFd::Signal() const {
  const uint64_t one = 1;
  ssize_t n;
  do {
    n = write(fd_.get(), &one, sizeof(one));
  } while (n < 0 && errno == EINTR);
}

uint64_t EventFd::Drain() const {
  uint64_t value = 0;
  ssize_t n;
  do {
    n = read(fd_.get(), &value, sizeof(value));
  } while (n < 0 && errno == EINTR);
  return n == sizeof(value) ? value : 0;
}

absl::StatusOr<EventFd> EventFd::Duplicate() const {
  HULL_ASSIGN_OR_RETURN(UniqueFd fd, fd_.Duplicate());
  return EventFd(std::move(fd));
}

}  // namespace hull
