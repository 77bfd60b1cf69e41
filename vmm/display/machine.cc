#include "vmm/display/machine.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/attach_protocol.h"

namespace hull::display {
namespace {

using container::AttachFrame;
using container::AttachType;

// At most so often is the screen asked for: 25 times a second.
constexpr absl::Duration kTick = absl::Milliseconds(40);
constexpr int kTicksBetweenPictures = 50;
// Keys of one request, of which the machine's protocol allows more.
constexpr size_t kKeysAtOnce = 64;
constexpr size_t kMaxWaitingKeys = 1024;
constexpr size_t kMaxWaitingMovements = 64;

}  // namespace

Machine::Machine(EventLoop* loop, Handler* handler, UniqueFd socket)
    : loop_(loop),
      handler_(handler),
      socket_(std::move(socket)),
      buffer_(new char[container::kMaxAttachFrame]) {}

Machine::~Machine() {
  if (timer_.has_value()) loop_->CancelTimer(*timer_);
  if (watch_.has_value()) loop_->RemoveFd(*watch_);
}

absl::Status Machine::Start() {
  HULL_ASSIGN_OR_RETURN(watch_,
                        loop_->AddFd(socket_.get(), EPOLLIN, [this](uint32_t) { OnReadable(); }));
  return absl::OkStatus();
}

void Machine::Watch(bool watched) {
  if (watched && !watched_) ticks_until_picture_ = 0;
  watched_ = watched;
  ScheduleTick();
}

void Machine::Type(const std::vector<uint8_t>& codes) {
  if (keys_.size() + codes.size() > kMaxWaitingKeys) return;
  keys_.insert(keys_.end(), codes.begin(), codes.end());
  SendKeys();
  ScheduleTick();
}

void Machine::Point(const Movement& movement) {
  if (movements_.size() >= kMaxWaitingMovements) return;
  movements_.push_back(movement);
  SendMovement();
  ScheduleTick();
}

void Machine::ScheduleTick() {
  const bool needed = watched_ || !keys_.empty() || !movements_.empty();
  if (!needed || timer_.has_value() || !watch_.has_value()) return;
  timer_ = loop_->AddTimer(kTick, [this] {
    timer_.reset();
    Tick();
    ScheduleTick();
  });
}

void Machine::Tick() {
  SendKeys();
  SendMovement();
  // One at a time: a machine that answers slowly is asked less often.
  if (!watched_ || AsksForScreen()) return;
  if (ticks_until_picture_ > 0) --ticks_until_picture_;
  Ask(Question::kText, "T");
}

void Machine::SendKeys() {
  if (keys_.empty() || IsAsked(Question::kKeys)) return;
  keys_asked_ = std::min(keys_.size(), kKeysAtOnce);
  std::string request = "K";
  request.append(keys_.begin(), keys_.begin() + static_cast<ptrdiff_t>(keys_asked_));
  Ask(Question::kKeys, request);
}

void Machine::SendMovement() {
  if (movements_.empty() || IsAsked(Question::kMouse)) return;
  // The machine's request is as the message of input.h.
  Ask(Question::kMouse, EncodeMovement(movements_.front()));
  movements_.pop_front();
}

bool Machine::IsAsked(Question question) const {
  return std::find(asked_.begin(), asked_.end(), question) != asked_.end();
}

bool Machine::AsksForScreen() const {
  return IsAsked(Question::kText) || IsAsked(Question::kPicture) || IsAsked(Question::kPixels);
}

void Machine::Ask(Question question, absl::string_view request) {
  if (!watch_.has_value()) return;
  const std::string message =
      container::EncodeAttachFrame({.type = AttachType::kControlRequest, .data = request});
  // There is room, as each question is asked once at a time.
  if (send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    return End();
  }
  asked_.push_back(question);
}

void Machine::AskForPixels() {
  const size_t offset = picture_.rgb.size();
  std::string request = "R";
  for (int shift = 0; shift < 32; shift += 8) request += static_cast<char>(offset >> shift & 0xff);
  Ask(Question::kPixels, request);
}

void Machine::OnReadable() {
  const ssize_t n = recv(socket_.get(), buffer_.get(), container::kMaxAttachFrame, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0 || !OnFrame(absl::string_view(buffer_.get(), static_cast<size_t>(n))).ok()) End();
}

absl::Status Machine::OnFrame(absl::string_view message) {
  HULL_ASSIGN_OR_RETURN(const AttachFrame frame, container::DecodeAttachFrame(message));
  if (frame.type == AttachType::kExited || frame.type == AttachType::kFailed) {
    return absl::UnavailableError("the container has ended");
  }
  if (frame.type != AttachType::kControlReply) return absl::OkStatus();
  if (asked_.empty() || answer_.size() + frame.data.size() > container::kMaxControlReply) {
    return absl::InvalidArgumentError("an answer that nobody asked for, or without end");
  }
  absl::StrAppend(&answer_, frame.data);
  if (frame.number == 0) return absl::OkStatus();
  const Question question = asked_.front();
  asked_.pop_front();
  return OnReply(question, std::exchange(answer_, std::string()));
}

absl::Status Machine::OnReply(Question question, absl::string_view reply) {
  switch (question) {
    case Question::kText:
      return OnText(reply);
    case Question::kPicture: {
      const absl::StatusOr<container::PictureSize> size = container::ParsePictureReply(reply);
      if (absl::IsFailedPrecondition(size.status())) {
        // It shows nothing yet.
        ticks_until_picture_ = 0;
        return absl::OkStatus();
      }
      if (!size.ok()) return size.status();
      picture_ = {.width = size->width, .height = size->height};
      picture_bytes_ = size_t{3} * size->width * size->height;
      picture_.rgb.reserve(picture_bytes_);
      AskForPixels();
      return absl::OkStatus();
    }
    case Question::kPixels:
      return OnPixels(reply);
    case Question::kKeys: {
      HULL_ASSIGN_OR_RETURN(const size_t taken, container::ParseKeysReply(reply, keys_asked_));
      keys_.erase(keys_.begin(), keys_.begin() + static_cast<ptrdiff_t>(taken));
      // Those of a guest that takes none are tried again at the next tick.
      if (taken > 0) SendKeys();
      return absl::OkStatus();
    }
    case Question::kMouse:
      SendMovement();
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Machine::OnText(absl::string_view reply) {
  HULL_ASSIGN_OR_RETURN(container::TextScreen text, container::ParseTextReply(reply));
  if (!text.graphics() && text == text_ && ticks_until_picture_ > 0) return absl::OkStatus();
  text_ = std::move(text);
  ticks_until_picture_ = kTicksBetweenPictures;
  Ask(Question::kPicture, "P");
  return absl::OkStatus();
}

absl::Status Machine::OnPixels(absl::string_view reply) {
  if (reply == "E") {
    // Somebody else had one drawn meanwhile. At the next tick anew.
    ticks_until_picture_ = 0;
    return absl::OkStatus();
  }
  HULL_ASSIGN_OR_RETURN(const absl::string_view pixels,
                        container::ParsePixelsReply(reply, picture_bytes_ - picture_.rgb.size()));
  absl::StrAppend(&picture_.rgb, pixels);
  if (picture_.rgb.size() < picture_bytes_) {
    AskForPixels();
  } else {
    handler_->OnPicture(picture_);
  }
  return absl::OkStatus();
}

void Machine::End() {
  if (!watch_.has_value()) return;
  loop_->RemoveFd(*watch_);
  watch_.reset();
  handler_->OnEnd();
}

}  // namespace hull::display
