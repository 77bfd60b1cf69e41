#include "vmm/event/event_loop.h"

#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <map>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"

namespace hull {
namespace {

constexpr int64_t kNever = INT64_MAX;

int64_t MonotonicNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class EpollLoop : public EventLoop {
 public:
  // The wake event's id in epoll; registrations and timers start after it.
  static constexpr Id kWakeId = 0;

  EpollLoop(UniqueFd epoll, EventFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}

  absl::Status WatchWakeEvent() {
    epoll_event event = {.events = EPOLLIN, .data = {.u64 = kWakeId}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.fd(), &event) != 0) {
      return PosixError("watch the event loop's wake event");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Id> AddFd(int fd, uint32_t events, FdCallback callback) override {
    if (ids_.contains(fd)) {
      return absl::AlreadyExistsError(absl::StrCat("descriptor ", fd, " is already watched"));
    }
    const Id id = next_id_++;
    auto watch = std::make_unique<Watch>(Watch{fd, 0, std::move(callback)});
    HULL_RETURN_IF_ERROR(SetEvents(id, *watch, events));
    watches_.emplace(id, std::move(watch));
    ids_.emplace(fd, id);
    return id;
  }

  absl::Status ModifyFd(Id id, uint32_t events) override {
    const auto found = watches_.find(id);
    if (found == watches_.end()) return absl::NotFoundError("no such watch");
    return SetEvents(id, *found->second, events);
  }

  void RemoveFd(Id id) override {
    const auto found = watches_.find(id);
    if (found == watches_.end()) return;
    if (found->second->events != 0) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second->fd, nullptr);
    }
    ids_.erase(found->second->fd);
    // The callback may be the one that is running: its function object must outlive it.
    if (dispatching_) removed_.push_back(std::move(found->second));
    watches_.erase(found);
  }

  Id AddTimer(absl::Duration delay, Callback callback) override {
    const Id id = next_id_++;
    int64_t deadline = kNever;
    if (delay < absl::Hours(24 * 365 * 100)) {
      deadline =
          MonotonicNanoseconds() + absl::ToInt64Nanoseconds(std::max(delay, absl::ZeroDuration()));
    }
    timers_.emplace(std::pair(deadline, id), std::move(callback));
    deadlines_.emplace(id, deadline);
    return id;
  }

  void CancelTimer(Id id) override {
    const auto found = deadlines_.find(id);
    if (found == deadlines_.end()) return;
    timers_.erase(std::pair(found->second, id));
    deadlines_.erase(found);
  }

  void Post(Callback callback) override {
    absl::MutexLock lock(&mutex_);
    PostLocked(std::move(callback));
  }

  void RunAndWait(Callback callback) override {
    mutex_.Lock();
    if (owner_ == std::this_thread::get_id()) {
      mutex_.Unlock();
      callback();
      return;
    }
    bool done = false;
    PostLocked([this, &callback, &done] {
      callback();
      absl::MutexLock lock(&mutex_);
      done = true;
    });
    // Either the owner runs it, or there is none (any more) and this thread becomes it.
    const auto ready = [this, &done]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return done || owner_ == std::thread::id();
    };
    mutex_.Await(absl::Condition(&ready));
    if (!done) {
      owner_ = std::this_thread::get_id();
      mutex_.Unlock();
      RunPosted();
      mutex_.Lock();
      owner_ = std::thread::id();
    }
    mutex_.Unlock();
  }

  absl::Status Run() override {
    Acquire();
    absl::Status status;
    while (status.ok() && !stop_.exchange(false)) {
      status = Pass(kNever).status();
    }
    Release();
    return status;
  }

  void Stop() override {
    stop_.store(true);
    wake_.Signal();
  }

  absl::StatusOr<bool> RunOnce(absl::Duration timeout) override {
    Acquire();
    absl::StatusOr<bool> ran =
        Pass(absl::ToInt64Nanoseconds(std::max(timeout, absl::ZeroDuration())));
    Release();
    return ran;
  }

 private:
  struct Watch {
    int fd;
    uint32_t events;  // 0: paused, and not in the epoll set.
    FdCallback callback;
  };

  absl::Status SetEvents(Id id, Watch& watch, uint32_t events) {
    if (events == watch.events) return absl::OkStatus();
    const int operation = watch.events == 0 ? EPOLL_CTL_ADD
                          : events == 0     ? EPOLL_CTL_DEL
                                            : EPOLL_CTL_MOD;
    epoll_event event = {.events = events, .data = {.u64 = id}};
    if (epoll_ctl(epoll_.get(), operation, watch.fd, &event) != 0) {
      return PosixError(absl::StrCat("watch descriptor ", watch.fd));
    }
    watch.events = events;
    return absl::OkStatus();
  }

  void PostLocked(Callback callback) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (posted_.empty()) wake_.Signal();
    posted_.push_back(std::move(callback));
  }

  // One thread at a time dispatches: the loop's, or one that stands in for it.
  void Acquire() ABSL_LOCKS_EXCLUDED(mutex_) {
    const auto free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return owner_ == std::thread::id();
    };
    absl::MutexLock lock(&mutex_, absl::Condition(&free));
    owner_ = std::this_thread::get_id();
  }

  void Release() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    owner_ = std::thread::id();
  }

  // What a posted callback posts waits for the next pass, so that events get their turn.
  bool RunPosted() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::vector<Callback> batch;
    {
      absl::MutexLock lock(&mutex_);
      batch.swap(posted_);
    }
    for (Callback& callback : batch) callback();
    return !batch.empty();
  }

  bool RunTimers() {
    bool ran = false;
    const int64_t now = timers_.empty() ? 0 : MonotonicNanoseconds();
    // A timer added meanwhile waits for the next pass even if it is due: no endless pass.
    const Id limit = next_id_;
    auto next = timers_.begin();
    while (next != timers_.end() && next->first.first <= now) {
      if (next->first.second >= limit) {
        ++next;
        continue;
      }
      const Callback callback = std::move(next->second);
      deadlines_.erase(next->first.second);
      timers_.erase(next);
      callback();
      ran = true;
      next = timers_.begin();  // The callback may have changed the map.
    }
    return ran;
  }

  // How long epoll may wait, rounded up so that it does not wake just before a timer is due.
  int TimeoutMilliseconds(int64_t limit) const {
    if (!timers_.empty() && timers_.begin()->first.first != kNever) {
      limit = std::min(limit, timers_.begin()->first.first - MonotonicNanoseconds());
    }
    if (limit == kNever) return -1;
    if (limit <= 0) return 0;
    return static_cast<int>(std::min<int64_t>((limit - 1) / 1'000'000 + 1, INT_MAX));
  }

  absl::StatusOr<bool> Pass(int64_t timeout) {
    std::array<epoll_event, 64> events;
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 TimeoutMilliseconds(timeout));
    if (count < 0 && errno != EINTR) return PosixError("wait for events");
    bool ran = false;
    dispatching_ = true;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kWakeId) {
        // Before the list is taken: what is posted later signals again.
        wake_.Drain();
        ran |= RunPosted();
        continue;
      }
      // An earlier callback of this pass may have removed, paused or narrowed this one.
      const auto found = watches_.find(events[i].data.u64);
      if (found == watches_.end() || found->second->events == 0) continue;
      Watch& watch = *found->second;
      const uint32_t reported = events[i].events & (watch.events | EPOLLERR | EPOLLHUP);
      if (reported == 0) continue;
      watch.callback(reported);
      ran = true;
    }
    ran |= RunTimers();
    dispatching_ = false;
    removed_.clear();
    return ran;
  }

  const UniqueFd epoll_;
  const EventFd wake_;
  std::atomic<bool> stop_{false};

  absl::Mutex mutex_;
  std::vector<Callback> posted_ ABSL_GUARDED_BY(mutex_);
  std::thread::id owner_ ABSL_GUARDED_BY(mutex_);  // Who dispatches; the empty id: nobody.

  // The owner's alone.
  Id next_id_ = kWakeId + 1;
  std::unordered_map<Id, std::unique_ptr<Watch>> watches_;
  std::unordered_map<int, Id> ids_;
  std::vector<std::unique_ptr<Watch>> removed_;
  bool dispatching_ = false;
  std::map<std::pair<int64_t, Id>, Callback> timers_;  // By deadline in nanoseconds.
  std::unordered_map<Id, int64_t> deadlines_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return PosixError("create an epoll instance");
  HULL_ASSIGN_OR_RETURN(EventFd wake, EventFd::Create());
  auto loop = std::make_unique<EpollLoop>(std::move(epoll), std::move(wake));
  HULL_RETURN_IF_ERROR(loop->WatchWakeEvent());
  return loop;
}

}  // namespace hull
