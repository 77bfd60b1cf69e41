#include "vmm/sandbox/seccomp.h"

#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>

#include "absl/base/internal/sysinfo.h"
#include "absl/base/internal/thread_identity.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/internal/create_thread_identity.h"
#include "vmm/base/posix_error.h"
#include "vmm/sandbox/filters.h"

namespace hull::sandbox {
namespace {

// One line for standard error, made where nothing may be allocated.
class Line {
 public:
  void Add(const char* text) {
    for (; *text != '\0' && size_ < bytes_.size(); ++text) bytes_[size_++] = *text;
  }
  void AddHex(uint64_t value) {
    char digits[2 + 16 + 1] = "0x";
    size_t size = 2;
    int shift = 60;
    while (shift > 0 && (value >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) digits[size++] = "0123456789abcdef"[(value >> shift) & 15];
    digits[size] = '\0';
    Add(digits);
  }
  void Write() const {
    // Nothing is left to do about a standard error that cannot be written.
    if (write(STDERR_FILENO, bytes_.data(), size_) < 0) return;
  }

 private:
  std::array<char, 400> bytes_;
  size_t size_ = 0;
};

// Known before the filter, as asking the kernel is not on the list.
thread_local char thread_name[16] = "main";

// Written once, before there is a violation; a handler of signals is given nothing else.
const char* program_name = "";

void OnViolation(int, siginfo_t* info, void* context) {
  const auto number = static_cast<size_t>(info->si_syscall);
  Line line;
  line.Add(program_name);
  line.Add(": thread ");
  line.Add(thread_name);
  line.Add(" made the system call ");
  const char* const name = number < kSystemCallCount ? kSystemCallNames[number] : "";
  line.Add(name[0] != '\0' ? name : "number ");
  if (name[0] == '\0') line.AddHex(number);
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  const char* separator = "(";
  for (const int argument : {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9}) {
    line.Add(separator);
    line.AddHex(static_cast<uint64_t>(registers[argument]));
    separator = ", ";
  }
  line.Add("), which it is not allowed to make\n");
  line.Write();
  _exit(kExitViolation);
}

// What libraries do only once, and with calls that the running threads' lists do not hold.
void PrepareThread() {
  pthread_getname_np(pthread_self(), thread_name, sizeof(thread_name));
  // Reads /sys the first time that a mutex is contended.
  absl::base_internal::NumCPUs();
  // Maps memory the first time that this thread waits for a mutex.
  absl::base_internal::ThreadIdentity* const identity =
      absl::synchronization_internal::GetOrCreateCurrentThreadIdentity();
  // When it waits, it asks for its priority, but not twice within a second: for that it finds out
  // how fast the time-stamp counter is, from /sys or, failing that, by sleeping. All of Hull's
  // threads have the same priority, so it need never ask.
  identity->per_thread_synch.next_priority_read_cycles = std::numeric_limits<int64_t>::max();
}

}  // namespace

absl::string_view NameOf(ThreadKind kind) {
  switch (kind) {
    case ThreadKind::kSetup:
      return "setup";
    case ThreadKind::kVcpu:
      return "vcpu";
    case ThreadKind::kEventLoop:
      return "event_loop";
    case ThreadKind::kBlockWorker:
      return "block_worker";
    case ThreadKind::kUnpack:
      return "unpack";
    case ThreadKind::kMonitor:
      return "monitor";
    case ThreadKind::kDisplay:
      return "display";
    case ThreadKind::kDisplayClient:
      return "display_client";
  }
  return "";
}

std::span<const sock_filter> FilterOf(ThreadKind kind) {
  switch (kind) {
    case ThreadKind::kSetup:
      return {kSetupFilter, kSetupFilterSize};
    case ThreadKind::kVcpu:
      return {kVcpuFilter, kVcpuFilterSize};
    case ThreadKind::kEventLoop:
      return {kEventLoopFilter, kEventLoopFilterSize};
    case ThreadKind::kBlockWorker:
      return {kBlockWorkerFilter, kBlockWorkerFilterSize};
    case ThreadKind::kUnpack:
      return {kUnpackFilter, kUnpackFilterSize};
    case ThreadKind::kMonitor:
      return {kMonitorFilter, kMonitorFilterSize};
    case ThreadKind::kDisplay:
      return {kDisplayFilter, kDisplayFilterSize};
    case ThreadKind::kDisplayClient:
      return {kDisplayClientFilter, kDisplayClientFilterSize};
  }
  return {};
}

absl::Status InstallViolationHandler(const char* program) {
  program_name = program;
  struct sigaction action = {};
  action.sa_sigaction = OnViolation;
  action.sa_flags = SA_SIGINFO;
  if (sigaction(SIGSYS, &action, nullptr) != 0) return PosixError("take SIGSYS");
  return absl::OkStatus();
}

absl::Status EnterFilter(ThreadKind kind) {
  PrepareThread();
  const std::span<const sock_filter> filter = FilterOf(kind);
  if (filter.empty() || filter.size() > BPF_MAXINSNS) {
    return absl::InternalError(
        absl::StrCat("the list of system calls of ", NameOf(kind), " threads is damaged"));
  }
  const sock_fprog program = {.len = static_cast<unsigned short>(filter.size()),
                              // The kernel reads it only.
                              .filter = const_cast<sock_filter*>(filter.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    const int error = errno;
    if (error == ENOSYS || error == EINVAL) {
      return absl::FailedPreconditionError(
          "this host's kernel has no seccomp filters (CONFIG_SECCOMP_FILTER), without which Hull "
          "runs nothing");
    }
    return PosixError(error,
                      absl::StrCat("restrict the system calls of a ", NameOf(kind), " thread"));
  }
  return absl::OkStatus();
}

void ConfineThread(ThreadKind kind) {
  const absl::Status status = EnterFilter(kind);
  if (status.ok()) return;
  const std::string line = absl::StrCat("hull-vmm: ", status.message(), "\n");
  // Nothing is left to do about a standard error that cannot be written.
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) _exit(kExitUnconfined);
  _exit(kExitUnconfined);
}

}  // namespace hull::sandbox
