#include "images/unpack_client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "images/bounded_json.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {
namespace {

// Above every number that the program is given, so that no dup2 overwrites a descriptor that a
// later one still needs.
constexpr int kFirstFreeFd = 64;

absl::StatusOr<UniqueFd> MoveUp(int fd) {
  UniqueFd moved(fcntl(fd, F_DUPFD_CLOEXEC, kFirstFreeFd));
  if (!moved.valid()) return PosixError("duplicate a descriptor");
  return moved;
}

// The attributes of posix_spawn, freed at the end.
class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

absl::StatusOr<pid_t> Spawn(const UnpackCommand& command, int output) {
  SpawnSettings settings;
  std::vector<UniqueFd> moved;
  int next_free = STDERR_FILENO + 1;
  posix_spawn_file_actions_addopen(&settings.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  HULL_ASSIGN_OR_RETURN(UniqueFd moved_output, MoveUp(output));
  posix_spawn_file_actions_adddup2(&settings.actions, moved_output.get(), STDOUT_FILENO);
  for (const auto& [here, there] : command.descriptors) {
    HULL_ASSIGN_OR_RETURN(UniqueFd fd, MoveUp(here));
    posix_spawn_file_actions_adddup2(&settings.actions, fd.get(), there);
    moved.push_back(std::move(fd));
    next_free = std::max(next_free, there + 1);
  }
  posix_spawn_file_actions_addclosefrom_np(&settings.actions, next_free);
  // Whatever the caller blocks (a signalfd) or ignores must not reach the program.
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigfillset(&defaults);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setsigdefault(&settings.attributes, &defaults);
  posix_spawnattr_setflags(&settings.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  const std::string users = absl::StrCat("--users=", command.program.users);
  const std::string user_claims = absl::StrCat("--user_claims=", command.program.user_claims);
  std::vector<char*> argv = {const_cast<char*>(command.program.path.c_str()),
                             const_cast<char*>(users.c_str()),
                             const_cast<char*>(user_claims.c_str())};
  for (const std::string& argument : command.arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  // The program reads no environment but libarchive's and the locale's, which must be "C".
  char* const environment[] = {nullptr};
  pid_t pid = -1;
  const int error = posix_spawn(&pid, command.program.path.c_str(), &settings.actions,
                                &settings.attributes, argv.data(), environment);
  if (error != 0) return PosixError(error, absl::StrCat("run \"", command.program.path, "\""));
  return pid;
}

// The program, which is killed unless it was waited for. `output` is the pipe that it writes to.
class Child {
 public:
  Child(pid_t pid, int output) : pid_(pid), output_(output) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      Wait();
      // The process that does its work dies of its end, a moment later; then nobody writes.
      char rest[4096];
      while (read(output_, rest, sizeof(rest)) > 0) {
      }
    }
  }
  // The wait status.
  int Wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
  const int output_;
};

absl::Status ReadError(const nlohmann::json& error) {
  uint64_t code = 0;
  std::string message;
  if (!error.is_object() || !ReadSize(error, "code", &code).ok() ||
      !ReadString(error, "message", &message).ok() || code == 0 ||
      code > static_cast<uint64_t>(absl::StatusCode::kUnauthenticated)) {
    return absl::InternalError("hull-unpack reported an error that cannot be read");
  }
  return absl::Status(static_cast<absl::StatusCode>(code), message);
}

}  // namespace

absl::StatusOr<nlohmann::json> RunUnpack(const UnpackCommand& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return PosixError("pipe");
  const UniqueFd input(ends[0]);
  UniqueFd output(ends[1]);
  HULL_ASSIGN_OR_RETURN(const pid_t pid, Spawn(command, output.get()));
  Child child(pid, input.get());
  output.Reset();

  // The longest line is the list of a layout's images, whose names come from an index of at most
  // kMaxJsonBytes.
  constexpr size_t kMaxLineBytes = 2 * kMaxJsonBytes;
  std::string pending;
  std::optional<nlohmann::json> result;
  absl::Status error;
  while (true) {
    pollfd polled[] = {{.fd = input.get(), .events = POLLIN, .revents = 0},
                       {.fd = command.cancel_fd, .events = POLLIN, .revents = 0}};
    if (poll(polled, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return PosixError("poll");
    }
    if (polled[1].revents != 0) return absl::CancelledError("interrupted");
    char buffer[16384];
    const ssize_t n = read(input.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("read from hull-unpack");
    if (n == 0) break;
    pending.append(buffer, static_cast<size_t>(n));
    size_t start = 0;
    for (size_t end = 0; (end = pending.find('\n', start)) != std::string::npos; start = end + 1) {
      const nlohmann::json line = nlohmann::json::parse(
          pending.begin() + static_cast<ptrdiff_t>(start),
          pending.begin() + static_cast<ptrdiff_t>(end), nullptr, /*allow_exceptions=*/false);
      if (!line.is_object()) return absl::InternalError("hull-unpack wrote what is not JSON");
      if (const nlohmann::json* report = FindMember(line, "progress"); report != nullptr) {
        if (command.progress && report->is_object()) command.progress(*report);
      } else if (const nlohmann::json* failure = FindMember(line, "error"); failure != nullptr) {
        error = ReadError(*failure);
      } else if (const nlohmann::json* success = FindMember(line, "result"); success != nullptr) {
        result = *success;
      }
    }
    pending.erase(0, start);
    if (pending.size() > kMaxLineBytes) {
      return absl::InternalError("hull-unpack wrote a line without end");
    }
  }
  const int status = child.Wait();
  if (!error.ok()) return error;
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    // The whole foreground process group gets a terminal's Ctrl-C.
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) {
      return absl::CancelledError("interrupted");
    }
    return absl::InternalError(
        absl::StrCat("hull-unpack was killed by signal ", signal, " (", strsignal(signal), ")",
                     signal == SIGKILL ? ": the host has no memory left, or the image took more "
                                         "than six hours of processor time"
                                       : ""));
  }
  if (status != 0 || !result.has_value() || !result->is_object()) {
    return absl::InternalError(
        absl::StrCat("hull-unpack ended with status ", WEXITSTATUS(status), " and no result"));
  }
  return *std::move(result);
}

}  // namespace hull::images
