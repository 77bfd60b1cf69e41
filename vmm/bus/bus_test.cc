#include "vmm/bus/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace hull {
namespace {

class RecordingDevice : public BusDevice {
 public:
  explicit RecordingDevice(uint8_t fill) : fill_(fill) {}
  absl::string_view name() const override { return "recording"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    offsets.push_back(offset);
    for (uint8_t& byte : data) byte = fill_;
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    offsets.push_back(offset);
    written.assign(data.begin(), data.end());
  }

  std::vector<uint64_t> offsets;
  std::vector<uint8_t> written;

 private:
  const uint8_t fill_;
};

TEST(BusTest, RoutesByRange) {
  Bus bus;
  const auto low = std::make_shared<RecordingDevice>(1);
  const auto high = std::make_shared<RecordingDevice>(2);
  ASSERT_TRUE(bus.Insert(0x2000, 0x1000, high).ok());
  ASSERT_TRUE(bus.Insert(0x1000, 0x1000, low).ok());

  std::array<uint8_t, 4> data{};
  EXPECT_TRUE(bus.Read(0x1ffc, data));
  EXPECT_EQ(data[3], 1);
  EXPECT_TRUE(bus.Read(0x2000, data));
  EXPECT_EQ(data[0], 2);
  EXPECT_TRUE(bus.Write(0x2010, std::array<uint8_t, 2>{5, 6}));
  EXPECT_EQ(low->offsets, std::vector<uint64_t>{0xffc});
  EXPECT_EQ(high->offsets, (std::vector<uint64_t>{0, 0x10}));
  EXPECT_EQ(high->written, (std::vector<uint8_t>{5, 6}));
}

TEST(BusTest, ReadsNothingAsAllOnes) {
  Bus bus;
  const auto device = std::make_shared<RecordingDevice>(1);
  ASSERT_TRUE(bus.Insert(0x10, 4, device).ok());
  std::array<uint8_t, 2> data{};
  for (const uint64_t address : {0x0ull, 0xeull, 0xfull, 0x13ull, 0x14ull, ~0ull}) {
    data = {};
    EXPECT_FALSE(bus.Read(address, data)) << address;
    EXPECT_EQ(data, (std::array<uint8_t, 2>{0xff, 0xff})) << address;
    EXPECT_FALSE(bus.Write(address, data)) << address;
  }
  EXPECT_FALSE(bus.Read(0x10, std::span<uint8_t>()));
  EXPECT_TRUE(device->offsets.empty());
}

TEST(BusTest, RefusesOverlapsAndBadRanges) {
  Bus bus;
  const auto device = std::make_shared<RecordingDevice>(1);
  ASSERT_TRUE(bus.Insert(0x100, 0x10, device).ok());
  const auto code = [&](uint64_t base, uint64_t size) {
    return bus.Insert(base, size, device).code();
  };
  EXPECT_EQ(code(0x100, 0x10), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code(0x10f, 1), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code(0xff, 2), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code(0, 0x1000), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code(0x104, 2), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code(0x200, 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::numeric_limits<uint64_t>::max(), 2), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(0x110, 1), absl::StatusCode::kOk);
  EXPECT_EQ(code(0xff, 1), absl::StatusCode::kOk);
  EXPECT_EQ(code(std::numeric_limits<uint64_t>::max(), 1), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace hull
