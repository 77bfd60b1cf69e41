#include "images/digest.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hull::images {

bool IsLowerHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

absl::StatusOr<Digest> Digest::Parse(absl::string_view text) {
  absl::string_view hex = text;
  if (!absl::ConsumePrefix(&hex, "sha256:") || hex.size() != kHexDigits || !IsLowerHex(hex)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(text.substr(0, 100)),
                     "\" is not a digest (\"sha256:\" and 64 lower-case hexadecimal digits)"));
  }
  return Digest(std::string(hex));
}

std::string Digest::ToString() const { return absl::StrCat("sha256:", hex_); }

}  // namespace hull::images
