#include "vmm/event/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/unique_fd.h"

namespace hull {
namespace {

class EventLoopTest : public testing::Test {
 protected:
  EventLoopTest() : loop_(EventLoop::Create().value()) {}

  EventFd NewEvent() { return EventFd::Create().value(); }
  bool RunOnce(absl::Duration timeout = absl::ZeroDuration()) {
    const absl::StatusOr<bool> ran = loop_->RunOnce(timeout);
    EXPECT_TRUE(ran.ok()) << ran.status();
    return ran.value_or(false);
  }

  std::unique_ptr<EventLoop> loop_;
};

TEST_F(EventLoopTest, DispatchesReadyDescriptorsOnly) {
  const EventFd ready = NewEvent();
  const EventFd idle = NewEvent();
  int calls = 0;
  ASSERT_TRUE(loop_
                  ->AddFd(ready.fd(), EPOLLIN,
                          [&](uint32_t events) {
                            EXPECT_EQ(events, static_cast<uint32_t>(EPOLLIN));
                            EXPECT_EQ(ready.Drain(), 1u);
                            ++calls;
                          })
                  .ok());
  ASSERT_TRUE(loop_->AddFd(idle.fd(), EPOLLIN, [](uint32_t) { FAIL(); }).ok());
  EXPECT_FALSE(RunOnce());
  ready.Signal();
  EXPECT_TRUE(RunOnce());
  EXPECT_FALSE(RunOnce());
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, RefusesTheSameDescriptorTwiceEvenWhenPaused) {
  const EventFd event = NewEvent();
  const absl::StatusOr<EventLoop::Id> id = loop_->AddFd(event.fd(), EPOLLIN, [](uint32_t) {});
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(loop_->AddFd(event.fd(), EPOLLIN, [](uint32_t) {}).status().code(),
            absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(loop_->ModifyFd(*id, 0).ok());
  EXPECT_EQ(loop_->AddFd(event.fd(), EPOLLIN, [](uint32_t) {}).status().code(),
            absl::StatusCode::kAlreadyExists);
  loop_->RemoveFd(*id);
  EXPECT_TRUE(loop_->AddFd(event.fd(), EPOLLIN, [](uint32_t) {}).ok());
  EXPECT_FALSE(loop_->ModifyFd(*id, EPOLLIN).ok());
  EXPECT_FALSE(loop_->AddFd(-1, EPOLLIN, [](uint32_t) {}).ok());
}

TEST_F(EventLoopTest, PausedDescriptorReportsNotEvenAHangUp) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  uint32_t seen = 0;
  const absl::StatusOr<EventLoop::Id> id =
      loop_->AddFd(reader.get(), EPOLLIN, [&](uint32_t events) { seen |= events; });
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(loop_->ModifyFd(*id, 0).ok());
  writer.Reset();
  EXPECT_FALSE(RunOnce());
  ASSERT_TRUE(loop_->ModifyFd(*id, EPOLLIN).ok());
  EXPECT_TRUE(RunOnce());
  EXPECT_EQ(seen, static_cast<uint32_t>(EPOLLHUP));
}

TEST_F(EventLoopTest, RemovalInACallbackIsFinal) {
  const EventFd first = NewEvent();
  const EventFd second = NewEvent();
  EventLoop::Id ids[2];
  int calls = 0;
  // Both are ready in one pass; whichever runs first removes both, itself included. The captured
  // pointer shows under ASan that the running callback is not freed.
  const auto callback = [&, alive = std::make_shared<int>(1)](uint32_t) {
    loop_->RemoveFd(ids[0]);
    loop_->RemoveFd(ids[1]);
    calls += *alive;
  };
  ids[0] = loop_->AddFd(first.fd(), EPOLLIN, callback).value();
  ids[1] = loop_->AddFd(second.fd(), EPOLLIN, callback).value();
  first.Signal();
  second.Signal();
  EXPECT_TRUE(RunOnce());
  EXPECT_FALSE(RunOnce());
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, AReusedDescriptorNumberGetsNoStaleEvent) {
  auto doomed = std::make_unique<EventFd>(NewEvent());
  const EventFd killer = NewEvent();
  std::unique_ptr<EventFd> fresh;
  EventLoop::Id doomed_id = 0;
  int stale = 0;
  // Each ready callback replaces the other's descriptor; the replacement is not signalled.
  const auto replace = [&] {
    if (fresh != nullptr) return;
    loop_->RemoveFd(doomed_id);
    doomed.reset();
    fresh = std::make_unique<EventFd>(NewEvent());
    ASSERT_TRUE(loop_->AddFd(fresh->fd(), EPOLLIN, [&](uint32_t) { ++stale; }).ok());
  };
  ASSERT_TRUE(loop_
                  ->AddFd(killer.fd(), EPOLLIN,
                          [&](uint32_t) {
                            killer.Drain();
                            replace();
                          })
                  .ok());
  doomed_id = loop_->AddFd(doomed->fd(), EPOLLIN, [](uint32_t) {}).value();
  killer.Signal();
  doomed->Signal();
  EXPECT_TRUE(RunOnce());
  EXPECT_EQ(stale, 0);
}

TEST_F(EventLoopTest, TimersRunInOrderAndOnce) {
  std::vector<int> order;
  loop_->AddTimer(absl::Milliseconds(4), [&] { order.push_back(2); });
  loop_->AddTimer(absl::Milliseconds(1), [&] { order.push_back(1); });
  const EventLoop::Id cancelled = loop_->AddTimer(absl::Milliseconds(2), [] { FAIL(); });
  loop_->AddTimer(absl::InfiniteDuration(), [] { FAIL(); });
  loop_->CancelTimer(cancelled);
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (order.size() < 2 && absl::Now() < deadline) RunOnce(absl::Milliseconds(50));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_FALSE(RunOnce());
}

TEST_F(EventLoopTest, ATimerThatRestartsItselfDoesNotHoldUpThePass) {
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    loop_->AddTimer(absl::Milliseconds(-1), again);
  };
  loop_->AddTimer(absl::ZeroDuration(), again);
  RunOnce();
  EXPECT_EQ(runs, 1);
  RunOnce();
  EXPECT_EQ(runs, 2);
}

TEST_F(EventLoopTest, ATimerMayCancelAnotherThatIsDue) {
  int runs = 0;
  EventLoop::Id ids[2];
  ids[0] = loop_->AddTimer(absl::ZeroDuration(), [&] { loop_->CancelTimer(ids[1]), ++runs; });
  ids[1] = loop_->AddTimer(absl::ZeroDuration(), [&] { loop_->CancelTimer(ids[0]), ++runs; });
  RunOnce(absl::Milliseconds(1));
  RunOnce(absl::Milliseconds(1));
  EXPECT_EQ(runs, 1);
}

TEST_F(EventLoopTest, StopBeforeRunIsNotLost) {
  loop_->Stop();
  EXPECT_TRUE(loop_->Run().ok());
  // And is used up: the next Run dispatches until the next Stop.
  bool ran = false;
  loop_->Post([&] {
    ran = true;
    loop_->Stop();
  });
  EXPECT_TRUE(loop_->Run().ok());
  EXPECT_TRUE(ran);
}

TEST_F(EventLoopTest, PostAndWaitFromOtherThreads) {
  std::thread runner([&] { EXPECT_TRUE(loop_->Run().ok()); });
  const std::thread::id runner_id = runner.get_id();
  absl::Notification running;
  loop_->Post([&] { running.Notify(); });
  running.WaitForNotification();
  std::atomic<int> posted{0};
  int waited = 0;  // Only touched on the loop's thread.
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        loop_->Post([&] { posted.fetch_add(1); });
        int before = -1;
        loop_->RunAndWait([&] {
          EXPECT_EQ(std::this_thread::get_id(), runner_id);
          before = ++waited;
          // On its own thread it must not wait for itself.
          loop_->RunAndWait([&] { ++before; });
        });
        EXPECT_GT(before, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(posted.load(), 2000);
  EXPECT_EQ(waited, 2000);
  loop_->Stop();
  runner.join();
}

TEST_F(EventLoopTest, RunAndWaitWorksWhileTheLoopEnds) {
  // Waiters of which some arrive while it runs, some while it stops and some after.
  std::atomic<int> waited{0};
  std::thread runner([&] { EXPECT_TRUE(loop_->Run().ok()); });
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        if (t == 0 && i == 100) loop_->Stop();
        loop_->RunAndWait([&] { waited.fetch_add(1); });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  runner.join();
  EXPECT_EQ(waited.load(), 900);
}

}  // namespace
}  // namespace hull
