// The control connection to the guest's agent: whole messages, both ways, without blocking.

#ifndef VMM_CONTAINER_AGENT_CONNECTION_H_
#define VMM_CONTAINER_AGENT_CONNECTION_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "guest-agent/protocol/framing.h"
#include "vmm/base/unique_fd.h"
#include "vmm/event/event_loop.h"

namespace hull::container {

// Belongs to the loop's thread, as its handler does.
class AgentConnection {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A message from the guest: `payload` is not decoded yet, and valid during the call.
    virtual void OnAgentMessage(std::span<const uint8_t> payload) = 0;
    // The guest sent what is no frame; `what` completes "broke the protocol with".
    virtual void OnAgentViolation(absl::string_view what) = 0;
    // The guest has closed it. Called once.
    virtual void OnAgentClosed() = 0;
    // The host's own failure.
    virtual void OnAgentError(const absl::Status& status) = 0;
  };

  // Both outlive this.
  AgentConnection(EventLoop* loop, Handler* handler);
  AgentConnection(const AgentConnection&) = delete;
  AgentConnection& operator=(const AgentConnection&) = delete;
  ~AgentConnection();

  // The agent has connected. Once: see known().
  void Open(UniqueFd socket);
  bool known() const { return known_; }  // was open, at some time
  bool open() const { return socket_.valid(); }

  // Sends whole frames (agent_messages.h), now or as soon as the agent is there and takes them.
  // What an agent that reads nothing leaves waiting is bounded: beyond the bound frames are
  // dropped.
  void Send(absl::string_view frames);

 private:
  void Flush();
  void OnEvents(uint32_t events);
  void Close();

  EventLoop* const loop_;
  Handler* const handler_;
  // Not cleared at the start.
  const std::unique_ptr<char[]> buffer_;
  UniqueFd socket_;
  EventLoop::Id watch_ = 0;
  bool known_ = false;
  std::array<uint8_t, agent::kMaxAgentMessageBytes> message_;
  agent::FrameDecoder decoder_{message_};
  std::string waiting_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_AGENT_CONNECTION_H_
