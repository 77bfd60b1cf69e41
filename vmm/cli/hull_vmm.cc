// hull-vmm: one process, one machine. See vmm/README.md.

#include <gflags/gflags.h>
#include <glog/logging.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/file_io.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/spec.h"

DEFINE_string(spec, "", "the machine specification, a JSON file (vmm/machine/SPEC.md)");
DEFINE_int32(spec_fd, -1, "the same as an inherited descriptor");
DEFINE_int32(report_fd, -1, "where to say that the machine is over, an inherited descriptor");
DECLARE_bool(help);
DECLARE_bool(version);

// Where gflags goes with a command line that it does not understand. Exported for tests, and the
// only way to a status other than 1.
namespace google {
extern void (*gflags_exitfunc)(int);
}

namespace hull {
namespace {

// Documented in vmm/README.md.
enum ExitStatus {
  kExitPowerOff = 0,
  kExitUsage = 64,
  kExitHostError = 65,
  kExitReboot = 66,
  kExitPanic = 67,
  kExitTripleFault = 68,
  kExitInternalError = 69,
};

constexpr char kHelp[] =
    "usage: hull-vmm --spec FILE | --spec_fd N [--report_fd N]\n"
    "\n"
    "Runs one virtual machine, described by a JSON specification, until it ends.\n"
    "\n"
    "  --spec FILE    the specification (vmm/machine/SPEC.md)\n"
    "  --spec_fd N    the same, read from inherited descriptor N\n"
    "  --report_fd N  when the machine is over, write the exit status to descriptor N\n"
    "  --version      print the version\n"
    "  --help         print this\n"
    "\n"
    "Exit status: 0 the guest powered off, 64 bad usage or specification, 65 failure of the\n"
    "host, 66 the guest rebooted, 67 it panicked, 68 triple fault, 69 the guest cannot go on.\n"
    "SIGTERM and SIGINT stop the machine; hull-vmm then dies of that signal.\n";

constexpr char kVersion[] = "hull-vmm 0.1.0 (machine specification version 1)\n";
static_assert(machine::kSpecVersion == 1, "kVersion names it");

// One write, so that lines of several processes do not mix.
void Say(absl::string_view what) {
  const std::string line = absl::StrCat("hull-vmm: ", what, "\n");
  // Nothing is left to do about a standard error that cannot be written.
  (void)WriteFull(STDERR_FILENO, line);
}

int Print(const char* text) {
  return std::fputs(text, stdout) >= 0 && std::fflush(stdout) == 0 ? 0 : kExitHostError;
}

absl::StatusOr<std::string> ReadSpecText() {
  if (!FLAGS_spec.empty()) return ReadFile(FLAGS_spec, machine::kMaxSpecSize);
  const UniqueFd fd(FLAGS_spec_fd);
  std::string text;
  std::array<uint8_t, 4096> chunk;
  while (true) {
    HULL_ASSIGN_OR_RETURN(const size_t size, ReadFull(fd.get(), chunk));
    text.append(reinterpret_cast<const char*>(chunk.data()), size);
    // The parser refuses one that is too large; there is no need to read all of it.
    if (size < chunk.size() || text.size() > machine::kMaxSpecSize) return text;
  }
}

absl::StatusOr<machine::MachineSpec> ReadSpec() {
  HULL_ASSIGN_OR_RETURN(const std::string text, ReadSpecText());
  return machine::ParseSpec(text);
}

// Lets the parent see what stopped the machine.
void DieOf(int number) {
  signal(number, SIG_DFL);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, number);
  raise(number);
  pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
}

int Report(const Ending& ending) {
  switch (ending.kind) {
    case Ending::Kind::kPowerOff:
      return kExitPowerOff;
    case Ending::Kind::kReboot:
      Say("the guest rebooted");
      return kExitReboot;
    case Ending::Kind::kPanic:
      Say("the guest's kernel panicked");
      return kExitPanic;
    case Ending::Kind::kTripleFault:
      Say("triple fault in the guest");
      return kExitTripleFault;
    case Ending::Kind::kInternalError:
      Say(absl::StrCat("the guest cannot go on: ", ending.detail));
      return kExitInternalError;
    case Ending::Kind::kHostError:
      Say(absl::StrCat("failure of the host: ", ending.detail));
      return kExitHostError;
    case Ending::Kind::kStopped:
      break;  // DieOf comes first.
  }
  return kExitHostError;
}

// Tells who asked for it that the machine is over, with the status that this process exits with.
// The kernel takes its time to dissolve a VM, and nobody has to wait for that.
void TellStatus(int status) {
  if (FLAGS_report_fd < 0) return;
  // Nobody has to listen, either.
  (void)WriteFull(FLAGS_report_fd, absl::StrCat(status, "\n"));
}

int Main(int argc, char** argv) {
  // Each further arena would cost every thread that allocates a heap of its own.
  mallopt(M_ARENA_MAX, 1);
  // Debian's Abseil is built with its deadlock detector on: a graph of all locks, searched at each.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  google::gflags_exitfunc = [](int) { _exit(kExitUsage); };
  google::ParseCommandLineNonHelpFlags(&argc, &argv, /*remove_flags=*/true);
  if (FLAGS_help) return Print(kHelp);
  if (FLAGS_version) return Print(kVersion);
  if (argc > 1) {
    Say(absl::StrCat("unexpected argument \"", argv[1], "\"; see --help"));
    return kExitUsage;
  }
  if (FLAGS_spec.empty() == (FLAGS_spec_fd < 0)) {
    Say("expected either --spec FILE or --spec_fd N; see --help");
    return kExitUsage;
  }
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);

  const std::string spec_name =
      FLAGS_spec.empty() ? absl::StrCat("descriptor ", FLAGS_spec_fd) : FLAGS_spec;
  const absl::StatusOr<machine::MachineSpec> spec = ReadSpec();
  if (!spec.ok()) {
    Say(absl::StrCat(spec_name, ": ", spec.status().message()));
    return kExitUsage;
  }
  absl::StatusOr<std::unique_ptr<machine::Machine>> machine = machine::Machine::Create(*spec);
  if (!machine.ok()) {
    const bool our_user = absl::IsInvalidArgument(machine.status());
    Say(our_user ? absl::StrCat(spec_name, ": ", machine.status().message())
                 : std::string(machine.status().message()));
    return our_user ? kExitUsage : kExitHostError;
  }
  const Ending ending = (*machine)->Run();
  const int stop_signal = (*machine)->stop_signal();
  if (ending.kind == Ending::Kind::kStopped) {
    Say(absl::StrCat("stopped by signal ", stop_signal));
    DieOf(stop_signal);
  }
  const int status = Report(ending);
  TellStatus(status);
  // At once: what the machine still has, the kernel takes back faster than destructors.
  _exit(status);
}

}  // namespace
}  // namespace hull

int main(int argc, char** argv) { return hull::Main(argc, argv); }
