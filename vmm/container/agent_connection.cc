#include "vmm/container/agent_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "vmm/base/posix_error.h"

namespace hull::container {
namespace {

// Frames that the agent has not taken yet: the largest one, and room for small ones.
constexpr size_t kMaxWaiting = agent::kMaxHostMessageBytes + 65536;
constexpr size_t kReadBytes = 32768;

}  // namespace

AgentConnection::AgentConnection(EventLoop* loop, Handler* handler)
    : loop_(loop), handler_(handler), buffer_(new char[kReadBytes]) {}

AgentConnection::~AgentConnection() {
  if (socket_.valid()) loop_->RemoveFd(watch_);
}

void AgentConnection::Open(UniqueFd socket) {
  known_ = true;
  absl::StatusOr<EventLoop::Id> watch =
      loop_->AddFd(socket.get(), EPOLLIN, [this](uint32_t events) { OnEvents(events); });
  if (!watch.ok()) return handler_->OnAgentError(watch.status());
  watch_ = *watch;
  socket_ = std::move(socket);
  Flush();
}

void AgentConnection::Send(absl::string_view frames) {
  if (waiting_.size() + frames.size() > kMaxWaiting) return;
  waiting_.append(frames.data(), frames.size());
  if (socket_.valid()) Flush();
}

void AgentConnection::Flush() {
  while (!waiting_.empty()) {
    const ssize_t n = send(socket_.get(), waiting_.data(), waiting_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      const int error = errno;
      waiting_.clear();
      // If this side could not send (ENOBUFS), the agent would wait for what is lost. Otherwise the
      // connection's end is about to be read.
      if (error != EPIPE && error != ECONNRESET) {
        return handler_->OnAgentError(PosixError(error, "speak to the agent"));
      }
      break;
    }
    waiting_.erase(0, static_cast<size_t>(n));
  }
  const absl::Status status =
      loop_->ModifyFd(watch_, waiting_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  if (!status.ok()) handler_->OnAgentError(status);
}

void AgentConnection::OnEvents(uint32_t events) {
  if (events & EPOLLOUT) Flush();
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
  const ssize_t n = read(socket_.get(), buffer_.get(), kReadBytes);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return Close();
  // SAFETY: bytes are bytes.
  std::span<const uint8_t> input(reinterpret_cast<const uint8_t*>(buffer_.get()),
                                 static_cast<size_t>(n));
  while (true) {
    switch (decoder_.Push(&input)) {
      case agent::FrameDecoder::Event::kNeedMore:
        return;
      case agent::FrameDecoder::Event::kTooLong:
        return handler_->OnAgentViolation("a frame that is too long");
      case agent::FrameDecoder::Event::kFrame:
        handler_->OnAgentMessage(decoder_.payload());
    }
  }
}

void AgentConnection::Close() {
  loop_->RemoveFd(watch_);
  socket_.Reset();
  handler_->OnAgentClosed();
}

}  // namespace hull::container
