// What containers and hosts are called.

#ifndef VMM_CONTAINER_NAMES_H_
#define VMM_CONTAINER_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

inline constexpr size_t kIdLength = 64;
inline constexpr size_t kShortIdLength = 12;
inline constexpr size_t kMaxNameBytes = 128;
inline constexpr size_t kMaxHostnameBytes = 63;  // one label; Linux itself takes 64

// A new container id: 256 random bits as 64 lower-case hexadecimal digits.
absl::StatusOr<std::string> NewId();
absl::StatusOr<uint64_t> RandomU64();

bool IsId(absl::string_view text);
// The form shown to people; `id` satisfies IsId().
absl::string_view ShortId(absl::string_view id);

// Whether `name` may be a container's: podman's rule, [a-zA-Z0-9][a-zA-Z0-9_.-]*, and at most
// kMaxNameBytes. Such a name is also a safe file name.
absl::Status ValidateName(absl::string_view name);

// Letters, digits, '-' and '.', not first or last: RFC 1123, within kMaxHostnameBytes.
absl::Status ValidateHostname(absl::string_view hostname);

}  // namespace hull::container

#endif  // VMM_CONTAINER_NAMES_H_
