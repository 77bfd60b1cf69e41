#include "vmm/container/attach_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::container {

AttachSocket::AttachSocket(EventLoop* loop, UniqueFd socket, Handler* handler)
    : loop_(loop),
      handler_(handler),
      socket_(std::move(socket)),
      buffer_(new char[kMaxAttachFrame]) {}

absl::StatusOr<std::unique_ptr<AttachSocket>> AttachSocket::Create(EventLoop* loop, UniqueFd socket,
                                                                   Handler* handler) {
  std::unique_ptr<AttachSocket> self(new AttachSocket(loop, std::move(socket), handler));
  AttachSocket* const raw = self.get();
  self->watched_events_ = EPOLLIN;
  HULL_ASSIGN_OR_RETURN(
      self->watch_,
      loop->AddFd(self->socket_.get(), EPOLLIN, [raw](uint32_t events) { raw->OnEvents(events); }));
  return self;
}

AttachSocket::~AttachSocket() {
  if (socket_.valid()) loop_->RemoveFd(watch_);
}

void AttachSocket::Send(const AttachFrame& frame) { SendMessage(EncodeAttachFrame(frame)); }

void AttachSocket::SendMessage(absl::string_view message) {
  if (!socket_.valid()) return;
  if (waiting_.empty()) {
    const ssize_t n =
        send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    // A message is sent whole or not at all.
    if (n >= 0) return;
    if (errno != EAGAIN && errno != EINTR) return EndConnection(errno);
  }
  waiting_.emplace_back(message);
  waiting_bytes_ += message.size();
  UpdateEvents();
}

void AttachSocket::SetReading(bool reading) {
  reading_ = reading;
  UpdateEvents();
}

void AttachSocket::OnEvents(uint32_t events) {
  if (events & EPOLLOUT) Flush();
  if (socket_.valid() && (events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) Receive();
}

void AttachSocket::Receive() {
  // One message a turn, so that a fast peer does not keep others from theirs.
  const ssize_t n = recv(socket_.get(), buffer_.get(), kMaxAttachFrame, MSG_DONTWAIT | MSG_TRUNC);
  // ECONNRESET says, once, that the peer ended without reading all that it was sent; what it sent
  // itself before that is still to be received.
  if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET)) return;
  if (n < 0) return Close(PosixError("receive from the attach socket"));
  if (n <= 0) return Close(absl::OkStatus());
  if (static_cast<size_t>(n) > kMaxAttachFrame) {
    return Close(absl::InvalidArgumentError("attach protocol: a message that is too long"));
  }
  absl::StatusOr<AttachFrame> frame =
      DecodeAttachFrame(absl::string_view(buffer_.get(), static_cast<size_t>(n)));
  if (!frame.ok()) return Close(frame.status());
  handler_->OnFrame(*frame);
}

void AttachSocket::Flush() {
  while (!waiting_.empty()) {
    const std::string& message = waiting_.front();
    const ssize_t n =
        send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      EndConnection(errno);
      waiting_.clear();
      waiting_bytes_ = 0;
      break;
    }
    waiting_bytes_ -= message.size();
    waiting_.pop_front();
  }
  UpdateEvents();
  handler_->OnSendable();
}

// The peer's end is about to be reported by the loop, after what the peer has sent before it. If
// this side could not send (ENOBUFS: the kernel had no memory), the peer would wait for a message
// that is lost: the connection ends for both.
void AttachSocket::EndConnection(int error) {
  if (error != EPIPE && error != ECONNRESET) shutdown(socket_.get(), SHUT_RDWR);
}

void AttachSocket::UpdateEvents() {
  if (!socket_.valid()) return;
  const uint32_t events = (reading_ ? EPOLLIN : 0u) | (waiting_.empty() ? 0u : EPOLLOUT);
  if (events == watched_events_) return;
  watched_events_ = events;
  absl::Status status = loop_->ModifyFd(watch_, events);
  if (!status.ok()) Close(status);
}

void AttachSocket::Close(const absl::Status& status) {
  loop_->RemoveFd(watch_);
  socket_.Reset();
  waiting_.clear();
  waiting_bytes_ = 0;
  handler_->OnClosed(status);
}

}  // namespace hull::container
