#include "vmm/container/names.h"

#include <sys/random.h>

#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
namespace {

absl::Status FillRandom(char* data, size_t size) {
  // Reads of up to 256 bytes are neither cut short nor interrupted once the pool is ready.
  ssize_t n;
  do {
    n = getrandom(data, size, 0);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(size)) return PosixError("get random bytes");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> NewId() {
  char bytes[kIdLength / 2];
  HULL_RETURN_IF_ERROR(FillRandom(bytes, sizeof(bytes)));
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

absl::StatusOr<uint64_t> RandomU64() {
  uint64_t value;
  HULL_RETURN_IF_ERROR(FillRandom(reinterpret_cast<char*>(&value), sizeof(value)));
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
