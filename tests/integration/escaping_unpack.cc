// A hull-unpack that is compromised already: in its real sandbox it tries to get out, says how that
// went on standard error (escape_attempts.h), and then does its work.

#include "images/unpack_main.h"
#include "tests/integration/escape_attempts.h"
#include "vmm/base/status_macros.h"
#include "vmm/sandbox/jail.h"
#include "vmm/sandbox/seccomp.h"

namespace {

absl::Status ConfineAndTry(const hull::sandbox::JailOptions& options) {
  HULL_RETURN_IF_ERROR(hull::sandbox::EnterJail(options));
  hull::AnswerViolations();
  HULL_RETURN_IF_ERROR(hull::sandbox::EnterFilter(hull::sandbox::ThreadKind::kUnpack));
  hull::TryToEscape("unpack");
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) { return hull::images::UnpackMain(argc, argv, ConfineAndTry); }
