#include "vmm/display/machine.h"

#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/container/attach_protocol.h"

namespace hull::display {
namespace {

using container::AttachFrame;
using container::AttachType;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kPatience = absl::Seconds(20);

class MachineTest : public testing::Test, public Machine::Handler {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    monitor_.Reset(ends[1]);
    absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
    machine_ = std::make_unique<Machine>(loop_.get(), this, UniqueFd(ends[0]));
    ASSERT_TRUE(machine_->Start().ok());
  }

  void OnPicture(const container::Picture& picture) override { pictures_.push_back(picture); }
  void OnEnd() override { ended_ = true; }

  // The next request; empty if there is none.
  std::string NextRequest() {
    const absl::Time deadline = absl::Now() + kPatience;
    while (absl::Now() < deadline) {
      char buffer[container::kMaxAttachFrame];
      const ssize_t n = recv(monitor_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
      if (n > 0) {
        const absl::StatusOr<AttachFrame> frame =
            container::DecodeAttachFrame(absl::string_view(buffer, static_cast<size_t>(n)));
        EXPECT_TRUE(frame.ok()) << frame.status();
        EXPECT_EQ(frame->type, AttachType::kControlRequest);
        return std::string(frame->data);
      }
      EXPECT_TRUE(loop_->RunOnce(absl::Milliseconds(10)).ok());
    }
    return "";
  }

  void Answer(absl::string_view reply) {
    Send({.type = AttachType::kControlReply, .data = reply, .number = 1});
  }
  void Send(const AttachFrame& frame) {
    const std::string message = container::EncodeAttachFrame(frame);
    ASSERT_EQ(send(monitor_.get(), message.data(), message.size(), 0),
              static_cast<ssize_t>(message.size()));
  }

  void Await(const bool& condition) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (!condition && absl::Now() < deadline) {
      ASSERT_TRUE(loop_->RunOnce(absl::Milliseconds(10)).ok());
    }
    EXPECT_TRUE(condition);
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Machine> machine_;
  UniqueFd monitor_;
  std::vector<container::Picture> pictures_;
  bool ended_ = false;
};

const std::string kGraphics("T\0\0\0\0\0\0\0\0\0", 10);
const std::string kTwoPixels("P\2\0\0\0\1\0\0\0", 9);

TEST_F(MachineTest, AsksForPicturesWhileSomebodyLooks) {
  machine_->Watch(true);
  ASSERT_EQ(NextRequest(), "T");
  Answer(kGraphics);
  ASSERT_EQ(NextRequest(), "P");
  Answer(kTwoPixels);
  ASSERT_EQ(NextRequest(), std::string("R\0\0\0\0", 5));
  Answer("Rabc");
  ASSERT_EQ(NextRequest(), std::string("R\3\0\0\0", 5));
  // Another client had one drawn: anew.
  Answer("E");
  ASSERT_EQ(NextRequest(), "T");
  EXPECT_THAT(pictures_, IsEmpty());
  Answer(kGraphics);
  ASSERT_EQ(NextRequest(), "P");
  Answer(kTwoPixels);
  ASSERT_EQ(NextRequest(), std::string("R\0\0\0\0", 5));
  Answer("Rabcdef");
  ASSERT_EQ(NextRequest(), "T");
  ASSERT_EQ(pictures_.size(), 1u);
  EXPECT_EQ(pictures_[0].width, 2u);
  EXPECT_EQ(pictures_[0].height, 1u);
  EXPECT_EQ(pictures_[0].rgb, "abcdef");
}

TEST_F(MachineTest, ATextScreenThatStaysIsNotDrawnAgainSoon) {
  const std::string text("T\1\0\1\0\0\0\0\0\0A\7", 12);
  machine_->Watch(true);
  ASSERT_EQ(NextRequest(), "T");
  Answer(text);
  ASSERT_EQ(NextRequest(), "P");
  Answer(kTwoPixels);
  NextRequest();
  Answer("Rabcdef");
  ASSERT_EQ(NextRequest(), "T");
  Answer(text);
  ASSERT_EQ(NextRequest(), "T");
  std::string changed = text;
  changed[10] = 'B';
  Answer(changed);
  ASSERT_EQ(NextRequest(), "P");
}

TEST_F(MachineTest, KeysWaitUntilTheGuestHasTakenThoseBefore) {
  machine_->Type({1, 2, 3});
  machine_->Type({4});
  ASSERT_EQ(NextRequest(), "K\1\2\3");
  Answer(std::string("K\1\0", 3));
  ASSERT_EQ(NextRequest(), "K\2\3\4");
  Answer(std::string("K\0\0", 3));
  // Again at the next tick.
  ASSERT_EQ(NextRequest(), "K\2\3\4");
  machine_->Point({.dx = 1, .dy = -1, .buttons = 2});
  ASSERT_EQ(NextRequest(), std::string("M\1\0\xff\xff\2", 6));
}

TEST_F(MachineTest, AnswersThatMakeNoSenseAreTheEnd) {
  machine_->Type({1});
  ASSERT_EQ(NextRequest(), "K\1");
  // More than there were.
  Answer(std::string("K\2\0", 3));
  Await(ended_);
}

TEST_F(MachineTest, AnswersThatNobodyAskedForAreTheEnd) {
  Answer("M");
  Await(ended_);
}

TEST_F(MachineTest, EndsWithTheContainer) {
  Send({.type = AttachType::kHello, .number = container::kAttachVersion});
  Send({.type = AttachType::kExited, .number = 0});
  Await(ended_);
}

}  // namespace
}  // namespace hull::display
