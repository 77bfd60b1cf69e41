// The program hull-display: the screen, keyboard and mouse of a pc machine for viewers on the
// network. `hull run` and `hull start` start it, with these descriptors:
//
//   3  the listening socket
//   4  a connection to the container's monitor
//   5  the password, up to the end of the file; none if that is empty
//   6  closed when it serves; before that, what went wrong
//
// It ends when the container does.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/display/rfb_client.h"
#include "vmm/display/server.h"
#include "vmm/sandbox/monitor_sandbox.h"
#include "vmm/sandbox/seccomp.h"

namespace hull::display {
namespace {

constexpr int kListener = 3;
constexpr int kMonitor = 4;
constexpr int kPassword = 5;
constexpr int kReady = 6;
constexpr int kFailed = 125;
// Viewers that ask for more than they need are not to slow the machine.
constexpr int kNice = 10;

absl::StatusOr<std::string> TakePassword() {
  UniqueFd file(kPassword);
  // One more than there may be.
  uint8_t bytes[kMaxPassword + 1];
  HULL_ASSIGN_OR_RETURN(const size_t size, ReadFull(file.get(), bytes));
  if (size > kMaxPassword) return absl::InvalidArgumentError("the password is too long");
  return std::string(bytes, bytes + size);
}

// Everything before it serves.
absl::StatusOr<std::unique_ptr<Server>> Start() {
  Server::Options options;
  options.listener.Reset(kListener);
  options.monitor.Reset(kMonitor);
  HULL_ASSIGN_OR_RETURN(options.password, TakePassword());
  options.confine_client = [] { return sandbox::EnterFilter(sandbox::ThreadKind::kDisplayClient); };
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return PosixError("ignore SIGPIPE");
  // As much as it may be nicer already.
  [[maybe_unused]] const int niceness = nice(kNice);
  PrepareRfb();
  HULL_ASSIGN_OR_RETURN(std::unique_ptr<Server> server, Server::Create(std::move(options)));
  HULL_RETURN_IF_ERROR(sandbox::ConfineDisplay());
  return server;
}

int Main() {
  for (const int fd : {kListener, kMonitor, kPassword, kReady}) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) continue;
    WriteFull(STDERR_FILENO, "hull-display is started by hull run only\n").IgnoreError();
    return kFailed;
  }
  UniqueFd ready(kReady);
  absl::StatusOr<std::unique_ptr<Server>> server = Start();
  if (!server.ok()) {
    WriteFull(ready.get(), server.status().message()).IgnoreError();
    return kFailed;
  }
  ready.Reset();
  return (*server)->Run().ok() ? 0 : kFailed;
}

}  // namespace
}  // namespace hull::display

int main() { return hull::display::Main(); }
