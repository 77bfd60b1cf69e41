#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/ata/cdrom.h"
#include "vmm/devices/ata/device.h"
#include "vmm/devices/ata/disk.h"

namespace hull::ata {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr absl::Duration kDeadline = absl::Seconds(60);
constexpr uint8_t kGood = kReady | kSeekComplete;
constexpr uint8_t kOffering = kGood | kDataRequest;
constexpr uint8_t kBad = kGood | kFailed;

// Sector n begins with n, 32 bits, little-endian. Only what was written is kept.
class SparseDisk : public Backend {
 public:
  explicit SparseDisk(uint64_t sectors, bool read_only = false, bool empty_start = true)
      : sectors_(sectors), read_only_(read_only) {
    if (!empty_start) return;
    written_[0] = std::vector<uint8_t>(kSectorSize);
  }
  uint64_t size() const override { return sectors_ * kSectorSize; }
  bool read_only() const override { return read_only_; }
  absl::Status Read(uint64_t offset, std::span<uint8_t> to) override {
    for (size_t at = 0; at < to.size(); at += kSectorSize) {
      const uint64_t sector = (offset + at) / kSectorSize;
      if (sector == broken) return absl::DataLossError("broken");
      EXPECT_LT(sector, sectors_);
      std::fill_n(to.begin() + static_cast<ptrdiff_t>(at), kSectorSize, uint8_t{0});
      for (size_t i = 0; i < 4; ++i) to[at + i] = static_cast<uint8_t>(sector >> (8 * i));
      const auto found = written_.find(sector);
      if (found == written_.end()) continue;
      std::copy(found->second.begin(), found->second.end(),
                to.begin() + static_cast<ptrdiff_t>(at));
    }
    return absl::OkStatus();
  }
  absl::Status Write(uint64_t offset, std::span<const uint8_t> from) override {
    for (size_t at = 0; at < from.size(); at += kSectorSize) {
      const uint64_t sector = (offset + at) / kSectorSize;
      if (sector == broken) return absl::DataLossError("broken");
      const auto bytes = from.subspan(at, kSectorSize);
      written_[sector].assign(bytes.begin(), bytes.end());
    }
    return absl::OkStatus();
  }
  absl::Status Flush() override {
    ++flushes;
    return absl::OkStatus();
  }
  int At(uint64_t sector) const {
    const auto found = written_.find(sector);
    return found == written_.end() ? -1 : found->second[0];
  }

  uint64_t broken = ~uint64_t{0};
  int flushes = 0;

 private:
  const uint64_t sectors_;
  const bool read_only_;
  std::map<uint64_t, std::vector<uint8_t>> written_;
};

// A channel whose jobs are carried out at once.
class AtaTest : public testing::Test {
 protected:
  void PlugDisk(size_t place, uint64_t sectors, bool read_only = false) {
    backends_[place] = std::make_unique<SparseDisk>(sectors, read_only);
    const Layout layout = LayoutOf(sectors, std::array<uint8_t, kSectorSize>{});
    drives_[place] = std::make_unique<Disk>(sectors, read_only, layout.geometry, "SERIAL");
  }
  void PlugCdrom(size_t place, uint32_t sectors) {
    backends_[place] = std::make_unique<SparseDisk>(uint64_t{sectors} * 4);
    drives_[place] = std::make_unique<Cdrom>(sectors, "CD");
  }
  Channel& channel() {
    if (channel_ == nullptr) channel_ = std::make_unique<Channel>(std::move(drives_));
    return *channel_;
  }
  void Settle() {
    while (std::optional<Channel::DriveJob> job = channel().TakeJob()) {
      absl::Status storage;
      channel().Finish(job->drive, job->job.id,
                       CarryOut(job->job, *backends_[job->drive], storage));
    }
  }
  void Out(uint64_t offset, uint8_t value) {
    channel().Write(offset, value);
    Settle();
  }
  int In(uint64_t offset) { return channel().Read(offset); }
  // A command with a 28-bit address.
  void Lba28(uint8_t command, uint32_t lba, uint8_t count, uint8_t drive = 0) {
    Out(kDevice, static_cast<uint8_t>(0xe0 | drive << 4 | lba >> 24));
    Out(kCount, count);
    Out(kLbaLow, static_cast<uint8_t>(lba));
    Out(kLbaMid, static_cast<uint8_t>(lba >> 8));
    Out(kLbaHigh, static_cast<uint8_t>(lba >> 16));
    Out(kStatus, command);
  }
  void Lba48(uint8_t command, uint64_t lba, uint16_t count) {
    Out(kDevice, 0x40);
    Out(kCount, static_cast<uint8_t>(count >> 8));
    Out(kCount, static_cast<uint8_t>(count));
    for (const int shift : {24, 0}) {
      Out(kLbaLow, static_cast<uint8_t>(lba >> shift));
      Out(kLbaMid, static_cast<uint8_t>(lba >> (shift + 8)));
      Out(kLbaHigh, static_cast<uint8_t>(lba >> (shift + 16)));
    }
    Out(kStatus, command);
  }
  void Chs(uint8_t command, uint16_t cylinder, uint8_t head, uint8_t sector, uint8_t count) {
    Out(kDevice, 0xa0 | head);
    Out(kCount, count);
    Out(kLbaLow, sector);
    Out(kLbaMid, static_cast<uint8_t>(cylinder));
    Out(kLbaHigh, static_cast<uint8_t>(cylinder >> 8));
    Out(kStatus, command);
  }
  std::vector<uint8_t> ReadData(size_t size) {
    std::vector<uint8_t> data(size);
    for (size_t i = 0; i < size; i += 2) {
      channel().ReadData(std::span(data).subspan(i, 2));
      Settle();
    }
    return data;
  }
  // The number that a sector begins with.
  uint32_t ReadSector() {
    const std::vector<uint8_t> data = ReadData(kSectorSize);
    return data[0] | data[1] << 8 | data[2] << 16 | uint32_t{data[3]} << 24;
  }
  void WriteSector(uint8_t first) {
    std::vector<uint8_t> data(kSectorSize, first);
    for (size_t i = 0; i < data.size(); i += 4) {
      channel().WriteData(std::span(data).subspan(i, 4));
      Settle();
    }
  }
  uint32_t Word(const std::vector<uint8_t>& identify, size_t word) {
    return identify[2 * word] | uint32_t{identify[2 * word + 1]} << 8;
  }
  void Packet(std::vector<uint8_t> packet, uint16_t limit = 0xfffe) {
    packet.resize(kPacketSize);
    Out(kDevice, 0xa0);
    Out(kError, 0);
    Out(kLbaMid, static_cast<uint8_t>(limit));
    Out(kLbaHigh, static_cast<uint8_t>(limit >> 8));
    Out(kStatus, kPacket);
    ASSERT_EQ(In(kStatus), kOffering);
    ASSERT_EQ(In(kCount), kIsCommand);
    channel().TakeInterrupt();
    for (size_t i = 0; i < packet.size(); i += 2) {
      channel().WriteData(std::span(packet).subspan(i, 2));
    }
    Settle();
    EXPECT_TRUE(channel().TakeInterrupt());
  }
  size_t BlockSize() { return static_cast<size_t>(In(kLbaMid) | In(kLbaHigh) << 8); }
  // Sense key, additional code and its qualifier of the packet command that failed.
  std::vector<int> SenseAfterError() {
    EXPECT_EQ(In(kStatus), kBad);
    EXPECT_EQ(In(kCount), kIsCommand | kToHost);
    const int key = In(kError) >> 4;
    Packet({0x03, 0, 0, 0, 18});
    const std::vector<uint8_t> data = ReadData(18);
    EXPECT_EQ(data[2], key);
    return {data[2], data[12], data[13]};
  }

  std::array<std::unique_ptr<SparseDisk>, kDrives> backends_;
  Channel::Drives drives_;
  std::unique_ptr<Channel> channel_;
};

TEST_F(AtaTest, ResetShowsWhatTheDrivesAre) {
  PlugDisk(0, 1000);
  PlugCdrom(1, 10);
  Out(kLbaMid, 0x55);
  channel().WriteControl(kSoftwareReset);
  EXPECT_EQ(In(kStatus), kBusy);
  channel().WriteControl(0);
  EXPECT_EQ(In(kStatus), kGood);
  EXPECT_EQ(In(kError), kDiagnosticsPassed);
  EXPECT_EQ(In(kLbaMid), 0);
  EXPECT_EQ(In(kLbaHigh), 0);
  Out(kDevice, kSelectSecond);
  EXPECT_EQ(In(kStatus), 0) << "a packet device is not ready yet";
  EXPECT_EQ(In(kLbaMid), 0x14);
  EXPECT_EQ(In(kLbaHigh), 0xeb);
  EXPECT_FALSE(channel().TakeInterrupt());
  Out(kStatus, kDiagnostics);
  EXPECT_TRUE(channel().TakeInterrupt());
  EXPECT_EQ(In(kDevice), 0) << "the first drive is selected";
  EXPECT_EQ(In(kError), kDiagnosticsPassed);
}

TEST_F(AtaTest, WhereThereIsNoDriveNothingIsReady) {
  PlugDisk(0, 1000);
  Out(kDevice, kSelectSecond);
  EXPECT_EQ(In(kStatus), 0);
  Out(kStatus, kIdentifyDevice);
  EXPECT_EQ(In(kStatus), 0);
  EXPECT_FALSE(channel().TakeInterrupt());
  EXPECT_THAT(ReadData(2), Each(0xff));
  Out(kDevice, 0);
  EXPECT_EQ(In(kStatus), kGood);
}

TEST_F(AtaTest, IdentifiesADisk) {
  const uint64_t sectors = (uint64_t{1} << 32) - 1;
  PlugDisk(0, sectors);
  Out(kStatus, kIdentifyDevice);
  EXPECT_TRUE(channel().TakeInterrupt());
  EXPECT_EQ(In(kStatus), kOffering);
  const std::vector<uint8_t> data = ReadData(kIdentifySize);
  EXPECT_EQ(In(kStatus), kGood);
  EXPECT_EQ(Word(data, 1), 16383u);
  EXPECT_EQ(Word(data, 3), 16u);
  EXPECT_EQ(Word(data, 6), 63u);
  EXPECT_EQ(Word(data, 60) | Word(data, 61) << 16, 0xfffffffu) << "as much as 28 bits can say";
  EXPECT_EQ(Word(data, 100) | uint64_t{Word(data, 101)} << 16, sectors);
  EXPECT_EQ(Word(data, 83) & 0xc400, 0x4400u) << "48-bit addresses";
  EXPECT_EQ(Word(data, 49) & 0x300, 0x200u) << "LBA, no DMA";
  EXPECT_EQ(std::string({static_cast<char>(data[55]), static_cast<char>(data[54]),
                         static_cast<char>(data[57]), static_cast<char>(data[56])}),
            "HULL");
  Out(kStatus, kIdentifyPacketDevice);
  EXPECT_EQ(In(kStatus), kBad);
  EXPECT_EQ(In(kError), kAborted);
}

TEST_F(AtaTest, ReadsByEveryKindOfAddress) {
  PlugDisk(0, uint64_t{1} << 31);
  Lba28(kReadSectors, 0x1234567, 2);
  EXPECT_TRUE(channel().TakeInterrupt());
  EXPECT_EQ(In(kStatus), kOffering);
  EXPECT_EQ(ReadSector(), 0x1234567u);
  EXPECT_TRUE(channel().TakeInterrupt()) << "for each sector";
  EXPECT_EQ(In(kStatus), kOffering);
  EXPECT_EQ(ReadSector(), 0x1234568u);
  EXPECT_FALSE(channel().TakeInterrupt());
  EXPECT_EQ(In(kStatus), kGood);
  EXPECT_EQ(In(kLbaLow), 0x68) << "the last sector";
  EXPECT_EQ(In(kCount), 0);

  Lba48(kReadSectorsExt, 0x7fffffff, 1);
  EXPECT_EQ(ReadSector(), 0x7fffffffu);
  EXPECT_EQ(In(kLbaLow), 0xff);
  channel().WriteControl(kHighOrder);
  EXPECT_EQ(In(kLbaLow), 0x7f) << "bits 24 to 31";
  channel().WriteControl(0);

  Chs(kReadSectors, 2, 3, 4, 1);
  EXPECT_EQ(ReadSector(), (2u * 16 + 3) * 63 + 3);
  EXPECT_EQ(In(kLbaMid), 2);
  EXPECT_EQ(In(kDevice) & kHeadMask, 3);
  EXPECT_EQ(In(kLbaLow), 4);
  // Another geometry: 4 heads, 8 sectors.
  Out(kDevice, 0xa3);
  Out(kCount, 8);
  Out(kStatus, kInitializeParameters);
  EXPECT_EQ(In(kStatus), kGood);
  Chs(kReadSectors, 2, 3, 4, 1);
  EXPECT_EQ(ReadSector(), (2u * 4 + 3) * 8 + 3);
  Chs(kReadSectors, 2, 4, 4, 1);
  EXPECT_EQ(In(kError), kNotFound) << "it has four heads";
  Chs(kReadSectors, 2, 3, 0, 1);
  EXPECT_EQ(In(kError), kNotFound) << "sectors count from 1";
}

TEST_F(AtaTest, ACountOfZeroIsTheMost) {
  PlugDisk(0, 100000);
  Lba28(kReadSectors, 7, 0);
  for (uint32_t i = 0; i < 256; ++i) ASSERT_EQ(ReadSector(), 7 + i);
  EXPECT_EQ(In(kStatus), kGood);
  Lba48(kReadSectorsExt, 9, 0);
  for (uint32_t i = 0; i < 65536; ++i) ASSERT_EQ(ReadSector(), 9 + i);
  EXPECT_EQ(In(kStatus), kGood);
}

TEST_F(AtaTest, MultipleSectorsMakeABlock) {
  PlugDisk(0, 1000);
  Lba28(kReadMultiple, 0, 5);
  EXPECT_EQ(In(kError), kAborted) << "SET MULTIPLE MODE comes first";
  Out(kCount, 3);
  Out(kStatus, kSetMultipleMode);
  EXPECT_EQ(In(kError), kAborted) << "no power of two";
  Out(kCount, 4);
  Out(kStatus, kSetMultipleMode);
  EXPECT_EQ(In(kStatus), kGood);
  Lba28(kReadMultiple, 10, 5);
  channel().TakeInterrupt();
  In(kStatus);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(ReadSector(), 10 + i);
  EXPECT_FALSE(channel().TakeInterrupt());
  EXPECT_EQ(ReadSector(), 13u);
  EXPECT_TRUE(channel().TakeInterrupt()) << "for the second block";
  EXPECT_EQ(ReadSector(), 14u);
  EXPECT_EQ(In(kStatus), kGood);
  Lba28(kWriteMultiple, 20, 5);
  for (uint8_t i = 0; i < 3; ++i) WriteSector(static_cast<uint8_t>(0x40 + i));
  EXPECT_EQ(backends_[0]->At(20), -1) << "not before the block is full";
  for (uint8_t i = 3; i < 5; ++i) WriteSector(static_cast<uint8_t>(0x40 + i));
  EXPECT_EQ(In(kStatus), kGood);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(backends_[0]->At(20 + static_cast<uint64_t>(i)), 0x40 + i);
}

TEST_F(AtaTest, Writes) {
  PlugDisk(0, 1000);
  Lba28(kWriteSectors, 500, 2);
  EXPECT_FALSE(channel().TakeInterrupt()) << "not for the first sector";
  EXPECT_EQ(In(kStatus), kOffering);
  WriteSector(1);
  EXPECT_TRUE(channel().TakeInterrupt());
  EXPECT_EQ(In(kStatus), kOffering);
  WriteSector(2);
  EXPECT_TRUE(channel().TakeInterrupt());
  EXPECT_EQ(In(kStatus), kGood);
  EXPECT_EQ(backends_[0]->At(500), 1);
  EXPECT_EQ(backends_[0]->At(501), 2);
  EXPECT_EQ(backends_[0]->flushes, 0);
  Out(kStatus, kFlushCache);
  EXPECT_TRUE(channel().TakeInterrupt());
  EXPECT_EQ(backends_[0]->flushes, 1);
  // Without its cache, what is written is on stable storage at once.
  Out(kError, kDisableWriteCache);
  Out(kStatus, kSetFeatures);
  Lba48(kWriteSectorsExt, 502, 1);
  WriteSector(3);
  EXPECT_EQ(backends_[0]->At(502), 3);
  EXPECT_EQ(backends_[0]->flushes, 2);
}

TEST_F(AtaTest, AReadOnlyDiskRefusesWrites) {
  PlugDisk(0, 1000, /*read_only=*/true);
  Lba28(kWriteSectors, 5, 1);
  EXPECT_EQ(In(kStatus), kBad);
  EXPECT_EQ(In(kError), kAborted);
  Lba28(kReadSectors, 5, 1);
  EXPECT_EQ(ReadSector(), 5u);
  Out(kStatus, kFlushCacheExt);
  EXPECT_EQ(In(kStatus), kGood);
}

TEST_F(AtaTest, BehindTheEndThereIsNothing) {
  PlugDisk(0, 1000);
  Lba28(kReadSectors, 1000, 1);
  EXPECT_EQ(In(kStatus), kBad);
  EXPECT_EQ(In(kError), kNotFound);
  Lba28(kReadSectors, 999, 2);
  EXPECT_EQ(ReadSector(), 999u);
  EXPECT_EQ(In(kStatus), kBad);
  EXPECT_EQ(In(kError), kNotFound);
  Lba28(kWriteSectors, 999, 2);
  WriteSector(9);
  EXPECT_EQ(In(kStatus), kBad);
  EXPECT_EQ(backends_[0]->At(999), 9);
  Lba48(kReadSectorsExt, ~uint64_t{0} >> 16, 1);
  EXPECT_EQ(In(kError), kNotFound);
  Lba28(kVerify, 990, 10);
  EXPECT_EQ(In(kStatus), kGood);
  Lba28(kVerify, 990, 11);
  EXPECT_EQ(In(kError), kNotFound);
}

TEST_F(AtaTest, ASectorThatCannotBeRead) {
  PlugDisk(0, 1000);
  backends_[0]->broken = 12;
  Lba28(kReadSectors, 10, 5);
  EXPECT_EQ(ReadSector(), 10u);
  EXPECT_EQ(ReadSector(), 11u);
  EXPECT_EQ(In(kStatus), kBad);
  EXPECT_EQ(In(kError), kUncorrectable);
  EXPECT_EQ(In(kLbaLow), 12) << "which it was";
  Lba28(kVerify, 10, 5);
  EXPECT_EQ(In(kError), kUncorrectable);
  Lba28(kWriteSectors, 12, 1);
  WriteSector(0);
  EXPECT_EQ(In(kError), kUncorrectable);
  Lba28(kReadSectors, 13, 1);
  EXPECT_EQ(ReadSector(), 13u);
}

TEST_F(AtaTest, OtherCommands) {
  PlugDisk(0, 1000);
  for (const uint8_t command : {uint8_t{0x10}, uint8_t{0x70}, kIdleImmediate, kStandby, kSleep}) {
    Lba28(command, 5, 0);
    EXPECT_EQ(In(kStatus), kGood) << int{command};
  }
  Out(kStatus, kCheckPowerMode);
  EXPECT_EQ(In(kCount), 0xff);
  Lba28(kReadNativeMax, 0, 0);
  EXPECT_EQ(In(kLbaLow) | In(kLbaMid) << 8, 999);
  for (const uint8_t command : {uint8_t{0x00}, uint8_t{0xc8}, uint8_t{0xca}, uint8_t{0xff}}) {
    Out(kStatus, command);
    EXPECT_EQ(In(kStatus), kBad) << int{command};
    EXPECT_EQ(In(kError), kAborted) << int{command};
  }
  Out(kError, kSetTransferMode);
  Out(kCount, 0x0c);
  Out(kStatus, kSetFeatures);
  EXPECT_EQ(In(kStatus), kGood);
  Out(kCount, 0x45);
  Out(kStatus, kSetFeatures);
  EXPECT_EQ(In(kError), kAborted) << "there is no DMA";
}

TEST_F(AtaTest, TheInterruptIsMasked) {
  PlugDisk(0, 1000);
  channel().WriteControl(kInterruptsOff);
  Out(kStatus, kIdentifyDevice);
  EXPECT_FALSE(channel().TakeInterrupt());
  channel().WriteControl(0);
  EXPECT_TRUE(channel().TakeInterrupt()) << "it was waiting";
  EXPECT_EQ(channel().ReadAlternateStatus(), kOffering);
  channel().WriteControl(kInterruptsOff);
  In(kStatus);
  channel().WriteControl(0);
  EXPECT_FALSE(channel().TakeInterrupt()) << "reading the status took it back";
}

TEST_F(AtaTest, WhileBusyNothingIsTakenButAReset) {
  PlugDisk(0, 1000);
  channel().Write(kCount, 1);
  channel().Write(kDevice, kUseLba);
  channel().Write(kStatus, kReadSectors);
  std::optional<Channel::DriveJob> job = channel().TakeJob();
  ASSERT_TRUE(job.has_value());
  EXPECT_EQ(In(kStatus), kBusy);
  channel().Write(kStatus, kIdentifyDevice);
  channel().Write(kCount, 5);
  EXPECT_EQ(In(kStatus), kBusy);
  EXPECT_EQ(In(kCount), 1);
  EXPECT_FALSE(channel().TakeJob().has_value());
  channel().WriteControl(kSoftwareReset);
  channel().WriteControl(0);
  EXPECT_EQ(In(kStatus), kGood);
  absl::Status storage;
  channel().Finish(0, job->job.id, CarryOut(job->job, *backends_[0], storage));
  EXPECT_EQ(In(kStatus), kGood) << "what was dropped ends unnoticed";
  EXPECT_FALSE(channel().TakeInterrupt());
}

TEST_F(AtaTest, IdentifiesACdrom) {
  PlugCdrom(0, 1000);
  Out(kStatus, kIdentifyDevice);
  EXPECT_EQ(In(kStatus), kBad);
  EXPECT_EQ(In(kLbaMid), 0x14);
  EXPECT_EQ(In(kLbaHigh), 0xeb);
  Out(kStatus, kIdentifyPacketDevice);
  const std::vector<uint8_t> data = ReadData(kIdentifySize);
  EXPECT_EQ(Word(data, 0), 0x85c0u);
  EXPECT_EQ(In(kStatus), kGood);
  Packet({0x12, 0, 0, 0, 36});
  EXPECT_EQ(BlockSize(), 36u);
  EXPECT_EQ(In(kCount), kToHost);
  const std::vector<uint8_t> inquiry = ReadData(36);
  EXPECT_EQ(inquiry[0], 5);
  EXPECT_EQ(std::string(inquiry.begin() + 8, inquiry.begin() + 22), "HULL    CD-ROM");
  EXPECT_EQ(In(kCount), kIsCommand | kToHost);
  EXPECT_EQ(In(kStatus), kGood);
  Packet({0x00});
  EXPECT_EQ(In(kStatus), kGood);
}

TEST_F(AtaTest, ReadsADisc) {
  PlugCdrom(0, 1000);
  Packet({0x25});
  EXPECT_THAT(ReadData(8), ElementsAre(0, 0, 3, 231, 0, 0, 8, 0));
  // Three sectors by blocks of at most 3000 bytes.
  Packet({0x28, 0, 0, 0, 0, 100, 0, 0, 3}, 3000);
  EXPECT_EQ(BlockSize(), 3000u);
  EXPECT_EQ(In(kStatus), kOffering);
  std::vector<uint8_t> data = ReadData(3000);
  EXPECT_TRUE(channel().TakeInterrupt());
  EXPECT_EQ(BlockSize(), 3000u);
  const std::vector<uint8_t> more = ReadData(3000);
  EXPECT_EQ(BlockSize(), 144u);
  const std::vector<uint8_t> last = ReadData(144);
  EXPECT_EQ(In(kStatus), kGood);
  EXPECT_EQ(data[0] | data[1] << 8, 400) << "in sectors of 512 bytes";
  EXPECT_EQ(data[2048] | data[2049] << 8, 404);
  EXPECT_EQ(more[1096] | more[1097] << 8, 408);
  // So many that they are read from the storage in parts.
  Packet({0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 100}, 2048);
  for (int i = 1; i <= 100; ++i) {
    EXPECT_EQ(BlockSize(), 2048u);
    data = ReadData(2048);
    EXPECT_EQ(data[0] | data[1] << 8, 4 * i);
  }
  EXPECT_EQ(In(kStatus), kGood);
  Packet({0x28, 0, 0, 0, 0, 100, 0, 0, 0});
  EXPECT_EQ(In(kStatus), kGood) << "none at all";
}

TEST_F(AtaTest, WhatADiscCannotDo) {
  PlugCdrom(0, 1000);
  Packet({0x28, 0, 0, 0, 3, 232, 0, 0, 1});
  EXPECT_THAT(SenseAfterError(), ElementsAre(5, 0x21, 0));
  Packet({0xa8, 0, 0, 0, 3, 231, 0xff, 0xff, 0xff, 0xff});
  EXPECT_THAT(SenseAfterError(), ElementsAre(5, 0x21, 0));
  Packet({0x2a});
  EXPECT_THAT(SenseAfterError(), ElementsAre(5, 0x20, 0));
  Packet({0x03, 0, 0, 0, 18});
  EXPECT_EQ(ReadData(18)[2], 0) << "the sense is gone";
  backends_[0]->broken = 41;
  Packet({0x28, 0, 0, 0, 0, 9, 0, 0, 3}, 2048);
  EXPECT_EQ(ReadData(2048)[0], 36);
  EXPECT_THAT(SenseAfterError(), ElementsAre(3, 0x11, 0));
  Out(kError, 1);
  Out(kStatus, kPacket);
  EXPECT_EQ(In(kError), kAborted) << "no DMA";
}

TEST_F(AtaTest, TheTray) {
  PlugCdrom(0, 1000);
  Packet({0x1e, 0, 0, 0, 1});
  Packet({0x1b, 0, 0, 0, 2});
  EXPECT_THAT(SenseAfterError(), ElementsAre(5, 0x53, 2)) << "locked";
  Packet({0x1e, 0, 0, 0, 0});
  Packet({0x1b, 0, 0, 0, 2});
  EXPECT_EQ(In(kStatus), kGood);
  Packet({0x00});
  EXPECT_THAT(SenseAfterError(), ElementsAre(2, 0x3a, 2));
  Packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
  EXPECT_THAT(ReadData(8), ElementsAre(0, 6, 4, 0x10, 0, 1, 0, 0));
  Packet({0x1b, 0, 0, 0, 3});
  Packet({0x00});
  EXPECT_THAT(SenseAfterError(), ElementsAre(6, 0x28, 0));
  Packet({0x00});
  EXPECT_EQ(In(kStatus), kGood);
  Packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
  EXPECT_EQ(ReadData(8)[5], 2);
}

TEST_F(AtaTest, TableOfContents) {
  PlugCdrom(0, 1000);
  Packet({0x43, 0, 0, 0, 0, 0, 0, 0, 100});
  EXPECT_EQ(BlockSize(), 20u);
  EXPECT_THAT(ReadData(20),
              ElementsAre(0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 3, 232));
  Packet({0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100});
  EXPECT_THAT(ReadData(12), ElementsAre(0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 15, 25));
  Packet({0x43, 0, 1, 0, 0, 0, 0, 0, 100});
  EXPECT_THAT(ReadData(12), ElementsAre(0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0));
  Packet({0x43, 0, 0, 0, 0, 0, 0, 0, 4});
  EXPECT_THAT(ReadData(4), ElementsAre(0, 18, 1, 1)) << "as much as was asked for";
  Packet({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 100});
  EXPECT_EQ(BlockSize(), 28u);
  EXPECT_EQ(ReadData(28)[8], 0x2a);
  Packet({0x5a, 0, 0x30, 0, 0, 0, 0, 0, 100});
  EXPECT_THAT(SenseAfterError(), ElementsAre(5, 0x24, 0));
}

TEST_F(AtaTest, DeviceResetEndsAPacketCommand) {
  PlugCdrom(0, 1000);
  Packet({0x28, 0, 0, 0, 0, 100, 0, 0, 3});
  EXPECT_EQ(In(kStatus), kOffering);
  Out(kStatus, kIdentifyPacketDevice);
  EXPECT_EQ(In(kStatus), kOffering) << "nothing else does";
  Out(kStatus, kDeviceReset);
  EXPECT_EQ(In(kStatus), 0);
  EXPECT_EQ(In(kLbaHigh), 0xeb);
}

TEST(LayoutTest, OfSizes) {
  const std::array<uint8_t, kSectorSize> blank = {};
  EXPECT_EQ(LayoutOf(1, blank), (Layout{{1, 16, 63}, false}));
  EXPECT_EQ(LayoutOf(1024 * 16 * 63, blank), (Layout{{1024, 16, 63}, false}));
  EXPECT_EQ(LayoutOf(1025 * 16 * 63, blank), (Layout{{1025, 16, 63}, true}));
  EXPECT_EQ(LayoutOf(uint64_t{1} << 32, blank), (Layout{{16383, 16, 63}, true}));
}

TEST(LayoutTest, OfPartitionTables) {
  std::array<uint8_t, kSectorSize> first = {};
  first[0x1fe] = 0x55;
  first[0x1ff] = 0xaa;
  first[0x1be] = 0x80;
  first[0x1be + 5] = 7;          // The last head,
  first[0x1be + 6] = 0xc0 | 32;  // and the last sector.
  first[0x1be + 12] = 1;
  EXPECT_EQ(LayoutOf(8 * 32 * 500, first), (Layout{{500, 8, 32}, false}));
  EXPECT_EQ(LayoutOf(8 * 32 * 2000, first), (Layout{{507, 16, 63}, false})) << "too many cylinders";
  first[0x1be + 5] = 254;
  first[0x1be + 6] = 63;
  EXPECT_EQ(LayoutOf(500 * 16 * 63, first), (Layout{{500, 16, 63}, true}));
  first[0x1be] = 0x33;
  EXPECT_EQ(LayoutOf(500 * 16 * 63, first), (Layout{{500, 16, 63}, false})) << "no table";
}

class Line : public Interrupt {
 public:
  void Raise() override {
    absl::MutexLock lock(&mutex_);
    ++count_;
  }
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

TEST(DeviceTest, StorageIsReadOnItsOwnThread) {
  const auto line = std::make_shared<Line>();
  Device::Units units;
  units[0] = Unit{.backend = std::make_unique<SparseDisk>(1000), .cdrom = false, .serial = "A"};
  // Its last sector of 2048 bytes is not whole.
  units[1] = Unit{.backend = std::make_unique<SparseDisk>(7), .cdrom = true, .serial = "B"};
  auto device = Device::Create(std::move(units), line, {});
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ((*device)->LayoutOfDisk(0), (Layout{{1, 16, 63}, false}));
  EXPECT_FALSE((*device)->LayoutOfDisk(1).has_value());
  CommandPorts ports(*device);
  ControlPort control(*device);
  const auto out = [&](uint64_t offset, uint8_t value) {
    ports.Write(offset, std::span(&value, 1));
  };
  out(kDevice, kUseLba);
  out(kCount, 1);
  out(kLbaLow, 9);
  out(kStatus, kReadSectors);
  ASSERT_TRUE(line->Await());
  uint8_t status = 0;
  control.Read(0, std::span(&status, 1));
  EXPECT_EQ(status, kOffering);
  std::array<uint8_t, 4> data;
  ports.Read(kData, data);
  EXPECT_THAT(data, ElementsAre(9, 0, 0, 0));

  out(kDevice, kSelectSecond);
  out(kStatus, kPacket);
  const std::array<uint8_t, kPacketSize> read = {0x28, 0, 0, 0, 0, 1, 0, 0, 1};
  for (size_t i = 0; i < read.size(); i += 4) ports.Write(kData, std::span(read).subspan(i, 4));
  ASSERT_TRUE(line->Await());
  std::vector<uint8_t> sector(kCdSectorSize);
  for (size_t i = 0; i < sector.size(); i += 4) ports.Read(kData, std::span(sector).subspan(i, 4));
  EXPECT_EQ(sector[0], 4);
  EXPECT_EQ(sector[1024], 6);
  EXPECT_EQ(sector[1536], 0) << "behind the end";
  // It ends while a drive is busy.
  out(kDevice, kUseLba);
  out(kStatus, kFlushCache);
}

TEST(DeviceTest, WhatIsTooLargeIsRefused) {
  Device::Units units;
  units[0] = Unit{.backend = std::make_unique<SparseDisk>((uint64_t{1} << 32) + 1),
                  .cdrom = false,
                  .serial = "A"};
  EXPECT_TRUE(absl::IsInvalidArgument(
      Device::Create(std::move(units), std::make_shared<Line>(), {}).status()));
}

}  // namespace
}  // namespace hull::ata
