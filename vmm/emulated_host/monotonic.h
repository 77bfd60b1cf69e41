// The clock for deadlines: it does not jump when the time of day is set.

#ifndef VMM_EMULATED_HOST_MONOTONIC_H_
#define VMM_EMULATED_HOST_MONOTONIC_H_

#include <time.h>

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace hull::emulated_host {

// CLOCK_MONOTONIC: since some moment before this process started.
inline absl::Duration MonotonicNow() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

// The timeout argument of poll(2) for waiting until `deadline`: -1 for an infinite one; never less
// than what is left.
inline int PollTimeout(absl::Duration deadline) {
  if (deadline == absl::InfiniteDuration()) return -1;
  const absl::Duration left = deadline - MonotonicNow();
  if (left <= absl::ZeroDuration()) return 0;
  return static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 1 << 30));
}

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_MONOTONIC_H_
