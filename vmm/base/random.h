// Random bytes of the host's.

#ifndef VMM_BASE_RANDOM_H_
#define VMM_BASE_RANDOM_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace hull {

// Fills all of `out` from getrandom(2), which waits only while the host's generator is not ready.
absl::Status FillRandom(std::span<uint8_t> out);

}  // namespace hull

#endif  // VMM_BASE_RANDOM_H_
