#include "vmm/container/limits.h"

#include <cctype>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/checked.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
namespace {

constexpr uint64_t kLargestSize = (uint64_t{1} << 63) - 1;
constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kMebibyte = uint64_t{1} << 20;

// What a person typed, fit to be shown in a message: escaped, and cut where it is absurdly long.
std::string Shown(absl::string_view text) {
  constexpr size_t kShown = 60;
  std::string shown = absl::CHexEscape(text.substr(0, kShown));
  if (text.size() > kShown) shown += "...";
  return shown;
}

absl::Status Malformed(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", Shown(text), "\" is not a size: write a number and one of b, k, m, g, t (128m, 1.5g)"));
}

// The power of 1024 that a suffix stands for.
std::optional<int> SuffixPower(absl::string_view suffix) {
  if (suffix.empty()) return 0;
  const std::string lower = absl::AsciiStrToLower(suffix);
  if (lower == "b") return 0;
  const size_t power = absl::string_view("kmgtp").find(lower[0]);
  if (power == absl::string_view::npos) return std::nullopt;
  const absl::string_view rest = absl::string_view(lower).substr(1);
  if (!rest.empty() && rest != "b" && rest != "ib") return std::nullopt;
  return static_cast<int>(power) + 1;
}

std::string Mebibytes(uint64_t bytes) { return absl::StrCat(bytes >> 20, "m"); }

}  // namespace

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
  uint64_t whole = 0;
  // SimpleAtoi also refuses an empty string and what does not fit.
  if (digits > 19 || !absl::SimpleAtoi(text.substr(0, digits), &whole)) return Malformed(text);
  absl::string_view rest = text.substr(digits);

  // The fraction as numerator over a power of ten; digits beyond the 9th do not change a byte that
  // anybody means.
  uint64_t numerator = 0;
  uint64_t denominator = 1;
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    size_t fraction_digits = 0;
    while (fraction_digits < rest.size() && absl::ascii_isdigit(rest[fraction_digits])) {
      if (fraction_digits < 9) {
        numerator = numerator * 10 + static_cast<uint64_t>(rest[fraction_digits] - '0');
        denominator *= 10;
      }
      ++fraction_digits;
    }
    if (fraction_digits == 0) return Malformed(text);
    rest.remove_prefix(fraction_digits);
  }

  const std::optional<int> power = SuffixPower(rest);
  if (!power.has_value()) return Malformed(text);
  const uint64_t unit = uint64_t{1} << (10 * *power);
  const std::optional<uint64_t> whole_bytes = CheckedMul(whole, unit);
  // numerator < 10^9 and unit <= 2^50, so the product needs 128 bits.
  const uint64_t fraction_bytes =
      static_cast<uint64_t>(static_cast<unsigned __int128>(numerator) * unit / denominator);
  const std::optional<uint64_t> bytes =
      whole_bytes.has_value() ? CheckedAdd(*whole_bytes, fraction_bytes) : std::nullopt;
  if (!bytes.has_value() || *bytes > kLargestSize) {
    return absl::InvalidArgumentError(absl::StrCat("\"", Shown(text), "\" is too large a size"));
  }
  return *bytes;
}

absl::StatusOr<uint64_t> ParseMemory(absl::string_view text, uint64_t host_bytes) {
  HULL_ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(text));
  if (bytes < kMinMemoryBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(text), " is too little memory for a container: give it at least ",
                     Mebibytes(kMinMemoryBytes)));
  }
  if (bytes > host_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(text), " is more memory than this host has (", Mebibytes(host_bytes), ")"));
  }
  return bytes / kPageBytes * kPageBytes;
}

absl::StatusOr<uint64_t> ParseStorageSize(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(text));
  if (bytes < kMinStorageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(text), " is too small for a disk: give it at least ", Mebibytes(kMinStorageBytes)));
  }
  if (bytes > kMaxStorageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(text), " is too large for a disk: it has at most ", kMaxStorageBytes >> 40, "t"));
  }
  return bytes / kMebibyte * kMebibyte;
}

absl::StatusOr<Cpus> ParseCpus(absl::string_view text) {
  // Digits and one point, so that neither "nan" nor "1e0" nor "0x1" is a number here.
  double number = 0;
  if (text.find_first_not_of("0123456789.") != absl::string_view::npos ||
      !absl::SimpleAtod(text, &number)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", Shown(text),
                     "\" is not a number of CPUs: write one like 2 or 0.5, up to ", kMaxCpus));
  }
  const double millis = std::floor(number * 1000 + 1e-6);
  if (millis < static_cast<double>(kMinCpuMillis) || number > kMaxCpus) {
    return absl::InvalidArgumentError(
        absl::StrCat("a container has 0.01 to ", kMaxCpus, " CPUs, not ", Shown(text)));
  }
  Cpus cpus = {.millis = static_cast<uint64_t>(millis)};
  cpus.count = static_cast<uint32_t>((cpus.millis + 999) / 1000);
  return cpus;
}

}  // namespace hull::container
