// One end of an attach connection, on an event loop.

#ifndef VMM_CONTAINER_ATTACH_SOCKET_H_
#define VMM_CONTAINER_ATTACH_SOCKET_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/event/event_loop.h"

namespace hull::container {

// Sends and receives frames without ever blocking. Belongs to the loop's thread.
class AttachSocket {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // `frame` is valid during the call.
    virtual void OnFrame(const AttachFrame& frame) = 0;
    // Every frame that had to wait is sent: the streams may go on.
    virtual void OnSendable() = 0;
    // The peer is gone (OK), or has sent what is no frame, or the socket failed. Called once; the
    // socket is shut by then and Send does nothing.
    virtual void OnClosed(const absl::Status& status) = 0;
  };

  // `socket` is connected and of type SOCK_SEQPACKET. `loop` and `handler` outlive this.
  static absl::StatusOr<std::unique_ptr<AttachSocket>> Create(EventLoop* loop, UniqueFd socket,
                                                              Handler* handler);
  AttachSocket(const AttachSocket&) = delete;
  AttachSocket& operator=(const AttachSocket&) = delete;
  ~AttachSocket();

  // Sends now or as soon as the peer has room. The caller bounds what waits: streams pause while
  // !sendable(), other frames are few.
  void Send(const AttachFrame& frame);
  // The same for a message that is encoded already.
  void SendMessage(absl::string_view message);

  // Nothing waits to be sent.
  bool sendable() const { return waiting_.empty(); }
  // How much does.
  size_t waiting_bytes() const { return waiting_bytes_; }
  bool open() const { return socket_.valid(); }

  // While paused, frames stay in the socket and a peer that closes is not noticed.
  void SetReading(bool reading);

 private:
  AttachSocket(EventLoop* loop, UniqueFd socket, Handler* handler);
  void OnEvents(uint32_t events);
  void Receive();
  void Flush();
  void EndConnection(int error);
  void UpdateEvents();
  void Close(const absl::Status& status);

  EventLoop* const loop_;
  Handler* const handler_;
  UniqueFd socket_;
  EventLoop::Id watch_ = 0;
  uint32_t watched_events_ = 0;
  bool reading_ = true;
  // Not cleared at the start: every byte that is used was received first.
  std::unique_ptr<char[]> buffer_;
  std::deque<std::string> waiting_;
  size_t waiting_bytes_ = 0;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_ATTACH_SOCKET_H_
