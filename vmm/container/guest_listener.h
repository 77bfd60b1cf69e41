// Answers the connections that a guest opens to its monitor, up to the frame in which each says
// what it is.

#ifndef VMM_CONTAINER_GUEST_LISTENER_H_
#define VMM_CONTAINER_GUEST_LISTENER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "guest-agent/protocol/framing.h"
#include "vmm/base/unique_fd.h"
#include "vmm/event/event_loop.h"

namespace hull::container {

// Belongs to the loop's thread, as its handler does.
class GuestListener {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A connection and the payload of its first frame, which nobody has looked at yet. What follows
    // that frame is still in the socket, which is non-blocking.
    virtual void OnGuestConnection(std::span<const uint8_t> hello, UniqueFd socket) = 0;
    // A connection ended without such a frame; idle() may have changed.
    virtual void OnStrangerGone() = 0;
  };

  // Both outlive this.
  GuestListener(EventLoop* loop, Handler* handler) : loop_(loop), handler_(handler) {}
  GuestListener(const GuestListener&) = delete;
  GuestListener& operator=(const GuestListener&) = delete;
  ~GuestListener();

  // Begins to answer; returns the VMM's end, its connector (vmm/sandbox/broker.h). Once.
  absl::StatusOr<UniqueFd> Start();
  // No connection is answered from here on; those that have begun go on.
  void Stop();
  // The same until Resume(): requests wait unread, and when there are too many, the VMM refuses the
  // next by itself. Resume() refuses those that waited, which are none of the agent's.
  void Pause();
  void Resume();

  // No connection is between its beginning and its first frame.
  bool idle() const { return greetings_.empty(); }

 private:
  // The first frame is read to the byte, so that what follows it stays in the socket.
  struct Greeting {
    UniqueFd socket;
    EventLoop::Id watch = 0;
    std::array<uint8_t, agent::kFrameHeaderBytes + agent::kMaxHelloBytes> bytes;
    size_t have = 0;
  };

  // `accept`: connections are to be had.
  void AnswerRequests(bool accept);
  UniqueFd Greet();
  void ReadHello(Greeting* greeting);
  UniqueFd Take(Greeting* greeting);

  EventLoop* const loop_;
  Handler* const handler_;
  UniqueFd broker_;
  EventLoop::Id broker_watch_ = 0;
  std::vector<std::unique_ptr<Greeting>> greetings_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_GUEST_LISTENER_H_
