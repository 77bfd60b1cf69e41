#include "vmm/container/labels.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace hull::container {

absl::StatusOr<std::vector<std::string>> MergeLabels(
    const std::map<std::string, std::string>& image, const std::vector<std::string>& flags) {
  std::map<std::string, std::string> merged = image;
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    const std::string key = flag.substr(0, equals);
    if (key.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--label: \"", absl::CHexEscape(flag.substr(0, 60)), "\" has no key"));
    }
    merged[key] = equals == std::string::npos ? "" : flag.substr(equals + 1);
  }
  std::vector<std::string> labels;
  for (const auto& [key, value] : merged) {
    labels.push_back(absl::StrCat(key, "=", value));
    if (labels.back().find('\0') != std::string::npos) {
      return absl::InvalidArgumentError("--label: a label with a NUL byte");
    }
  }
  return labels;
}

bool HasLabel(const std::vector<std::string>& labels, absl::string_view filter) {
  const bool with_value = absl::StrContains(filter, '=');
  return std::any_of(labels.begin(), labels.end(), [&](const std::string& label) {
    return with_value ? label == filter : label.substr(0, label.find('=')) == filter;
  });
}

}  // namespace hull::container
