#include "vmm/virtio/mmio_transport.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fakes/fake_driver.h"
#include "vmm/virtio/device.h"

namespace hull::virtio {
namespace {

using fakes::FakeDriver;

constexpr uint64_t kFeatureA = 1 << 3;
constexpr uint64_t kFeatureB = 1ull << 40;

// Keeps what it was activated with, for the test to look at.
class InertDevice : public Device {
 public:
  uint32_t type() const override { return 42; }
  absl::string_view name() const override { return "inert"; }
  uint64_t features() const override { return kFeatureA | kFeatureB; }
  std::span<const uint16_t> queue_sizes() const override { return sizes; }
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) const override {
    CopyConfig(std::array<uint8_t, 6>{1, 2, 3, 4, 5, 6}, offset, data);
  }
  void WriteConfig(uint32_t offset, std::span<const uint8_t> data) override {
    config_writes.emplace_back(offset, data.size());
  }
  absl::Status Activate(Activation a) override {
    ++activations;
    activation = std::move(a);
    return activate_status;
  }
  void Reset() override {
    ++resets;
    activation.reset();
  }

  std::vector<uint16_t> sizes = {8, 16};
  absl::Status activate_status;
  int activations = 0;
  int resets = 0;
  std::optional<Activation> activation;
  std::vector<std::pair<uint32_t, size_t>> config_writes;
};

class MmioTransportTest : public testing::Test {
 protected:
  void SetStatus(uint32_t status) { driver_.WriteRegister(kMmioStatus, status); }
  uint32_t Status() { return driver_.ReadRegister(kMmioStatus); }
  void WriteFeatures(uint32_t word, uint32_t value) {
    driver_.WriteRegister(kMmioDriverFeaturesSel, word);
    driver_.WriteRegister(kMmioDriverFeatures, value);
  }

  const std::shared_ptr<InertDevice> device_ = std::make_shared<InertDevice>();
  FakeDriver driver_{device_, 1 << 20};
};

constexpr uint32_t kNegotiating = kStatusAcknowledge | kStatusDriver;

TEST_F(MmioTransportTest, IdentifiesItself) {
  EXPECT_EQ(driver_.ReadRegister(kMmioMagicValue), 0x74726976u);
  EXPECT_EQ(driver_.ReadRegister(kMmioVersion), 2u);
  EXPECT_EQ(driver_.ReadRegister(kMmioDeviceId), 42u);
  EXPECT_EQ(driver_.ReadRegister(kMmioVendorId), kMmioHullVendor);
  EXPECT_EQ(driver_.ReadRegister(kMmioShmLenLow), 0xffffffffu);
  EXPECT_EQ(driver_.ReadRegister(kMmioShmLenHigh), 0xffffffffu);
  EXPECT_EQ(driver_.ReadRegister(kMmioQueueReset), 0u);
  EXPECT_EQ(driver_.transport().name(), "virtio-mmio:inert");
  EXPECT_EQ(driver_.transport().queue_events().size(), 2u);
}

TEST_F(MmioTransportTest, OffersTheFeaturesOfDeviceAndTransport) {
  EXPECT_EQ(driver_.OfferedFeatures(),
            kFeatureA | kFeatureB | kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx);
  driver_.WriteRegister(kMmioDeviceFeaturesSel, 2);
  EXPECT_EQ(driver_.ReadRegister(kMmioDeviceFeatures), 0u);
  driver_.WriteRegister(kMmioDeviceFeaturesSel, 0xffffffff);
  EXPECT_EQ(driver_.ReadRegister(kMmioDeviceFeatures), 0u);
}

TEST_F(MmioTransportTest, ActivatesWithWhatWasNegotiated) {
  ASSERT_TRUE(driver_.Start(kFeatureB | kFeatureEventIdx));
  ASSERT_EQ(device_->activations, 1);
  const Activation& activation = *device_->activation;
  EXPECT_EQ(activation.features, kFeatureB | kFeatureEventIdx | kFeatureVersion1);
  ASSERT_EQ(activation.queues.size(), 2u);
  EXPECT_EQ(activation.queues[0]->queue.size(), 8);
  EXPECT_EQ(activation.queues[1]->queue.size(), 16);
  EXPECT_EQ(activation.queues[1]->queue.config().descriptor_table,
            driver_.Queue(1).config().descriptor_table);
  // DRIVER_OK again is not a second activation.
  SetStatus(Status());
  EXPECT_EQ(device_->activations, 1);
}

TEST_F(MmioTransportTest, RefusesFeaturesThatWereNotOffered) {
  SetStatus(kNegotiating);
  WriteFeatures(1, 1);
  WriteFeatures(0, 1 << 4);
  SetStatus(kNegotiating | kStatusFeaturesOk);
  EXPECT_EQ(Status(), kNegotiating);
  // The driver may try again with fewer.
  WriteFeatures(0, kFeatureA);
  SetStatus(kNegotiating | kStatusFeaturesOk);
  EXPECT_EQ(Status(), kNegotiating | kStatusFeaturesOk);
}

TEST_F(MmioTransportTest, RefusesFeatureBitsFrom64Upward) {
  SetStatus(kNegotiating);
  WriteFeatures(1, 1);
  WriteFeatures(2, 1);
  SetStatus(kNegotiating | kStatusFeaturesOk);
  EXPECT_EQ(Status(), kNegotiating);
}

TEST_F(MmioTransportTest, RefusesALegacyDriver) {
  SetStatus(kNegotiating);
  WriteFeatures(0, kFeatureA);
  SetStatus(kNegotiating | kStatusFeaturesOk);
  EXPECT_EQ(Status(), kNegotiating);
  // DRIVER_OK without FEATURES_OK is not accepted either, alone or together with it.
  SetStatus(kNegotiating | kStatusDriverOk);
  SetStatus(kNegotiating | kStatusFeaturesOk | kStatusDriverOk);
  EXPECT_EQ(Status(), kNegotiating);
  EXPECT_EQ(device_->activations, 0);
}

TEST_F(MmioTransportTest, FeaturesAreSettledByFeaturesOk) {
  SetStatus(kNegotiating);
  WriteFeatures(1, 1);
  SetStatus(kNegotiating | kStatusFeaturesOk);
  WriteFeatures(0, kFeatureA);
  SetStatus(kNegotiating | kStatusFeaturesOk | kStatusDriverOk);
  EXPECT_EQ(device_->activation->features, kFeatureVersion1);
}

TEST_F(MmioTransportTest, StatusBitsAreNotClearedButByReset) {
  ASSERT_TRUE(driver_.Start());
  const uint32_t running = Status();
  SetStatus(kStatusAcknowledge);
  EXPECT_EQ(Status(), running);
  SetStatus(running | kStatusFailed);
  EXPECT_EQ(Status(), running | kStatusFailed);
  SetStatus(running | kStatusNeedsReset);
  EXPECT_FALSE(driver_.NeedsReset()) << "that bit is the device's";
  EXPECT_EQ(device_->resets, 0);
  SetStatus(0);
  EXPECT_EQ(Status(), 0u);
  EXPECT_EQ(device_->resets, 1);
}

TEST_F(MmioTransportTest, QueueRegistersFollowTheStatus) {
  const auto ready = [&] {
    driver_.WriteRegister(kMmioQueueReady, 1);
    return driver_.ReadRegister(kMmioQueueReady);
  };
  driver_.WriteRegister(kMmioQueueSel, 0);
  EXPECT_EQ(ready(), 0u) << "before FEATURES_OK";
  SetStatus(kNegotiating);
  WriteFeatures(1, 1);
  SetStatus(kNegotiating | kStatusFeaturesOk);
  EXPECT_EQ(ready(), 1u);
  driver_.WriteRegister(kMmioQueueReady, 0);
  EXPECT_EQ(driver_.ReadRegister(kMmioQueueReady), 0u);
  driver_.WriteRegister(kMmioQueueSel, 2);
  EXPECT_EQ(ready(), 0u) << "a queue that does not exist";
  EXPECT_EQ(driver_.ReadRegister(kMmioQueueNumMax), 0u);
  driver_.WriteRegister(kMmioQueueSel, 1);
  EXPECT_EQ(driver_.ReadRegister(kMmioQueueNumMax), 16u);

  ASSERT_TRUE(driver_.Start());
  driver_.WriteRegister(kMmioQueueSel, 0);
  driver_.WriteRegister(kMmioQueueReady, 0);
  EXPECT_EQ(driver_.ReadRegister(kMmioQueueReady), 1u) << "an active queue cannot be taken back";
}

TEST_F(MmioTransportTest, ReadyQueueKeepsItsRegisters) {
  SetStatus(kNegotiating);
  WriteFeatures(1, 1);
  SetStatus(kNegotiating | kStatusFeaturesOk);
  fakes::FakeQueue queue(driver_.allocator(), 8, kFeatureVersion1);
  driver_.SetUpQueue(0, queue.config());
  driver_.WriteRegister(kMmioQueueNum, 4);
  driver_.WriteRegister(kMmioQueueDescLow, 0xfff);
  SetStatus(kNegotiating | kStatusFeaturesOk | kStatusDriverOk);
  ASSERT_TRUE(device_->activation.has_value());
  EXPECT_EQ(device_->activation->queues[0]->queue.size(), 8);
  EXPECT_FALSE(device_->activation->queues[1].has_value()) << "the driver left it unused";
}

TEST_F(MmioTransportTest, MalformedQueueNeedsReset) {
  for (const auto& change : std::vector<void (*)(QueueConfig&)>{
           [](QueueConfig& c) { c.size = 5; }, [](QueueConfig& c) { c.size = 16; },
           [](QueueConfig& c) { c.descriptor_table.value = 1ull << 40; },
           [](QueueConfig& c) { c.device_area.value = ~0ull; }}) {
    driver_.Reset();
    SetStatus(kNegotiating);
    WriteFeatures(1, 1);
    SetStatus(kNegotiating | kStatusFeaturesOk);
    QueueConfig config = fakes::FakeQueue(driver_.allocator(), 8, 0).config();
    change(config);
    driver_.SetUpQueue(0, config);
    const uint64_t before = driver_.interrupt().count();
    SetStatus(kNegotiating | kStatusFeaturesOk | kStatusDriverOk);
    EXPECT_TRUE(driver_.NeedsReset());
    EXPECT_EQ(driver_.interrupt().count(), before + 1);
    EXPECT_EQ(driver_.TakeInterruptStatus(), kInterruptConfigChange);
  }
  EXPECT_EQ(device_->activations, 0);
  EXPECT_EQ(device_->resets, 0) << "it was never activated";
  EXPECT_TRUE(driver_.Start()) << "a reset makes it usable again";
}

TEST_F(MmioTransportTest, FailedActivationNeedsReset) {
  device_->activate_status = absl::InternalError("no");
  EXPECT_FALSE(driver_.Start());
  EXPECT_TRUE(driver_.NeedsReset());
  device_->activate_status = absl::OkStatus();
  EXPECT_TRUE(driver_.Start());
  EXPECT_EQ(device_->resets, 1);
  EXPECT_EQ(device_->activations, 2);
}

TEST_F(MmioTransportTest, DeviceRaisesInterruptsAndAsksForReset) {
  ASSERT_TRUE(driver_.Start());
  const uint32_t generation = driver_.ReadRegister(kMmioConfigGeneration);
  device_->activation->interrupt->Raise();
  EXPECT_EQ(driver_.interrupt().count(), 1u);
  EXPECT_EQ(driver_.ReadRegister(kMmioInterruptStatus), kInterruptUsedBuffer);
  EXPECT_EQ(driver_.ReadRegister(kMmioConfigGeneration), generation);
  device_->activation->config_interrupt->Raise();
  EXPECT_EQ(driver_.ReadRegister(kMmioConfigGeneration), generation + 1);
  driver_.WriteRegister(kMmioInterruptAck, kInterruptUsedBuffer);
  EXPECT_EQ(driver_.TakeInterruptStatus(), kInterruptConfigChange);
  EXPECT_EQ(driver_.ReadRegister(kMmioInterruptStatus), 0u);

  device_->activation->needs_reset();
  EXPECT_TRUE(driver_.NeedsReset());
  EXPECT_EQ(driver_.interrupt().count(), 3u);
  driver_.Reset();
  EXPECT_EQ(Status(), 0u);
  EXPECT_EQ(driver_.ReadRegister(kMmioInterruptStatus), 0u);
}

TEST_F(MmioTransportTest, NotificationWakesTheQueuesEvent) {
  ASSERT_TRUE(driver_.Start());
  driver_.WriteRegister(kMmioQueueNotify, 1);
  driver_.WriteRegister(kMmioQueueNotify, 2);
  driver_.WriteRegister(kMmioQueueNotify, 0xffffffff);
  EXPECT_EQ(driver_.transport().queue_events()[0]->Drain(), 0u);
  EXPECT_EQ(device_->activation->queues[1]->kick->Drain(), 1u);
}

TEST_F(MmioTransportTest, ConfigurationSpaceTakesAnyWidth) {
  EXPECT_EQ(driver_.ReadConfig<uint8_t>(1), 2);
  EXPECT_EQ(driver_.ReadConfig<uint16_t>(1), 0x0302);
  EXPECT_EQ(driver_.ReadConfig<uint64_t>(2), 0x06050403u) << "zeroes beyond the end";
  EXPECT_EQ(driver_.ReadConfig<uint32_t>(0xefc), 0u);
  driver_.transport().Write(kMmioConfig + 2, std::array<uint8_t, 1>{9});
  EXPECT_EQ(device_->config_writes, (std::vector<std::pair<uint32_t, size_t>>{{2, 1}}));
}

TEST_F(MmioTransportTest, RegistersTakeAlignedWordsOnly) {
  std::array<uint8_t, 8> wide;
  for (const size_t size : {1, 2, 8}) {
    wide.fill(0xff);
    const std::span<uint8_t> data = std::span(wide).first(size);
    driver_.transport().Read(kMmioMagicValue, data);
    for (const uint8_t byte : data) EXPECT_EQ(byte, 0);
    wide.fill(kStatusAcknowledge);
    driver_.transport().Write(kMmioStatus, data);
    EXPECT_EQ(Status(), 0u);
  }
  EXPECT_EQ(driver_.ReadRegister(kMmioMagicValue + 1), 0u);
  driver_.WriteRegister(kMmioStatus + 2, kStatusAcknowledge);
  EXPECT_EQ(Status(), 0u);
}

TEST_F(MmioTransportTest, SurvivesGarbage) {
  std::minstd_rand random(7);
  for (int i = 0; i < 200'000; ++i) {
    std::array<uint8_t, 8> data;
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(random() >> 8);
    const size_t size = size_t{1} << (random() % 4);
    const uint64_t offset = random() % (random() % 8 == 0 ? kMmioSize - 8 : 0x110);
    if (random() % 2 == 0) {
      driver_.transport().Read(offset, std::span(data).first(size));
    } else {
      driver_.transport().Write(offset, std::span(data).first(size));
    }
  }
  EXPECT_TRUE(driver_.Start());
}

TEST_F(MmioTransportTest, ResetDoesNotDeadlockWithTheDevicesThread) {
  // A device whose reset joins a thread that raises interrupts all the time.
  class BusyDevice : public InertDevice {
   public:
    absl::Status Activate(Activation a) override {
      stop_ = false;
      thread_ = std::thread([this, a = std::move(a)] {
        do {
          a.interrupt->Raise();
          a.needs_reset();
        } while (!stop_);
      });
      return absl::OkStatus();
    }
    void Reset() override {
      stop_ = true;
      thread_.join();
    }

   private:
    std::atomic<bool> stop_{false};
    std::thread thread_;
  };
  FakeDriver driver(std::make_shared<BusyDevice>(), 1 << 20);
  for (int i = 0; i < 50; ++i) {
    driver.Start();
    driver.TakeInterruptStatus();
    driver.Reset();
    EXPECT_EQ(driver.ReadRegister(kMmioStatus), 0u) << "nothing is raised after a reset";
    EXPECT_EQ(driver.ReadRegister(kMmioInterruptStatus), 0u);
  }
}

TEST(MmioTransportCreateTest, RefusesBadQueueSizes) {
  const GuestMemory memory =
      GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 4096}}).value();
  const auto device = std::make_shared<InertDevice>();
  for (const uint16_t size : {0, 3, 2048}) {
    device->sizes = {size};
    EXPECT_EQ(MmioTransport::Create(memory, device, std::make_shared<fakes::FakeInterrupt>())
                  .status()
                  .code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(MmioTransportCreateTest, DestructionResetsAnActiveDevice) {
  const auto device = std::make_shared<InertDevice>();
  {
    FakeDriver driver(device, 1 << 20);
    ASSERT_TRUE(driver.Start());
  }
  EXPECT_EQ(device->resets, 1);
}

}  // namespace
}  // namespace hull::virtio
