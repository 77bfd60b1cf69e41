#include <array>
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/dma/device.h"

namespace hull::dma {
namespace {

using ::testing::ElementsAre;

constexpr uint8_t kSingleToMemory = 0x44;
constexpr uint8_t kSingleFromMemory = 0x48;

class DmaTest : public testing::Test {
 protected:
  DmaTest()
      : memory_(*GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 0x30000}})),
        device_(std::make_shared<Device>(memory_)) {}

  // What a driver does for channel 2: `count` is of bytes.
  void Program(uint8_t mode, uint32_t address, uint16_t count) {
    device_->WritePort(0x0a, 0x06);
    device_->WritePort(0x0c, 0);
    device_->WritePort(0x04, static_cast<uint8_t>(address));
    device_->WritePort(0x04, static_cast<uint8_t>(address >> 8));
    device_->WritePort(0x05, static_cast<uint8_t>(count - 1));
    device_->WritePort(0x05, static_cast<uint8_t>((count - 1) >> 8));
    device_->WritePort(0x0b, static_cast<uint8_t>(mode | 2));
    device_->WritePort(0x81, static_cast<uint8_t>(address >> 16));
    device_->WritePort(0x0a, 0x02);
  }
  std::vector<uint8_t> Memory(uint64_t address, size_t size) {
    std::vector<uint8_t> bytes(size);
    EXPECT_TRUE(memory_.Read(GuestAddress{address}, bytes).ok());
    return bytes;
  }

  GuestMemory memory_;
  std::shared_ptr<Device> device_;
};

TEST_F(DmaTest, DataArrivesWhereTheDriverSaid) {
  Program(kSingleToMemory, 0x12345, 4);
  const auto channel = CreateChannel(device_, 2);
  auto moved = channel->ToMemory(std::array<uint8_t, 3>{1, 2, 3});
  EXPECT_EQ(moved.bytes, 3u);
  EXPECT_FALSE(moved.terminal_count);
  moved = channel->ToMemory(std::array<uint8_t, 3>{4, 5, 6});
  EXPECT_EQ(moved.bytes, 1u) << "the count ends here";
  EXPECT_TRUE(moved.terminal_count);
  EXPECT_THAT(Memory(0x12344, 6), ElementsAre(0, 1, 2, 3, 4, 0));
  EXPECT_EQ(device_->ReadPort(0x08), 0x04) << "channel 2 is done";
  EXPECT_EQ(device_->ReadPort(0x08), 0x00) << "which is said once";
  EXPECT_EQ(channel->ToMemory(std::array<uint8_t, 1>{7}).bytes, 0u) << "and then it is masked";
}

TEST_F(DmaTest, TheOtherDirectionReadsMemory) {
  ASSERT_TRUE(memory_.Write(GuestAddress{0x200}, std::array<uint8_t, 2>{8, 9}).ok());
  Program(kSingleFromMemory, 0x200, 2);
  const auto channel = CreateChannel(device_, 2);
  EXPECT_EQ(channel->ToMemory(std::array<uint8_t, 1>{7}).bytes, 0u) << "not this way";
  std::array<uint8_t, 2> data;
  EXPECT_EQ(channel->FromMemory(data).bytes, 2u);
  EXPECT_THAT(data, ElementsAre(8, 9));
}

TEST_F(DmaTest, AnAddressWrapsWithinItsPage) {
  Program(kSingleToMemory, 0x1fffe, 4);
  const auto moved = CreateChannel(device_, 2)->ToMemory(std::array<uint8_t, 4>{1, 2, 3, 4});
  EXPECT_EQ(moved.bytes, 4u);
  EXPECT_TRUE(moved.terminal_count);
  EXPECT_THAT(Memory(0x1fffe, 2), ElementsAre(1, 2));
  EXPECT_THAT(Memory(0x10000, 2), ElementsAre(3, 4));
  EXPECT_THAT(Memory(0x20000, 2), ElementsAre(0, 0));
}

TEST_F(DmaTest, OutsideMemoryIsAnOpenBus) {
  Program(kSingleToMemory, 0xff0000, 2);
  EXPECT_EQ(CreateChannel(device_, 2)->ToMemory(std::array<uint8_t, 2>{1, 2}).bytes, 2u);
  Program(kSingleFromMemory, 0xff0000, 2);
  std::array<uint8_t, 2> data = {};
  EXPECT_EQ(CreateChannel(device_, 2)->FromMemory(data).bytes, 2u);
  EXPECT_THAT(data, ElementsAre(0xff, 0xff));
}

TEST_F(DmaTest, AutoInitializeStartsAgain) {
  Program(kSingleToMemory | 0x10, 0x300, 2);
  const auto channel = CreateChannel(device_, 2);
  EXPECT_TRUE(channel->ToMemory(std::array<uint8_t, 2>{1, 2}).terminal_count);
  EXPECT_EQ(channel->ToMemory(std::array<uint8_t, 1>{3}).bytes, 1u);
  EXPECT_THAT(Memory(0x300, 2), ElementsAre(3, 2));
}

TEST_F(DmaTest, BackwardsAndWordsAndTheCount) {
  Program(kSingleToMemory | 0x20, 0x402, 3);
  EXPECT_EQ(CreateChannel(device_, 2)->ToMemory(std::array<uint8_t, 3>{1, 2, 3}).bytes, 3u);
  EXPECT_THAT(Memory(0x400, 3), ElementsAre(3, 2, 1));

  // Channel 5: an address of words, a page whose lowest bit does not count.
  device_->WritePort(0xd8, 0);
  device_->WritePort(0xc4, 0x10);
  device_->WritePort(0xc4, 0x00);
  device_->WritePort(0xc6, 0x01);
  device_->WritePort(0xc6, 0x00);
  device_->WritePort(0xd6, kSingleToMemory | 1);
  device_->WritePort(0x8b, 0x03);
  device_->WritePort(0xd4, 0x01);
  const auto moved = CreateChannel(device_, 5)->ToMemory(std::array<uint8_t, 4>{1, 2, 3, 4});
  EXPECT_EQ(moved.bytes, 4u);
  EXPECT_TRUE(moved.terminal_count);
  EXPECT_THAT(Memory(0x20020, 4), ElementsAre(1, 2, 3, 4));

  Program(kSingleToMemory, 0x500, 0x1234);
  device_->WritePort(0x0c, 0);
  EXPECT_EQ(device_->ReadPort(0x05), 0x33);
  EXPECT_EQ(device_->ReadPort(0x05), 0x12);
  device_->WritePort(0x0d, 0);
  EXPECT_EQ(device_->ReadPort(0x0f) & 0xf, 0xf) << "a master clear masks every channel";
}

TEST_F(DmaTest, ADisabledControllerMovesNothing) {
  Program(kSingleToMemory, 0x300, 2);
  device_->WritePort(0x08, 0x04);
  EXPECT_EQ(CreateChannel(device_, 2)->ToMemory(std::array<uint8_t, 2>{1, 2}).bytes, 0u);
}

}  // namespace
}  // namespace hull::dma
