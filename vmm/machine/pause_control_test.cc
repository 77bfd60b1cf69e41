#include "vmm/machine/pause_control.h"

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "vmm/machine/pause_protocol.h"

namespace hull::machine {
namespace {

class PauseControlTest : public testing::Test {
 protected:
  PauseControlTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    peer_.Reset(ends[0]);
    loop_ = *EventLoop::Create();
    control_ = *PauseControl::Create(*loop_, UniqueFd(ends[1]),
                                     [this](bool paused) { requests_.push_back(paused); });
  }

  void Send(const std::string& message) {
    ASSERT_EQ(send(peer_.get(), message.data(), message.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(message.size()));
    ASSERT_TRUE(loop_->RunOnce(absl::Seconds(10)).ok());
  }
  // Empty: the other end is closed.
  std::string Receive() {
    char bytes[8];
    const ssize_t size = recv(peer_.get(), bytes, sizeof(bytes), 0);
    return size > 0 ? std::string(bytes, static_cast<size_t>(size)) : "";
  }

  UniqueFd peer_;
  std::vector<bool> requests_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<PauseControl> control_;
};

TEST_F(PauseControlTest, PassesRequestsAndAnswers) {
  Send(std::string(1, kPause));
  EXPECT_TRUE(control_->awaited());
  control_->Tell(true);
  EXPECT_FALSE(control_->awaited());
  EXPECT_EQ(Receive(), std::string(1, kPause));
  Send(std::string(1, kResume));
  control_->Tell(false);
  EXPECT_EQ(Receive(), std::string(1, kResume));
  EXPECT_EQ(requests_, (std::vector<bool>{true, false}));
}

TEST_F(PauseControlTest, ClosesOnWhatIsNoRequest) {
  Send("PP");
  EXPECT_EQ(Receive(), "");
  EXPECT_TRUE(requests_.empty());
  control_->Tell(true);  // to nobody
}

TEST_F(PauseControlTest, DoesNotWaitForAPeerThatDoesNotRead) {
  for (int i = 0; i < 100000; ++i) control_->Tell(true);
  // What was sent before it was closed is still there, and then the end.
  int answers = 0;
  while (!Receive().empty()) ++answers;
  EXPECT_LT(answers, 100000);
}

TEST(PauseControl, RefusesAFile) {
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const auto control =
      PauseControl::Create(*loop, *UniqueFd::Open("/etc/hostname", 0), [](bool) {});
  EXPECT_EQ(control.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace hull::machine
