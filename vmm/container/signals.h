// Signals and times as flags give them.

#ifndef VMM_CONTAINER_SIGNALS_H_
#define VMM_CONTAINER_SIGNALS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

inline constexpr uint32_t kDefaultStopTimeoutSeconds = 10;

// A signal of Linux on x86-64: "TERM", "SIGTERM" in either case, or its number, 1 to 64.
// kInvalidArgument, fit for the user, for anything else.
absl::StatusOr<uint32_t> ParseSignal(absl::string_view text);

// Whole seconds, at most those of a hundred years. kInvalidArgument for anything else.
absl::StatusOr<uint32_t> ParseSeconds(absl::string_view text);

}  // namespace hull::container

#endif  // VMM_CONTAINER_SIGNALS_H_
