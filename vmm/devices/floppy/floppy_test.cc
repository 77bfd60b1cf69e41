#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/floppy/device.h"

namespace hull::floppy {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t k1440 = 1440 * 1024;
constexpr absl::Duration kDeadline = absl::Seconds(60);

class MemoryDiskette : public Backend {
 public:
  explicit MemoryDiskette(uint64_t size, bool read_only = false)
      : content_(size), read_only_(read_only) {
    // The first byte of each sector is its number.
    for (uint64_t i = 0; i < size; i += kSectorSize) {
      content_[i] = static_cast<uint8_t>(i / kSectorSize);
    }
  }
  uint64_t size() const override { return content_.size(); }
  bool read_only() const override { return read_only_; }
  absl::Status Read(uint64_t offset, std::span<uint8_t> to) override {
    if (broken) return absl::DataLossError("broken");
    std::copy_n(content_.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
    return absl::OkStatus();
  }
  absl::Status Write(uint64_t offset, std::span<const uint8_t> from) override {
    std::copy(from.begin(), from.end(), content_.begin() + static_cast<ptrdiff_t>(offset));
    return absl::OkStatus();
  }
  uint8_t At(uint64_t offset) const { return content_[offset]; }

  bool broken = false;

 private:
  std::vector<uint8_t> content_;
  const bool read_only_;
};

// A DMA channel with a count, over a piece of memory.
class Channel : public DmaChannel {
 public:
  explicit Channel(std::vector<uint8_t>& memory) : memory_(memory) {}
  Moved ToMemory(std::span<const uint8_t> data) override {
    const size_t size = std::min(data.size(), memory_.size() - at_);
    std::copy_n(data.begin(), size, memory_.begin() + static_cast<ptrdiff_t>(at_));
    at_ += size;
    return {size, at_ == memory_.size()};
  }
  Moved FromMemory(std::span<uint8_t> data) override {
    const size_t size = std::min(data.size(), memory_.size() - at_);
    std::copy_n(memory_.begin() + static_cast<ptrdiff_t>(at_), size, data.begin());
    at_ += size;
    return {size, at_ == memory_.size()};
  }

 private:
  std::vector<uint8_t>& memory_;
  size_t at_ = 0;
};

class Line : public Interrupt {
 public:
  void Raise() override {
    absl::MutexLock lock(&mutex_);
    ++count_;
  }
  // Whether it was raised once more.
  bool Await() {
    absl::MutexLock lock(&mutex_);
    auto raised = [this] { return count_ > 0; };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&raised), kDeadline)) return false;
    --count_;
    return true;
  }

 private:
  absl::Mutex mutex_;
  int count_ = 0;
};

class FloppyTest : public testing::Test {
 protected:
  void Insert(std::unique_ptr<MemoryDiskette> diskette, size_t dma_count) {
    diskette_ = diskette.get();
    memory_.assign(dma_count, 0xee);
    Device::Drives drives;
    drives[0] = std::move(diskette);
    auto device = Device::Create(std::move(drives), std::make_unique<Channel>(memory_), line_, {});
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    // The controller is reset, the motor turns, the rate is that of 1.44 MB.
    device_->Write(2, 0x00);
    device_->Write(2, 0x1c);
    ASSERT_TRUE(line_->Await());
    device_->Write(7, 0);
  }
  void Command(std::initializer_list<uint8_t> bytes) {
    for (const uint8_t byte : bytes) {
      ASSERT_EQ(device_->Read(4) & 0xc0, 0x80) << "ready for a byte";
      device_->Write(5, byte);
    }
  }
  std::vector<int> Result() {
    std::vector<int> all;
    while ((device_->Read(4) & 0xc0) == 0xc0) all.push_back(device_->Read(5));
    return all;
  }

  MemoryDiskette* diskette_ = nullptr;
  std::vector<uint8_t> memory_;
  std::shared_ptr<Line> line_ = std::make_shared<Line>();
  std::shared_ptr<Device> device_;
};

TEST_F(FloppyTest, AfterAResetEachDriveReports) {
  Insert(std::make_unique<MemoryDiskette>(k1440), 512);
  for (const int drive : {0, 1, 2, 3}) {
    Command({0x08});
    EXPECT_THAT(Result(), ElementsAre(0xc0 | drive, 0));
  }
  Command({0x08});
  EXPECT_THAT(Result(), ElementsAre(0x80)) << "there is no interrupt to report";
}

TEST_F(FloppyTest, SeeksAndRecalibrates) {
  Insert(std::make_unique<MemoryDiskette>(k1440), 512);
  for (int i = 0; i < 4; ++i) {
    Command({0x08});
    Result();
  }
  EXPECT_EQ(device_->Read(7), 0x80) << "the diskette is new";
  Command({0x0f, 0, 40});
  EXPECT_TRUE(line_->Await());
  EXPECT_TRUE(device_->InterruptPending());
  Command({0x08});
  EXPECT_FALSE(device_->InterruptPending()) << "the guest asked for the cause";
  EXPECT_THAT(Result(), ElementsAre(0x20, 40));
  EXPECT_EQ(device_->Read(7), 0);
  Command({0x07, 0});
  EXPECT_TRUE(line_->Await());
  Command({0x08});
  EXPECT_THAT(Result(), ElementsAre(0x20, 0));
  Command({0x04, 0});
  EXPECT_THAT(Result(), ElementsAre(0x28 | 0x10));
}

TEST_F(FloppyTest, ReadsSectorsAcrossTheHeads) {
  Insert(std::make_unique<MemoryDiskette>(k1440), 3 * 512);
  Command({0xe6, 0, 1, 0, 17, 2, 18, 0x1b, 0xff});
  EXPECT_TRUE(line_->Await());
  EXPECT_THAT(Result(), ElementsAre(0, 0, 0, 1, 1, 2, 2));
  // Cylinder 1 begins with sector 36.
  EXPECT_EQ(memory_[0], 36 + 16);
  EXPECT_EQ(memory_[512], 36 + 17);
  EXPECT_EQ(memory_[1024], 36 + 18);
}

TEST_F(FloppyTest, AReadThatNobodyEndsStopsBehindTheTrack) {
  Insert(std::make_unique<MemoryDiskette>(k1440), 100 * 512);
  Command({0x46, 0, 0, 0, 18, 2, 18, 0x1b, 0xff});
  EXPECT_TRUE(line_->Await());
  EXPECT_THAT(Result(), ElementsAre(0x40, 0x80, 0, 1, 0, 1, 2));
  Command({0x46, 0, 0, 0, 18, 2, 255, 0x1b, 0xff});
  EXPECT_TRUE(line_->Await());
  EXPECT_THAT(Result(), ElementsAre(0x40, 0x04, 0, 0, 0, 19, 2)) << "there is no sector 19";
}

TEST_F(FloppyTest, WritesAndFormats) {
  Insert(std::make_unique<MemoryDiskette>(k1440), 512 + 18 * 4);
  Command({0xc5, 4, 0, 1, 2, 2, 2, 0x1b, 0xff});
  EXPECT_TRUE(line_->Await());
  EXPECT_THAT(Result(), ElementsAre(0x44, 0x80, 0, 1, 0, 1, 2)) << "the count went on";
  EXPECT_EQ(diskette_->At(19 * 512), 0xee);
  EXPECT_EQ(diskette_->At(19 * 512 + 511), 0xee);
  EXPECT_EQ(diskette_->At(20 * 512), 20);
  Command({0x4d, 0, 2, 18, 0x50, 0xf6});
  EXPECT_TRUE(line_->Await());
  EXPECT_EQ(Result()[0], 0);
  EXPECT_EQ(diskette_->At(0), 0xf6);
  EXPECT_EQ(diskette_->At(18 * 512 - 1), 0xf6);
  EXPECT_EQ(diskette_->At(18 * 512), 18);
}

TEST_F(FloppyTest, WhatCannotBeIsAnError) {
  Insert(std::make_unique<MemoryDiskette>(k1440, /*read_only=*/true), 512);
  const auto status = [this](std::initializer_list<uint8_t> command) {
    Command(command);
    EXPECT_TRUE(line_->Await());
    const std::vector<int> result = Result();
    return std::vector<int>(result.begin(), result.begin() + 2);
  };
  EXPECT_THAT(status({0xc5, 0, 0, 0, 1, 2, 1, 0x1b, 0xff}), ElementsAre(0x40, 0x02));
  EXPECT_THAT(status({0x4d, 0, 2, 18, 0x50, 0xf6}), ElementsAre(0x40, 0x02));
  EXPECT_THAT(status({0x46, 0, 80, 0, 1, 2, 1, 0x1b, 0xff}), ElementsAre(0x40, 0x04));
  EXPECT_THAT(status({0x46, 0, 0, 0, 0, 2, 1, 0x1b, 0xff}), ElementsAre(0x40, 0x04));
  EXPECT_THAT(status({0x46, 0, 0, 1, 1, 2, 1, 0x1b, 0xff}), ElementsAre(0x40, 0x04));
  EXPECT_THAT(status({0x46, 0, 0, 0, 1, 3, 1, 0x1b, 0xff}), ElementsAre(0x40, 0x04));
  EXPECT_THAT(status({0x46, 1, 0, 0, 1, 2, 1, 0x1b, 0xff}), ElementsAre(0x41, 0x01))
      << "an empty drive";
  device_->Write(7, 2);
  EXPECT_THAT(status({0x4a, 0}), ElementsAre(0x40, 0x01)) << "the wrong data rate";
  device_->Write(7, 0);
  EXPECT_THAT(status({0x4a, 0}), ElementsAre(0x00, 0x00));
  diskette_->broken = true;
  EXPECT_THAT(status({0x46, 0, 0, 0, 1, 2, 1, 0x1b, 0xff}), ElementsAre(0x40, 0x20));
  Command({0x1f});
  EXPECT_THAT(Result(), ElementsAre(0x80)) << "an invalid command";
}

TEST(GeometryTest, FormatsAreKnownByTheirSize) {
  EXPECT_EQ(GeometryOf(160 * 1024)->heads, 1);
  EXPECT_EQ(GeometryOf(360 * 1024)->sectors, 9);
  EXPECT_EQ(GeometryOf(1200 * 1024)->drive_type, 2);
  EXPECT_EQ(GeometryOf(720 * 1024)->drive_type, 3);
  EXPECT_EQ(GeometryOf(k1440)->drive_type, 4);
  EXPECT_EQ(GeometryOf(2880 * 1024)->sectors, 36);
  EXPECT_FALSE(GeometryOf(0).has_value());
  EXPECT_FALSE(GeometryOf(k1440 + 512).has_value());
  Device::Drives drives;
  drives[0] = std::make_unique<MemoryDiskette>(512);
  std::vector<uint8_t> memory;
  EXPECT_TRUE(
      absl::IsInvalidArgument(Device::Create(std::move(drives), std::make_unique<Channel>(memory),
                                             std::make_shared<Line>(), {})
                                  .status()));
}

}  // namespace
}  // namespace hull::floppy
