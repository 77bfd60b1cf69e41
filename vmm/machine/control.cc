#include "vmm/machine/control.h"

#include <glog/logging.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <type_traits>
#include <variant>

namespace hull::machine {

absl::StatusOr<std::unique_ptr<Control>> Control::Create(EventLoop& loop, UniqueFd socket,
                                                         std::shared_ptr<vga::Device> screen,
                                                         std::shared_ptr<i8042::Device> keyboard) {
  std::unique_ptr<Control> self(
      new Control(loop, std::move(socket), std::move(screen), std::move(keyboard)));
  absl::StatusOr<EventLoop::Id> watch = loop.AddFd(
      self->socket_.get(), EPOLLIN, [control = self.get()](uint32_t) { control->OnReadable(); });
  if (absl::IsPermissionDenied(watch.status())) {
    return absl::InvalidArgumentError("control: not a socket");
  }
  if (!watch.ok()) return watch.status();
  self->watch_ = *watch;
  return self;
}

Control::~Control() { Close(); }

void Control::Close() {
  if (watch_.has_value()) loop_.RemoveFd(*watch_);
  watch_.reset();
  socket_ = UniqueFd();
}

void Control::OnReadable() {
  // One byte more than a request has, so that a longer one is seen as such.
  std::array<uint8_t, control::kMaxRequest + 1> buffer;
  const ssize_t size = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    Close();
    return;
  }
  const control::Reply reply = Answer(std::span(buffer).first(static_cast<size_t>(size)));
  iovec piece = {const_cast<uint8_t*>(reply.bytes().data()), reply.bytes().size()};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return;
  // Who asks on and on and never reads the answers is not waited for.
  if (errno == EAGAIN) LOG(WARNING) << "control: closed, as its user does not read the replies";
  Close();
}

control::Reply Control::Answer(std::span<const uint8_t> message) {
  return std::visit(
      [this](const auto& request) -> control::Reply {
        using Request = std::decay_t<decltype(request)>;
        if constexpr (std::is_same_v<Request, control::TextRequest>) {
          return Text();
        } else if constexpr (std::is_same_v<Request, control::KeysRequest>) {
          const size_t taken = keyboard_->PressKeys(request.codes);
          return control::Reply('K').Put16(static_cast<uint32_t>(taken));
        } else if constexpr (std::is_same_v<Request, control::MouseRequest>) {
          keyboard_->MoveMouse(request.dx, request.dy, request.buttons);
          return control::Reply('M');
        } else if constexpr (std::is_same_v<Request, control::PictureRequest>) {
          picture_ = vga::Draw(screen_->Snapshot());
          return control::Reply('P').Put32(picture_.width).Put32(picture_.height);
        } else if constexpr (std::is_same_v<Request, control::PixelsRequest>) {
          return Pixels(request.offset);
        } else {
          return control::Reply('E');
        }
      },
      control::Parse(message));
}

control::Reply Control::Text() const {
  const vga::TextScreen screen = vga::ReadText(screen_->Snapshot());
  control::Reply reply('T');
  reply.Put16(screen.columns).Put16(screen.rows).Put8(screen.cursor_shown ? 1 : 0);
  reply.Put16(screen.cursor_column).Put16(screen.cursor_row);
  for (const vga::TextScreen::Cell& cell : screen.cells) {
    reply.Put8(cell.character).Put8(cell.attribute);
  }
  return reply;
}

control::Reply Control::Pixels(uint32_t offset) const {
  const std::span<const uint8_t> all(picture_.rgb);
  const std::span<const uint8_t> rest = all.subspan(std::min<size_t>(offset, all.size()));
  return control::Reply('R').Put(rest.first(std::min(rest.size(), control::kMaxPixels)));
}

}  // namespace hull::machine
