#include "vmm/cli/child_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

constexpr size_t kMaxCaptured = size_t{1} << 20;

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return PosixError("pipe");
  return Pipe{.read_end = UniqueFd(ends[0]), .write_end = UniqueFd(ends[1])};
}

sigset_t Ending() {
  sigset_t ending;
  sigemptyset(&ending);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&ending, signal);
  return ending;
}

// In the child. Never returns; what went wrong is written to `report` as an errno.
[[noreturn]] void Execute(const ChildProgram& program, pid_t parent, const Pipe& out,
                          const Pipe& err, int report) {
  const auto fail = [report] {
    const int error = errno;
    // If nobody can be told, the exit status still says that it failed.
    if (write(report, &error, sizeof(error)) < 0) _exit(container::kNotExecutable);
    _exit(container::kNotFound);
  };
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) fail();
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) fail();
  const auto connect = [&](ChildProgram::Output output, const Pipe& pipe, int stream) {
    int from = stream;
    if (output == ChildProgram::Output::kCapture) from = pipe.write_end.get();
    if (output == ChildProgram::Output::kDrop) from = null;
    if (output == ChildProgram::Output::kToStandardError) from = STDERR_FILENO;
    if (from != stream && dup2(from, stream) < 0) fail();
  };
  connect(program.out, out, STDOUT_FILENO);
  connect(program.err, err, STDERR_FILENO);
  if (!program.input && dup2(null, STDIN_FILENO) < 0) fail();
  for (int signal = 1; signal < SIGRTMAX; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> argv;
  for (const std::string& argument : program.argv) {
    // SAFETY: execvp does not write to its arguments.
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  fail();
  _exit(container::kNotFound);
}

// Takes what there is; false at the end.
absl::StatusOr<bool> Take(int fd, std::string* captured) {
  std::array<char, 16384> buffer;
  const ssize_t n = read(fd, buffer.data(), buffer.size());
  if (n < 0) return errno == EINTR ? absl::StatusOr<bool>(true) : PosixError("read from a program");
  captured->append(buffer.data(),
                   std::min(static_cast<size_t>(n), kMaxCaptured - captured->size()));
  return n > 0;
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const ChildProgram& program, int cancel_fd) {
  HULL_ASSIGN_OR_RETURN(Pipe out, MakePipe());
  HULL_ASSIGN_OR_RETURN(Pipe err, MakePipe());
  HULL_ASSIGN_OR_RETURN(Pipe report, MakePipe());
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return PosixError("fork");
  if (pid == 0) Execute(program, parent, out, err, report.write_end.get());
  for (Pipe* pipe : {&out, &err, &report}) pipe->write_end.Reset();

  // SAFETY: there is no wrapper in this libc; the result is a new descriptor.
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  ChildResult result;
  absl::Status failed;
  if (!process.valid()) failed = PosixError("watch a program");
  bool out_open = program.out == ChildProgram::Output::kCapture;
  bool err_open = program.err == ChildProgram::Output::kCapture;
  bool report_open = true;
  bool ended = false;
  bool cancelled = false;
  std::string start_error;
  while (failed.ok()) {
    std::array<pollfd, 5> polled = {
        {{.fd = out_open ? out.read_end.get() : -1, .events = POLLIN, .revents = 0},
         {.fd = err_open ? err.read_end.get() : -1, .events = POLLIN, .revents = 0},
         {.fd = report_open ? report.read_end.get() : -1, .events = POLLIN, .revents = 0},
         {.fd = cancelled || ended ? -1 : cancel_fd, .events = POLLIN, .revents = 0},
         {.fd = ended ? -1 : process.get(), .events = POLLIN, .revents = 0}}};
    // What it wrote is there when it has ended. What it left in the background may keep the pipes
    // open for ever and is not waited for.
    const int ready = poll(polled.data(), polled.size(), ended ? 0 : -1);
    if (ready < 0 && errno != EINTR) failed = PosixError("poll");
    if (ready < 0) continue;
    if (ended && ready == 0) break;
    if (polled[4].revents != 0) ended = true;
    if (polled[3].revents != 0) {
      cancelled = true;
      kill(pid, SIGTERM);
    }
    const auto take = [&](const pollfd& entry, std::string* captured, bool* open) {
      if (entry.revents == 0 || !failed.ok()) return;
      const absl::StatusOr<bool> more = Take(entry.fd, captured);
      if (!more.ok()) failed = more.status();
      *open = more.ok() && *more;
    };
    take(polled[0], &result.out, &out_open);
    take(polled[1], &result.err, &err_open);
    take(polled[2], &start_error, &report_open);
  }
  if (!failed.ok()) kill(pid, SIGKILL);
  while (waitpid(pid, &result.wait_status, 0) < 0 && errno == EINTR) {
  }
  if (!failed.ok()) return failed;
  if (!start_error.empty()) {
    int error = ENOEXEC;
    std::copy_n(start_error.begin(), std::min(start_error.size(), sizeof(error)),
                reinterpret_cast<char*>(&error));
    return PosixError(error, absl::StrCat("run \"", program.argv.front(), "\""));
  }
  return result;
}

absl::StatusOr<EndingSignals> EndingSignals::Create() {
  const sigset_t ending = Ending();
  if (sigprocmask(SIG_BLOCK, &ending, nullptr) != 0) return PosixError("block signals");
  UniqueFd fd(signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return PosixError("create a signal descriptor");
  return EndingSignals(std::move(fd));
}

std::optional<int> EndingSignals::ExitStatus() const {
  signalfd_siginfo info;
  if (read(fd_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return container::SignalStatus(static_cast<int>(info.ssi_signo));
}

}  // namespace hull::cli
