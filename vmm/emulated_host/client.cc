// The side of a `hull` command: finds or starts the supervisor, and runs one command through it.

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/emulated_host/emulated_host.h"
#include "vmm/emulated_host/frame_channel.h"
#include "vmm/emulated_host/internal.h"
#include "vmm/emulated_host/monotonic.h"
#include "vmm/emulated_host/protocol.h"

namespace hull::emulated_host {
namespace {

constexpr absl::Duration kHelloDeadline = absl::Seconds(30);
constexpr absl::Duration kStarterDeadline = absl::Seconds(60);
constexpr absl::Duration kListenDeadline = absl::Seconds(20);
constexpr absl::Duration kStopDeadline = absl::Seconds(45);
constexpr absl::Duration kKillDeadline = absl::Seconds(10);
// A boot normally takes less; after this a person is told that it still goes on.
constexpr absl::Duration kPatience = absl::Seconds(10);
// A pipe that polls as writable takes that much without blocking.
constexpr size_t kPipeWrite = PIPE_BUF;

void Say(absl::string_view message) {
  (void)WriteFull(STDERR_FILENO, absl::StrCat("hull: ", message, "\n"));
}

absl::Status MakeDirectories(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
      return PosixError(absl::StrCat("create \"", parent, "\""));
    }
  }
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("create \"", path, "\""));
  }
  return absl::OkStatus();
}

// Whoever can write to the instance directory can run commands as its owner.
absl::Status MakeInstanceDirectory(const Config& config) {
  absl::Status made = MakeDirectories(config.hull_root, 0755);
  if (made.ok()) made = MakeDirectories(config.instance_dir, 0700);
  if (absl::IsPermissionDenied(made)) {
    return absl::PermissionDeniedError(
        absl::StrCat(made.message(), " (set HULL_ROOT to a directory of yours)"));
  }
  HULL_RETURN_IF_ERROR(made);
  struct stat stat;
  if (lstat(config.instance_dir.c_str(), &stat) != 0) {
    return PosixError(absl::StrCat("stat \"", config.instance_dir, "\""));
  }
  if (stat.st_uid != geteuid() || (stat.st_mode & 022) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("\"", config.instance_dir,
                     "\" must be a directory of yours that nobody else can write to: set HULL_ROOT "
                     "to one"));
  }
  return absl::OkStatus();
}

// Starts the supervisor and waits until it listens.
absl::Status StartSupervisor(const Config& config) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd log,
                        UniqueFd::Open(absl::StrCat(config.instance_dir, "/", kLogName),
                                       O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600));
  HULL_ASSIGN_OR_RETURN(const UniqueFd null, UniqueFd::Open("/dev/null", O_RDONLY));
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return PosixError("pipe");
  const UniqueFd reader(fds[0]);
  UniqueFd writer(fds[1]);
  constexpr int kReadyFd = 3;
  std::vector<std::string> command = {"hull", "host", "supervise"};
  for (std::string& arg : SupervisorArguments(config, kReadyFd)) command.push_back(std::move(arg));
  std::vector<char*> argv;
  for (std::string& arg : command) argv.push_back(arg.data());
  argv.push_back(nullptr);

  const pid_t child = fork();
  if (child < 0) return PosixError("fork");
  if (child == 0) {
    // Not this command's child, nor its session's: it outlives both.
    if (setsid() < 0 || fork() != 0) _exit(0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int s = 1; s < NSIG; ++s) signal(s, SIG_DFL);
    // The pipe goes to a number that none of the others has, before those numbers are taken.
    const int ready = fcntl(writer.get(), F_DUPFD, 16);
    dup2(null.get(), STDIN_FILENO);
    dup2(log.get(), STDOUT_FILENO);
    dup2(log.get(), STDERR_FILENO);
    dup2(ready, kReadyFd);
    // Whatever else this command was given (a pipe somebody reads to its end) stays with it.
    syscall(SYS_close_range, kReadyFd + 1, ~0U, 0);
    umask(0022);
    (void)!chdir("/");
    execv("/proc/self/exe", argv.data());
    _exit(127);
  }
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  writer.Reset();
  const absl::Duration deadline = MonotonicNow() + kListenDeadline;
  std::string answer;
  while (true) {
    pollfd fd = {reader.get(), POLLIN, 0};
    const int ready = poll(&fd, 1, PollTimeout(deadline));
    if (ready == 0) {
      return absl::DeadlineExceededError("the emulated host's supervisor does not start");
    }
    char buffer[4096];
    const ssize_t n = ready < 0 ? -1 : read(reader.get(), buffer, sizeof(buffer));
    if (n < 0) {
      if (errno == EINTR) continue;
      return PosixError("wait for the emulated host's supervisor");
    }
    if (n == 0) break;
    answer.append(buffer, static_cast<size_t>(n));
    if (answer.front() == '\0') return absl::OkStatus();
  }
  return absl::UnavailableError(answer.empty() ? "the emulated host's supervisor does not start"
                                               : answer);
}

// A connection to a supervisor that answers. kUnavailable or kNotFound: there is none.
// kDeadlineExceeded: it listens and does not answer. `process` (may be null) becomes its pidfd.
absl::StatusOr<FrameChannel> Connect(const Config& config, UniqueFd* process) {
  HULL_ASSIGN_OR_RETURN(UniqueFd fd, OpenSocket(config, SocketEnd::kConnect));
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return PosixError("SO_PEERCRED");
  }
  // Taken while the connection shows that this process is alive.
  if (process != nullptr) {
    process->Reset(static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0)));
  }
  FrameChannel channel(std::move(fd));
  const absl::Duration deadline = MonotonicNow() + kHelloDeadline;
  while (true) {
    HULL_ASSIGN_OR_RETURN(const std::optional<Frame> frame, channel.Next());
    if (frame.has_value()) {
      HULL_ASSIGN_OR_RETURN(const uint32_t version, DecodeU32(frame->payload));
      if (frame->type != FrameType::kHello || version != kProtocolVersion) {
        return absl::FailedPreconditionError(
            "the emulated host that runs is of another version of hull: end it with `hull host "
            "stop` of that version, or kill process " +
            std::to_string(peer.pid));
      }
      return channel;
    }
    pollfd poll_fd = {channel.fd(), POLLIN, 0};
    const int ready = poll(&poll_fd, 1, PollTimeout(deadline));
    if (ready == 0) {
      return absl::DeadlineExceededError("the emulated host's supervisor does not answer");
    }
    if (ready > 0) HULL_RETURN_IF_ERROR(channel.Read());
  }
}

// A question to the supervisor, and its answer.
absl::StatusOr<StatusReply> Ask(FrameChannel& channel, FrameType question, absl::Duration limit) {
  channel.Queue(0, question, 0, "");
  const absl::Duration deadline = MonotonicNow() + limit;
  while (true) {
    const absl::Status flushed = channel.Flush();
    // What the other end said before it closed is still to be read.
    if (!flushed.ok() && !absl::IsUnavailable(flushed)) return flushed;
    HULL_ASSIGN_OR_RETURN(const std::optional<Frame> frame, channel.Next());
    if (frame.has_value() && frame->type == FrameType::kStatus) {
      return DecodeStatusReply(frame->payload);
    }
    if (frame.has_value() && frame->type == FrameType::kFailed) {
      HULL_ASSIGN_OR_RETURN(const Failure failure, DecodeFailure(frame->payload));
      return absl::UnavailableError(failure.message);
    }
    pollfd fd = {channel.fd(), channel.PollEvents(), 0};
    const int ready = poll(&fd, 1, PollTimeout(deadline));
    if (ready == 0) {
      return absl::DeadlineExceededError("the emulated host's supervisor does not answer");
    }
    if (ready > 0) HULL_RETURN_IF_ERROR(channel.Read());
  }
}

bool IsAbsent(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsUnavailable(status);
}

// Waits until a process has ended.
void AwaitEnd(const UniqueFd& process) {
  if (!process.valid()) return;
  pollfd fd = {process.get(), POLLIN, 0};
  const absl::Duration deadline = MonotonicNow() + kKillDeadline;
  while (poll(&fd, 1, PollTimeout(deadline)) < 0 && errno == EINTR) {
  }
}

// Kills a supervisor that does not answer; QEMU follows it by itself.
void KillProcess(const UniqueFd& process) {
  if (!process.valid()) return;
  syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
  AwaitEnd(process);
}

absl::StatusOr<FrameChannel> ConnectOrStart(const Config& config, absl::string_view reason) {
  absl::StatusOr<FrameChannel> channel = Connect(config, nullptr);
  if (channel.ok() || !(IsAbsent(channel.status()) || absl::IsDeadlineExceeded(channel.status()))) {
    return channel;
  }
  HULL_RETURN_IF_ERROR(MakeInstanceDirectory(config));
  // One command starts; the others wait here and then find it running. The directory itself is the
  // lock, so that there is no file to leave behind.
  HULL_ASSIGN_OR_RETURN(const UniqueFd directory,
                        UniqueFd::Open(config.instance_dir, O_RDONLY | O_DIRECTORY));
  HULL_RETURN_IF_ERROR(LockFile(directory.get(), kStarterDeadline));
  UniqueFd process;
  channel = Connect(config, &process);
  if (channel.ok()) return channel;
  if (absl::IsDeadlineExceeded(channel.status())) {
    Say("the emulated host does not answer: starting it again");
    KillProcess(process);
  } else if (!IsAbsent(channel.status())) {
    return channel;
  } else if (!reason.empty()) {
    Say(absl::StrCat(reason,
                     ": starting the emulated host, which is slower and stays in the "
                     "background (`hull host stop` ends it, HULL_EMULATED_HOST=never "
                     "turns it off)"));
  }
  HULL_RETURN_IF_ERROR(StartSupervisor(config));
  return Connect(config, nullptr);
}

// The modes of the caller's terminal, put back on destruction.
class RawTerminal {
 public:
  RawTerminal() = default;
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() { Restore(); }

  // Remembers the modes. False when standard input is no terminal.
  bool Inspect() { return tcgetattr(STDIN_FILENO, &saved_) == 0; }
  const termios& saved() const { return saved_; }
  void MakeRaw() {
    termios raw = saved_;
    cfmakeraw(&raw);
    raw_ = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
  }
  void Restore() {
    if (std::exchange(raw_, false)) tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_);
  }

 private:
  termios saved_ = {};
  bool raw_ = false;
};

// One command, from kOpen to its end.
class Session {
 public:
  explicit Session(FrameChannel channel) : channel_(std::move(channel)) {}

  absl::StatusOr<ExitStatus> Run(const Config& config, const RunOptions& options);
  // The command certainly did not run, and another try may succeed.
  bool may_retry() const { return may_retry_; }

 private:
  absl::StatusOr<OpenRequest> MakeRequest(const Config& config, const RunOptions& options);
  absl::Status WatchSignals();
  void Wait();
  void ReadStdin();
  void WriteOutput(Stream stream);
  absl::Status ReadSignals();
  void Suspend();
  absl::Status ReadFrames();
  absl::Status OnFrame(const Frame& frame);
  void SendSignal(int signal, bool group);
  void SendResize();
  bool Done() const;
  void PutBackStdin() const;

  FrameChannel channel_;
  RawTerminal terminal_;
  UniqueFd signals_;
  uint8_t terminal_streams_ = 0;
  bool stdin_is_raw_ = false;
  bool opened_ = false;
  bool may_retry_ = false;
  bool told_patience_ = false;
  absl::Duration started_;
  OutgoingStream stdin_;
  uint64_t stdin_read_ = 0;
  std::array<IncomingStream, 3> outputs_;  // [0] unused
  std::array<bool, 3> bulk_{};             // a regular file: takes any amount
  std::optional<ExitStatus> outcome_;
  uint64_t stdin_consumed_ = 0;
};

absl::StatusOr<OpenRequest> Session::MakeRequest(const Config& config, const RunOptions& options) {
  OpenRequest request;
  request.argv = options.argv;
  for (char** e = environ; *e != nullptr; ++e) {
    if (strncmp(*e, "HULL_EMULATED_HOST=", 19) != 0) request.environment.emplace_back(*e);
  }
  // Inside, everything runs in place, and in the place of this command.
  request.environment.emplace_back("HULL_EMULATED_HOST=never");
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof(directory)) == nullptr || directory[0] != '/') {
    return PosixError("the working directory");
  }
  request.directory = directory;
  request.umask = umask(0);
  umask(request.umask);
  request.forward_stdin = options.forward_stdin;
  for (const Stream stream : {kStdin, kStdout, kStderr}) {
    if (isatty(stream)) request.terminal_streams |= static_cast<uint8_t>(1 << stream);
    struct stat stat;
    bulk_[stream] = fstat(stream, &stat) == 0 && S_ISREG(stat.st_mode);
  }
  if (!options.forward_stdin) request.terminal_streams &= ~uint8_t{1 << kStdin};
  terminal_streams_ = request.terminal_streams;
  winsize size = {};
  for (const Stream stream : {kStdin, kStdout, kStderr}) {
    if ((terminal_streams_ & (1 << stream)) != 0 && ioctl(stream, TIOCGWINSZ, &size) == 0) break;
  }
  request.rows = size.ws_row;
  request.columns = size.ws_col;
  if ((terminal_streams_ & (1 << kStdin)) != 0 && terminal_.Inspect()) {
    stdin_is_raw_ = true;
    request.raw = true;
    const termios& modes = terminal_.saved();
    request.input_flags = modes.c_iflag;
    request.output_flags = modes.c_oflag;
    request.local_flags = modes.c_lflag;
    std::copy_n(modes.c_cc, request.control_characters.size(), request.control_characters.begin());
  }
  if (!config.icount) {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    request.clock_ns =
        static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  }
  return request;
}

absl::Status Session::WatchSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s :
       {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGTSTP, SIGCONT}) {
    // What was ignored from the start (nohup) stays so.
    struct sigaction action;
    if (sigaction(s, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&set, s);
  }
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return PosixError("signalfd");
  return absl::OkStatus();
}

absl::StatusOr<ExitStatus> Session::Run(const Config& config, const RunOptions& options) {
  started_ = MonotonicNow();
  HULL_ASSIGN_OR_RETURN(const OpenRequest request, MakeRequest(config, options));
  const std::string payload = EncodeOpenRequest(request);
  if (payload.size() > kMaxOpenPayload) {
    return absl::InvalidArgumentError("the arguments and the environment are too long");
  }
  HULL_RETURN_IF_ERROR(WatchSignals());
  channel_.Queue(0, FrameType::kOpen, 0, payload);
  if (!options.forward_stdin) stdin_.End();
  while (!Done()) {
    const absl::Status flushed = channel_.Flush();
    // What the other end said before it closed is still to be read.
    if (!flushed.ok() && !absl::IsUnavailable(flushed)) return flushed;
    Wait();
    HULL_RETURN_IF_ERROR(ReadSignals());
    HULL_RETURN_IF_ERROR(ReadFrames());
    WriteOutput(kStdout);
    WriteOutput(kStderr);
  }
  terminal_.Restore();
  PutBackStdin();
  return *outcome_;
}

bool Session::Done() const {
  return outcome_.has_value() && outputs_[kStdout].Pending().empty() &&
         outputs_[kStderr].Pending().empty();
}

void Session::Wait() {
  std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0}};
  if (!outcome_.has_value()) fds.push_back({channel_.fd(), channel_.PollEvents(), 0});
  for (const Stream stream : {kStdout, kStderr}) {
    if (!outputs_[stream].Pending().empty()) fds.push_back({stream, POLLOUT, 0});
  }
  const bool wants_stdin = opened_ && !outcome_.has_value() && stdin_.Allowance() > 0;
  if (wants_stdin) fds.push_back({STDIN_FILENO, POLLIN, 0});
  const bool patient = opened_ || told_patience_ || isatty(STDERR_FILENO) == 0;
  const int ready = poll(fds.data(), fds.size(),
                         PollTimeout(patient ? absl::InfiniteDuration() : started_ + kPatience));
  if (ready == 0) {
    told_patience_ = true;
    Say("waiting for the emulated host to start");
  }
  if (ready > 0 && wants_stdin && fds.back().revents != 0) ReadStdin();
}

void Session::ReadStdin() {
  char buffer[kMaxPayload];
  const ssize_t n = read(STDIN_FILENO, buffer, stdin_.Allowance());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  // An error, such as a closed descriptor or a terminal that is gone, ends the input.
  if (n <= 0) {
    channel_.Queue(0, FrameType::kEnd, kStdin, "");
    stdin_.End();
    return;
  }
  stdin_read_ += static_cast<uint64_t>(n);
  stdin_.Sent(static_cast<size_t>(n));
  channel_.Queue(0, FrameType::kData, kStdin, absl::string_view(buffer, static_cast<size_t>(n)));
}

void Session::WriteOutput(Stream stream) {
  IncomingStream& output = outputs_[stream];
  while (!output.Pending().empty()) {
    // A blocking write to a slow reader would keep signals from the command.
    pollfd fd = {stream, POLLOUT, 0};
    if (poll(&fd, 1, 0) == 0) return;
    const absl::string_view pending = output.Pending();
    const size_t size = bulk_[stream] ? pending.size() : std::min(pending.size(), kPipeWrite);
    const ssize_t n = write(stream, pending.data(), size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      output.Abandon();
      channel_.Queue(0, FrameType::kShut, stream, "");
      return;
    }
    const uint32_t credit = output.Take(static_cast<size_t>(n));
    if (credit > 0) channel_.Queue(0, FrameType::kCredit, stream, EncodeU32(credit));
  }
}

absl::Status Session::ReadSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGWINCH) {
      SendResize();
      continue;
    }
    if (signal == SIGTSTP) {
      Suspend();
      continue;
    }
    // While the machine boots there is no command yet to take the signal.
    if (!opened_ && signal != SIGCONT) {
      outcome_ = ExitStatus{0, signal};
      return absl::OkStatus();
    }
    // The terminal's own signals go to all of a foreground job, others to one process.
    SendSignal(signal, info.ssi_code == SI_KERNEL);
  }
  return absl::OkStatus();
}

void Session::Suspend() {
  // Not SIGTSTP: the kernel drops it in a group whose parents are in another session.
  if (opened_) SendSignal(SIGSTOP, true);
  (void)channel_.Flush();
  terminal_.Restore();
  raise(SIGSTOP);
  if (opened_ && stdin_is_raw_) terminal_.MakeRaw();
  if (opened_) SendSignal(SIGCONT, true);
}

absl::Status Session::ReadFrames() {
  if (outcome_.has_value()) return absl::OkStatus();
  const absl::Status read = channel_.Read();
  while (true) {
    HULL_ASSIGN_OR_RETURN(const std::optional<Frame> frame, channel_.Next());
    if (!frame.has_value()) break;
    HULL_RETURN_IF_ERROR(OnFrame(*frame));
  }
  if (absl::IsUnavailable(read) && !outcome_.has_value()) {
    return absl::UnavailableError("the emulated host's supervisor has ended unexpectedly");
  }
  return absl::IsUnavailable(read) ? absl::OkStatus() : read;
}

absl::Status Session::OnFrame(const Frame& frame) {
  switch (frame.type) {
    case FrameType::kOpened:
      opened_ = true;
      if (stdin_is_raw_) terminal_.MakeRaw();
      return absl::OkStatus();
    case FrameType::kRefused: {
      HULL_ASSIGN_OR_RETURN(const Refusal refusal, DecodeRefusal(frame.payload));
      Say(refusal.message);
      // As every shell has it.
      outcome_ = ExitStatus{refusal.error == ENOENT ? 127 : 126, 0};
      return absl::OkStatus();
    }
    case FrameType::kFailed: {
      HULL_ASSIGN_OR_RETURN(const Failure failure, DecodeFailure(frame.payload));
      may_retry_ = failure.retry && !opened_;
      return absl::UnavailableError(failure.message);
    }
    case FrameType::kData:
      if (frame.stream == kStdin) break;
      return outputs_[frame.stream].Data(frame.payload);
    case FrameType::kEnd:
      if (frame.stream == kStdin) break;
      return outputs_[frame.stream].End();
    case FrameType::kCredit: {
      if (frame.stream != kStdin) break;
      HULL_ASSIGN_OR_RETURN(const uint32_t bytes, DecodeU32(frame.payload));
      return stdin_.Credit(bytes);
    }
    case FrameType::kShut:
      if (frame.stream != kStdin) break;
      stdin_.Shut();
      return absl::OkStatus();
    case FrameType::kExit: {
      HULL_ASSIGN_OR_RETURN(const ExitReport report, DecodeExitReport(frame.payload));
      outcome_ = ExitStatus{report.code, report.signal};
      stdin_consumed_ = report.stdin_consumed;
      return absl::OkStatus();
    }
    default:
      break;
  }
  return absl::InternalError("the emulated host broke its protocol");
}

void Session::SendSignal(int signal, bool group) {
  channel_.Queue(0, FrameType::kSignal, 0, EncodeSignal({static_cast<uint8_t>(signal), group}));
}

void Session::SendResize() {
  winsize size = {};
  for (const Stream stream : {kStdin, kStdout, kStderr}) {
    if ((terminal_streams_ & (1 << stream)) == 0 || ioctl(stream, TIOCGWINSZ, &size) != 0) continue;
    channel_.Queue(0, FrameType::kResize, 0, EncodeResize({size.ws_row, size.ws_col}));
    return;
  }
}

// A command that reads a part of a file leaves the rest to the next one, in place as inside.
void Session::PutBackStdin() const {
  if (stdin_read_ > stdin_consumed_ && bulk_[kStdin]) {
    lseek(STDIN_FILENO, -static_cast<off_t>(stdin_read_ - stdin_consumed_), SEEK_CUR);
  }
}

}  // namespace

void ExitStatus::Mirror() const {
  if (signal == 0) _exit(code);
  // The inner process has left the core file, if any.
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  ::signal(signal, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal);
  // A signal that does not kill, as a report from inside cannot say.
  _exit(128 + signal);
}

absl::Status EnsureRunning(const Config& config, absl::string_view reason) {
  HULL_ASSIGN_OR_RETURN(FrameChannel channel, ConnectOrStart(config, reason));
  return Ask(channel, FrameType::kAwaitReady, config.boot_deadline + kHelloDeadline).status();
}

absl::StatusOr<ExitStatus> RunInside(const Config& config, absl::string_view reason,
                                     const RunOptions& options) {
  // The second try is for an emulated host that had hung and was ended because of this command.
  for (bool last : {false, true}) {
    HULL_ASSIGN_OR_RETURN(FrameChannel channel, options.may_start ? ConnectOrStart(config, reason)
                                                                  : Connect(config, nullptr));
    Session session(std::move(channel));
    absl::StatusOr<ExitStatus> status = session.Run(config, options);
    if (status.ok() || last || !options.may_start || !session.may_retry()) return status;
    Say(absl::StrCat(status.status().message(), ": starting it again"));
  }
  return absl::InternalError("unreachable");
}

absl::Status Stop(const Config& config) {
  UniqueFd process;
  absl::StatusOr<FrameChannel> channel = Connect(config, &process);
  if (channel.ok()) {
    channel->Queue(0, FrameType::kStop, 0, "");
    const absl::Duration deadline = MonotonicNow() + kStopDeadline;
    absl::Status status = channel->Flush();
    while (status.ok() && MonotonicNow() < deadline) {
      pollfd fd = {channel->fd(), channel->PollEvents(), 0};
      if (poll(&fd, 1, PollTimeout(deadline)) <= 0) continue;
      status = channel->Flush();
      if (status.ok()) status = channel->Read();
    }
    if (status.ok()) {
      return absl::DeadlineExceededError("the emulated host's supervisor does not end");
    }
    AwaitEnd(process);
  } else if (absl::IsDeadlineExceeded(channel.status())) {
    KillProcess(process);
  } else if (!IsAbsent(channel.status())) {
    return channel.status();
  }
  // Until QEMU is gone as well: it holds the lock.
  const absl::StatusOr<UniqueFd> lock =
      UniqueFd::Open(absl::StrCat(config.instance_dir, "/", kLockName), O_RDWR);
  if (!lock.ok()) return absl::OkStatus();
  const absl::Status locked = LockFile(lock->get(), kKillDeadline);
  if (!locked.ok()) return Annotate(locked, "the emulated host does not end");
  // What a kill -9 left. With the lock, nobody is behind it.
  unlink(absl::StrCat(config.instance_dir, "/", kSocketName).c_str());
  return absl::OkStatus();
}

absl::StatusOr<Status> GetStatus(const Config& config) {
  Status status;
  struct stat disk;
  if (stat(absl::StrCat(config.instance_dir, "/", kDataDiskName).c_str(), &disk) == 0) {
    constexpr uint64_t kBlock = 512;  // of st_blocks, whatever the file system
    status.data_disk_used_bytes = static_cast<uint64_t>(disk.st_blocks) * kBlock;
  }
  absl::StatusOr<FrameChannel> channel = Connect(config, nullptr);
  if (IsAbsent(channel.status())) return status;
  HULL_RETURN_IF_ERROR(channel.status());
  HULL_ASSIGN_OR_RETURN(const StatusReply reply,
                        Ask(*channel, FrameType::kGetStatus, kHelloDeadline));
  status.running = true;
  status.ready = reply.ready;
  status.supervisor_pid = static_cast<pid_t>(reply.supervisor_pid);
  status.qemu_pid = static_cast<pid_t>(reply.qemu_pid);
  status.sessions = reply.sessions;
  status.uptime = absl::Nanoseconds(static_cast<int64_t>(reply.uptime_ns));
  status.cpus = reply.cpus;
  status.memory_bytes = reply.memory_bytes;
  status.icount = reply.icount;
  status.trouble = reply.trouble;
  return status;
}

}  // namespace hull::emulated_host
