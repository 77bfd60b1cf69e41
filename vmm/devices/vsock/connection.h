// The state of one connection: no I/O, no clock, no queues.

#ifndef VMM_DEVICES_VSOCK_CONNECTION_H_
#define VMM_DEVICES_VSOCK_CONNECTION_H_

#include <cstdint>
#include <optional>

#include "vmm/devices/vsock/wire.h"

namespace hull::vsock {

// VIRTIO 1.2, sections 5.10.6.3 (credit), 5.10.6.4 (data) and 5.10.6.5 (connections).
//
// Events go in (packets of the guest, what happened to the host's socket); the packets that this
// end owes the guest come out of TakeControl, and what is to happen on the host's socket is read
// from the predicates after each event. Nothing is queued: each kind of owed packet is one bit, so
// a guest that does not take them costs no memory.
//
// "Guest" and "host" below are the two applications; the connection stands between them.
class Connection {
 public:
  enum class State {
    kConnecting,   // The guest's REQUEST waits for the host's socket.
    kRequesting,   // The host's REQUEST is owed to the guest, or waits for its RESPONSE.
    kEstablished,  // Also while either half is already closed.
    kClosing,      // The host's SHUTDOWN of both directions is owed, or waits for the guest's RST.
    kFinishing,    // The guest shut down both directions: a RST is owed once the host took it all.
    kReset,        // A RST is owed, nothing else matters.
    kClosed,       // The guest has no such connection any more; the ports are free.
  };

  // A connection that the guest's `request` (kOpRequest) asks for. `buf_alloc` is the number of
  // bytes that this end is ready to buffer.
  static Connection FromGuest(const Header& request, uint32_t buf_alloc);
  // A connection from the host's `host_port` to the guest's `guest_port`.
  static Connection FromHost(uint64_t guest_cid, uint32_t host_port, uint32_t guest_port,
                             uint32_t buf_alloc);

  State state() const { return state_; }
  uint32_t host_port() const { return host_port_; }
  uint32_t guest_port() const { return guest_port_; }
  uint32_t buf_alloc() const { return buf_alloc_; }

  // --- Events.

  struct Effects {
    // Take the packet's payload, Header::len bytes, for the host.
    bool deliver = false;
    // The guest accepted the host's connection.
    bool accepted = false;
  };
  // A packet that Judge let through. One that the state does not allow, or that exceeds the credit,
  // ends in kReset.
  Effects OnPacket(const Header& header);

  // kConnecting: the host's socket is there. (That it will not be is Abort.)
  void OnHostConnected();
  // `size` bytes (at most SendCredit()) were read for the guest; returns their header.
  Header OnHostData(uint32_t size);
  // The host sends nothing more: its end of file.
  void OnHostSentAll();
  // The host takes nothing more; what was buffered for it is lost.
  void OnHostTakesNoMore();
  // The host took `size` of the bytes that were delivered.
  void OnDelivered(uint32_t size);
  // There are bytes for the guest and no credit: asks for some, once for each time it runs out.
  void OnOutOfCredit();

  // Something failed that the guest must see as a reset: refusal, error, malformed packet.
  void Abort();
  // The guest did not answer in time: a reset as well, but what it had sent completely stays.
  void Expire();
  // The guest's driver is gone: as if it had closed every socket, with nobody left to answer.
  void OnGuestGone();

  // --- What is to happen on the host's socket.

  // What was buffered for the host is void.
  bool aborted() const { return aborted_; }
  // After what is buffered, the host shall see the end of file.
  bool guest_sent_all() const { return (guest_shutdown_ & kShutdownSend) != 0; }
  // What the host sends is for nobody.
  bool guest_takes_no_more() const { return (guest_shutdown_ & kShutdownReceive) != 0; }
  // Delivered, but not yet taken by the host: at most buf_alloc.
  uint32_t buffered() const { return received_ - forwarded_; }
  // How many bytes may be read from the host for the guest now.
  uint32_t SendCredit() const;
  // Whether only credit is missing.
  bool CanSendWithCredit() const;

  // --- What the guest is owed.

  bool HasControl() const;
  // The most urgent packet; none has a payload.
  std::optional<Header> TakeControl();

 private:
  Connection(State state, uint64_t guest_cid, uint32_t host_port, uint32_t guest_port,
             uint32_t buf_alloc)
      : state_(state),
        guest_cid_(guest_cid),
        host_port_(host_port),
        guest_port_(guest_port),
        buf_alloc_(buf_alloc) {}

  void OnData(const Header& header, Effects& effects);
  void OnShutdown(uint32_t flags);
  void ShutDown(uint32_t flags);
  bool CreditUpdateDue() const;
  Header MakeHeader(uint16_t op, uint32_t len = 0, uint32_t flags = 0);

  State state_;
  uint64_t guest_cid_;
  uint32_t host_port_;
  uint32_t guest_port_;

  // Counts of bytes since the start; all wrap, and only their differences mean anything (5.10.6.3).
  uint32_t buf_alloc_;
  uint32_t received_ = 0;         // From the guest.
  uint32_t forwarded_ = 0;        // Of these, taken by the host: our fwd_cnt.
  uint32_t forwarded_known_ = 0;  // The fwd_cnt that the guest was last told.
  uint32_t sent_ = 0;             // To the guest: its rx_cnt.
  uint32_t guest_buf_alloc_ = 0;  // guest-controlled
  uint32_t guest_fwd_cnt_ = 0;    // guest-controlled

  uint32_t guest_shutdown_ = 0;  // Flags received: permanent (5.10.6.5).
  uint32_t host_shutdown_ = 0;   // Flags that the guest is to know …
  uint32_t told_shutdown_ = 0;   // … and those it was told.

  bool request_sent_ = false;
  bool response_owed_ = false;
  bool credit_update_owed_ = false;
  bool credit_request_owed_ = false;
  bool out_of_credit_ = false;
  bool aborted_ = false;
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_CONNECTION_H_
