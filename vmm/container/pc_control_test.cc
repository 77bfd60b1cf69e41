#include "vmm/container/pc_control.h"

#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

const std::string kBlank("T\x01\0\x01\0\0\0\0\0\0 \x07", 12);

class PcControlTest : public testing::Test, public PcControl::Handler {
 protected:
  void SetUp() override {
    loop_ = *EventLoop::Create();
    control_ = std::make_unique<PcControl>(loop_.get(), this);
    auto machine = control_->Start();
    ASSERT_TRUE(machine.ok());
    machine_ = *std::move(machine);
    EXPECT_EQ(Receive(), "T") << "the screen is looked at from the beginning";
  }
  // What the machine is asked.
  std::string Receive() {
    char buffer[512];
    const ssize_t n = recv(machine_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    return n < 0 ? "" : std::string(buffer, static_cast<size_t>(n));
  }
  void Reply(const std::string& reply) {
    ASSERT_EQ(send(machine_.get(), reply.data(), reply.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(reply.size()));
    ASSERT_TRUE(loop_->RunOnce(absl::Seconds(60)).ok());
  }

  void OnControlReply(uint32_t client, absl::string_view reply) override {
    replies_.emplace_back(client, std::string(reply));
  }
  void OnScreen(const TextScreen&) override { ++screens_; }
  void OnControlViolation(absl::string_view what) override { violation_ = std::string(what); }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<PcControl> control_;
  UniqueFd machine_;
  std::vector<std::pair<uint32_t, std::string>> replies_;
  int screens_ = 0;
  std::string violation_;
};

TEST_F(PcControlTest, RequestsGoOneAtATimeAndAnswersToWhoAsked) {
  EXPECT_TRUE(control_->Ask(7, "Kab"));
  EXPECT_TRUE(control_->Ask(8, "T"));
  EXPECT_EQ(Receive(), "") << "the first has no answer yet";
  Reply(kBlank);
  EXPECT_EQ(screens_, 1);
  EXPECT_EQ(Receive(), "Kab");
  Reply(std::string("K\x02\0", 3));
  EXPECT_EQ(Receive(), "T");
  Reply(kBlank);
  EXPECT_THAT(replies_, ElementsAre(Pair(7, std::string("K\x02\0", 3)), Pair(8, kBlank)));
  EXPECT_EQ(violation_, "");
}

TEST_F(PcControlTest, PicturesOfTwoClientsAreNotMixed) {
  Reply(kBlank);
  EXPECT_TRUE(control_->Ask(7, "P"));
  EXPECT_EQ(Receive(), "P");
  Reply("P");
  EXPECT_TRUE(control_->Ask(8, "P"));
  EXPECT_EQ(Receive(), "P");
  Reply("P");
  replies_.clear();
  EXPECT_TRUE(control_->Ask(7, std::string("R\0\0\0\0", 5)));
  EXPECT_THAT(replies_, ElementsAre(Pair(7, "E")));
  EXPECT_TRUE(control_->Ask(8, std::string("R\0\0\0\0", 5)));
  EXPECT_EQ(Receive(), std::string("R\0\0\0\0", 5));
}

TEST_F(PcControlTest, NonsenseOfTheMachineIsTold) {
  Reply("rubbish");
  EXPECT_EQ(violation_, "a screen that is none");
  violation_.clear();
  EXPECT_EQ(Receive(), "");
  Reply("Tmore");
  EXPECT_EQ(violation_, "an answer that nobody asked for");
}

TEST_F(PcControlTest, AnAnswerThatIsTooLongIsNotPassedOn) {
  Reply(kBlank);
  EXPECT_TRUE(control_->Ask(7, "T"));
  EXPECT_EQ(Receive(), "T");
  Reply(std::string(kMaxControlReply + 1, 'T'));
  EXPECT_THAT(replies_, ElementsAre(Pair(7, "E")));
}

TEST_F(PcControlTest, WhatWaitsIsBounded) {
  for (size_t i = 0; i < kMaxWaitingRequests; ++i) EXPECT_TRUE(control_->Ask(7, "T"));
  EXPECT_FALSE(control_->Ask(7, "T"));
  control_->Forget(7);
  EXPECT_TRUE(control_->Ask(8, "T"));
}

TEST_F(PcControlTest, AMachineThatIsGoneIsAskedNothing) {
  machine_.Reset();
  ASSERT_TRUE(loop_->RunOnce(absl::Seconds(60)).ok());
  EXPECT_FALSE(control_->Ask(7, "T"));
}

}  // namespace
}  // namespace hull::container
