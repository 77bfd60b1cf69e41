#include "vmm/devices/serial/output.h"

#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/status_macros.h"

namespace hull::serial {

namespace {

// What a pipe that polls as writable takes without blocking.
constexpr size_t kWriteSize = PIPE_BUF;
// A line, or this much, is written at once; less waits for more, as each byte costs the guest an
// exit anyway and each write would cost the loop a wake-up.
constexpr size_t kPromptSize = 512;
constexpr absl::Duration kPartialLineDelay = absl::Milliseconds(5);

}  // namespace

absl::StatusOr<std::unique_ptr<Output>> Output::Create(EventLoop& loop, UniqueFd fd) {
  HULL_ASSIGN_OR_RETURN(EventFd wake, EventFd::Create());
  std::unique_ptr<Output> output(new Output(loop, std::move(fd), std::move(wake)));
  Output* const self = output.get();
  HULL_ASSIGN_OR_RETURN(output->wake_watch_, loop.AddFd(self->wake_.fd(), EPOLLIN,
                                                        [self](uint32_t) { self->OnWake(); }));
  // Idle until there is something that could not be written at once. epoll refuses regular files.
  absl::StatusOr<EventLoop::Id> ready =
      loop.AddFd(self->fd_.get(), EPOLLOUT, [self](uint32_t) { self->Flush(); });
  if (ready.ok()) {
    output->pollable_ = true;
    output->ready_watch_ = *ready;
    HULL_RETURN_IF_ERROR(loop.ModifyFd(*ready, 0));
  } else if (!absl::IsPermissionDenied(ready.status())) {
    return ready.status();
  }
  return output;
}

Output::~Output() {
  loop_.RemoveFd(wake_watch_);
  if (pollable_) loop_.RemoveFd(ready_watch_);
  if (timer_armed_) loop_.CancelTimer(timer_);
}

void Output::Put(uint8_t byte) {
  bool wake;
  {
    absl::MutexLock lock(&mutex_);
    if (failed_ || pending_.size() >= kCapacity) {
      ++dropped_;
      return;
    }
    pending_.push_back(static_cast<char>(byte));
    wake = pending_.size() == 1 || byte == '\n' || pending_.size() % kPromptSize == 0;
  }
  if (wake) wake_.Signal();
}

uint64_t Output::dropped() const {
  absl::MutexLock lock(&mutex_);
  return dropped_;
}

bool Output::HasPending() const {
  if (chunk_written_ < chunk_.size()) return true;
  absl::MutexLock lock(&mutex_);
  return !pending_.empty();
}

void Output::OnWake() {
  wake_.Drain();
  bool prompt;
  {
    absl::MutexLock lock(&mutex_);
    prompt = pending_.size() >= kPromptSize || pending_.find('\n') != std::string::npos;
  }
  if (prompt) {
    Flush();
  } else if (!timer_armed_) {
    timer_armed_ = true;
    timer_ = loop_.AddTimer(kPartialLineDelay, [this] {
      timer_armed_ = false;
      Flush();
    });
  }
}

bool Output::WriteSome() {
  if (chunk_written_ == chunk_.size()) {
    absl::MutexLock lock(&mutex_);
    if (failed_ || pending_.empty()) return false;
    const size_t size = std::min(pending_.size(), kWriteSize);
    chunk_.assign(pending_, 0, size);
    pending_.erase(0, size);
    chunk_written_ = 0;
    if (dropped_ > reported_ && pending_.empty()) {
      absl::StrAppend(&pending_, "\n[hull-vmm: ", dropped_ - reported_,
                      " bytes of console output lost]\n");
      reported_ = dropped_;
    }
  }
  const ssize_t n =
      write(fd_.get(), chunk_.data() + chunk_written_, chunk_.size() - chunk_written_);
  if (n < 0) {
    if (errno == EINTR) return true;
    if (errno == EAGAIN) return false;
    // Nobody reads any more, or the disk is full: the guest goes on without its console.
    absl::MutexLock lock(&mutex_);
    failed_ = true;
    dropped_ += chunk_.size() - chunk_written_ + pending_.size();
    pending_.clear();
    chunk_.clear();
    chunk_written_ = 0;
    return false;
  }
  chunk_written_ += static_cast<size_t>(n);
  return true;
}

void Output::Flush() {
  if (!pollable_) {
    while (WriteSome()) {
    }
    return;
  }
  // One write for each time that the descriptor says it is ready.
  pollfd ready = {fd_.get(), POLLOUT, 0};
  if (poll(&ready, 1, 0) == 1) WriteSome();
  // Modifying a watch fails only for one that does not exist.
  (void)loop_.ModifyFd(ready_watch_, HasPending() ? uint32_t{EPOLLOUT} : 0);
}

void Output::Drain(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (HasPending()) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (left <= 0) return;
    pollfd ready = {fd_.get(), POLLOUT, 0};
    const int polled = poll(&ready, 1, static_cast<int>(left));
    if (polled == 0) return;
    if (polled == 1) WriteSome();
  }
}

}  // namespace hull::serial
