#include "vmm/container/pc_control.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/time/time.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(200);
constexpr absl::string_view kRefused = "E";

}  // namespace

PcControl::PcControl(EventLoop* loop, Handler* handler)
    : loop_(loop), handler_(handler), buffer_(new char[kMaxControlReply + 1]) {}

PcControl::~PcControl() { Stop(); }

absl::StatusOr<UniqueFd> PcControl::Start() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return PosixError("create a socket");
  }
  socket_.Reset(ends[0]);
  UniqueFd theirs(ends[1]);
  HULL_ASSIGN_OR_RETURN(watch_,
                        loop_->AddFd(socket_.get(), EPOLLIN, [this](uint32_t) { OnReadable(); }));
  Look();
  return theirs;
}

void PcControl::Stop() {
  if (timer_.has_value()) loop_->CancelTimer(*timer_);
  timer_.reset();
  if (socket_.valid()) loop_->RemoveFd(watch_);
  socket_.Reset();
  waiting_.clear();
  asked_.reset();
}

void PcControl::Look() {
  timer_ = loop_->AddTimer(kLookInterval, [this] { Look(); });
  // One at a time: a machine that answers slowly is asked less often.
  const auto own = [](const Request& request) { return request.client == 0; };
  if (paused_ || (asked_.has_value() && own(*asked_)) ||
      std::any_of(waiting_.begin(), waiting_.end(), own)) {
    return;
  }
  waiting_.push_back({.client = 0, .bytes = "T"});
  SendNext();
}

bool PcControl::Ask(uint32_t client, absl::string_view request) {
  if (!socket_.valid() || request.empty() || waiting_.size() >= kMaxWaitingRequests) return false;
  waiting_.push_back({.client = client, .bytes = std::string(request)});
  SendNext();
  return true;
}

void PcControl::Forget(uint32_t client) {
  std::erase_if(waiting_, [client](const Request& request) { return request.client == client; });
  if (picture_owner_ == client) picture_owner_ = 0;
}

void PcControl::SendNext() {
  while (socket_.valid() && !asked_.has_value() && !waiting_.empty()) {
    Request request = std::move(waiting_.front());
    waiting_.pop_front();
    // The machine keeps one picture, and its parts must not be taken for those of another.
    if (request.bytes[0] == 'P') picture_owner_ = request.client;
    if (request.bytes[0] == 'R' && picture_owner_ != request.client) {
      handler_->OnControlReply(request.client, kRefused);
      continue;
    }
    // There is room, as nothing else is under way.
    if (send(socket_.get(), request.bytes.data(), request.bytes.size(),
             MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      // The machine has let go of it, or is over, which its end will tell.
      return Stop();
    }
    asked_ = std::move(request);
  }
}

void PcControl::OnReadable() {
  // One byte more than an answer has, so that a longer one is seen as such.
  const ssize_t n = recv(socket_.get(), buffer_.get(), kMaxControlReply + 1, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return Stop();
  if (!asked_.has_value()) return handler_->OnControlViolation("an answer that nobody asked for");
  const Request request = *std::exchange(asked_, std::nullopt);
  Answer(request, absl::string_view(buffer_.get(), static_cast<size_t>(n)));
  SendNext();
}

void PcControl::Answer(const Request& request, absl::string_view reply) {
  if (reply.size() > kMaxControlReply) reply = kRefused;
  if (request.client != 0) return handler_->OnControlReply(request.client, reply);
  const absl::StatusOr<TextScreen> screen = ParseTextReply(reply);
  if (!screen.ok()) return handler_->OnControlViolation("a screen that is none");
  handler_->OnScreen(*screen);
}

}  // namespace hull::container
