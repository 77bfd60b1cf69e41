// JSON from files that may be hostile: bounded in size and depth, and read without exceptions.

#ifndef IMAGES_BOUNDED_JSON_H_
#define IMAGES_BOUNDED_JSON_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hull::images {

// Index, manifest and configuration files are at most this long (registries have the same limit).
inline constexpr size_t kMaxJsonBytes = size_t{4} << 20;

// Parses an object of at most kMaxJsonBytes and 32 levels. `what` names the text in errors
// (kInvalidArgument), which never quote it.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text, absl::string_view what);

// The same for a list.
absl::StatusOr<nlohmann::json> ParseJsonArray(absl::string_view text, absl::string_view what);

// Each of these leaves `*out` as it is when `object` lacks `key` or has null there, and returns
// kInvalidArgument, naming the key, if it has a value of another type.
absl::Status ReadString(const nlohmann::json& object, const char* key, std::string* out);
absl::Status ReadStrings(const nlohmann::json& object, const char* key,
                         std::vector<std::string>* out);
absl::Status ReadStringMap(const nlohmann::json& object, const char* key,
                           std::map<std::string, std::string>* out);
// A whole number in [0, 2^63).
absl::Status ReadSize(const nlohmann::json& object, const char* key, uint64_t* out);

// The member if it exists and is not null, else nullptr.
const nlohmann::json* FindMember(const nlohmann::json& object, const char* key);

// Serialises without throwing: bytes that are not UTF-8 become U+FFFD.
std::string DumpJson(const nlohmann::json& value);

}  // namespace hull::images

#endif  // IMAGES_BOUNDED_JSON_H_
