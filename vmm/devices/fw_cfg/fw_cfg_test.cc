#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/fw_cfg/device.h"

namespace hull::fw_cfg {
namespace {

using ::testing::ElementsAre;

constexpr GuestAddress kRequest{0x100};
constexpr uint64_t kBuffer = 0x200;

class FwCfgTest : public testing::Test {
 protected:
  FwCfgTest()
      : memory_(*GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 4096}})) {}

  static Items SomeItems() {
    Items items;
    items.SetInteger16(kCpuCount, 3);
    EXPECT_TRUE(items.AddFile("etc/some", {'a', 'b', 'c'}).ok());
    return items;
  }
  void Select(uint16_t key) {
    device_.Write(0, std::array{static_cast<uint8_t>(key), static_cast<uint8_t>(key >> 8)});
  }
  std::vector<uint8_t> Data(size_t size) {
    std::vector<uint8_t> all;
    for (size_t i = 0; i < size; ++i) {
      std::array<uint8_t, 1> byte;
      device_.Read(1, byte);
      all.push_back(byte[0]);
    }
    return all;
  }
  // Carries a request out by DMA; what its control field then is.
  uint8_t Dma(uint32_t control, uint32_t size, uint64_t address) {
    std::array<uint8_t, kRequestSize> request = {};
    for (int i = 0; i < 4; ++i) request[i] = static_cast<uint8_t>(control >> (24 - 8 * i));
    for (int i = 0; i < 4; ++i) request[4 + i] = static_cast<uint8_t>(size >> (24 - 8 * i));
    for (int i = 0; i < 8; ++i) request[8 + i] = static_cast<uint8_t>(address >> (56 - 8 * i));
    EXPECT_TRUE(memory_.Write(kRequest, request).ok());
    device_.Write(8, std::array<uint8_t, 4>{0, 0, 1, 0});
    return memory_.ReadObject<std::array<uint8_t, 4>>(kRequest)->at(3);
  }

  GuestMemory memory_;
  Device device_{SomeItems(), memory_};
};

TEST_F(FwCfgTest, AnItemIsReadByteByByteAndThenZeroes) {
  Select(kSignature);
  EXPECT_THAT(Data(6), ElementsAre('Q', 'E', 'M', 'U', 0, 0));
  Select(kCpuCount);
  EXPECT_THAT(Data(3), ElementsAre(3, 0, 0));
  Select(0x7777);
  EXPECT_THAT(Data(1), ElementsAre(0));
}

TEST_F(FwCfgTest, TheDirectoryNamesEachFile) {
  Select(kFileDirectory);
  const std::vector<uint8_t> directory = Data(4 + 64);
  EXPECT_THAT(std::vector(directory.begin(), directory.begin() + 12),
              ElementsAre(0, 0, 0, 1, 0, 0, 0, 3, 0, kFirstFile, 0, 0));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(&directory[12])), "etc/some");
  Select(kFirstFile);
  EXPECT_THAT(Data(3), ElementsAre('a', 'b', 'c'));
}

TEST_F(FwCfgTest, DmaSelectsSkipsAndReads) {
  EXPECT_EQ(Dma(uint32_t{kFirstFile} << 16 | 8 | 4, 1, 0), 0);
  EXPECT_TRUE(memory_.Fill(GuestAddress{kBuffer}, 0xee, 8).ok());
  EXPECT_EQ(Dma(2, 4, kBuffer), 0);
  const auto read = memory_.ReadObject<std::array<uint8_t, 5>>(GuestAddress{kBuffer});
  EXPECT_THAT(*read, ElementsAre('b', 'c', 0, 0, 0xee));
}

TEST_F(FwCfgTest, DmaThatCannotBeIsAnErrorAndTouchesNothing) {
  EXPECT_EQ(Dma(uint32_t{kFirstFile} << 16 | 8 | 16, 1, kBuffer), 1) << "items are read-only";
  EXPECT_EQ(Dma(2, 8, 4092), 1) << "beyond the end of memory";
  EXPECT_EQ(Dma(2, 8, ~uint64_t{0}), 1);
  EXPECT_EQ(Dma(2, kMaxTransfer + 1, 0), 1);
  // A request that is not in memory has no effect at all.
  device_.Write(4, std::array<uint8_t, 8>{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  EXPECT_EQ(*memory_.ReadObject<uint32_t>(GuestAddress{4092}), 0u);
}

TEST_F(FwCfgTest, TheDmaRegisterIsFoundByItsSignature) {
  std::array<uint8_t, 8> signature;
  device_.Read(4, signature);
  EXPECT_EQ(std::string(signature.begin(), signature.end()), "QEMU CFG");
}

TEST(ItemsTest, FilesAreBounded) {
  Items items;
  EXPECT_TRUE(absl::IsInvalidArgument(items.AddFile("", {})));
  EXPECT_TRUE(absl::IsInvalidArgument(items.AddFile(std::string(kMaxFileName + 1, 'x'), {})));
  for (size_t i = 0; i < kMaxFiles; ++i) {
    EXPECT_TRUE(items.AddFile(std::string(i + 1 > 55 ? 55 : i + 1, 'x'), {}).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(items.AddFile("one more", {})));
}

TEST(ItemsTest, E820IsLittleEndian) {
  EXPECT_THAT(EncodeE820(std::array{E820Range{0x100000, 0x2000, E820Range::kReserved}}),
              ElementsAre(0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0));
}

}  // namespace
}  // namespace hull::fw_cfg
