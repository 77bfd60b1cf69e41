// A hull-vmm that is compromised already: in the real jail each kind of thread tries to get out,
// says how that went on standard error (escape_attempts.h), and then does its work.

#include "tests/integration/escape_attempts.h"
#include "vmm/cli/vmm_main.h"
#include "vmm/sandbox/seccomp.h"

namespace {

void StartThread(hull::sandbox::ThreadKind kind) {
  // Still allowed here, by the list for setting up.
  hull::AnswerViolations();
  hull::sandbox::ConfineThread(kind);
  hull::TryToEscape(hull::sandbox::NameOf(kind).data());
}

}  // namespace

int main(int argc, char** argv) { return hull::cli::VmmMain(argc, argv, StartThread); }
