#include "vmm/cli/monitor_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/message.h"
#include "vmm/container/attach_client.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/monitor_connection.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"
#include "vmm/container/spawn.h"
#include "vmm/sandbox/user_range.h"

namespace hull::cli {
namespace {

using container::ClientMode;
using container::MonitorConnection;

// Where the monitor finds what it inherits.
constexpr int kMonitorLock = 3;
constexpr int kMonitorClient = 4;
// Debian's seabios.
constexpr char kFirmware[] = "/usr/share/seabios/bios.bin";
constexpr char kVideoFirmware[] = "/usr/share/seabios/vgabios-isavga.bin";

constexpr std::pair<ClientMode, const char*> kModes[] = {
    {ClientMode::kOwner, "owner"},
    {ClientMode::kAttached, "attached"},
    {ClientMode::kDetached, "detached"},
};

// How long a monitor whose connection is lost may take to end.
constexpr int kEndPatienceMs = 20'000;

int AwaitProcess(pid_t pid) {
  int wait_status = 0;
  while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  return wait_status;
}

// The last line of what a monitor that is gone wrote to its standard error, and ": " before it.
std::string LastWords(const UniqueFd& errors) {
  char bytes[1024];
  const ssize_t n = read(errors.get(), bytes, sizeof(bytes));
  if (n <= 0) return "";
  const absl::string_view text =
      absl::StripTrailingAsciiWhitespace(absl::string_view(bytes, static_cast<size_t>(n)));
  // All of it, where there is no end of a line.
  const absl::string_view line = text.substr(text.rfind('\n') + 1);
  return absl::StrCat(": ", container::Printable(absl::StripPrefix(line, "hull monitor: ")));
}

// What can be told of a monitor that is lost: it died, as a rule.
absl::Status LostMonitor(const StartedMonitor& monitor, const container::Config& config,
                         container::ContainerStore* store) {
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, monitor.pid, 0)));
  pollfd ended = {.fd = process.get(), .events = POLLIN, .revents = 0};
  if (process.valid() && poll(&ended, 1, kEndPatienceMs) == 0) {
    // It could not send, and goes on with a container that is to outlive this command.
    return absl::UnavailableError(absl::StrCat("the monitor of container ", config.name,
                                               " no longer answers, and runs: see hull ps"));
  }
  const int wait_status = AwaitProcess(monitor.pid);
  store->CollectDead().IgnoreError();
  return absl::InternalError(absl::StrCat(
      "the monitor of container ", config.name, " ",
      WIFSIGNALED(wait_status) ? absl::StrCat("was killed by signal ", WTERMSIG(wait_status))
                               : absl::StrCat("ended with status ", WEXITSTATUS(wait_status)),
      LastWords(monitor.errors), "; the container ended with it"));
}

}  // namespace

absl::StatusOr<StartedMonitor> StartMonitor(const Installation& installation,
                                            const container::Config& config, UniqueFd lock,
                                            ClientMode mode) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
    return PosixError("create a socket");
  }
  const UniqueFd monitor_end(sockets[1]);
  StartedMonitor started;
  started.socket.Reset(sockets[0]);
  // Nobody reads from it before the monitor's end.
  int errors[2];
  if (pipe2(errors, O_CLOEXEC | O_NONBLOCK) != 0) return PosixError("create a pipe");
  const UniqueFd monitor_errors(errors[1]);
  started.errors.Reset(errors[0]);
  std::string mode_name;
  for (const auto& [known, name] : kModes) {
    if (known == mode) mode_name = name;
  }
  static_assert(kMonitorLock == 3 && kMonitorClient == 4);
  HULL_ASSIGN_OR_RETURN(
      started.pid,
      container::Spawn({.program = "/proc/self/exe",
                        .argv = {"hull", "monitor", config.id, installation.root, installation.run,
                                 installation.libexec, installation.share, installation.users,
                                 std::move(mode_name)},
                        .fds = {-1, -1, monitor_errors.get(), lock.get(), monitor_end.get()},
                        // A Ctrl-C on this terminal is the client's to forward.
                        .new_session = true}));
  return started;
}

absl::StatusOr<container::Outcome> AttachToStarted(StartedMonitor monitor,
                                                   const container::Config& config,
                                                   container::ContainerStore* store,
                                                   const container::AttachOptions& options) {
  signal(SIGPIPE, SIG_IGN);
  const absl::StatusOr<std::optional<container::Outcome>> outcome =
      container::AttachAndWait(std::move(monitor.socket), options);
  if (outcome.ok() && !outcome->has_value()) return LostMonitor(monitor, config, store);
  // The monitor of a container that the user has left goes on, and others for a moment, until the
  // kernel has dissolved the VM. One that lost this client ends by itself.
  if (!outcome.ok()) {
    AwaitProcess(monitor.pid);
    return outcome.status();
  }
  return **outcome;
}

absl::StatusOr<std::optional<container::Outcome>> AwaitStart(StartedMonitor monitor,
                                                             const container::Config& config,
                                                             container::ContainerStore* store,
                                                             const Interruption& interruption) {
  MonitorConnection connection(std::move(monitor.socket));
  while (true) {
    // A start that does not come to its end is the monitor's to end: it has a deadline.
    HULL_ASSIGN_OR_RETURN(
        const MonitorConnection::Event event,
        connection.Await(/*until_start=*/true, absl::InfiniteDuration(), interruption.fd()));
    switch (event) {
      case MonitorConnection::Event::kStarted:
        for (const std::string& notice : connection.notices()) PrintError(notice);
        return std::nullopt;
      case MonitorConnection::Event::kEnded:
        for (const std::string& notice : connection.notices()) PrintError(notice);
        AwaitProcess(monitor.pid);
        return connection.outcome();
      case MonitorConnection::Event::kLost:
        return LostMonitor(monitor, config, store);
      case MonitorConnection::Event::kInterrupted:
        if (const std::optional<int> signal = interruption.Take()) {
          HULL_RETURN_IF_ERROR(connection.Send(
              {.type = container::AttachType::kSignal, .number = static_cast<uint32_t>(*signal)}));
        }
        break;
      case MonitorConnection::Event::kTimeout:
        break;
    }
  }
}

int MonitorCommand(const std::vector<std::string>& args) {
  // An inner verb: whoever calls it by hand gets a refusal, not an explanation.
  constexpr size_t kArguments = 7;
  container::MonitorOptions options;
  bool mode_known = false;
  for (const auto& [mode, name] : kModes) {
    if (args.size() != kArguments || args[6] != name) continue;
    options.client_mode = mode;
    mode_known = true;
  }
  if (!mode_known || !container::IsId(args[0]) || fcntl(kMonitorClient, F_GETFD) < 0 ||
      fcntl(kMonitorLock, F_GETFD) < 0) {
    PrintError("\"hull monitor\" is started by hull run only");
    return container::kHullFailed;
  }
  const std::string& libexec = args[3];
  const std::string& share = args[4];
  options.id = args[0];
  options.paths = {.root = args[1], .run = args[2]};
  options.files = {.vmm = absl::StrCat(libexec, "/hull-vmm"),
                   .kernel = absl::StrCat(share, "/vmlinux"),
                   .initramfs = absl::StrCat(share, "/initramfs.cpio"),
                   .firmware = kFirmware,
                   .video_firmware = kVideoFirmware};
  if (!args[5].empty()) {
    const absl::StatusOr<sandbox::UserRange> users = sandbox::ParseUserRange(args[5]);
    if (!users.ok()) return ReportFailure(users.status());
    options.users = *users;
  }
  for (const int fd : {kMonitorLock, kMonitorClient}) fcntl(fd, F_SETFD, FD_CLOEXEC);
  options.lock.Reset(kMonitorLock);
  options.client.Reset(kMonitorClient);
  const absl::Status ran =
      container::RunMonitor(std::move(options), container::MonitorDeadlines::Default());
  return ran.ok() ? 0 : container::kHullFailed;
}

}  // namespace hull::cli
