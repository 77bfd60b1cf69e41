#include "vmm/container/signals.h"

#include <signal.h>

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hull::container {
namespace {

constexpr uint32_t kMaxSignal = 64;
constexpr uint32_t kMaxSeconds = uint32_t{100} * 365 * 86400;
constexpr size_t kShown = 60;

constexpr std::pair<absl::string_view, uint32_t> kNames[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},     {"QUIT", SIGQUIT}, {"ILL", SIGILL},
    {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},   {"IOT", SIGABRT},  {"BUS", SIGBUS},
    {"FPE", SIGFPE},   {"KILL", SIGKILL},   {"USR1", SIGUSR1}, {"SEGV", SIGSEGV},
    {"USR2", SIGUSR2}, {"PIPE", SIGPIPE},   {"ALRM", SIGALRM}, {"TERM", SIGTERM},
    {"STKFLT", 16},    {"CHLD", SIGCHLD},   {"CLD", SIGCHLD},  {"CONT", SIGCONT},
    {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},   {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},
    {"URG", SIGURG},   {"XCPU", SIGXCPU},   {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM},
    {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO},     {"POLL", SIGIO},
    {"PWR", SIGPWR},   {"SYS", SIGSYS},     {"RTMIN", 34},     {"RTMAX", kMaxSignal},
};

std::string Shown(absl::string_view text) { return absl::CHexEscape(text.substr(0, kShown)); }

}  // namespace

absl::StatusOr<uint32_t> ParseSignal(absl::string_view text) {
  uint32_t number = 0;
  if (absl::SimpleAtoi(text, &number) && number >= 1 && number <= kMaxSignal) return number;
  const std::string upper = absl::AsciiStrToUpper(text.substr(0, kShown));
  const absl::string_view name = absl::StripPrefix(upper, "SIG");
  for (const auto& [known, signal] : kNames) {
    if (name == known) return signal;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("invalid signal: ", Shown(text), ": write a name such as TERM, or 1 to 64"));
}

absl::StatusOr<uint32_t> ParseSeconds(absl::string_view text) {
  uint32_t seconds = 0;
  if (absl::SimpleAtoi(text, &seconds) && seconds <= kMaxSeconds) return seconds;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", Shown(text), "\" is not a number of seconds"));
}

}  // namespace hull::container
