#include "vmm/devices/rtc/clock.h"

#include <algorithm>

namespace hull::rtc {

namespace {

constexpr uint8_t kSeconds = 0;
constexpr uint8_t kSecondsAlarm = 1;
constexpr uint8_t kMinutes = 2;
constexpr uint8_t kMinutesAlarm = 3;
constexpr uint8_t kHours = 4;
constexpr uint8_t kHoursAlarm = 5;
constexpr uint8_t kDayOfWeek = 6;
constexpr uint8_t kDay = 7;
constexpr uint8_t kMonth = 8;
constexpr uint8_t kYear = 9;

constexpr uint8_t kUpdateInProgress = 0x80;  // A
constexpr uint8_t kDividerMask = 0x70;
constexpr uint8_t kDividerRuns = 0x20;
constexpr uint8_t kRateMask = 0x0f;

constexpr uint8_t kSet = 0x80;  // B
constexpr uint8_t kBinary = 0x04;
constexpr uint8_t k24Hours = 0x02;
constexpr uint8_t kPeriodic = 0x40;  // Interrupts: of B and, as flags, of C.
constexpr uint8_t kAlarm = 0x20;
constexpr uint8_t kUpdateEnded = 0x10;
constexpr uint8_t kInterrupts = kPeriodic | kAlarm | kUpdateEnded;
constexpr uint8_t kRequest = 0x80;  // C

constexpr uint8_t kValid = 0x80;  // D: the battery is good.

constexpr uint8_t kAfternoon = 0x80;  // Of an hour in 12-hour mode.
constexpr uint8_t kAnyValue = 0xc0;   // Both bits: an alarm field that always matches.

constexpr absl::Duration kSecond = absl::Seconds(1);
// The time registers are not to be read in this time before a second ends, and while it ends.
constexpr absl::Duration kUpdateTime = absl::Microseconds(244);
// Longer than this, an alarm is not looked for second by second.
constexpr absl::Duration kDay24 = absl::Hours(24);

bool IsTimeField(uint8_t index) {
  switch (index) {
    case kSeconds:
    case kMinutes:
    case kHours:
    case kDayOfWeek:
    case kDay:
    case kMonth:
    case kYear:
    case kCentury:
      return true;
    default:
      return false;
  }
}

absl::Duration IntoSecond(absl::Time time) {
  absl::Duration rest;
  absl::IDivDuration(time - absl::UnixEpoch(), kSecond, &rest);
  return rest < absl::ZeroDuration() ? rest + kSecond : rest;
}

absl::CivilSecond Civil(absl::Time time) { return absl::ToCivilSecond(time, absl::UTCTimeZone()); }

}  // namespace

bool Clock::Stopped() const {
  return (status_b_ & kSet) != 0 || (status_a_ & kDividerMask) != kDividerRuns;
}

uint8_t Clock::Encode(int value) const {
  if ((status_b_ & kBinary) != 0) return static_cast<uint8_t>(value);
  return static_cast<uint8_t>(value / 10 % 10 << 4 | value % 10);
}

int Clock::Decode(uint8_t value) const {
  if ((status_b_ & kBinary) != 0) return value;
  return (value >> 4) * 10 + (value & 0x0f);
}

uint8_t Clock::EncodeHour(int hour) const {
  if ((status_b_ & k24Hours) != 0) return Encode(hour);
  const uint8_t twelve = Encode(hour % 12 == 0 ? 12 : hour % 12);
  return hour >= 12 ? twelve | kAfternoon : twelve;
}

int Clock::DecodeHour(uint8_t value) const {
  if ((status_b_ & k24Hours) != 0) return Decode(value);
  const int hour = Decode(value & static_cast<uint8_t>(~kAfternoon)) % 12;
  return (value & kAfternoon) != 0 ? hour + 12 : hour;
}

uint8_t Clock::TimeField(uint8_t index, const absl::CivilSecond& time) const {
  switch (index) {
    case kSeconds:
      return Encode(time.second());
    case kMinutes:
      return Encode(time.minute());
    case kHours:
      return EncodeHour(time.hour());
    case kDayOfWeek:
      // Sunday is 1 here and 6 there.
      return Encode((static_cast<int>(absl::GetWeekday(time)) + 1) % 7 + 1);
    case kDay:
      return Encode(time.day());
    case kMonth:
      return Encode(time.month());
    case kYear:
      return Encode(static_cast<int>(time.year() % 100));
    default:
      return Encode(static_cast<int>(time.year() / 100 % 100));
  }
}

void Clock::SetTimeField(uint8_t index, uint8_t value, absl::Time now) {
  const absl::CivilSecond old = Stopped() ? stopped_at_ : Civil(GuestTime(now));
  absl::civil_year_t year = old.year();
  int month = old.month();
  int day = old.day();
  int hour = old.hour();
  int minute = old.minute();
  int second = old.second();
  const int number = Decode(value);
  switch (index) {
    case kSeconds:
      second = number;
      break;
    case kMinutes:
      minute = number;
      break;
    case kHours:
      hour = DecodeHour(value);
      break;
    case kDay:
      day = number;
      break;
    case kMonth:
      month = number;
      break;
    case kYear:
      year = year / 100 * 100 + number;
      break;
    case kCentury:
      year = number * 100 + year % 100;
      break;
    default:
      return;  // The day of the week follows from the date.
  }
  // Fields out of their range are carried into the next one, so that any value is a time.
  const absl::CivilSecond set(year, month, day, hour, minute, second);
  if (Stopped()) {
    stopped_at_ = set;
  } else {
    offset_ = absl::FromCivil(set, absl::UTCTimeZone()) + IntoSecond(GuestTime(now)) - now;
  }
}

uint8_t Clock::StatusA(absl::Time now) const {
  const bool updating = !Stopped() && IntoSecond(GuestTime(now)) >= kSecond - kUpdateTime;
  return updating ? status_a_ | kUpdateInProgress : status_a_;
}

uint8_t Clock::Read(uint8_t index, absl::Time now) {
  if (IsTimeField(index)) return TimeField(index, Stopped() ? stopped_at_ : Civil(GuestTime(now)));
  switch (index) {
    case kStatusA:
      return StatusA(now);
    case kStatusB:
      return status_b_;
    case kStatusC: {
      Poll(now);
      const uint8_t flags = flags_;
      flags_ = 0;
      return (flags & status_b_ & kInterrupts) != 0 ? flags | kRequest : flags;
    }
    case kStatusD:
      return kValid;
    default:
      return memory_[index];
  }
}

void Clock::Write(uint8_t index, uint8_t value, absl::Time now) {
  if (IsTimeField(index)) {
    SetTimeField(index, value, now);
    return;
  }
  switch (index) {
    case kStatusA:
    case kStatusB: {
      Poll(now);
      const bool was_stopped = Stopped();
      const absl::CivilSecond shown = Civil(GuestTime(now));
      if (index == kStatusA) {
        status_a_ = value & static_cast<uint8_t>(~kUpdateInProgress);
      } else {
        status_b_ = value;
      }
      if (!was_stopped && Stopped()) stopped_at_ = shown;
      if (was_stopped && !Stopped()) {
        offset_ = absl::FromCivil(stopped_at_, absl::UTCTimeZone()) - now;
      }
      return;
    }
    case kStatusC:
    case kStatusD:
      return;
    default:
      memory_[index] = value;
  }
}

std::optional<absl::Duration> Clock::Period() const {
  // Two slow rates stand among the fast ones.
  int rate = status_a_ & kRateMask;
  if (rate == 0 || (status_a_ & kDividerMask) != kDividerRuns) return std::nullopt;
  if (rate <= 2) rate += 7;
  return absl::Seconds(1) * (int64_t{1} << (rate - 1)) / 32768;
}

bool Clock::AlarmMatches(uint8_t index, int value) const {
  const uint8_t alarm = memory_[index];
  if ((alarm & kAnyValue) == kAnyValue) return true;
  return (index == kHoursAlarm ? DecodeHour(alarm) : Decode(alarm)) == value;
}

bool Clock::AlarmAt(const absl::CivilSecond& time) const {
  return AlarmMatches(kSecondsAlarm, time.second()) && AlarmMatches(kMinutesAlarm, time.minute()) &&
         AlarmMatches(kHoursAlarm, time.hour());
}

bool Clock::AlarmBetween(absl::Time from, absl::Time to) const {
  if (to - from > kDay24) from = to - kDay24;
  const absl::CivilSecond end = Civil(to);
  for (absl::CivilSecond second = Civil(from) + 1; second <= end; ++second) {
    if (AlarmAt(second)) return true;
  }
  return false;
}

bool Clock::Poll(absl::Time now) {
  const absl::Time before = last_poll_;
  last_poll_ = now;
  if (now <= before) return false;
  const bool was_up = (flags_ & status_b_ & kInterrupts) != 0;
  if (const std::optional<absl::Duration> period = Period(); period.has_value()) {
    absl::Duration rest;
    if (absl::IDivDuration(before - absl::UnixEpoch(), *period, &rest) !=
        absl::IDivDuration(now - absl::UnixEpoch(), *period, &rest)) {
      flags_ |= kPeriodic;
    }
  }
  if (!Stopped() && Civil(GuestTime(before)) != Civil(GuestTime(now))) {
    flags_ |= kUpdateEnded;
    if (AlarmBetween(GuestTime(before), GuestTime(now))) flags_ |= kAlarm;
  }
  return !was_up && (flags_ & status_b_ & kInterrupts) != 0;
}

std::optional<absl::Duration> Clock::NextInterrupt(absl::Time now) const {
  std::optional<absl::Duration> next;
  const auto consider = [&next](absl::Duration delay) {
    next = next.has_value() ? std::min(*next, delay) : delay;
  };
  if (const auto period = Period(); period.has_value() && (status_b_ & kPeriodic) != 0) {
    absl::Duration rest;
    absl::IDivDuration(now - absl::UnixEpoch(), *period, &rest);
    consider(*period - rest);
  }
  if (!Stopped() && (status_b_ & (kAlarm | kUpdateEnded)) != 0) {
    consider(kSecond - IntoSecond(GuestTime(now)));
  }
  return next;
}

}  // namespace hull::rtc
