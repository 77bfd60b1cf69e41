#include "vmm/devices/vsock/connection.h"

#include <algorithm>

namespace hull::vsock {

Connection Connection::FromGuest(const Header& request, uint32_t buf_alloc) {
  Connection connection(State::kConnecting, request.src_cid, request.dst_port, request.src_port,
                        buf_alloc);
  connection.guest_buf_alloc_ = request.buf_alloc;
  connection.guest_fwd_cnt_ = request.fwd_cnt;
  return connection;
}

Connection Connection::FromHost(uint64_t guest_cid, uint32_t host_port, uint32_t guest_port,
                                uint32_t buf_alloc) {
  return Connection(State::kRequesting, guest_cid, host_port, guest_port, buf_alloc);
}

Connection::Effects Connection::OnPacket(const Header& header) {
  Effects effects;
  if (state_ == State::kClosed) return effects;

  if (header.op == kOpReset) {
    // A guest that ended its stream before has a right to what it sent (its close timer may have
    // run out while the host was reading slowly); otherwise a reset voids it.
    if (!guest_sent_all()) aborted_ = true;
    guest_shutdown_ = kShutdownBoth;
    state_ = State::kClosed;
    return effects;
  }
  // The RST that is owed answers whatever comes.
  if (state_ == State::kReset) return effects;

  // Every packet of a connection carries the credit (5.10.6.3).
  guest_buf_alloc_ = header.buf_alloc;
  guest_fwd_cnt_ = header.fwd_cnt;
  if (SendCredit() > 0) out_of_credit_ = false;

  switch (header.op) {
    case kOpResponse:
      if (state_ != State::kRequesting || !request_sent_) {
        Abort();
        break;
      }
      state_ = State::kEstablished;
      effects.accepted = true;
      break;
    case kOpReadWrite:
      OnData(header, effects);
      break;
    case kOpShutdown:
      OnShutdown(header.flags);
      break;
    case kOpCreditUpdate:
      break;
    case kOpCreditRequest:
      credit_update_owed_ = true;
      break;
    default:
      // A REQUEST for ports in use, or what Judge should not have let through.
      Abort();
      break;
  }
  return effects;
}

void Connection::OnData(const Header& header, Effects& effects) {
  const bool open = state_ == State::kEstablished || state_ == State::kClosing;
  // Data after the guest's own SHUTDOWN, or more than there is room for, is a violation: the
  // credit is what bounds the memory of this end.
  if (!open || guest_sent_all() || header.len > buf_alloc_ - buffered()) {
    Abort();
    return;
  }
  received_ += header.len;
  if ((host_shutdown_ & kShutdownReceive) != 0) {
    // Crossed our SHUTDOWN; nobody wants it.
    forwarded_ += header.len;
    return;
  }
  effects.deliver = header.len > 0;
}

void Connection::OnShutdown(uint32_t flags) {
  if (state_ == State::kConnecting || state_ == State::kRequesting) {
    Abort();
    return;
  }
  guest_shutdown_ |= flags & kShutdownBoth;
  if (guest_shutdown_ == kShutdownBoth) {
    // Also when both ends closed at once: then each owes the other a RST.
    state_ = State::kFinishing;
  } else {
    ShutDown(0);
  }
}

void Connection::ShutDown(uint32_t flags) {
  if (state_ != State::kEstablished) return;
  host_shutdown_ |= flags;
  // Each stream ends from either side. Once both have, this completes the SHUTDOWN that asks for
  // the guest's RST and lets the ports go.
  const bool to_guest_ended = (host_shutdown_ & kShutdownSend) != 0 || guest_takes_no_more();
  const bool to_host_ended = (host_shutdown_ & kShutdownReceive) != 0 || guest_sent_all();
  if (to_guest_ended && to_host_ended) host_shutdown_ = kShutdownBoth;
  if (host_shutdown_ == kShutdownBoth) state_ = State::kClosing;
}

void Connection::OnHostConnected() {
  if (state_ != State::kConnecting) return;
  state_ = State::kEstablished;
  response_owed_ = true;
}

Header Connection::OnHostData(uint32_t size) {
  sent_ += size;
  return MakeHeader(kOpReadWrite, size);
}

void Connection::OnHostSentAll() { ShutDown(kShutdownSend); }

void Connection::OnHostTakesNoMore() {
  forwarded_ = received_;
  ShutDown(kShutdownReceive);
}

void Connection::OnDelivered(uint32_t size) { forwarded_ += std::min(size, buffered()); }

void Connection::OnOutOfCredit() {
  if (out_of_credit_) return;
  out_of_credit_ = true;
  credit_request_owed_ = true;
}

void Connection::Abort() {
  if (state_ == State::kClosed) return;
  aborted_ = true;
  state_ = State::kReset;
}

void Connection::Expire() {
  if (state_ == State::kClosed) return;
  if (!guest_sent_all()) aborted_ = true;
  guest_shutdown_ = kShutdownBoth;
  state_ = State::kReset;
}

void Connection::OnGuestGone() {
  if (state_ == State::kConnecting || state_ == State::kRequesting) aborted_ = true;
  guest_shutdown_ = kShutdownBoth;
  state_ = State::kClosed;
}

uint32_t Connection::SendCredit() const {
  if (!CanSendWithCredit()) return 0;
  const uint32_t in_flight = sent_ - guest_fwd_cnt_;
  // A guest that shrank its buffer, or claims to have taken more than was sent, has none.
  return in_flight < guest_buf_alloc_ ? guest_buf_alloc_ - in_flight : 0;
}

bool Connection::CanSendWithCredit() const {
  return state_ == State::kEstablished && (host_shutdown_ & kShutdownSend) == 0 &&
         !guest_takes_no_more();
}

bool Connection::CreditUpdateDue() const {
  // Half the buffer at a time: few packets, and a guest whose bytes are all delivered can always
  // send the other half, so it never waits for an update that does not come.
  return !guest_sent_all() && forwarded_ - forwarded_known_ >= std::max(buf_alloc_ / 2, 1u);
}

bool Connection::HasControl() const {
  switch (state_) {
    case State::kConnecting:
    case State::kClosed:
      return false;
    case State::kRequesting:
      return !request_sent_;
    case State::kEstablished:
      return response_owed_ || host_shutdown_ != told_shutdown_ || credit_update_owed_ ||
             credit_request_owed_ || CreditUpdateDue();
    case State::kClosing:
      return response_owed_ || host_shutdown_ != told_shutdown_;
    case State::kFinishing:
      return buffered() == 0;
    case State::kReset:
      return true;
  }
  return false;
}

std::optional<Header> Connection::TakeControl() {
  if (!HasControl()) return std::nullopt;
  if (state_ == State::kReset || state_ == State::kFinishing) {
    state_ = State::kClosed;
    return MakeHeader(kOpReset);
  }
  if (state_ == State::kRequesting) {
    request_sent_ = true;
    return MakeHeader(kOpRequest);
  }
  if (response_owed_) {
    response_owed_ = false;
    return MakeHeader(kOpResponse);
  }
  if (host_shutdown_ != told_shutdown_) {
    told_shutdown_ = host_shutdown_;
    return MakeHeader(kOpShutdown, 0, host_shutdown_);
  }
  if (credit_update_owed_ || CreditUpdateDue()) {
    credit_update_owed_ = false;
    return MakeHeader(kOpCreditUpdate);
  }
  credit_request_owed_ = false;
  return MakeHeader(kOpCreditRequest);
}

Header Connection::MakeHeader(uint16_t op, uint32_t len, uint32_t flags) {
  forwarded_known_ = forwarded_;
  return Header{.src_cid = kHostCid,
                .dst_cid = guest_cid_,
                .src_port = host_port_,
                .dst_port = guest_port_,
                .len = len,
                .type = kTypeStream,
                .op = op,
                .flags = flags,
                .buf_alloc = buf_alloc_,
                .fwd_cnt = forwarded_};
}

}  // namespace hull::vsock
