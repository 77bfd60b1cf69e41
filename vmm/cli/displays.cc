#include "vmm/cli/displays.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/message.h"
#include "vmm/cli/place.h"
#include "vmm/container/outcome.h"
#include "vmm/container/spawn.h"
#include "vmm/display/address.h"
#include "vmm/emulated_host/emulated_host.h"

namespace hull::cli {
namespace {

// What VNC's authentication looks at (RFC 6143, section 7.2.2): a longer one would seem safer than
// it is.
constexpr size_t kMaxPassword = 8;
constexpr size_t kMaxPasswordFile = 4096;
constexpr size_t kMaxMessage = 1024;
// How long hull-display may take until it serves.
constexpr int kStartPatienceMs = 20'000;
// Until that of a container which has just ended has let go of its address.
constexpr absl::Duration kReleaseTime = absl::Seconds(5);
constexpr absl::Duration kReleaseInterval = absl::Milliseconds(20);

display::Address AddressOf(const container::Display& display) {
  return {.host = display.address, .port = display.port};
}

absl::StatusOr<std::string> ReadPassword(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxPasswordFile);
  if (!text.ok()) return Annotate(text.status(), "--display-password-file");
  const std::string password(absl::StripSuffix(*text, "\n"));
  if (password.empty() || password.size() > kMaxPassword ||
      password.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("--display-password-file: \"", path, "\" has to hold 1 to ", kMaxPassword,
                     " characters, which is what VNC looks at, in one line"));
  }
  return password;
}

// Whoever starts the container again may do so from another directory.
absl::StatusOr<std::string> Absolute(const std::string& path) {
  if (path[0] == '/') return path;
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof(directory)) == nullptr) {
    return PosixError("find the working directory");
  }
  return absl::StrCat(directory, "/", path);
}

// The read end of a pipe with the text in it.
absl::StatusOr<UniqueFd> PipeWith(absl::string_view text) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return PosixError("create a pipe");
  UniqueFd out(ends[0]);
  const UniqueFd in(ends[1]);
  // It is smaller than a pipe.
  HULL_RETURN_IF_ERROR(WriteFull(in.get(), text));
  return out;
}

// Reads what the program says until it serves, which is nothing.
absl::Status AwaitReady(const UniqueFd& ready) {
  std::string said;
  while (said.size() < kMaxMessage) {
    pollfd readable = {.fd = ready.get(), .events = POLLIN, .revents = 0};
    const int found = poll(&readable, 1, kStartPatienceMs);
    if (found < 0 && errno == EINTR) continue;
    if (found == 0) return absl::DeadlineExceededError("hull-display does not start");
    char bytes[256];
    const ssize_t n = read(ready.get(), bytes, sizeof(bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    said.append(bytes, static_cast<size_t>(n));
  }
  if (said.empty()) return absl::OkStatus();
  return absl::InternalError(container::Printable(said));
}

absl::Status Start(const Installation& installation, const container::Config& config,
                   container::ContainerStore* store, DisplaySocket socket) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd monitor, Connect(store, config.id));
  HULL_ASSIGN_OR_RETURN(const UniqueFd password, PipeWith(socket.password));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return PosixError("create a pipe");
  const UniqueFd ready(ends[0]);
  UniqueFd ready_end(ends[1]);
  HULL_RETURN_IF_ERROR(container::Spawn({.program = installation.Program("hull-display"),
                                         .argv = {"hull-display"},
                                         .fds = {-1, -1, -1, socket.listener.get(), monitor.get(),
                                                 password.get(), ready_end.get()},
                                         // A Ctrl-C on this terminal is not for it.
                                         .new_session = true})
                           .status());
  ready_end.Reset();
  return AwaitReady(ready);
}

}  // namespace

absl::Status CompleteDisplayConfig(const RunFlags& flags, container::Config* config) {
  if (!flags.display.has_value()) {
    if (flags.display_password_file.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("--display-password-file makes sense with --display only");
  }
  if (!config->pc.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--display: ", config->image, " is no image of a pc machine, and so has no screen"));
  }
  if (flags.display_password_file.empty() && !display::IsLoopback(*flags.display)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--display: ", flags.display->host,
                     " is reached from other hosts, for which it needs --display-password-file"));
  }
  container::Display display = {
      .protocol = "vnc", .address = flags.display->host, .port = flags.display->port};
  if (!flags.display_password_file.empty()) {
    HULL_ASSIGN_OR_RETURN(display.password_file, Absolute(flags.display_password_file));
  }
  config->pc->display = std::move(display);
  return absl::OkStatus();
}

absl::StatusOr<DisplaySocket> OpenDisplay(container::Config* config) {
  if (!config->pc.has_value() || !config->pc->display.has_value()) return DisplaySocket{};
  container::Display& display = *config->pc->display;
  DisplaySocket socket;
  if (!display.password_file.empty()) {
    HULL_ASSIGN_OR_RETURN(socket.password, ReadPassword(display.password_file));
  }
  display::Address address = AddressOf(display);
  HULL_ASSIGN_OR_RETURN(socket.listener, display::Listen(&address));
  display.port = address.port;
  return socket;
}

absl::StatusOr<DisplaySocket> ReopenDisplay(container::Config* config) {
  const absl::Time deadline = absl::Now() + kReleaseTime;
  while (true) {
    absl::StatusOr<DisplaySocket> socket = OpenDisplay(config);
    if (!absl::IsAlreadyExists(socket.status()) || absl::Now() > deadline) return socket;
    absl::SleepFor(kReleaseInterval);
  }
}

void StartDisplay(const Installation& installation, const container::Config& config,
                  container::ContainerStore* store, DisplaySocket socket) {
  if (!socket.listener.valid()) return;
  const absl::Status status = Start(installation, config, store, std::move(socket));
  if (status.ok()) {
    PrintError(absl::StrCat("the screen of ", config.name, " is at ",
                            display::AddressText(AddressOf(*config.pc->display)),
                            " for VNC viewers"));
  } else if (!absl::IsFailedPrecondition(status)) {
    // Of a container that has ended already its monitor tells.
    PrintError(absl::StrCat("the container has no display: ", status.message()));
  }
}

absl::Status CheckDisplayPlace(const RunFlags& flags) {
  if (!flags.display.has_value()) return absl::OkStatus();
  const absl::StatusOr<emulated_host::Decision> decision = emulated_host::Decide();
  // What is wrong with that is told by whoever goes there.
  if (!decision.ok() || decision->place == emulated_host::Place::kHere || PcRunsApart()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "--display: the container would run in the emulated host, whose ports nobody reaches from "
      "here; hull screenshot and hull sendkeys work there");
}

std::string DisplayPort(const container::Config& config) {
  if (!config.pc.has_value() || !config.pc->display.has_value()) return "";
  const container::Display& display = *config.pc->display;
  return absl::StrCat(display::AddressText(AddressOf(display)), "->", display.protocol);
}

}  // namespace hull::cli
