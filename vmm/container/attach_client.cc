#include "vmm/container/attach_client.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/attach_socket.h"
#include "vmm/container/detach_keys.h"
#include "vmm/container/keys.h"
#include "vmm/container/pc_terminal.h"
#include "vmm/container/raw_terminal.h"
#include "vmm/container/screen.h"
#include "vmm/event/event_loop.h"

namespace hull::container {
namespace {

// Somebody who presses Ctrl-C this often, this quickly, wants an end, whatever the container
// thinks.
constexpr int kInterruptsToKill = 3;
constexpr absl::Duration kInterruptsWithin = absl::Seconds(4);

// A pc machine's screen on the terminal.
constexpr absl::Duration kScreenInterval = absl::Milliseconds(50);
constexpr absl::Duration kRestOfKey = absl::Milliseconds(100);
constexpr size_t kMaxKeyCodes = 1024;
constexpr size_t kMaxCodesAtOnce = 64;

// A standard stream, used without blocking and without a change to the file it shares.
class StandardStream {
 public:
  explicit StandardStream(int fd) : fd_(fd) {}

  // The descriptor to poll.
  int fd() {
    Prepare();
    return own_.valid() ? own_.get() : fd_;
  }

  // As read(2) and write(2); EAGAIN if it would block.
  ssize_t Read(char* buffer, size_t size) {
    Prepare();
    if (is_socket_) return recv(fd_, buffer, size, MSG_DONTWAIT);
    return read(fd(), buffer, size);
  }
  ssize_t Write(const char* data, size_t size) {
    Prepare();
    if (is_socket_) return send(fd_, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write(fd(), data, size);
  }

 private:
  // A pipe or a terminal is opened a second time, as O_NONBLOCK belongs to the open file that we
  // share with others. Where that is not permitted (a terminal of another user) the calls may
  // block; regular files never do, and have a position that is shared too.
  void Prepare() {
    if (prepared_) return;
    prepared_ = true;
    struct stat info;
    if (fstat(fd_, &info) != 0) return;
    is_socket_ = S_ISSOCK(info.st_mode);
    if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode)) return;
    const int access = fd_ == STDIN_FILENO ? O_RDONLY : O_WRONLY;
    absl::StatusOr<UniqueFd> own =
        UniqueFd::Open(absl::StrCat("/proc/self/fd/", fd_), access | O_NONBLOCK | O_NOCTTY);
    if (own.ok()) own_ = *std::move(own);
  }

  const int fd_;
  UniqueFd own_;
  bool prepared_ = false;
  bool is_socket_ = false;
};

class Client : public AttachSocket::Handler {
 public:
  Client(EventLoop* loop, const AttachOptions& options)
      : loop_(loop), options_(options), detach_keys_(options.detach_keys) {}

  absl::StatusOr<std::optional<Outcome>> Run(UniqueFd socket) {
    HULL_ASSIGN_OR_RETURN(socket_, AttachSocket::Create(loop_, std::move(socket), this));
    if (options_.forward_signals) HULL_RETURN_IF_ERROR(WatchSignals());
    if (options_.ask_for_output) socket_->Send({.type = AttachType::kAttach});
    if (options_.terminal) HULL_RETURN_IF_ERROR(StartTerminal());
    if (!options_.exec_request.empty()) SendExecRequest();
    if (options_.attach_stdin) StartStdin();
    if (!options_.pc_name.empty()) StartPc();
    const absl::Status ran = loop_->Run();
    if (painter_.has_value()) WriteOut(&out_, AttachType::kConsole, ScreenPainter::Leave());
    raw_terminal_.Restore();
    HULL_RETURN_IF_ERROR(ran);
    HULL_RETURN_IF_ERROR(status_);
    return outcome_;
  }

  void OnFrame(const AttachFrame& frame) override {
    switch (frame.type) {
      case AttachType::kHello:
        if (frame.number != kAttachVersion) {
          Stop(absl::FailedPreconditionError(
              absl::StrCat("the container's monitor speaks version ", frame.number,
                           " of the attach protocol, this hull ", uint32_t{kAttachVersion})));
        }
        return;
      case AttachType::kStandardOutput:
        if (painter_.has_value()) return;  // it is on the screen
        return WriteOut(&out_, AttachType::kStandardOutput, frame.data);
      case AttachType::kStandardError:
        if (painter_.has_value()) return;  // it would be in the midst of the screen
        return WriteOut(&err_, AttachType::kStandardError, frame.data);
      case AttachType::kConsole:
        return WriteOut(&err_, AttachType::kConsole, frame.data);
      case AttachType::kStarted:
        return;
      case AttachType::kNotice:
        return WriteOut(&err_, AttachType::kConsole,
                        absl::StrCat("hull: ", frame.data, raw_terminal_.raw() ? "\r\n" : "\n"));
      case AttachType::kControlReply:
        return OnControlReply(frame);
      case AttachType::kStdinCredit:
        credit_ = std::min(credit_ + frame.number, kInitialStdinCredit);
        return PumpStdin();
      case AttachType::kExited:
        outcome_ = Outcome{.exit_status = static_cast<int>(frame.number), .detached = detaching_};
        return loop_->Stop();
      case AttachType::kFailed:
        outcome_ = Outcome{.exit_status = static_cast<int>(frame.number),
                           .error = std::string(frame.data)};
        return loop_->Stop();
      default:
        return Stop(absl::InvalidArgumentError("attach protocol: not a frame of a monitor"));
    }
  }

  void OnSendable() override { PumpStdin(); }

  void OnClosed(const absl::Status& status) override { Stop(status); }

 private:
  struct Output {
    explicit Output(int fd) : stream(fd) {}
    StandardStream stream;
    bool closed = false;      // failed: what comes is dropped
    std::string rest;         // not written yet; the socket is paused while there is any
    EventLoop::Id watch = 0;  // valid while rest is not empty
    AttachType rest_type = AttachType::kStandardOutput;
  };

  void Stop(absl::Status status) {
    status_.Update(std::move(status));
    loop_->Stop();
  }

  // ---- Output ----

  void WriteOut(Output* output, AttachType type, absl::string_view data) {
    while (!output->closed && !data.empty()) {
      const ssize_t n = output->stream.Write(data.data(), data.size());
      if (n >= 0) {
        data.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN) {
        return WaitForOutput(output, type, data);
      } else if (errno != EINTR) {
        OnOutputFailed(output, type, errno);
      }
    }
  }

  void WaitForOutput(Output* output, AttachType type, absl::string_view data) {
    output->rest = std::string(data);
    output->rest_type = type;
    absl::StatusOr<EventLoop::Id> watch = loop_->AddFd(
        output->stream.fd(), EPOLLOUT, [this, output](uint32_t) { OnWritable(output); });
    if (!watch.ok()) return Stop(watch.status());
    output->watch = *watch;
    socket_->SetReading(false);
  }

  void OnWritable(Output* output) {
    loop_->RemoveFd(output->watch);
    socket_->SetReading(true);
    const std::string data = std::exchange(output->rest, std::string());
    WriteOut(output, output->rest_type, data);
  }

  void OnOutputFailed(Output* output, AttachType type, int error) {
    output->closed = true;
    // The reader of a pipe may leave when it has seen enough; anything else lost data.
    if (error != EPIPE && type != AttachType::kConsole) {
      status_.Update(PosixError(error, type == AttachType::kStandardOutput
                                           ? "write to standard output"
                                           : "write to standard error"));
    }
    if (type != AttachType::kConsole) {
      socket_->Send({.type = AttachType::kOutputClosed, .number = static_cast<uint32_t>(type)});
    }
  }

  // ---- Input ----

  void StartStdin() {
    stdin_buffer_.reset(new char[kMaxAttachFrame]);
    stdin_buffer_[0] = static_cast<char>(AttachType::kStdin);
    stdin_open_ = true;
    absl::StatusOr<EventLoop::Id> watch =
        loop_->AddFd(in_.fd(), EPOLLIN, [this](uint32_t) { ReadStdin(); });
    if (watch.ok()) {
      stdin_watch_ = *watch;
    } else if (absl::IsPermissionDenied(watch.status())) {
      // epoll(7) takes no regular file: one can be read at any time.
      loop_->Post([this] { PumpStdin(); });
    } else {
      Stop(watch.status());
    }
  }

  // Goes on reading what had to wait for credit or for room in the socket.
  void PumpStdin() {
    if (!stdin_open_) return;
    if (!stdin_watch_.has_value()) {
      while (stdin_open_ && credit_ > 0 && socket_->sendable()) ReadStdin();
      return;
    }
    WatchStdin();
  }

  void WatchStdin() {
    const bool want = credit_ > 0 && socket_->sendable();
    if (want == stdin_watched_) return;
    stdin_watched_ = want;
    absl::Status status = loop_->ModifyFd(*stdin_watch_, want ? EPOLLIN : 0u);
    if (!status.ok()) Stop(status);
  }

  void ReadStdin() {
    const size_t room = std::min<size_t>(credit_, kMaxAttachPayload);
    const ssize_t n = in_.Read(stdin_buffer_.get() + 1, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) {
      if (options_.terminal) {
        SendTyped(absl::string_view(stdin_buffer_.get() + 1, static_cast<size_t>(n)));
      } else {
        credit_ -= static_cast<uint32_t>(n);
        socket_->SendMessage(absl::string_view(stdin_buffer_.get(), static_cast<size_t>(n) + 1));
      }
      if (stdin_open_ && stdin_watch_.has_value()) WatchStdin();
      return;
    }
    if (raw_terminal_.raw()) {
      // The user's terminal is gone, and with it this client.
      outcome_ = Outcome{.exit_status = SignalStatus(SIGHUP)};
      return loop_->Stop();
    }
    // The end, or an error, which is an end to the container as well.
    CloseStdin();
    socket_->Send({.type = AttachType::kStdinEnd});
  }

  void CloseStdin() {
    stdin_open_ = false;
    if (stdin_watch_.has_value()) loop_->RemoveFd(*stdin_watch_);
  }

  // What the user types at a terminal, less the keys that detach.
  void SendTyped(absl::string_view typed) {
    const DetachKeys::Typed keys = detach_keys_.Filter(typed);
    if (painter_.has_value()) {
      Press(typed_keys_.Feed(keys.bytes));
      AwaitRestOfKey();
    } else if (!keys.bytes.empty()) {
      credit_ -= std::min(credit_, static_cast<uint32_t>(keys.bytes.size()));
      socket_->Send({.type = AttachType::kStdin, .data = keys.bytes});
    }
    if (!keys.detach) return;
    detaching_ = true;
    CloseStdin();
    socket_->Send({.type = AttachType::kDetach});
  }

  void SendExecRequest() {
    for (absl::string_view rest = options_.exec_request; !rest.empty();) {
      socket_->Send({.type = AttachType::kExecPart, .data = rest.substr(0, kMaxAttachPayload)});
      rest.remove_prefix(std::min(rest.size(), kMaxAttachPayload));
    }
    socket_->Send({.type = AttachType::kExec});
  }

  // ---- A pc machine ----

  void StartPc() {
    painter_.emplace(
        absl::StrCat(" ", options_.pc_name, ": ", options_.detach_hint, " leaves it running "),
        absl::StrCat("The screen of ", options_.pc_name,
                     " shows graphics: hull screenshot makes a picture of it."));
    WriteOut(&out_, AttachType::kConsole, painter_->Enter());
    LookAtScreen();
  }

  // One question of each kind at a time: a machine that answers slowly is asked less often.
  void LookAtScreen() {
    loop_->AddTimer(kScreenInterval, [this] { LookAtScreen(); });
    // What a terminal has not taken yet is not drawn over.
    if (screen_asked_ || !out_.rest.empty()) return;
    screen_asked_ = true;
    AskMachine("T");
  }

  void AskMachine(std::string request) {
    questions_.push_back(request[0]);
    socket_->Send({.type = AttachType::kControlRequest, .data = request});
  }

  void OnControlReply(const AttachFrame& frame) {
    reply_.append(frame.data.data(), frame.data.size());
    if (reply_.size() > kMaxControlReply || questions_.empty()) {
      return Stop(absl::InvalidArgumentError("attach protocol: an answer that nobody asked for"));
    }
    if (frame.number == 0) return;
    const std::string reply = std::exchange(reply_, std::string());
    const char question = questions_.front();
    questions_.pop_front();
    if (question == 'T') {
      screen_asked_ = false;
      const absl::StatusOr<TextScreen> screen = ParseTextReply(reply);
      if (!screen.ok()) return Stop(screen.status());
      return WriteOut(&out_, AttachType::kConsole, painter_->Paint(*screen, OwnTerminalSize()));
    }
    const absl::StatusOr<size_t> taken = ParseKeysReply(reply, keys_asked_);
    if (!taken.ok()) return Stop(taken.status());
    codes_.erase(0, *taken);
    keys_asked_ = 0;
    if (*taken > 0) return SendCodes();
    // It has yet to read others.
    loop_->AddTimer(kScreenInterval, [this] { SendCodes(); });
  }

  void Press(absl::string_view keys) {
    const absl::StatusOr<std::vector<KeyStroke>> strokes = ParseKeys(keys);
    if (!strokes.ok()) return;  // too many at once
    for (const KeyStroke& stroke : *strokes) {
      // As a keyboard does with those that nobody reads.
      if (codes_.size() + stroke.size() > kMaxKeyCodes) return;
      codes_.append(stroke.begin(), stroke.end());
    }
    if (keys_asked_ == 0) SendCodes();
  }

  void SendCodes() {
    if (codes_.empty() || keys_asked_ > 0) return;
    keys_asked_ = std::min(codes_.size(), kMaxCodesAtOnce);
    AskMachine(absl::StrCat("K", codes_.substr(0, keys_asked_)));
  }

  // An escape character is a key if nothing follows it.
  void AwaitRestOfKey() {
    if (rest_of_key_.has_value()) loop_->CancelTimer(*rest_of_key_);
    rest_of_key_.reset();
    if (!typed_keys_.pending()) return;
    rest_of_key_ = loop_->AddTimer(kRestOfKey, [this] {
      rest_of_key_.reset();
      Press(typed_keys_.Flush());
    });
  }

  // ---- The terminal ----

  absl::Status StartTerminal() {
    sigset_t signals;
    sigemptyset(&signals);
    // Keys that were held back may follow those that the window has room for.
    credit_ -= static_cast<uint32_t>(detach_keys_.length());
    for (const int signal : {SIGWINCH, SIGTSTP}) sigaddset(&signals, signal);
    if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return PosixError("block signals");
    terminal_fd_.Reset(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!terminal_fd_.valid()) return PosixError("create a signal descriptor");
    HULL_RETURN_IF_ERROR(
        loop_->AddFd(terminal_fd_.get(), EPOLLIN, [this](uint32_t) { OnTerminalSignal(); })
            .status());
    EnterTerminal();
    return absl::OkStatus();
  }

  void EnterTerminal() {
    if (options_.attach_stdin && isatty(STDIN_FILENO)) {
      const absl::Status status = raw_terminal_.Enter();
      if (!status.ok()) return Stop(status);
    }
    // A new process has the size from its request; one that runs learns it here.
    if (options_.exec_request.empty()) SendSize();
  }

  void SendSize() {
    socket_->Send({.type = AttachType::kResize, .number = ResizeNumber(OwnTerminalSize())});
  }

  void OnTerminalSignal() {
    signalfd_siginfo info;
    if (read(terminal_fd_.get(), &info, sizeof(info)) != sizeof(info)) return;
    if (info.ssi_signo == SIGTSTP) {
      // Somebody else than a key stops this client: the shell gets its terminal as it was.
      raw_terminal_.Restore();
      raise(SIGSTOP);
      EnterTerminal();
    }
    SendSize();
  }

  // ---- Signals ----

  absl::Status WatchSignals() {
    const sigset_t signals = ForwardedSignals();
    signal_fd_.Reset(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signal_fd_.valid()) return PosixError("create a signal descriptor");
    return loop_->AddFd(signal_fd_.get(), EPOLLIN, [this](uint32_t) { OnSignal(); }).status();
  }

  void OnSignal() {
    signalfd_siginfo info;
    if (read(signal_fd_.get(), &info, sizeof(info)) != sizeof(info)) return;
    socket_->Send({.type = AttachType::kSignal, .number = info.ssi_signo});
    if (info.ssi_signo != SIGINT && info.ssi_signo != SIGTERM) return;
    const absl::Time now = absl::Now();
    std::rotate(interrupts_, interrupts_ + 1, interrupts_ + kInterruptsToKill);
    interrupts_[kInterruptsToKill - 1] = now;
    if (now - interrupts_[0] > kInterruptsWithin) return;
    socket_->Send({.type = AttachType::kKill});
    // The answer must not wait behind output that nobody reads.
    for (Output* output : {&out_, &err_}) {
      output->closed = true;
      if (!output->rest.empty()) OnWritable(output);
    }
  }

  EventLoop* const loop_;
  const AttachOptions options_;
  std::unique_ptr<AttachSocket> socket_;
  UniqueFd signal_fd_;
  UniqueFd terminal_fd_;  // SIGWINCH and SIGTSTP
  RawTerminal raw_terminal_;
  DetachKeys detach_keys_;
  bool detaching_ = false;

  StandardStream in_{STDIN_FILENO};
  Output out_{STDOUT_FILENO};
  Output err_{STDERR_FILENO};

  // Of a pc machine.
  std::optional<ScreenPainter> painter_;
  TypedKeys typed_keys_;
  std::optional<EventLoop::Id> rest_of_key_;
  std::deque<char> questions_;  // what the machine was asked and has not answered
  bool screen_asked_ = false;
  std::string reply_;  // its beginning
  std::string codes_;  // of keys that the machine has not taken
  size_t keys_asked_ = 0;

  std::unique_ptr<char[]> stdin_buffer_;
  std::optional<EventLoop::Id> stdin_watch_;  // absent: a regular file
  bool stdin_watched_ = true;
  bool stdin_open_ = false;
  uint32_t credit_ = kInitialStdinCredit;

  absl::Time interrupts_[kInterruptsToKill] = {absl::InfinitePast(), absl::InfinitePast(),
                                               absl::InfinitePast()};
  std::optional<Outcome> outcome_;
  absl::Status status_;
};

}  // namespace

sigset_t ForwardedSignals() {
  constexpr int kOwn[] = {SIGABRT, SIGBUS,  SIGCHLD, SIGCONT, SIGFPE,  SIGILL, SIGPIPE, SIGSEGV,
                          SIGSYS,  SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
  sigset_t signals;
  sigfillset(&signals);  // SIGKILL and SIGSTOP in it have no effect
  for (const int signal : kOwn) sigdelset(&signals, signal);
  return signals;
}

absl::StatusOr<std::optional<Outcome>> AttachAndWait(UniqueFd socket,
                                                     const AttachOptions& options) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create());
  Client client(loop.get(), options);
  return client.Run(std::move(socket));
}

}  // namespace hull::container
