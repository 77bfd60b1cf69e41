// The system calls that each kind of thread may make, and what happens at any other.
//
// seccomp(2), Linux kernel documentation: userspace-api/seccomp_filter.rst. The lists are
// policy/*.policy.

#ifndef VMM_SANDBOX_SECCOMP_H_
#define VMM_SANDBOX_SECCOMP_H_

#include <linux/filter.h>

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hull::sandbox {

enum class ThreadKind {
  kSetup,          // the main thread while the machine is made; all others inherit its list
  kVcpu,           // in addition to kSetup's list, as are the following
  kEventLoop,      // the main thread from then on
  kBlockWorker,    // a disk's thread
  kUnpack,         // hull-unpack, which has one thread and inherits no list
  kMonitor,        // a container's monitor, likewise
  kDisplay,        // hull-display, likewise
  kDisplayClient,  // its process for a client, in addition to kDisplay's list
};

// For messages: "vcpu".
absl::string_view NameOf(ThreadKind kind);

// The list of a kind as the kernel gets it.
std::span<const sock_filter> FilterOf(ThreadKind kind);

// The exit status of a process that made a system call which is not on its thread's list.
inline constexpr int kExitViolation = 70;
// That of a thread which cannot be confined: hull-vmm's "failure of the host".
inline constexpr int kExitUnconfined = 65;

// Takes SIGSYS: says on standard error which thread of `program` (which outlives the process) made
// which call, with its arguments, and ends the process with kExitViolation. Once a process, before
// the first filter.
//
// The filters answer with SECCOMP_RET_TRAP rather than SECCOMP_RET_KILL_PROCESS for that line's
// sake. It is as safe: the call is not made either way, rt_sigaction(2) is not on a running
// thread's list, so the handler stays, and a thread that has SIGSYS blocked is killed by the
// kernel.
absl::Status InstallViolationHandler(const char* program);

// Holds the calling thread to the list of `kind` for ever. Needs no_new_privs. kFailedPrecondition
// if the kernel has no seccomp filters.
absl::Status EnterFilter(ThreadKind kind);

// The same for a thread that has nobody to return an error to: without its filter it would be
// unconfined, so the process ends, saying so. `kind` is not kSetup.
void ConfineThread(ThreadKind kind);

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_SECCOMP_H_
