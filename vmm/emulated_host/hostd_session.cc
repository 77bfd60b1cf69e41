#include "vmm/emulated_host/hostd_session.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/emulated_host/monotonic.h"

namespace hull::emulated_host {
namespace {

// After SIGHUP and SIGTERM, until SIGKILL.
constexpr absl::Duration kGracePeriod = absl::Seconds(5);

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

absl::StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return PosixError("pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

absl::Status SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return PosixError("fcntl");
  return absl::OkStatus();
}

struct Terminal {
  UniqueFd master;
  UniqueFd slave;
};

absl::StatusOr<Terminal> MakeTerminal(const OpenRequest& request) {
  Terminal terminal;
  HULL_ASSIGN_OR_RETURN(terminal.master, UniqueFd::Open("/dev/ptmx", O_RDWR | O_NOCTTY));
  int unlock = 0;
  if (ioctl(terminal.master.get(), TIOCSPTLCK, &unlock) != 0) return PosixError("TIOCSPTLCK");
  const int slave = ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return PosixError("TIOCGPTPEER");
  terminal.slave.Reset(slave);

  termios modes;
  if (tcgetattr(slave, &modes) != 0) return PosixError("tcgetattr");
  if (request.raw) {
    modes.c_iflag = request.input_flags;
    modes.c_oflag = request.output_flags;
    modes.c_lflag = request.local_flags;
    static_assert(std::tuple_size_v<decltype(request.control_characters)> <= sizeof(modes.c_cc));
    std::copy(request.control_characters.begin(), request.control_characters.end(), modes.c_cc);
  } else {
    // The caller's terminal does all that.
    modes.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    modes.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  }
  if (tcsetattr(slave, TCSANOW, &modes) != 0) return PosixError("tcsetattr");
  const winsize size = {request.rows, request.columns, 0, 0};
  if (ioctl(slave, TIOCSWINSZ, &size) != 0) return PosixError("TIOCSWINSZ");
  HULL_RETURN_IF_ERROR(SetNonBlocking(terminal.master.get()));
  return terminal;
}

// hull-hostd is the last process to be sacrificed and the first to run; commands are not.
void UndoPrivileges() {
  setpriority(PRIO_PROCESS, 0, 0);
  absl::StatusOr<UniqueFd> score = UniqueFd::Open("/proc/self/oom_score_adj", O_WRONLY);
  if (score.ok()) (void)WriteFull(score->get(), "0");
}

void ResetSignals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) sigaction(s, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// In the child. Returns only on failure.
Refusal Exec(const OpenRequest& request, const std::array<int, 3>& streams, bool has_terminal,
             int terminal, const PrefixCache& prefix_cache) {
  const auto refuse = [](absl::string_view what) {
    const int error = errno;
    return Refusal{error, absl::StrCat(what, ": ", strerror(error))};
  };
  UndoPrivileges();
  ResetSignals();
  if (setsid() < 0) return refuse("setsid");
  if (has_terminal && ioctl(terminal, TIOCSCTTY, 0) != 0) return refuse("TIOCSCTTY");
  for (int i = 0; i < 3; ++i) {
    // All of `streams` are above 2: hull-hostd keeps 0 to 2 open.
    if (dup2(streams[static_cast<size_t>(i)], i) < 0) return refuse("dup2");
  }
  umask(static_cast<mode_t>(request.umask));
  if (chdir(request.directory.c_str()) != 0) {
    return refuse(
        absl::StrCat("working directory \"", request.directory, "\" in the emulated host"));
  }
  std::string program = request.argv[0];
  if (program.front() == '/') {
    absl::StatusOr<std::string> copy = prefix_cache.Resolve(program);
    if (!copy.ok()) return Refusal{EIO, std::string(copy.status().message())};
    program = *std::move(copy);
  }
  std::vector<char*> argv;
  for (const std::string& arg : request.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> environment;
  for (const std::string& e : request.environment) {
    environment.push_back(const_cast<char*>(e.c_str()));
  }
  environment.push_back(nullptr);
  // execvp, not execvpe: the search path is the command's, not this process's.
  environ = environment.data();
  execvp(program.c_str(), argv.data());
  return refuse(request.argv[0]);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostdSession>> HostdSession::Start(uint32_t id,
                                                                  const OpenRequest& request,
                                                                  const PrefixCache& prefix_cache) {
  std::unique_ptr<HostdSession> session(new HostdSession(id, request.forward_stdin));
  session->terminal_streams_ = request.terminal_streams;
  if (!request.forward_stdin) session->terminal_streams_ &= ~uint8_t{1 << kStdin};

  // The child's ends; closed here when this function returns.
  Terminal terminal;
  if (session->terminal_streams_ != 0) {
    HULL_ASSIGN_OR_RETURN(terminal, MakeTerminal(request));
    session->terminal_ = std::move(terminal.master);
  }
  std::array<UniqueFd, 3> ends;
  std::array<int, 3> streams;
  for (const Stream stream : {kStdin, kStdout, kStderr}) {
    if ((session->terminal_streams_ & (1 << stream)) != 0) {
      streams[stream] = terminal.slave.get();
      continue;
    }
    if (stream == kStdin && !request.forward_stdin) {
      HULL_ASSIGN_OR_RETURN(ends[stream], UniqueFd::Open("/dev/null", O_RDONLY));
    } else {
      HULL_ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
      UniqueFd& ours = stream == kStdin ? pipe.writer : pipe.reader;
      HULL_RETURN_IF_ERROR(SetNonBlocking(ours.get()));
      session->pipes_[stream] = std::move(ours);
      ends[stream] = std::move(stream == kStdin ? pipe.reader : pipe.writer);
    }
    streams[stream] = ends[stream].get();
  }
  // With both outputs on the terminal there is one stream of bytes, the first of them.
  if (session->SourceOf(kStderr) == nullptr) session->outputs_[kStderr].End();

  HULL_ASSIGN_OR_RETURN(Pipe report, MakePipe());
  HULL_RETURN_IF_ERROR(SetNonBlocking(report.reader.get()));
  const pid_t pid = fork();
  if (pid < 0) return PosixError("fork");
  if (pid == 0) {
    const Refusal refusal =
        Exec(request, streams, session->terminal_streams_ != 0, terminal.slave.get(), prefix_cache);
    // At most half a frame, so within a pipe's capacity: never blocks.
    (void)WriteFull(report.writer.get(), EncodeRefusal(refusal));
    _exit(127);
  }
  session->pid_ = pid;
  session->start_report_ = std::move(report.reader);
  return session;
}

UniqueFd* HostdSession::SourceOf(Stream stream) {
  const uint8_t outputs = terminal_streams_ & ((1 << kStdout) | (1 << kStderr));
  if ((outputs & (1 << stream)) == 0) return &pipes_[stream];
  const bool first = stream == kStdout || (outputs & (1 << kStdout)) == 0;
  return first ? &terminal_ : nullptr;
}

absl::Status HostdSession::OnFrame(const Frame& frame, FrameChannel& channel) {
  switch (frame.type) {
    case FrameType::kData:
      if (frame.stream != kStdin) break;
      return stdin_.Data(frame.payload);
    case FrameType::kEnd:
      if (frame.stream != kStdin) break;
      return stdin_.End();
    case FrameType::kCredit: {
      if (frame.stream == kStdin) break;
      HULL_ASSIGN_OR_RETURN(const uint32_t bytes, DecodeU32(frame.payload));
      return outputs_[frame.stream].Credit(bytes);
    }
    case FrameType::kShut: {
      if (frame.stream == kStdin) break;
      outputs_[frame.stream].Shut();
      // The process gets SIGPIPE, as it would at the caller's own pipe.
      pipes_[frame.stream].Reset();
      return absl::OkStatus();
    }
    case FrameType::kSignal: {
      HULL_ASSIGN_OR_RETURN(const SignalRequest request, DecodeSignal(frame.payload));
      Kill(request.signal, request.group);
      return absl::OkStatus();
    }
    case FrameType::kResize: {
      HULL_ASSIGN_OR_RETURN(const WindowSize window, DecodeResize(frame.payload));
      const winsize size = {window.rows, window.columns, 0, 0};
      if (terminal_.valid()) ioctl(terminal_.get(), TIOCSWINSZ, &size);
      return absl::OkStatus();
    }
    case FrameType::kClose:
      Close();
      Pump(true, channel);
      return absl::OkStatus();
    default:
      break;
  }
  return absl::InvalidArgumentError("unexpected frame");
}

void HostdSession::Close() {
  if (closing_) return;
  closing_ = true;
  stdin_.Abandon();
  for (OutgoingStream& output : outputs_) output.Shut();
  for (UniqueFd& pipe : pipes_) pipe.Reset();
  terminal_.Reset();
  if (reaped_) return;
  Kill(SIGHUP, /*group=*/true);
  Kill(SIGTERM, /*group=*/true);
  Kill(SIGCONT, /*group=*/true);  // a stopped process handles neither
  kill_at_ = MonotonicNow() + kGracePeriod;
}

void HostdSession::Kill(int signal, bool group) {
  // A reaped process's number may be another's by now.
  if (reaped_) return;
  // The group exists from the child's setsid() on.
  if (!group || kill(-pid_, signal) != 0) kill(pid_, signal);
}

void HostdSession::Expire() {
  kill_at_ = absl::InfiniteDuration();
  Kill(SIGKILL, /*group=*/true);
}

void HostdSession::OnReaped(int wait_status) {
  reaped_ = true;
  wait_status_ = wait_status;
  kill_at_ = absl::InfiniteDuration();
}

void HostdSession::AddPollFds(bool may_send, std::vector<pollfd>& fds) const {
  if (start_report_.valid()) fds.push_back({start_report_.get(), POLLIN, 0});
  // The pty is polled once, for both directions.
  short terminal_events = 0;
  const uint8_t outputs = terminal_streams_ & ((1 << kStdout) | (1 << kStderr));
  for (const Stream stream : {kStdout, kStderr}) {
    if (!may_send || outputs_[stream].Allowance() == 0) continue;
    if ((outputs & (1 << stream)) != 0) {
      terminal_events |= POLLIN;
    } else if (pipes_[stream].valid()) {
      fds.push_back({pipes_[stream].get(), POLLIN, 0});
    }
  }
  if ((terminal_streams_ & (1 << kStdin)) != 0) {
    if (!stdin_.Pending().empty()) terminal_events |= POLLOUT;
  } else if (pipes_[kStdin].valid()) {
    // Without POLLOUT: POLLERR still tells that the reader is gone.
    const bool wants = !stdin_.Pending().empty() || stdin_.finished();
    fds.push_back({pipes_[kStdin].get(), static_cast<short>(wants ? POLLOUT : 0), 0});
  }
  if (terminal_.valid() && terminal_events != 0) {
    fds.push_back({terminal_.get(), terminal_events, 0});
  }
}

void HostdSession::Pump(bool may_send, FrameChannel& channel) {
  if (finished_) return;
  PumpStartReport(channel);
  if (start_report_.valid()) return;
  PumpStdin(channel);
  PumpOutput(kStdout, may_send, channel);
  PumpOutput(kStderr, may_send, channel);
  if (!reaped_ || !outputs_[kStdout].done() || !outputs_[kStderr].done()) return;
  finished_ = true;
  if (closing_ || refused_) return;
  ExitReport report;
  report.code = WIFEXITED(wait_status_) ? WEXITSTATUS(wait_status_) : 0;
  report.signal = WIFSIGNALED(wait_status_) ? WTERMSIG(wait_status_) : 0;
  report.stdin_consumed = StdinConsumed();
  channel.Queue(id_, FrameType::kExit, 0, EncodeExitReport(report));
}

void HostdSession::PumpStartReport(FrameChannel& channel) {
  if (!start_report_.valid()) return;
  char buffer[kMaxPayload];
  const ssize_t n = read(start_report_.get(), buffer, sizeof(buffer));
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  start_report_.Reset();
  if (n > 0) {
    refused_ = true;
    if (!closing_) {
      channel.Queue(id_, FrameType::kRefused, 0, absl::string_view(buffer, static_cast<size_t>(n)));
    }
    for (OutgoingStream& output : outputs_) output.Shut();
    return;
  }
  if (!closing_) channel.Queue(id_, FrameType::kOpened, 0, "");
}

void HostdSession::PumpStdin(FrameChannel& channel) {
  if (!forward_stdin_ || stdin_.abandoned()) {
    pipes_[kStdin].Reset();
    return;
  }
  const bool is_terminal = (terminal_streams_ & (1 << kStdin)) != 0;
  UniqueFd& sink = is_terminal ? terminal_ : pipes_[kStdin];
  if (!sink.valid()) return;
  const auto abandon = [&] {
    stdin_.Abandon();
    if (!closing_) channel.Queue(id_, FrameType::kShut, kStdin, "");
    if (!is_terminal) sink.Reset();
  };
  while (!stdin_.Pending().empty()) {
    const absl::string_view pending = stdin_.Pending();
    const ssize_t n = write(sink.get(), pending.data(), pending.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return abandon();
    const uint32_t credit = stdin_.Take(static_cast<size_t>(n));
    if (credit > 0) channel.Queue(id_, FrameType::kCredit, kStdin, EncodeU32(credit));
  }
  if (is_terminal) return;
  if (stdin_.finished()) {
    const std::string link = absl::StrCat("/proc/self/fd/", sink.get());
    stdin_rest_.Reset(open(link.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    sink.Reset();
    return;
  }
  // A process that closes its input early: tell the caller to stop reading.
  pollfd probe = {sink.get(), 0, 0};
  if (poll(&probe, 1, 0) == 1 && (probe.revents & POLLERR) != 0) abandon();
}

void HostdSession::PumpOutput(Stream stream, bool may_send, FrameChannel& channel) {
  OutgoingStream& output = outputs_[stream];
  UniqueFd* const source = SourceOf(stream);
  char buffer[kMaxPayload];
  while (!output.done()) {
    const size_t allowance = may_send ? output.Allowance() : 0;
    if (allowance == 0) return;
    const ssize_t n = read(source->get(), buffer, allowance);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      // Everything that the process wrote before its end has been read. What its orphans write
      // later is not waited for.
      if (reaped_) output.End();
      return;
    }
    // A pty whose last slave has closed reads as EIO.
    if (n <= 0) {
      if (!closing_) channel.Queue(id_, FrameType::kEnd, stream, "");
      output.End();
      if (source != &terminal_) source->Reset();
      return;
    }
    output.Sent(static_cast<size_t>(n));
    channel.Queue(id_, FrameType::kData, stream, absl::string_view(buffer, static_cast<size_t>(n)));
    // One frame a turn while the process lives, so that sessions share the link; after its end, the
    // rest, bounded by the credit.
    if (!reaped_) return;
  }
}

uint64_t HostdSession::StdinConsumed() const {
  int unread = 0;
  const UniqueFd& pipe = stdin_rest_.valid() ? stdin_rest_ : pipes_[kStdin];
  if (pipe.valid() && ioctl(pipe.get(), FIONREAD, &unread) != 0) unread = 0;
  return stdin_.total_taken() - static_cast<uint64_t>(unread);
}

}  // namespace hull::emulated_host
