#include "vmm/devices/power/power.h"

#include <array>
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::power {
namespace {

using ::testing::ElementsAre;

TEST(ExitPortTest, EachDocumentedByteIsARequest) {
  std::vector<Request> requests;
  ExitPort port([&](Request request) { requests.push_back(request); });
  for (int value = 0; value <= 0xff; ++value) {
    port.Write(0, std::array{static_cast<uint8_t>(value)});
  }
  EXPECT_THAT(requests, ElementsAre(Request::kPowerOff, Request::kReboot, Request::kPanic));
  std::array<uint8_t, 1> data = {0xaa};
  port.Read(0, data);
  EXPECT_EQ(data[0], 0);
}

TEST(KeyboardResetTest, OnlyTheResetPulseRestarts) {
  std::vector<Request> requests;
  KeyboardReset port([&](Request request) { requests.push_back(request); });
  for (int value = 0; value <= 0xff; ++value) {
    port.Write(0, std::array{static_cast<uint8_t>(value)});
  }
  EXPECT_THAT(requests, ElementsAre(Request::kReboot));
  std::array<uint8_t, 1> status = {0xff};
  port.Read(0, status);
  EXPECT_EQ(status[0] & 2, 0) << "the input buffer must look empty";
}

TEST(SystemControlTest, KeepsTheGateAndRestarts) {
  std::vector<Request> requests;
  SystemControl port([&](Request request) { requests.push_back(request); });
  std::array<uint8_t, 1> data;
  port.Read(0, data);
  EXPECT_EQ(data[0], 2) << "line 20 is open";
  port.Write(0, std::array<uint8_t, 1>{0xfc});
  port.Read(0, data);
  EXPECT_EQ(data[0], 0);
  EXPECT_THAT(requests, ElementsAre());
  port.Write(0, std::array<uint8_t, 1>{0x03});
  EXPECT_THAT(requests, ElementsAre(Request::kReboot));
}

TEST(ResetControlTest, OnlyItsBitRestarts) {
  std::vector<Request> requests;
  ResetControl port([&](Request request) { requests.push_back(request); });
  port.Write(0, std::array<uint8_t, 1>{0x02});
  EXPECT_THAT(requests, ElementsAre());
  port.Write(0, std::array<uint8_t, 1>{0x06});
  EXPECT_THAT(requests, ElementsAre(Request::kReboot));
  std::array<uint8_t, 1> data = {0xff};
  port.Read(0, data);
  EXPECT_EQ(data[0], 0);
}

}  // namespace
}  // namespace hull::power
