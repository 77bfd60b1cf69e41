// The monitor's end of a pc machine's control socket (vmm/machine/control_protocol.h): passes the
// requests of clients on, one at a time, and looks at the screen for the log.

#ifndef VMM_CONTAINER_PC_CONTROL_H_
#define VMM_CONTAINER_PC_CONTROL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/screen.h"
#include "vmm/event/event_loop.h"

namespace hull::container {

// Requests that wait, of all clients.
inline constexpr size_t kMaxWaitingRequests = 128;

// Belongs to the loop's thread, as its handler does.
class PcControl {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // The machine's answer to a client's request, at most kMaxControlReply bytes, not looked at
    // yet; "E" if it answers with nothing that a client could use.
    virtual void OnControlReply(uint32_t client, absl::string_view reply) = 0;
    // What the screen shows now, some times a second.
    virtual void OnScreen(const TextScreen& screen) = 0;
    // The machine has broken the protocol; `what` completes "the machine broke ... with".
    virtual void OnControlViolation(absl::string_view what) = 0;
  };

  // Both outlive this.
  PcControl(EventLoop* loop, Handler* handler);
  PcControl(const PcControl&) = delete;
  PcControl& operator=(const PcControl&) = delete;
  ~PcControl();

  // Begins; returns the machine's end. Once.
  absl::StatusOr<UniqueFd> Start();
  // Nothing more is asked, and no answer comes.
  void Stop();
  // The screen is looked at only while it is not paused.
  void PauseLooking(bool paused) { paused_ = paused; }

  // A client's request. Whether there was room for it.
  bool Ask(uint32_t client, absl::string_view request);
  // Its requests that wait are dropped.
  void Forget(uint32_t client);

 private:
  struct Request {
    uint32_t client = 0;  // 0: this object's own, for the log
    std::string bytes;
  };

  void Look();
  void SendNext();
  void OnReadable();
  void Answer(const Request& request, absl::string_view reply);

  EventLoop* const loop_;
  Handler* const handler_;
  // For an answer. Not cleared at the start.
  const std::unique_ptr<char[]> buffer_;
  UniqueFd socket_;
  EventLoop::Id watch_ = 0;
  std::optional<EventLoop::Id> timer_;
  bool paused_ = false;
  std::deque<Request> waiting_;
  std::optional<Request> asked_;  // whose answer is awaited
  // Who had the picture drawn that the machine keeps.
  uint32_t picture_owner_ = 0;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_PC_CONTROL_H_
