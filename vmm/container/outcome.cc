#include "vmm/container/outcome.h"

#include <sys/wait.h>

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hull::container {
namespace {

// hull-vmm's exit statuses: vmm/README.md.
constexpr int kPowerOff = 0;
constexpr int kUsage = 64;
constexpr int kHostError = 65;
constexpr int kReboot = 66;
constexpr int kPanic = 67;
constexpr int kTripleFault = 68;
constexpr int kInternalError = 69;
constexpr int kViolation = 70;
constexpr int kSignal = 128;

std::string Describe(int wait_status) {
  if (WIFSIGNALED(wait_status)) return absl::StrCat("was killed by signal ", WTERMSIG(wait_status));
  switch (WEXITSTATUS(wait_status)) {
    case kPowerOff:
      return "was powered off from inside before its process had ended";
    case kUsage:
      return "could not be set up";
    case kHostError:
      return "could not run on this host";
    case kReboot:
      return "was rebooted from inside: a container ends there";
    case kPanic:
      return "ended in a panic of its kernel (hull run --console shows it)";
    case kTripleFault:
      return "ended in a triple fault of its CPU (hull run --console shows what came before)";
    case kInternalError:
      return "ended in a state that the host's KVM cannot run";
    case kViolation:
      return "was ended by its jail";
    default:
      // The first process of a PID namespace does not die of SIGTERM, but says that it had one.
      if (WEXITSTATUS(wait_status) > kSignal) {
        return absl::StrCat("was stopped by signal ", WEXITSTATUS(wait_status) - kSignal);
      }
      return absl::StrCat("ended with status ", WEXITSTATUS(wait_status));
  }
}

// The last line that is not blank: a program's final error.
absl::string_view LastLine(absl::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const size_t newline = text.rfind('\n');
  return newline == absl::string_view::npos ? text : text.substr(newline + 1);
}

}  // namespace

std::string Printable(absl::string_view text) {
  constexpr size_t kLimit = 1000;
  std::string plain;
  for (const char c : text.substr(0, kLimit)) {
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      plain += c;
    } else {
      absl::StrAppend(&plain, "\\x", absl::BytesToHexString(absl::string_view(&c, 1)));
    }
  }
  return plain;
}

Outcome MachineFailure(absl::string_view name, int wait_status, absl::string_view last_words) {
  std::string error = absl::StrCat("the microVM of container ", name, " ", Describe(wait_status));
  absl::string_view line = LastLine(last_words);
  line = absl::StripPrefix(line, "hull-vmm: ");
  if (!line.empty()) absl::StrAppend(&error, ": ", Printable(line));
  return {.exit_status = kHullFailed, .error = std::move(error)};
}

}  // namespace hull::container
