#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/civil_time.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/rtc/device.h"

namespace hull::rtc {
namespace {

using ::testing::ElementsAre;

absl::Time At(int year, int month, int day, int hour, int minute, int second) {
  return absl::FromCivil(absl::CivilSecond(year, month, day, hour, minute, second),
                         absl::UTCTimeZone());
}

// Century, year, month, day, day of the week, hour, minute, second.
std::vector<int> Shown(Clock& clock, absl::Time now) {
  std::vector<int> fields;
  for (const uint8_t index : {0x32, 9, 8, 7, 6, 4, 2, 0}) fields.push_back(clock.Read(index, now));
  return fields;
}

TEST(ClockTest, ShowsTheTimeInBcdAndInBinary) {
  const absl::Time now = At(2026, 11, 24, 22, 59, 8);
  Clock clock(now);
  // A Tuesday, the third day of the week.
  EXPECT_THAT(Shown(clock, now), ElementsAre(0x20, 0x26, 0x11, 0x24, 3, 0x22, 0x59, 0x08));
  clock.Write(kStatusB, 0x06, now);
  EXPECT_THAT(Shown(clock, now), ElementsAre(20, 26, 11, 24, 3, 22, 59, 8));
  clock.Write(kStatusB, 0x00, now);
  EXPECT_EQ(clock.Read(4, now), 0x80 | 0x10) << "ten in the evening, of twelve hours";
  EXPECT_EQ(clock.Read(4, now - absl::Hours(22)), 0x12) << "midnight";
}

TEST(ClockTest, SundayIsTheFirstDay) {
  const absl::Time now = At(2026, 11, 22, 0, 0, 0);
  Clock clock(now);
  EXPECT_EQ(clock.Read(6, now), 1);
  EXPECT_EQ(clock.Read(6, now + absl::Hours(24 * 6)), 7);
}

TEST(ClockTest, RunsOnFromWhatTheGuestSet) {
  const absl::Time now = At(2026, 11, 24, 22, 59, 8);
  Clock clock(now);
  clock.Write(kStatusB, 0x82, now);  // Stopped.
  clock.Write(0x32, 0x19, now);
  clock.Write(9, 0x95, now);
  clock.Write(8, 0x02, now);
  clock.Write(7, 0x28, now);
  clock.Write(4, 0x23, now);
  clock.Write(2, 0x59, now);
  clock.Write(0, 0x59, now + absl::Seconds(5));
  EXPECT_THAT(Shown(clock, now + absl::Seconds(7)),
              ElementsAre(0x19, 0x95, 0x02, 0x28, 3, 0x23, 0x59, 0x59));
  clock.Write(kStatusB, 0x02, now + absl::Seconds(9));
  EXPECT_THAT(Shown(clock, now + absl::Seconds(10)),
              ElementsAre(0x19, 0x95, 0x03, 0x01, 4, 0x00, 0x00, 0x00));
  // One field of a clock that runs.
  clock.Write(2, 0x30, now + absl::Seconds(10));
  EXPECT_EQ(clock.Read(2, now + absl::Seconds(11)), 0x30);
  EXPECT_EQ(clock.Read(0, now + absl::Seconds(11)), 0x01);
}

TEST(ClockTest, ReportsAnUpdateInProgressAtTheEndOfASecond) {
  const absl::Time now = At(2026, 11, 24, 22, 59, 8);
  Clock clock(now);
  EXPECT_EQ(clock.Read(kStatusA, now + absl::Milliseconds(500)) & 0x80, 0);
  EXPECT_EQ(clock.Read(kStatusA, now + absl::Microseconds(999900)) & 0x80, 0x80);
  EXPECT_EQ(clock.Read(kStatusD, now) & 0x80, 0x80);
}

TEST(ClockTest, AnInterruptIsRaisedOnceUntilItIsAcknowledged) {
  const absl::Time now = At(2026, 11, 24, 22, 59, 8);
  Clock clock(now);
  EXPECT_FALSE(clock.NextInterrupt(now).has_value());
  clock.Write(kStatusB, 0x42, now);
  EXPECT_EQ(clock.NextInterrupt(now), absl::Seconds(1) / 1024);
  EXPECT_FALSE(clock.Poll(now + absl::Microseconds(900)));
  EXPECT_TRUE(clock.Poll(now + absl::Milliseconds(1)));
  EXPECT_FALSE(clock.Poll(now + absl::Milliseconds(3)));
  EXPECT_EQ(clock.Read(kStatusC, now + absl::Milliseconds(3)), 0xc0);
  EXPECT_EQ(clock.Read(kStatusC, now + absl::Milliseconds(3)), 0x00);
  EXPECT_TRUE(clock.Poll(now + absl::Milliseconds(5)));
}

TEST(ClockTest, AnAlarmComesAtItsTime) {
  const absl::Time now = At(2026, 11, 24, 22, 59, 8);
  Clock clock(now);
  clock.Write(1, 0x10, now);
  clock.Write(3, 0xff, now);  // Any minute of
  clock.Write(5, 0x22, now);  // this hour.
  clock.Write(kStatusB, 0x22, now);
  EXPECT_EQ(clock.NextInterrupt(now), absl::Seconds(1));
  EXPECT_FALSE(clock.Poll(now + absl::Milliseconds(1999)));
  EXPECT_TRUE(clock.Poll(now + absl::Seconds(2)));
  EXPECT_EQ(clock.Read(kStatusC, now + absl::Seconds(2)) & 0xa0, 0xa0);
}

TEST(ClockTest, MemoryKeepsWhatIsWritten) {
  Clock clock(absl::UnixEpoch());
  clock.Preset(0x10, 0x40);
  EXPECT_EQ(clock.Read(0x10, absl::UnixEpoch()), 0x40);
  clock.Write(0x7f, 0x12, absl::UnixEpoch());
  EXPECT_EQ(clock.Read(0x7f, absl::UnixEpoch()), 0x12);
}

struct Counter : Interrupt {
  void Raise() override { ++count; }
  std::atomic<int> count = 0;
};

TEST(DeviceTest, ItsTimerRaisesTheInterrupt) {
  auto loop = EventLoop::Create();
  ASSERT_TRUE(loop.ok());
  const auto interrupt = std::make_shared<Counter>();
  std::shared_ptr<Device> device = Device::Create(
      Clock(absl::Now()), [] { return absl::Now(); }, interrupt, **loop);
  device->Write(0, std::array<uint8_t, 1>{0x0b});
  device->Write(1, std::array<uint8_t, 1>{0x42});
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (interrupt->count == 0 && absl::Now() < deadline) {
    ASSERT_TRUE((*loop)->RunOnce(absl::Seconds(1)).ok());
  }
  EXPECT_EQ(interrupt->count, 1);
  std::array<uint8_t, 1> data;
  device->Write(0, std::array<uint8_t, 1>{0x8c});  // The NMI's bit is none of the index.
  device->Read(1, data);
  EXPECT_EQ(data[0] & 0xc0, 0xc0);
  device.reset();
  EXPECT_TRUE((*loop)->RunOnce(absl::ZeroDuration()).ok());
}

}  // namespace
}  // namespace hull::rtc
