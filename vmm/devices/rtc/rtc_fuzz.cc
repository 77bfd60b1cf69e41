// A hostile guest against the clock, with a host's clock that jumps: every time is one that a
// guest can read, and an interrupt is never due in the past.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>

#include "vmm/devices/rtc/clock.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::Time now = absl::FromUnixSeconds(1764021548);
  hull::rtc::Clock clock(now);
  // Three bytes a step: what, which register, a value.
  for (size_t i = 0; i + 3 <= size; i += 3) {
    const uint8_t index = data[i + 1] & 0x7f;
    switch (data[i] & 3) {
      case 0:
        clock.Read(index, now);
        break;
      case 1:
        clock.Write(index, data[i + 2], now);
        break;
      case 2:
        clock.Poll(now);
        break;
      default:
        now +=
            absl::Microseconds(int64_t{static_cast<int8_t>(data[i + 2])} << (data[i] >> 2 & 0x1f));
        break;
    }
    const auto next = clock.NextInterrupt(now);
    CHECK(!next.has_value() || *next > absl::ZeroDuration());
  }
  return 0;
}
