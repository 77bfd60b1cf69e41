#include "vmm/devices/rng/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/fakes/fake_driver.h"

namespace hull::rng {
namespace {

using fakes::FakeDriver;
using fakes::SentChain;
using fakes::Used;

class RngTest : public testing::Test {
 protected:
  RngTest() : loop_(EventLoop::Create().value()) {}

  // A device whose bytes are 1, 2, 3 … modulo 251.
  std::shared_ptr<Device> Counting() {
    return Device::Create(loop_.get(), [this](std::span<uint8_t> out) {
      if (fail_) return absl::UnavailableError("none today");
      for (uint8_t& byte : out) byte = static_cast<uint8_t>(++given_ % 251);
      return absl::OkStatus();
    });
  }
  void RunLoop() {
    while (loop_->RunOnce(absl::ZeroDuration()).value()) {
    }
  }

  const std::unique_ptr<EventLoop> loop_;
  uint64_t given_ = 0;
  bool fail_ = false;
};

TEST_F(RngTest, FillsAChainAcrossItsBuffers) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  const SentChain chain = driver.Queue(0).Chain().Writable(3).Writable(2).Send();
  RunLoop();
  const std::optional<Used> used = driver.Queue(0).PopUsed();
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->length, 5u);
  EXPECT_EQ(chain.Written(), (std::vector<uint8_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(driver.interrupt().count(), 1u);
  EXPECT_EQ(driver.ReadRegister(virtio::kMmioDeviceId), 4u);
  EXPECT_EQ(driver.ReadConfig<uint32_t>(0), 0u);
}

TEST_F(RngTest, HostBytesDiffer) {
  FakeDriver driver(Device::Create(loop_.get()));
  ASSERT_TRUE(driver.Start());
  const SentChain chain = driver.Queue(0).Chain().Writable(4096).Send();
  RunLoop();
  EXPECT_EQ(driver.Queue(0).PopUsed()->length, 4096u);
  const std::vector<uint8_t> bytes = chain.Written();
  // 4096 random bytes miss any one value with probability 1e-7 each; a fill, a counter that stopped
  // or a part left as it was shows at once.
  EXPECT_GT(std::set<uint8_t>(bytes.begin(), bytes.end()).size(), 240u);
  EXPECT_LT(std::count(bytes.begin(), bytes.end(), fakes::ChainBuilder::kUnwritten), 64);
}

TEST_F(RngTest, BoundsARequest) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  driver.Queue(0).Chain().Writable(1 << 20).Send();
  RunLoop();
  EXPECT_EQ(driver.Queue(0).PopUsed()->length, Device::kMaxRequest);
  EXPECT_EQ(given_, Device::kMaxRequest);
}

TEST_F(RngTest, PausesAGreedyGuestAndGoesOnAfterwards) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  driver.Queue(0).Chain().Writable(Device::kBudget).Send();
  driver.Queue(0).Chain().Writable(16).Send();
  RunLoop();
  EXPECT_TRUE(driver.Queue(0).PopUsed().has_value());
  EXPECT_FALSE(driver.Queue(0).PopUsed().has_value()) << "the budget is used up";
  // Notifications do not shorten the pause.
  driver.Queue(0).Kick();
  RunLoop();
  EXPECT_FALSE(driver.Queue(0).PopUsed().has_value());
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  std::optional<Used> used;
  while (!used.has_value() && absl::Now() < deadline) {
    ASSERT_TRUE(loop_->RunOnce(absl::Seconds(1)).ok());
    used = driver.Queue(0).PopUsed();
  }
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->length, 16u);
}

TEST_F(RngTest, EmptyChainsUseTheBudgetToo) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  const uint8_t byte = 0;
  constexpr uint32_t kChains = Device::kBudget / Device::kMinCost;
  for (uint32_t i = 0; i < kChains; ++i) {
    driver.Queue(0).Chain().ReadableObject(byte).Send();
    RunLoop();
    ASSERT_EQ(driver.Queue(0).PopUsed()->length, 0u) << i;
  }
  driver.Queue(0).Chain().ReadableObject(byte).Send();
  RunLoop();
  EXPECT_FALSE(driver.Queue(0).PopUsed().has_value());
}

TEST_F(RngTest, AFailingSourceReturnsTheChainEmpty) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  fail_ = true;
  driver.Queue(0).Chain().Writable(16).Send();
  RunLoop();
  EXPECT_EQ(driver.Queue(0).PopUsed()->length, 0u);
  fail_ = false;
  driver.Queue(0).Chain().Writable(16).Send();
  RunLoop();
  EXPECT_EQ(driver.Queue(0).PopUsed()->length, 16u);
}

TEST_F(RngTest, ABrokenQueueNeedsResetAndWorksAfterIt) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  driver.Queue(0).Chain().Raw(GuestAddress{0}, 16, true).Send();
  RunLoop();
  EXPECT_TRUE(driver.NeedsReset());
  driver.Queue(0).Kick();
  RunLoop();
  EXPECT_EQ(given_, 0u) << "the queue is not touched again";

  ASSERT_TRUE(driver.Start());
  driver.Queue(0).Chain().Writable(16).Send();
  RunLoop();
  EXPECT_EQ(driver.Queue(0).PopUsed()->length, 16u);
}

TEST_F(RngTest, ResetDuringAPauseCancelsIt) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  driver.Queue(0).Chain().Writable(Device::kBudget).Send();
  RunLoop();
  driver.Reset();
  ASSERT_TRUE(driver.Start());
  driver.Queue(0).Chain().Writable(16).Send();
  RunLoop();
  EXPECT_EQ(driver.Queue(0).PopUsed()->length, 16u);
}

TEST_F(RngTest, ResetBeforeTheLoopTookTheQueue) {
  FakeDriver driver(Counting());
  ASSERT_TRUE(driver.Start());
  driver.Queue(0).Chain().Writable(16).Send();
  driver.Reset();
  RunLoop();
  EXPECT_EQ(given_, 0u);
}

TEST_F(RngTest, ResetsFromAnotherThreadWhileTheLoopRuns) {
  auto driver = std::make_unique<FakeDriver>(Device::Create(loop_.get()));
  std::thread runner([&] { EXPECT_TRUE(loop_->Run().ok()); });
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(driver->Start());
    const uint64_t before = driver->interrupt().count();
    driver->Queue(0).Chain().Writable(512).Send();
    if (i % 2 == 0) {
      EXPECT_TRUE(driver->interrupt().WaitFor(before + 1));
      EXPECT_EQ(driver->Queue(0).PopUsed()->length, 512u);
    }
    driver->Reset();
  }
  loop_->Stop();
  runner.join();
  ASSERT_TRUE(driver->Start());
  driver.reset();  // A reset with nobody in the loop.
}

}  // namespace
}  // namespace hull::rng
