#include "vmm/devices/serial/console.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "vmm/base/event_fd.h"
#include "vmm/base/status_macros.h"

namespace hull::serial {

absl::StatusOr<std::unique_ptr<Console>> Console::Create(EventLoop& loop,
                                                         std::shared_ptr<Interrupt> interrupt,
                                                         UniqueFd output, UniqueFd input) {
  std::unique_ptr<Console> console(new Console(loop));
  HULL_ASSIGN_OR_RETURN(console->output_, Output::Create(loop, std::move(output)));
  HULL_ASSIGN_OR_RETURN(EventFd room, EventFd::Create());
  console->room_ = std::make_unique<EventFd>(std::move(room));
  console->uart_ = std::make_shared<Uart>(
      std::move(interrupt),
      Uart::Callbacks{
          .transmit = [output = console->output_.get()](uint8_t byte) { output->Put(byte); },
          .receive_room = [room = console->room_.get()] { room->Signal(); },
      });
  if (input.valid()) HULL_RETURN_IF_ERROR(console->WatchInput(std::move(input)));
  return console;
}

Console::~Console() {
  if (!input_.valid()) return;
  loop_.RemoveFd(input_watch_);
  loop_.RemoveFd(room_watch_);
}

absl::Status Console::WatchInput(UniqueFd input) {
  HULL_ASSIGN_OR_RETURN(room_watch_, loop_.AddFd(room_->fd(), EPOLLIN, [this](uint32_t) {
    room_->Drain();
    Offer();
  }));
  absl::StatusOr<EventLoop::Id> watch =
      loop_.AddFd(input.get(), EPOLLIN, [this](uint32_t) { OnInput(); });
  if (!watch.ok()) {
    loop_.RemoveFd(room_watch_);
    if (absl::IsPermissionDenied(watch.status())) {
      return absl::InvalidArgumentError("input must be a terminal, a pipe or a socket");
    }
    return watch.status();
  }
  input_watch_ = *watch;
  input_ = std::move(input);
  return absl::OkStatus();
}

void Console::OnInput() {
  const ssize_t n = read(input_.get(), buffer_.data(), buffer_.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    // End of input, which a serial line has no way to tell the guest.
    input_ended_ = true;
    (void)loop_.ModifyFd(input_watch_, 0);
    return;
  }
  buffer_start_ = 0;
  buffer_end_ = static_cast<size_t>(n);
  Offer();
}

void Console::Offer() {
  buffer_start_ +=
      uart_->Receive(std::span(buffer_).subspan(buffer_start_, buffer_end_ - buffer_start_));
  // No more is read before the guest has taken this. Modifying a watch that exists cannot fail.
  const bool wants_more = buffer_start_ == buffer_end_ && !input_ended_;
  (void)loop_.ModifyFd(input_watch_, wants_more ? uint32_t{EPOLLIN} : 0);
}

}  // namespace hull::serial
