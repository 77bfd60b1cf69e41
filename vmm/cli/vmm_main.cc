#include "vmm/cli/vmm_main.h"

#include <gflags/gflags.h>
#include <glog/logging.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/file_io.h"
#include "vmm/base/out_of_memory.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/version.h"
#include "vmm/cli/vmm_supervisor.h"
#include "vmm/machine/host_files.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/spec.h"
#include "vmm/sandbox/jail.h"
#include "vmm/sandbox/namespaces.h"
#include "vmm/sandbox/seccomp.h"
#include "vmm/sandbox/user_range.h"

DEFINE_string(spec, "", "the machine specification, a JSON file (vmm/machine/SPEC.md)");
DEFINE_int32(spec_fd, -1, "the same as an inherited descriptor");
DEFINE_int32(report_fd, -1, "where to say that the machine is over, an inherited descriptor");
DEFINE_bool(host_left, false,
            "for the monitor: this process was born with the user and the namespaces of its jail");
DEFINE_int32(kvm_fd, -1, "for the monitor: /dev/kvm as an inherited descriptor");
DEFINE_int32(parent_fd, -1, "for the monitor: a pidfd of the process to die with, inherited");
DECLARE_bool(help);
DECLARE_bool(version);

// Where gflags goes with a command line that it does not understand. Exported for tests, and the
// only way to a status other than 1.
namespace google {
extern void (*gflags_exitfunc)(int);
}

namespace hull::cli {
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
  kExitViolation = sandbox::kExitViolation,
};
static_assert(kExitViolation == 70, "vmm/README.md says so");
static_assert(kExitHostError == sandbox::kExitUnconfined);

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
    "70 a thread of hull-vmm made a system call that it may not make.\n"
    "SIGTERM and SIGINT stop the machine; hull-vmm then dies of that signal.\n"
    "\n"
    "hull-vmm jails itself (vmm/sandbox/README.md). Run by root, it takes a user id of its own "
    "out\n"
    "of the range HULL_UIDS (FIRST:COUNT).\n";

std::string Version() {
  return absl::StrCat("hull-vmm ", kVersion, " (machine specification version ",
                      machine::kSpecVersion, ")\n");
}

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
void TellStatus(int status, int supervisor) {
  for (const int fd : {FLAGS_report_fd, supervisor}) {
    // Nobody has to listen, either.
    if (fd >= 0) (void)WriteFull(fd, absl::StrCat(status, "\n"));
  }
}

// Whose fault an error is, said and turned into an exit status.
int Fail(const std::string& spec_name, const absl::Status& status) {
  const bool our_user = absl::IsInvalidArgument(status);
  Say(our_user ? absl::StrCat(spec_name, ": ", status.message()) : std::string(status.message()));
  return our_user ? kExitUsage : kExitHostError;
}

// Where the specification has no part in it, whatever the error's code.
int FailOfHost(const absl::Status& status) {
  Say(status.message());
  return kExitHostError;
}

// A user id that no other VMM has, where this process may become another user.
absl::StatusOr<std::optional<sandbox::ClaimedUser>> ClaimUser() {
  if (geteuid() != 0) return std::nullopt;
  sandbox::UserRange range = sandbox::kDefaultUserRange;
  if (const char* configured = getenv("HULL_UIDS")) {
    HULL_ASSIGN_OR_RETURN(range, sandbox::ParseUserRange(configured));
  }
  const char* const configured = getenv("HULL_RUN");
  const std::string directory = configured != nullptr ? configured : "/run/hull";
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("create directory \"", directory, "\""));
  }
  HULL_ASSIGN_OR_RETURN(sandbox::ClaimedUser user,
                        sandbox::ClaimUser(range, absl::StrCat(directory, "/users.lock")));
  return user;
}

// How much a machine can need of what the host limits, and no more.
absl::StatusOr<sandbox::JailOptions> JailOf(const machine::MachineSpec& spec,
                                            const machine::HostFiles& files) {
  // Guest sockets, and what of them has an event or a file: generous, as these are few.
  constexpr uint64_t kConnections = 1024;
  constexpr uint64_t kOwnDescriptors = 64;
  constexpr uint64_t kDescriptorsPerDevice = 8;
  // The program, its heap, and the buffers of the devices (vmm/sandbox/BOUNDS.md).
  constexpr uint64_t kOwnMemory = uint64_t{256} << 20;
  // A thread's stack.
  constexpr uint64_t kMemoryPerThread = uint64_t{9} << 20;
  uint64_t threads = 1 + spec.vcpus + spec.block.size();
  if (spec.pc.has_value()) {
    // A pc machine has a thread for its diskettes, and one for each ATA channel with a drive.
    threads += 1 + (spec.pc->disks.empty() ? 0 : 1) + (spec.pc->cdrom.has_value() ? 1 : 0);
  }
  sandbox::JailOptions options;
  options.descriptors = files.Descriptors();
  if (FLAGS_report_fd >= 0) options.descriptors.push_back(FLAGS_report_fd);
  // One makes the VM while the kernel is loaded, and since Linux 6.14 KVM makes one of its own.
  options.max_threads = threads + 2;
  options.max_descriptors = kOwnDescriptors + spec.vcpus +
                            kDescriptorsPerDevice * (spec.block.size() + 2) +
                            (spec.vsock.has_value() ? kConnections : 0);
  options.max_address_space = spec.memory_bytes + kOwnMemory + kMemoryPerThread * threads;
  HULL_ASSIGN_OR_RETURN(options.max_file_size, files.LargestFile(spec));
  return options;
}

// From here on this process is in the jail, or ends.
absl::Status ConfineProcess(const sandbox::JailOptions& options) {
  // glog tells the time of day, for which it would read the time zone's file.
  setenv("TZ", "UTC0", 1);
  tzset();
  HULL_RETURN_IF_ERROR(sandbox::EnterJail(options));
  HULL_RETURN_IF_ERROR(sandbox::InstallViolationHandler("hull-vmm"));
  HULL_RETURN_IF_ERROR(sandbox::EnterFilter(sandbox::ThreadKind::kSetup));
  constexpr int kFiltered = 2;  // SECCOMP_MODE_FILTER
  if (prctl(PR_GET_SECCOMP) != kFiltered) {
    return absl::InternalError("jail: system calls are not filtered, although the kernel said so");
  }
  return absl::OkStatus();
}

// In the jail: makes the machine, and runs it to its end. `supervisor` is where that is told
// besides
// --report_fd, or -1.
int RunMachine(const std::string& spec_name, const machine::MachineSpec& spec,
               machine::HostFiles files, machine::Machine::ThreadStart thread_start,
               int supervisor) {
  absl::StatusOr<std::unique_ptr<machine::Machine>> machine =
      machine::Machine::Create(spec, std::move(files), std::move(thread_start));
  if (!machine.ok()) return Fail(spec_name, machine.status());
  const Ending ending = (*machine)->Run();
  const int stop_signal = (*machine)->stop_signal();
  int status;
  if (ending.kind == Ending::Kind::kStopped) {
    Say(absl::StrCat("stopped by signal ", stop_signal));
    // Whoever started this process dies of the signal in its place, which is the first of its PID
    // namespace and as such cannot.
    status = 128 + stop_signal;
  } else {
    status = Report(ending);
  }
  TellStatus(status, supervisor);
  // At once: what the machine still has, the kernel takes back faster than destructors.
  _exit(status);
}

int Run(const std::string& spec_name, machine::Machine::ThreadStart thread_start) {
  const absl::StatusOr<machine::MachineSpec> spec = ReadSpec();
  if (!spec.ok()) {
    Say(absl::StrCat(spec_name, ": ", spec.status().message()));
    return kExitUsage;
  }
  absl::StatusOr<machine::HostFiles> files =
      machine::HostFiles::Open(*spec, UniqueFd(FLAGS_kvm_fd));
  if (!files.ok()) return Fail(spec_name, files.status());
  if (!FLAGS_host_left) {
    absl::StatusOr<VmmSupervisor> supervisor = VmmSupervisor::Create(*spec, *files);
    if (!supervisor.ok()) return Fail(spec_name, supervisor.status());
    absl::StatusOr<sandbox::JailOptions> jail = JailOf(*spec, *files);
    if (!jail.ok()) {
      supervisor->RemoveSocket();
      return Fail(spec_name, jail.status());
    }
    const absl::StatusOr<std::optional<sandbox::ClaimedUser>> user = ClaimUser();
    // What the VMM is to die with.
    const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    const absl::StatusOr<pid_t> vmm = [&]() -> absl::StatusOr<pid_t> {
      HULL_RETURN_IF_ERROR(user.status());
      if (!self.valid()) return PosixError("watch this process");
      return sandbox::ForkIntoNamespace();
    }();
    if (!vmm.ok()) {
      supervisor->RemoveSocket();
      return FailOfHost(vmm.status());
    }
    if (*vmm > 0) {
      // All of the machine's is the VMM's alone.
      { const machine::HostFiles gone = *std::move(files); }
      supervisor->Supervise(*vmm);
    }
    // The socket is the supervisor's to remove.
    RemoveWhenOutOfMemory(nullptr);
    if (user->has_value()) jail->user = (*user)->user;
    jail->parent = self.get();
    jail->descriptors.push_back(supervisor->report());
    const absl::Status jailed = ConfineProcess(*jail);
    if (!jailed.ok()) return FailOfHost(jailed);
    _exit(RunMachine(spec_name, *spec, *std::move(files), std::move(thread_start),
                     supervisor->report()));
  }

  if (spec->vsock.has_value() && !spec->vsock->connector.has_value()) {
    Say("vsock.host_socket: a monitor is to give a connector");
    return kExitUsage;
  }
  absl::StatusOr<sandbox::JailOptions> jail = JailOf(*spec, *files);
  if (!jail.ok()) return Fail(spec_name, jail.status());
  jail->host_left = true;
  jail->parent = FLAGS_parent_fd;
  const absl::Status jailed = ConfineProcess(*jail);
  if (!jailed.ok()) return FailOfHost(jailed);
  return RunMachine(spec_name, *spec, *std::move(files), std::move(thread_start), -1);
}

}  // namespace

int VmmMain(int argc, char** argv, machine::Machine::ThreadStart thread_start) {
  ExitWhenOutOfMemory(
      "hull-vmm: out of memory: this process may not have, or the host has not, more\n",
      kExitHostError);
  // Each further arena would cost every thread that allocates a heap of its own; an allocation that
  // came from mmap(2) would be a system call for which a vCPU's thread has no leave.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_MAX, 0);
  // Debian's Abseil is built with its deadlock detector on: a graph of all locks, searched at each.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  google::gflags_exitfunc = [](int) { _exit(kExitUsage); };
  google::ParseCommandLineNonHelpFlags(&argc, &argv, /*remove_flags=*/true);
  if (FLAGS_help) return Print(kHelp);
  if (FLAGS_version) return Print(Version().c_str());
  if (argc > 1) {
    Say(absl::StrCat("unexpected argument \"", argv[1], "\"; see --help"));
    return kExitUsage;
  }
  if (FLAGS_spec.empty() == (FLAGS_spec_fd < 0)) {
    Say("expected either --spec FILE or --spec_fd N; see --help");
    return kExitUsage;
  }
  if (FLAGS_host_left && getpid() != 1) {
    Say("--host_left is for the monitor, which starts hull-vmm in namespaces of its own");
    return kExitUsage;
  }
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  return Run(FLAGS_spec.empty() ? absl::StrCat("descriptor ", FLAGS_spec_fd) : FLAGS_spec,
             std::move(thread_start));
}

}  // namespace hull::cli
