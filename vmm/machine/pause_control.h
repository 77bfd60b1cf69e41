// Serves the socket over which a machine is paused: see pause_protocol.h.

#ifndef VMM_MACHINE_PAUSE_CONTROL_H_
#define VMM_MACHINE_PAUSE_CONTROL_H_

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/event/event_loop.h"

namespace hull::machine {

// Belongs to the loop's thread.
class PauseControl {
 public:
  // `on_request` is told whether the machine is to be paused. `loop` outlives this.
  static absl::StatusOr<std::unique_ptr<PauseControl>> Create(
      EventLoop& loop, UniqueFd socket, std::function<void(bool paused)> on_request);
  PauseControl(const PauseControl&) = delete;
  PauseControl& operator=(const PauseControl&) = delete;
  ~PauseControl();

  // Whether the last request has no answer yet.
  bool awaited() const { return awaited_; }
  // Answers it.
  void Tell(bool paused);

 private:
  PauseControl(EventLoop& loop, UniqueFd socket, std::function<void(bool paused)> on_request)
      : loop_(loop), socket_(std::move(socket)), on_request_(std::move(on_request)) {}
  void OnReadable();
  void Close();

  EventLoop& loop_;
  UniqueFd socket_;
  const std::function<void(bool paused)> on_request_;
  std::optional<EventLoop::Id> watch_;
  bool awaited_ = false;
};

}  // namespace hull::machine

#endif  // VMM_MACHINE_PAUSE_CONTROL_H_
