// The host side: Unix stream sockets on the event loop, one for each connection.

#ifndef VMM_DEVICES_VSOCK_MUXER_H_
#define VMM_DEVICES_VSOCK_MUXER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "vmm/base/log_throttle.h"
#include "vmm/base/unique_fd.h"
#include "vmm/devices/vsock/backend.h"
#include "vmm/devices/vsock/host_connector.h"
#include "vmm/devices/vsock/limits.h"
#include "vmm/event/event_loop.h"

namespace hull::vsock {

// Maps the guest's connections to sockets and back, by one Connection each.
//
// What the guest sends goes straight from its memory to the socket; only what the socket does not
// take is copied, at most buf_alloc bytes. What the host sends is read straight into the guest's
// buffers, when there is a buffer and the guest has credit; until then the host's socket is not
// read, and its sender waits. Connections with something for the guest take turns, a packet each.
//
// Event loop's thread only.
class Muxer : public Backend {
 public:
  struct Parts {
    uint32_t guest_cid = 0;
    UniqueFd listener;  // Listening and non-blocking.
    std::unique_ptr<HostConnector> connector;
    Limits limits;
  };

  // `loop` and `observer` outlive this.
  Muxer(Parts parts, EventLoop* loop, BackendObserver* observer);
  Muxer(const Muxer&) = delete;
  Muxer& operator=(const Muxer&) = delete;
  ~Muxer() override;

  // Backend:
  void SetGuestPresent(bool present) override;
  bool CanHandlePacket() const override;
  void HandlePacket(const Header& header, const GuestPayload& payload) override;
  bool HasPacket() const override;
  std::optional<Header> TakePacket(const GuestRoom& room) override;

  // Blocks until the host's sockets have taken all that is buffered for them, at most for `limit`
  // and until the descriptor `stop` is readable. Returns whether nothing is left.
  bool Drain(absl::Duration limit, int stop);

  // Everything that counts against Limits::max_connections.
  size_t connection_count() const { return resting_.size() + ready_.size(); }
  // Bytes of the guest that wait for readers on the host.
  size_t buffered_bytes() const;

 private:
  struct Endpoint;
  using Endpoints = std::list<Endpoint>;

  // Host processes that connect.
  void WatchListener();
  void UnwatchListener();
  void AcceptHosts();
  void ReadHandshake(Endpoint& endpoint);
  void OpenFromHost(Endpoint& endpoint, uint32_t guest_port);
  void ConfirmToHost(Endpoint& endpoint);

  // Connections of the guest.
  void OpenFromGuest(const Header& request);
  void OnConnected(Endpoint& endpoint, absl::StatusOr<UniqueFd> socket);
  void ReplyReset(const Header& header);

  // The socket of an endpoint.
  void OnSocketEvent(Endpoint& endpoint, uint32_t events);
  void Deliver(Endpoint& endpoint, uint32_t size, const GuestPayload& payload);
  void Flush(Endpoint& endpoint);
  void OnSendError(Endpoint& endpoint, int error);
  void OnEndOfFile(Endpoint& endpoint);
  void CloseSocket(Endpoint& endpoint);

  // Brings everything about an endpoint in line with its connection's state. May destroy it.
  void Settle(Endpoint& endpoint);
  void SettleSocket(Endpoint& endpoint);
  void UpdateTurn(Endpoint& endpoint);
  void UpdateTimer(Endpoint& endpoint);
  void UpdateWatch(Endpoint& endpoint);
  void OnTimeout(Endpoint& endpoint);

  Endpoint& NewEndpoint();
  void Destroy(Endpoint& endpoint);
  Endpoint* Find(uint32_t host_port, uint32_t guest_port);
  uint32_t TakeBuffer(Endpoint& endpoint);
  void NotifyIfPending();
  void LogPacket(absl::string_view what, const Header& header);

  const uint32_t guest_cid_;
  const Limits limits_;
  EventLoop* const loop_;
  BackendObserver* const observer_;
  const UniqueFd listener_;
  const std::unique_ptr<HostConnector> connector_;

  bool guest_present_ = false;
  std::optional<EventLoop::Id> listener_watch_;
  std::optional<EventLoop::Id> listener_timer_;

  // Every endpoint is in one of the two, the ready ones in the order of their turns. They move by
  // splicing, so that no turn allocates and addresses last.
  Endpoints resting_;
  Endpoints ready_;
  // By ports; without those still shaking hands and those whose guest side is gone.
  absl::flat_hash_map<uint64_t, Endpoint*> by_ports_;
  size_t large_buffers_in_use_ = 0;
  uint32_t next_host_port_;

  std::deque<Header> resets_;

  LogThrottle packet_log_;
  LogThrottle host_log_;
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_MUXER_H_
