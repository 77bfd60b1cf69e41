#include "vmm/devices/vsock/muxer.h"

#include <glog/logging.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "vmm/base/posix_error.h"
#include "vmm/devices/vsock/byte_queue.h"
#include "vmm/devices/vsock/connection.h"
#include "vmm/devices/vsock/packet.h"

namespace hull::vsock {
namespace {

// Host processes accepted for one event, so that a flood of them does not keep the loop.
constexpr int kAcceptBatch = 16;
// How long the listener rests when the VMM has no descriptors or memory left for a connection.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);
// Chunks written by one system call.
constexpr size_t kFlushVectors = 16;
// The longest CONNECT line is "CONNECT 4294967294\n", 19 bytes.
constexpr size_t kMaxHandshake = 32;
// Ports of the host for connections that it opens: above what a Linux guest hands out by itself.
constexpr uint32_t kFirstHostPort = 1u << 30;
constexpr uint32_t kLastHostPort = (1u << 31) - 1;
constexpr uint32_t kAnyPort = 0xffffffff;  // VMADDR_PORT_ANY: not a port.

uint64_t PortsKey(uint32_t host_port, uint32_t guest_port) {
  return uint64_t{host_port} << 32 | guest_port;
}

// sendmsg(2) without ever blocking or raising SIGPIPE; returns bytes, or minus an errno.
ssize_t Send(int fd, std::span<iovec> data) {
  msghdr message = {};
  message.msg_iov = data.data();
  message.msg_iovlen = data.size();
  while (true) {
    const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno != EINTR) return -errno;
  }
}

// As readv(2), returns bytes, or minus an errno.
ssize_t Receive(int fd, std::span<iovec> room) {
  msghdr message = {};
  message.msg_iov = room.data();
  message.msg_iovlen = room.size();
  while (true) {
    const ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT);
    if (received >= 0) return received;
    if (errno != EINTR) return -errno;
  }
}

// Of a clock that nobody sets; only differences mean anything.
absl::Time MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

bool WouldBlock(ssize_t result) { return result == -EAGAIN || result == -EWOULDBLOCK; }

// Closing a Unix socket that has unread bytes makes its peer see ECONNRESET instead of the end of
// file. Only for a socket whose receiving half is shut down, so that nothing more can arrive.
void DiscardUnread(int fd) {
  std::array<uint8_t, 16384> scratch;
  while (recv(fd, scratch.data(), scratch.size(), MSG_DONTWAIT) > 0) {
  }
}

std::optional<uint32_t> ParseConnect(absl::string_view line) {
  if (!absl::ConsumePrefix(&line, "CONNECT ")) return std::nullopt;
  uint32_t port = 0;
  const bool digits = !line.empty() && std::all_of(line.begin(), line.end(),
                                                   [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || !absl::SimpleAtoi(line, &port) || port == kAnyPort) return std::nullopt;
  return port;
}

}  // namespace

// A socket of the host and, once it is known which, the connection of the guest behind it. Either
// may be gone before the other.
struct Muxer::Endpoint {
  Endpoints::iterator self;
  bool ready = false;  // In ready_ rather than resting_.

  std::optional<Connection> connection;  // None while the host process shakes hands.
  bool linked = false;                   // In by_ports_.
  bool large_buffer = false;

  UniqueFd socket;
  HostConnector::RequestId connecting = 0;  // 0: none under way.
  std::optional<EventLoop::Id> watch;
  uint32_t watched = 0;

  bool readable = false;      // The socket may have bytes, or its end of file.
  bool stalled = false;       // It was reported again before anything was read: not watched.
  bool hung_up = false;       // The host closed both directions.
  bool read_closed = false;   // Nothing more is read: end of file, or nobody wants it.
  bool write_closed = false;  // Nothing more is written: all is, or nobody wants it.
  bool unread = false;        // There may be bytes that nobody wants.
  ByteQueue pending;          // From the guest, not yet taken by the socket.

  std::optional<EventLoop::Id> timer;
  std::optional<Connection::State> timer_state;  // The wait that it bounds.

  std::array<char, kMaxHandshake> line;
  size_t line_size = 0;
};

Muxer::Muxer(Parts parts, EventLoop* loop, BackendObserver* observer)
    : guest_cid_(parts.guest_cid),
      limits_(parts.limits),
      loop_(loop),
      observer_(observer),
      listener_(std::move(parts.listener)),
      connector_(std::move(parts.connector)),
      next_host_port_(kFirstHostPort) {}

Muxer::~Muxer() {
  UnwatchListener();
  while (!resting_.empty()) Destroy(resting_.front());
  while (!ready_.empty()) Destroy(ready_.front());
}

void Muxer::SetGuestPresent(bool present) {
  if (guest_present_ == present) return;
  guest_present_ = present;
  if (present) {
    WatchListener();
    return;
  }
  UnwatchListener();
  resets_.clear();
  std::vector<Endpoint*> all;
  for (Endpoint& endpoint : resting_) all.push_back(&endpoint);
  for (Endpoint& endpoint : ready_) all.push_back(&endpoint);
  for (Endpoint* endpoint : all) {
    if (!endpoint->connection.has_value()) {
      Destroy(*endpoint);
    } else {
      endpoint->connection->OnGuestGone();
      Settle(*endpoint);
    }
  }
}

// --- Host processes that connect.

void Muxer::WatchListener() {
  if (!listener_.valid()) return;
  absl::StatusOr<EventLoop::Id> watch =
      loop_->AddFd(listener_.get(), EPOLLIN, [this](uint32_t) { AcceptHosts(); });
  if (watch.ok()) {
    listener_watch_ = *watch;
  } else {
    LOG(ERROR) << "vsock: connections of the host are not accepted: " << watch.status();
  }
}

void Muxer::UnwatchListener() {
  if (listener_watch_.has_value()) loop_->RemoveFd(*listener_watch_);
  if (listener_timer_.has_value()) loop_->CancelTimer(*listener_timer_);
  listener_watch_.reset();
  listener_timer_.reset();
}

void Muxer::AcceptHosts() {
  for (int i = 0; i < kAcceptBatch; ++i) {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.valid()) {
      const int error = errno;
      if (error == EINTR || error == ECONNABORTED) continue;
      if (error == EAGAIN || error == EWOULDBLOCK) return;
      // The connection stays in the backlog and the listener readable: without a pause this would
      // spin until a descriptor is free.
      if (host_log_.Allow()) LOG(WARNING) << "vsock: " << PosixError(error, "accept a connection");
      UnwatchListener();
      listener_timer_ = loop_->AddTimer(kAcceptPause, [this] {
        listener_timer_.reset();
        WatchListener();
      });
      return;
    }
    if (connection_count() >= limits_.max_connections) {
      if (host_log_.Allow()) {
        LOG(WARNING) << "vsock: a connection of the host is refused: all "
                     << limits_.max_connections << " are in use";
      }
      continue;
    }
    Endpoint& endpoint = NewEndpoint();
    endpoint.socket = std::move(socket);
    absl::StatusOr<EventLoop::Id> watch =
        loop_->AddFd(endpoint.socket.get(), EPOLLIN,
                     [this, &endpoint](uint32_t events) { OnSocketEvent(endpoint, events); });
    if (!watch.ok()) {
      if (host_log_.Allow()) LOG(WARNING) << "vsock: " << watch.status();
      Destroy(endpoint);
      continue;
    }
    endpoint.watch = *watch;
    endpoint.watched = EPOLLIN;
    endpoint.timer =
        loop_->AddTimer(limits_.handshake_timeout, [this, &endpoint] { OnTimeout(endpoint); });
  }
}

void Muxer::ReadHandshake(Endpoint& endpoint) {
  // What follows the line belongs to the guest, so the line is looked at before it is taken.
  char* const line = endpoint.line.data();
  const size_t room = endpoint.line.size() - endpoint.line_size;
  const int fd = endpoint.socket.get();
  const ssize_t seen = recv(fd, line + endpoint.line_size, room, MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (seen <= 0) return Destroy(endpoint);
  const char* const from = line + endpoint.line_size;
  const char* const newline = std::find(from, from + seen, '\n');
  const bool complete = newline != from + seen;
  const ssize_t taken = complete ? newline - from + 1 : seen;
  if (recv(fd, line + endpoint.line_size, taken, MSG_DONTWAIT) != taken) return Destroy(endpoint);
  endpoint.line_size += taken;
  if (!complete && endpoint.line_size < endpoint.line.size()) return;

  const std::optional<uint32_t> port =
      complete ? ParseConnect(absl::string_view(line, endpoint.line_size - 1)) : std::nullopt;
  if (!port.has_value()) {
    if (host_log_.Allow()) {
      LOG(WARNING) << "vsock: a host process did not send \"CONNECT <port>\" and is refused";
    }
    return Destroy(endpoint);
  }
  OpenFromHost(endpoint, *port);
}

void Muxer::OpenFromHost(Endpoint& endpoint, uint32_t guest_port) {
  uint32_t host_port;
  do {
    host_port = next_host_port_;
    next_host_port_ = host_port == kLastHostPort ? kFirstHostPort : host_port + 1;
  } while (by_ports_.contains(PortsKey(host_port, guest_port)));

  endpoint.connection =
      Connection::FromHost(guest_cid_, host_port, guest_port, TakeBuffer(endpoint));
  endpoint.linked = true;
  by_ports_.emplace(PortsKey(host_port, guest_port), &endpoint);
  Settle(endpoint);
  NotifyIfPending();
}

void Muxer::ConfirmToHost(Endpoint& endpoint) {
  std::string line = absl::StrCat("OK ", endpoint.connection->host_port(), "\n");
  iovec data = {line.data(), line.size()};
  // The send buffer of a socket that nothing was written to has room for this, so anything short of
  // all of it means that the host process is gone.
  if (Send(endpoint.socket.get(), std::span(&data, 1)) != static_cast<ssize_t>(line.size())) {
    endpoint.connection->Abort();
  }
}

// --- Connections of the guest.

bool Muxer::CanHandlePacket() const { return resets_.size() < limits_.max_pending_resets; }

void Muxer::HandlePacket(const Header& header, const GuestPayload& payload) {
  const Verdict verdict = Judge(header, payload.size(), guest_cid_);
  if (verdict == Verdict::kDrop) {
    LogPacket("dropped", header);
    return;
  }
  const bool for_connection = header.dst_cid == kHostCid && header.type == kTypeStream;
  Endpoint* const endpoint = for_connection ? Find(header.dst_port, header.src_port) : nullptr;
  if (verdict == Verdict::kReset) {
    LogPacket("reset", header);
    if (endpoint == nullptr) return ReplyReset(header);
    endpoint->connection->Abort();
    return Settle(*endpoint);
  }
  if (endpoint == nullptr) {
    if (header.op == kOpRequest) return OpenFromGuest(header);
    if (header.op != kOpReset) ReplyReset(header);
    return;
  }
  const Connection::Effects effects = endpoint->connection->OnPacket(header);
  if (effects.deliver) Deliver(*endpoint, header.len, payload);
  if (effects.accepted) ConfirmToHost(*endpoint);
  Settle(*endpoint);
}

void Muxer::OpenFromGuest(const Header& request) {
  if (connection_count() >= limits_.max_connections) {
    LogPacket("refused, all connections are in use", request);
    return ReplyReset(request);
  }
  Endpoint& endpoint = NewEndpoint();
  endpoint.connection = Connection::FromGuest(request, TakeBuffer(endpoint));
  endpoint.linked = true;
  by_ports_.emplace(PortsKey(request.dst_port, request.src_port), &endpoint);
  const HostConnector::RequestId id =
      connector_->Connect(request.dst_port, [this, &endpoint](absl::StatusOr<UniqueFd> socket) {
        OnConnected(endpoint, std::move(socket));
      });
  // Otherwise the answer is there already.
  if (endpoint.connection->state() == Connection::State::kConnecting) endpoint.connecting = id;
  Settle(endpoint);
}

void Muxer::OnConnected(Endpoint& endpoint, absl::StatusOr<UniqueFd> socket) {
  const bool later = endpoint.connecting != 0;
  endpoint.connecting = 0;
  absl::Status status = socket.status();
  if (status.ok()) {
    endpoint.socket = *std::move(socket);
    absl::StatusOr<EventLoop::Id> watch =
        loop_->AddFd(endpoint.socket.get(), EPOLLIN,
                     [this, &endpoint](uint32_t events) { OnSocketEvent(endpoint, events); });
    status = watch.status();
    if (status.ok()) {
      endpoint.watch = *watch;
      endpoint.watched = EPOLLIN;
    }
  }
  if (status.ok()) {
    endpoint.connection->OnHostConnected();
  } else {
    if (packet_log_.Allow()) {
      LOG(INFO) << "vsock: the guest's connection to port " << endpoint.connection->host_port()
                << " is refused: " << status;
    }
    endpoint.connection->Abort();
  }
  // Within OpenFromGuest, that settles it.
  if (!later) return;
  Settle(endpoint);
  NotifyIfPending();
}

void Muxer::ReplyReset(const Header& header) { resets_.push_back(ResetFor(header)); }

bool Muxer::HasPacket() const { return !resets_.empty() || !ready_.empty(); }

std::optional<Header> Muxer::TakePacket(const GuestRoom& room) {
  if (!resets_.empty()) {
    const Header header = resets_.front();
    resets_.pop_front();
    return header;
  }
  while (!ready_.empty()) {
    Endpoint& endpoint = ready_.front();
    Connection& connection = *endpoint.connection;
    // Whatever comes of it, the next turn is another's.
    ready_.splice(ready_.end(), ready_, endpoint.self);

    std::optional<Header> header = connection.TakeControl();
    if (!header.has_value()) {
      const uint32_t size = std::min({connection.SendCredit(), room.size(), kMaxPayload});
      absl::StatusOr<std::vector<iovec>> slices = room.Slices(size);
      const ssize_t received = slices.ok() ? Receive(endpoint.socket.get(), *slices) : -EFAULT;
      if (received > 0) {
        header = connection.OnHostData(received);
      } else if (received == 0) {
        OnEndOfFile(endpoint);
      } else if (!WouldBlock(received)) {
        connection.Abort();
      }
      // Less than there was room for: the socket is empty, and the loop will say when it is not.
      if (received < static_cast<ssize_t>(size)) endpoint.readable = endpoint.stalled = false;
    }
    Settle(endpoint);
    if (header.has_value()) return header;
  }
  return std::nullopt;
}

// --- The socket of an endpoint.

void Muxer::OnSocketEvent(Endpoint& endpoint, uint32_t events) {
  if (!endpoint.connection.has_value()) return ReadHandshake(endpoint);
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) endpoint.hung_up = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) Flush(endpoint);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !endpoint.read_closed) {
    // The socket stays readable while the guest has no room. Watching it goes on until that was
    // reported once in vain: two system calls saved for each event that is served at once.
    if (endpoint.readable) endpoint.stalled = true;
    endpoint.readable = true;
  }
  Settle(endpoint);
  NotifyIfPending();
}

void Muxer::Deliver(Endpoint& endpoint, uint32_t size, const GuestPayload& payload) {
  uint32_t taken = 0;
  if (endpoint.pending.empty()) {
    absl::StatusOr<std::vector<iovec>> slices = payload.Slices(0, size);
    const ssize_t sent = slices.ok() ? Send(endpoint.socket.get(), *slices) : -EFAULT;
    if (sent >= 0) {
      taken = sent;
      endpoint.connection->OnDelivered(taken);
    } else if (!WouldBlock(sent)) {
      return OnSendError(endpoint, static_cast<int>(-sent));
    }
  }
  while (taken < size) {
    const std::span<uint8_t> room = endpoint.pending.Append(size - taken);
    if (!payload.Copy(taken, room).ok()) return endpoint.connection->Abort();
    taken += room.size();
  }
}

void Muxer::Flush(Endpoint& endpoint) {
  while (!endpoint.pending.empty()) {
    std::array<iovec, kFlushVectors> vectors;
    const size_t count = endpoint.pending.Front(vectors);
    const ssize_t sent = Send(endpoint.socket.get(), std::span(vectors).first(count));
    if (sent < 0) {
      if (!WouldBlock(sent)) OnSendError(endpoint, static_cast<int>(-sent));
      return;
    }
    endpoint.pending.Pop(sent);
    endpoint.connection->OnDelivered(sent);
  }
}

void Muxer::OnSendError(Endpoint& endpoint, int error) {
  if (error != EPIPE) return endpoint.connection->Abort();
  // The host reads no more, but may still have things to say.
  endpoint.pending.Clear();
  endpoint.write_closed = true;
  endpoint.connection->OnHostTakesNoMore();
}

void Muxer::OnEndOfFile(Endpoint& endpoint) {
  endpoint.read_closed = true;
  if (!endpoint.hung_up) {
    // Whether the host closed its socket or only one half of it.
    pollfd poller = {.fd = endpoint.socket.get(), .events = 0, .revents = 0};
    endpoint.hung_up = poll(&poller, 1, 0) == 1 && (poller.revents & POLLHUP) != 0;
  }
  if (endpoint.hung_up) {
    endpoint.pending.Clear();
    endpoint.write_closed = true;
    endpoint.connection->OnHostTakesNoMore();
  }
  endpoint.connection->OnHostSentAll();
}

void Muxer::CloseSocket(Endpoint& endpoint) {
  if (endpoint.connecting != 0) connector_->Cancel(std::exchange(endpoint.connecting, 0));
  if (endpoint.watch.has_value()) loop_->RemoveFd(*endpoint.watch);
  endpoint.watch.reset();
  endpoint.socket.Reset();
  endpoint.pending.Clear();
  endpoint.readable = endpoint.stalled = false;
  endpoint.read_closed = endpoint.write_closed = true;
}

// --- Settling.

void Muxer::Settle(Endpoint& endpoint) {
  SettleSocket(endpoint);
  if (endpoint.connection->state() == Connection::State::kClosed) {
    // The ports are free. What the guest had sent may still be on its way to the host.
    if (endpoint.linked) {
      by_ports_.erase(
          PortsKey(endpoint.connection->host_port(), endpoint.connection->guest_port()));
      endpoint.linked = false;
    }
    if (!endpoint.socket.valid()) return Destroy(endpoint);
  }
  UpdateTurn(endpoint);
  UpdateTimer(endpoint);
  UpdateWatch(endpoint);
}

void Muxer::SettleSocket(Endpoint& endpoint) {
  const Connection& connection = *endpoint.connection;
  if (connection.aborted()) return CloseSocket(endpoint);
  if (!endpoint.socket.valid()) return;
  const bool end_write =
      connection.guest_sent_all() && endpoint.pending.empty() && !endpoint.write_closed;
  const bool end_read = connection.guest_takes_no_more() && !endpoint.read_closed;
  if (end_write || end_read) {
    // Fails only if the peer is gone, which the reads and writes notice.
    shutdown(endpoint.socket.get(), end_write && end_read ? SHUT_RDWR
                                    : end_write           ? SHUT_WR
                                                          : SHUT_RD);
    endpoint.write_closed |= end_write;
    endpoint.read_closed |= end_read;
    endpoint.unread |= end_read;
  }
  if (endpoint.write_closed && endpoint.read_closed) {
    if (endpoint.unread) DiscardUnread(endpoint.socket.get());
    CloseSocket(endpoint);
  }
}

void Muxer::UpdateTurn(Endpoint& endpoint) {
  Connection& connection = *endpoint.connection;
  const bool readable = endpoint.readable && !endpoint.read_closed;
  if (readable && connection.CanSendWithCredit() && connection.SendCredit() == 0) {
    connection.OnOutOfCredit();
  }
  const bool ready = connection.HasControl() || (readable && connection.SendCredit() > 0);
  if (ready == endpoint.ready) return;
  endpoint.ready = ready;
  if (ready) {
    ready_.splice(ready_.end(), resting_, endpoint.self);
  } else {
    resting_.splice(resting_.end(), ready_, endpoint.self);
  }
}

void Muxer::UpdateTimer(Endpoint& endpoint) {
  const Connection::State state = endpoint.connection->state();
  std::optional<absl::Duration> limit;
  if (state == Connection::State::kConnecting) limit = limits_.connect_timeout;
  if (state == Connection::State::kRequesting) limit = limits_.request_timeout;
  if (state == Connection::State::kClosing) limit = limits_.close_timeout;
  if (limit.has_value() && endpoint.timer_state == state) return;
  if (endpoint.timer.has_value()) loop_->CancelTimer(*endpoint.timer);
  endpoint.timer.reset();
  endpoint.timer_state.reset();
  if (!limit.has_value()) return;
  endpoint.timer = loop_->AddTimer(*limit, [this, &endpoint] { OnTimeout(endpoint); });
  endpoint.timer_state = state;
}

void Muxer::UpdateWatch(Endpoint& endpoint) {
  if (!endpoint.watch.has_value()) return;
  const uint32_t events = (endpoint.pending.empty() ? 0u : uint32_t{EPOLLOUT}) |
                          (endpoint.read_closed || endpoint.stalled ? 0u : uint32_t{EPOLLIN});
  if (events == endpoint.watched) return;
  endpoint.watched = events;
  const absl::Status status = loop_->ModifyFd(*endpoint.watch, events);
  if (!status.ok() && host_log_.Allow()) LOG(WARNING) << "vsock: " << status;
}

void Muxer::OnTimeout(Endpoint& endpoint) {
  endpoint.timer.reset();
  endpoint.timer_state.reset();
  // A host process that never said what it wants.
  if (!endpoint.connection.has_value()) return Destroy(endpoint);
  endpoint.connection->Expire();
  Settle(endpoint);
  NotifyIfPending();
}

// --- Draining.

bool Muxer::Drain(absl::Duration limit, int stop) {
  const absl::Time deadline = MonotonicNow() + limit;
  while (true) {
    std::vector<Endpoint*> waiting;
    std::vector<pollfd> pollers;
    for (Endpoints* list : {&resting_, &ready_}) {
      for (Endpoint& endpoint : *list) {
        if (endpoint.pending.empty()) continue;
        waiting.push_back(&endpoint);
        pollers.push_back({.fd = endpoint.socket.get(), .events = POLLOUT, .revents = 0});
      }
    }
    if (waiting.empty()) return true;
    pollers.push_back({.fd = stop, .events = POLLIN, .revents = 0});
    const absl::Duration left = deadline - MonotonicNow();
    if (left <= absl::ZeroDuration()) return false;
    const int count = poll(pollers.data(), pollers.size(),
                           static_cast<int>(absl::ToInt64Milliseconds(
                               std::min(left + absl::Milliseconds(1), absl::Hours(1)))));
    if (count < 0 && errno != EINTR) return false;
    if (count > 0 && pollers.back().revents != 0) return false;
    for (size_t i = 0; count > 0 && i < waiting.size(); ++i) {
      if (pollers[i].revents == 0) continue;
      Flush(*waiting[i]);
      Settle(*waiting[i]);
    }
  }
}

size_t Muxer::buffered_bytes() const {
  size_t total = 0;
  for (const Endpoints* list : {&resting_, &ready_}) {
    for (const Endpoint& endpoint : *list) total += endpoint.pending.size();
  }
  return total;
}

// --- Endpoints.

Muxer::Endpoint& Muxer::NewEndpoint() {
  Endpoint& endpoint = resting_.emplace_back();
  endpoint.self = std::prev(resting_.end());
  return endpoint;
}

void Muxer::Destroy(Endpoint& endpoint) {
  CloseSocket(endpoint);
  if (endpoint.timer.has_value()) loop_->CancelTimer(*endpoint.timer);
  if (endpoint.linked) {
    by_ports_.erase(PortsKey(endpoint.connection->host_port(), endpoint.connection->guest_port()));
  }
  if (endpoint.large_buffer) --large_buffers_in_use_;
  (endpoint.ready ? ready_ : resting_).erase(endpoint.self);
}

Muxer::Endpoint* Muxer::Find(uint32_t host_port, uint32_t guest_port) {
  const auto found = by_ports_.find(PortsKey(host_port, guest_port));
  return found == by_ports_.end() ? nullptr : found->second;
}

uint32_t Muxer::TakeBuffer(Endpoint& endpoint) {
  if (large_buffers_in_use_ >= limits_.large_buffers) return limits_.small_buffer;
  ++large_buffers_in_use_;
  endpoint.large_buffer = true;
  return limits_.large_buffer;
}

void Muxer::NotifyIfPending() {
  if (HasPacket()) observer_->OnPacketPending();
}

void Muxer::LogPacket(absl::string_view what, const Header& header) {
  if (!packet_log_.Allow()) return;
  LOG(WARNING) << "vsock: packet of the guest " << what << ": operation " << header.op << ", type "
               << header.type << ", from " << header.src_cid << ":" << header.src_port << " to "
               << header.dst_cid << ":" << header.dst_port << ", length " << header.len;
}

}  // namespace hull::vsock
