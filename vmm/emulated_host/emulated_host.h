// The emulated host: a QEMU (TCG) machine with an emulated SVM, in which `hull` runs on a real
// kvm-amd where the CPU has no usable virtualisation. See README.md in this folder.
//
// Everything here is called from the `hull` command line, single-threaded, and blocks. Nothing
// allocates or reads more than a few system calls' worth when the emulated host is not needed.

#ifndef VMM_EMULATED_HOST_EMULATED_HOST_H_
#define VMM_EMULATED_HOST_EMULATED_HOST_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace hull::emulated_host {

// Which emulated host, and of what shape. One instance directory is one emulated host; its data
// disk, lock, socket and logs are there.
struct Config {
  // Holds vmlinux, initramfs.cpio (made by `prepare`). Absolute.
  std::string assets_dir;
  // Mode 0700, created when missing. Absolute. Default: <hull_root>/emulated-host.
  std::string instance_dir;
  // Where $HULL_ROOT and $HULL_RUN are mounted inside: the state of the emulated host, not the
  // user's files. Absolute.
  std::string hull_root;
  std::string hull_run;
  // The instruction clock of DESIGN.md section 10: one CPU, one nanosecond an instruction.
  bool icount = false;
  // 0: chosen from the host (one CPU; half of the memory, between 1 and 8 GiB).
  uint32_t cpus = 0;
  uint64_t memory_bytes = 0;
  // Of the data disk, which is sparse; used only when it is created.
  uint64_t data_disk_bytes = uint64_t{64} << 30;
  // From the start of QEMU to the first command.
  absl::Duration boot_deadline = absl::Seconds(180);
  // A running emulated host that shows no sign of life for that long is ended and started again.
  absl::Duration answer_deadline = absl::Seconds(30);

  // The defaults, from $HULL_ROOT, $HULL_RUN, $HULL_SHARE and the place of this executable.
  // kNotFound if this executable's place cannot be found.
  static absl::StatusOr<Config> FromEnvironment();
};

// Where the commands of this process are to run.
enum class Place {
  kHere,          // on this machine's KVM
  kEmulatedHost,  // through RunInside
};

struct Decision {
  Place place = Place::kHere;
  // Why, for the one line that the user sees; empty for kHere.
  const char* reason = "";
  // By $HULL_EMULATED_HOST=always, and not for what this machine lacks.
  bool asked_for = false;
};

// Decides by CPUID and one open of /dev/kvm; $HULL_EMULATED_HOST = auto (default), never or always
// overrides. kPermissionDenied, with what to do about it, where the CPU has virtualisation but the
// user may not use /dev/kvm; kInvalidArgument for another value of the variable.
absl::StatusOr<Decision> Decide();

// How a command inside ended.
struct ExitStatus {
  int code = 0;    // exit status, when `signal` is 0
  int signal = 0;  // the signal that killed it, or 0
  // Ends this process the same way: exits, or raises the signal with its default action.
  [[noreturn]] void Mirror() const;
};

struct RunOptions {
  // Passed to execvpe: looked up in the caller's PATH when argv[0] has no slash. Not empty.
  std::vector<std::string> argv;
  // Whether the caller's standard input is read and passed on. Otherwise the command sees an
  // empty input and nothing of the caller's is consumed (a `while read` loop round `hull run`
  // keeps its lines).
  bool forward_stdin = true;
  // Whether the emulated host is started if it does not run. Otherwise that is an error.
  bool may_start = true;
};

// Starts the emulated host unless it runs already, and waits until it has booted. `reason` (may be
// empty) goes into the one line on standard error that says a start happens and how to turn it off.
// Safe to call from several processes at once: one starts it.
absl::Status EnsureRunning(const Config& config, absl::string_view reason);

// Runs a command inside, with this process's working directory, environment, umask, standard
// streams (a pty where they are terminals) and signals; starts the emulated host if needed.
// An error means that the command's outcome is unknown or that it never started: report it and
// exit with 125.
absl::StatusOr<ExitStatus> RunInside(const Config& config, absl::string_view reason,
                                     const RunOptions& options);

// Ends it cleanly: commands get SIGTERM, then SIGKILL; disks are synced. Waits. OK when it did not
// run. Leaves the data disk.
absl::Status Stop(const Config& config);

struct Status {
  bool running = false;
  bool ready = false;  // booted
  pid_t supervisor_pid = 0;
  pid_t qemu_pid = 0;
  uint32_t sessions = 0;
  absl::Duration uptime;
  uint32_t cpus = 0;
  uint64_t memory_bytes = 0;
  bool icount = false;
  uint64_t data_disk_used_bytes = 0;  // blocks of the sparse file
  // Why commands cannot run now (the outer disk is full), or empty.
  std::string trouble;
};
absl::StatusOr<Status> GetStatus(const Config& config);

// The verbs of `hull host`: `args` is what follows "host" on the command line, for example
// {"start"}, {"shell", "-c", "id"}, {"exec", "--", "true"}. Prints; returns the exit status of
// `hull` (or ends the process as the inner command did).
//   start|stop|status [--instance DIR] [--icount] [--cpus N] [--memory SIZE]
//   shell [-c CMD | -- CMD [ARG...]]
//   exec -- CMD [ARG...]         hidden: runs CMD inside whatever the CPU has
//   supervise …                  hidden: the background process; started by EnsureRunning only
int RunHostVerb(const std::vector<std::string>& args);

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_EMULATED_HOST_H_
