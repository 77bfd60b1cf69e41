#include "images/bounded_json.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr int kMaxDepth = 32;

absl::Status WrongType(const char* key, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not ", expected));
}

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, absl::string_view what) {
  if (text.size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is larger than ", kMaxJsonBytes, " bytes"));
  }
  bool too_deep = false;
  // Rejecting a level while parsing keeps a file of four million brackets from becoming a tree.
  const auto check_depth = [&too_deep](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) too_deep = true;
    return depth <= kMaxDepth;
  };
  nlohmann::json value = nlohmann::json::parse(text.begin(), text.end(), check_depth,
                                               /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is nested deeper than ", kMaxDepth, " levels"));
  }
  return value;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text, absl::string_view what) {
  HULL_ASSIGN_OR_RETURN(nlohmann::json value, ParseJson(text, what));
  if (!value.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is not a JSON object"));
  }
  return value;
}

absl::StatusOr<nlohmann::json> ParseJsonArray(absl::string_view text, absl::string_view what) {
  HULL_ASSIGN_OR_RETURN(nlohmann::json value, ParseJson(text, what));
  if (!value.is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is not a JSON list"));
  }
  return value;
}

const nlohmann::json* FindMember(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::Status ReadString(const nlohmann::json& object, const char* key, std::string* out) {
  const nlohmann::json* member = FindMember(object, key);
  if (member == nullptr) return absl::OkStatus();
  if (!member->is_string()) return WrongType(key, "a string");
  *out = member->get_ref<const std::string&>();
  return absl::OkStatus();
}

absl::Status ReadStrings(const nlohmann::json& object, const char* key,
                         std::vector<std::string>* out) {
  const nlohmann::json* member = FindMember(object, key);
  if (member == nullptr) return absl::OkStatus();
  if (!member->is_array()) return WrongType(key, "a list of strings");
  std::vector<std::string> values;
  for (const nlohmann::json& item : *member) {
    if (!item.is_string()) return WrongType(key, "a list of strings");
    values.push_back(item.get_ref<const std::string&>());
  }
  *out = std::move(values);
  return absl::OkStatus();
}

absl::Status ReadStringMap(const nlohmann::json& object, const char* key,
                           std::map<std::string, std::string>* out) {
  const nlohmann::json* member = FindMember(object, key);
  if (member == nullptr) return absl::OkStatus();
  if (!member->is_object()) return WrongType(key, "an object of strings");
  std::map<std::string, std::string> values;
  for (auto it = member->begin(); it != member->end(); ++it) {
    if (!it->is_string()) return WrongType(key, "an object of strings");
    values.emplace(it.key(), it->get_ref<const std::string&>());
  }
  *out = std::move(values);
  return absl::OkStatus();
}

absl::Status ReadSize(const nlohmann::json& object, const char* key, uint64_t* out) {
  const nlohmann::json* member = FindMember(object, key);
  if (member == nullptr) return absl::OkStatus();
  // The parser makes every whole number without a sign an unsigned one, and what does not fit 64
  // bits a floating-point one.
  if (!member->is_number_unsigned() || member->get<uint64_t>() > uint64_t{INT64_MAX}) {
    return WrongType(key, "a size");
  }
  *out = member->get<uint64_t>();
  return absl::OkStatus();
}

std::string DumpJson(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace hull::images
