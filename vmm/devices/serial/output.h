// What the guest prints, on its way to a descriptor.

#ifndef VMM_DEVICES_SERIAL_OUTPUT_H_
#define VMM_DEVICES_SERIAL_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/unique_fd.h"
#include "vmm/event/event_loop.h"

namespace hull::serial {

// A bounded buffer that vCPU threads fill and the event loop empties. A reader that is too slow
// costs output, never the guest's time: what does not fit is dropped and counted, and a line says
// so once there is room.
class Output {
 public:
  static constexpr size_t kCapacity = 64 * 1024;

  // Writes to `fd` on `loop`, which must outlive this. The descriptor's own blocking mode is left
  // alone, as it may be shared with other processes: it is only written to when it is ready, no
  // more than a pipe then takes at once. A regular file counts as ready.
  static absl::StatusOr<std::unique_ptr<Output>> Create(EventLoop& loop, UniqueFd fd);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  // On the loop's thread.
  ~Output();

  // Any thread; never blocks.
  void Put(uint8_t byte);

  // Writes what is left, for at most `timeout`. On the loop's thread, when the loop does not run.
  void Drain(absl::Duration timeout);

  // Bytes lost so far.
  uint64_t dropped() const;

 private:
  Output(EventLoop& loop, UniqueFd fd, EventFd wake)
      : loop_(loop), fd_(std::move(fd)), wake_(std::move(wake)) {}

  void OnWake();
  // One write; false when there is nothing to do or the descriptor failed.
  bool WriteSome();
  // Writes, or arms the watch that tells when the descriptor is ready.
  void Flush();
  bool HasPending() const;

  EventLoop& loop_;
  UniqueFd fd_;
  const EventFd wake_;
  EventLoop::Id wake_watch_ = 0;
  EventLoop::Id ready_watch_ = 0;
  bool pollable_ = false;
  bool timer_armed_ = false;
  EventLoop::Id timer_ = 0;
  std::string chunk_;  // Being written; the loop's own.
  size_t chunk_written_ = 0;

  mutable absl::Mutex mutex_;
  std::string pending_ ABSL_GUARDED_BY(mutex_);
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;  // The reader went away: drop everything.
  uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t reported_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hull::serial

#endif  // VMM_DEVICES_SERIAL_OUTPUT_H_
