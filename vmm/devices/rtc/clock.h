// The registers of a PC's real-time clock and its battery-backed memory.
//
// Motorola MC146818A data sheet; the meaning of the memory's bytes to firmware: IBM PC AT Technical
// Reference, "CMOS RAM", and SeaBIOS's use of them.

#ifndef VMM_DEVICES_RTC_CLOCK_H_
#define VMM_DEVICES_RTC_CLOCK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace hull::rtc {

inline constexpr size_t kRegisters = 128;

// Indices of registers.
inline constexpr uint8_t kStatusA = 0x0a;
inline constexpr uint8_t kStatusB = 0x0b;
inline constexpr uint8_t kStatusC = 0x0c;
inline constexpr uint8_t kStatusD = 0x0d;
inline constexpr uint8_t kCentury = 0x32;

// Pure register logic: the time is passed in, and may go backwards. The clock shows UTC. Not
// thread-safe.
class Clock {
 public:
  // `now` is when the machine starts.
  explicit Clock(absl::Time now) : last_poll_(now) {}

  // A byte of memory that firmware finds; `index` below kRegisters.
  void Preset(uint8_t index, uint8_t value) { memory_[index] = value; }

  // `index` below kRegisters.
  uint8_t Read(uint8_t index, absl::Time now);
  void Write(uint8_t index, uint8_t value, absl::Time now);

  // Notes what has happened by `now`; whether the interrupt line went up.
  bool Poll(absl::Time now);
  // After how long Poll has something to do, if any enabled interrupt can come.
  std::optional<absl::Duration> NextInterrupt(absl::Time now) const;

 private:
  uint8_t StatusA(absl::Time now) const;
  bool Stopped() const;
  absl::Time GuestTime(absl::Time now) const { return now + offset_; }
  std::optional<absl::Duration> Period() const;
  uint8_t Encode(int value) const;
  int Decode(uint8_t value) const;
  uint8_t EncodeHour(int hour) const;
  int DecodeHour(uint8_t value) const;
  uint8_t TimeField(uint8_t index, const absl::CivilSecond& time) const;
  void SetTimeField(uint8_t index, uint8_t value, absl::Time now);
  bool AlarmAt(const absl::CivilSecond& time) const;
  bool AlarmMatches(uint8_t index, int value) const;
  bool AlarmBetween(absl::Time from, absl::Time to) const;

  std::array<uint8_t, kRegisters> memory_ = {};
  uint8_t status_a_ = 0x26;                       // 32.768 kHz, 1024 interrupts a second.
  uint8_t status_b_ = 0x02;                       // BCD, 24 hours, no interrupts.
  uint8_t flags_ = 0;                             // Of status C, without the summary bit.
  absl::Duration offset_ = absl::ZeroDuration();  // What the guest set the clock to, less `now`.
  absl::CivilSecond stopped_at_;                  // What a stopped clock shows.
  absl::Time last_poll_;
};

}  // namespace hull::rtc

#endif  // VMM_DEVICES_RTC_CLOCK_H_
