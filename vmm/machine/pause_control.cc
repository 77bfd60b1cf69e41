#include "vmm/machine/pause_control.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "vmm/machine/pause_protocol.h"

namespace hull::machine {

absl::StatusOr<std::unique_ptr<PauseControl>> PauseControl::Create(
    EventLoop& loop, UniqueFd socket, std::function<void(bool paused)> on_request) {
  std::unique_ptr<PauseControl> self(
      new PauseControl(loop, std::move(socket), std::move(on_request)));
  absl::StatusOr<EventLoop::Id> watch =
      loop.AddFd(self->socket_.get(), EPOLLIN, [raw = self.get()](uint32_t) { raw->OnReadable(); });
  if (absl::IsPermissionDenied(watch.status())) {
    return absl::InvalidArgumentError("pause: not a socket");
  }
  if (!watch.ok()) return watch.status();
  self->watch_ = *watch;
  return self;
}

PauseControl::~PauseControl() { Close(); }

void PauseControl::Close() {
  if (watch_.has_value()) loop_.RemoveFd(*watch_);
  watch_.reset();
  socket_.Reset();
}

void PauseControl::OnReadable() {
  // One byte more than a request has, so that a longer one is seen as such.
  char message[2];
  const ssize_t size = recv(socket_.get(), message, sizeof(message), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size != 1 || (message[0] != kPause && message[0] != kResume)) return Close();
  awaited_ = true;
  on_request_(message[0] == kPause);
}

void PauseControl::Tell(bool paused) {
  awaited_ = false;
  if (!socket_.valid()) return;
  char answer = paused ? kPause : kResume;
  iovec piece = {&answer, sizeof(answer)};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  // Who asks on and on and never reads the answers is not waited for.
  if (sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) Close();
}

}  // namespace hull::machine
