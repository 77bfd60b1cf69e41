#include "vmm/container/names.h"

#include <array>
#include <span>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/random.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
absl::StatusOr<std::string> NewId() {
  std::array<uint8_t, kIdLength / 2> bytes;
  HULL_RETURN_IF_ERROR(FillRandom(bytes));
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

absl::StatusOr<uint64_t> RandomU64() {
  uint64_t value;
  HULL_RETURN_IF_ERROR(FillRandom(std::span(reinterpret_cast<uint8_t*>(&value), sizeof(value))));
  return value;
}

bool IsId(absl::string_view text) {
  if (text.size() != kIdLength) return false;
  for (const char c : text) {
    if (!absl::ascii_isdigit(c) && !(c >= 'a' && c <= 'f')) return false;
  }
  return true;
}

absl::string_view ShortId(absl::string_view id) { return id.substr(0, kShortIdLength); }

absl::Status ValidateName(absl::string_view name) {
  bool good = !name.empty() && name.size() <= kMaxNameBytes && absl::ascii_isalnum(name[0]);
  for (const char c : name) {
    good = good && (absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-');
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(name.substr(0, 60)),
                   "\" cannot be a container's name: it starts with a letter or digit and goes on "
                   "with letters, digits, '_', '.' and '-', ",
                   kMaxNameBytes, " at most"));
}

absl::Status ValidateHostname(absl::string_view hostname) {
  bool good = !hostname.empty() && hostname.size() <= kMaxHostnameBytes;
  if (good) good = absl::ascii_isalnum(hostname.front()) && absl::ascii_isalnum(hostname.back());
  for (const char c : hostname) good = good && (absl::ascii_isalnum(c) || c == '-' || c == '.');
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(hostname.substr(0, 60)),
                   "\" is not a host name: letters, digits, '-' and '.', neither first nor last, ",
                   kMaxHostnameBytes, " at most"));
}

}  // namespace hull::container
