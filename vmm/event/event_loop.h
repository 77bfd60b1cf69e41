// An epoll loop: the thread that owns the devices' state.

#ifndef VMM_EVENT_EVENT_LOOP_H_
#define VMM_EVENT_EVENT_LOOP_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hull {

// Callbacks run on the thread that calls Run(). Everything but Post(), RunAndWait() and Stop()
// belongs to that thread (or to any one thread before Run starts).
class EventLoop {
 public:
  // Never reused, so that a callback which removes another registration cannot hit a newer one.
  using Id = uint64_t;
  // `events` is an EPOLL* mask.
  using FdCallback = std::function<void(uint32_t events)>;
  using Callback = std::function<void()>;

  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();
  virtual ~EventLoop() = default;

  // Watches `fd` (level-triggered; the caller keeps it open until Remove). Registering the same
  // descriptor twice fails with kAlreadyExists.
  virtual absl::StatusOr<Id> AddFd(int fd, uint32_t events, FdCallback callback) = 0;
  // Changes the mask; 0 pauses it (EPOLLHUP and EPOLLERR are then not reported either).
  virtual absl::Status ModifyFd(Id id, uint32_t events) = 0;
  // After Remove returns, the callback is not called again, even for an event already fetched. May
  // be called from inside the callback itself.
  virtual void RemoveFd(Id id) = 0;

  // Calls `callback` once after `delay`, of the monotonic clock and rounded up to a millisecond. A
  // negative delay counts as zero, an infinite one never ends.
  virtual Id AddTimer(absl::Duration delay, Callback callback) = 0;
  virtual void CancelTimer(Id id) = 0;

  // Runs `callback` on the loop's thread soon, after all that was posted before. Thread-safe.
  virtual void Post(Callback callback) = 0;
  // The same, and returns when it has run: how another thread takes state away from the loop. Where
  // no thread is in Run() the caller stands in for it, so that a machine can be taken apart after
  // its loop ended; on the loop's own thread the callback simply runs. Thread-safe; the callback
  // must not wait for the calling thread.
  virtual void RunAndWait(Callback callback) = 0;

  // Dispatches until Stop(); a Stop that came before makes it return at once. Can be run again. An
  // error means that epoll itself failed.
  virtual absl::Status Run() = 0;
  // Thread-safe; also from a callback.
  virtual void Stop() = 0;

  // One pass that waits at most `timeout` for something to do: for tests and for draining. Returns
  // whether anything ran. Not from a callback.
  virtual absl::StatusOr<bool> RunOnce(absl::Duration timeout) = 0;
};

}  // namespace hull

#endif  // VMM_EVENT_EVENT_LOOP_H_
