// JSON as strict as a configuration file should be.

#ifndef VMM_MACHINE_STRICT_JSON_H_
#define VMM_MACHINE_STRICT_JSON_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull {

// The deepest nesting of arrays and objects.
inline constexpr size_t kMaxJsonDepth = 16;

// Parses RFC 8259 JSON. kInvalidArgument with the position for a syntax error, a key that occurs
// twice in one object (of which a lenient parser would silently take one), nesting beyond
// kMaxJsonDepth. Pure; no exceptions.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text);

}  // namespace hull

#endif  // VMM_MACHINE_STRICT_JSON_H_
