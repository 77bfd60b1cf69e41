#include "guest-agent/agent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace hull::agent {
namespace {

// How long the host may take to read a last message, and a killed container to end.
constexpr int kLastWordsMs = 2000;
constexpr int kKillMs = 5000;

// What an epoll event is about.
enum Source : uint64_t {
  kControl,
  kSignals,
  kStdioConnection,
  kErrorConnection,
  kOutputPipe,
  kErrorPipe,
  kInputPipe,
};

constexpr uint32_t kBroken = EPOLLHUP | EPOLLERR;

// A pipe whose end in the agent does not block. `agent_end` is 0 for the reader, 1 for the writer.
bool MakePipe(int agent_end, Fd* agent, Fd* child) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  *agent = Fd(ends[agent_end]);
  *child = Fd(ends[1 - agent_end]);
  return fcntl(agent->get(), F_SETFL, O_NONBLOCK) == 0;
}

bool Internal(Failure* failure, int error, std::initializer_list<std::string_view> parts) {
  return Fail(failure, StartFailure::kInternal, error, parts);
}

}  // namespace

void Agent::Run() {
  if (Initialise()) {
    Loop();
    DrainControl();
  }
  KillContainer();
}

bool Agent::Initialise() {
  // A kernel without a console starts PID 1 without descriptors 0 to 2.
  int fd;
  do {
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);

  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  sigset_t all, child;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);

  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  signals_ = Fd(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  control_ = channel_.Connect();
  if (!epoll_.valid() || !signals_.valid() || !control_.valid() ||
      !Watch(signals_.get(), kSignals) || !Watch(control_.get(), kControl)) {
    log_.Error({"cannot reach the host: ", ErrorText(errno)});
    return false;
  }
  return true;
}

bool Agent::Watch(int fd, uint64_t source) {
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = source;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Agent::Loop() {
  while (!done_) {
    epoll_event events[8];
    const bool busy = output_ready_ || error_ready_ || input_ready_;
    const int n = epoll_wait(epoll_.get(), events, std::size(events), busy ? 0 : -1);
    if (n < 0 && errno != EINTR) return Fatal({"epoll_wait: ", ErrorText(errno)});
    for (int i = 0; i < n && !done_; ++i) Handle(events[i].data.u64, events[i].events);
    RunStreams();
    ReportExit();
    FlushControl();
  }
}

void Agent::Handle(uint64_t source, uint32_t events) {
  switch (source) {
    case kControl:
      OnControl(events);
      break;
    case kSignals:
      OnChildEnded();
      break;
    case kStdioConnection:
      OnStreamConnection(&stdio_, StreamKind::kStdio);
      if ((events & kBroken) != 0) output_stream_.Stop();
      output_ready_ = input_ready_ = true;
      break;
    case kErrorConnection:
      OnStreamConnection(&error_, StreamKind::kStandardError);
      if ((events & kBroken) != 0) error_stream_.Stop();
      error_ready_ = true;
      break;
    case kOutputPipe:
      output_ready_ = true;
      break;
    case kErrorPipe:
      error_ready_ = true;
      break;
    case kInputPipe:
      input_ready_ = true;
      break;
  }
}

// ---- The control connection ----

void Agent::OnControl(uint32_t events) {
  if (!control_connected_) {
    if ((events & (EPOLLOUT | kBroken)) == 0) return;
    if (const int error = Channel::ConnectError(control_.get()); error != 0) {
      log_.Error({"cannot connect to the host: ", ErrorText(error)});
      done_ = true;
      return;
    }
    control_connected_ = true;
    Send(EncodedFrame::ControlHello());
    FlushControl();
  }
  ReadControl();
}

void Agent::ReadControl() {
  while (!done_) {
    uint8_t bytes[16 * 1024];
    const ssize_t n = read(control_.get(), bytes, sizeof(bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      log_.Debug({"the host ended the control connection"});
      done_ = true;
      return;
    }
    std::span<const uint8_t> input(bytes, static_cast<size_t>(n));
    while (!done_) {
      const FrameDecoder::Event event = frames_.Push(&input);
      if (event == FrameDecoder::Event::kNeedMore) break;
      if (event == FrameDecoder::Event::kTooLong) {
        return Fatal(
            {"the host sent a frame longer than ", Decimal(kMaxHostMessageBytes), " bytes"});
      }
      OnHostMessage(frames_.payload());
    }
  }
}

void Agent::OnHostMessage(std::span<const uint8_t> payload) {
  const HostMessageType type = decoder_.Decode(payload);
  if (type == HostMessageType::kInvalid) {
    return Fatal({"unusable message from the host: ", decoder_.explanation()});
  }
  if (!welcomed_ && type != HostMessageType::kWelcome) {
    return Fatal({"the host did not begin with Welcome"});
  }
  switch (type) {
    case HostMessageType::kInvalid:
    case HostMessageType::kUnknown:
      return;
    case HostMessageType::kWelcome:
      if (decoder_.version() != kProtocolVersion) {
        return Fatal({"the host speaks version ", Decimal(decoder_.version()),
                      " of the agent protocol, this agent speaks ", Decimal(kProtocolVersion)});
      }
      welcomed_ = true;
      return;
    case HostMessageType::kStartContainer:
      return OnStartContainer();
    case HostMessageType::kSignalProcess:
      // A process that has ended, or never started, has no pidfd to send to: no harm.
      if (decoder_.signal_process_id() == process_id_ && running_) {
        syscall(SYS_pidfd_send_signal, process_.pidfd.get(), decoder_.signal(), nullptr, 0);
      }
      return;
    case HostMessageType::kShutdown:
      log_.Debug({"the host asked for shutdown"});
      done_ = true;
      return;
  }
}

void Agent::Send(const EncodedFrame& frame) {
  const std::span<const uint8_t> bytes = frame.bytes();
  // A run of the agent sends a handful of frames, far less than fits even if the host reads none.
  if (bytes.size() > sizeof(out_) - out_size_) {
    log_.Error({"the host does not read"});
    done_ = true;
    return;
  }
  std::memcpy(out_ + out_size_, bytes.data(), bytes.size());
  out_size_ += bytes.size();
}

void Agent::FlushControl() {
  while (control_connected_ && out_size_ != 0) {
    const ssize_t n = write(control_.get(), out_, out_size_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      log_.Debug({"the control connection is gone: ", ErrorText(errno)});
      out_size_ = 0;
      done_ = true;
      return;
    }
    out_size_ -= static_cast<size_t>(n);
    std::memmove(out_, out_ + n, out_size_);
  }
}

void Agent::DrainControl() {
  if (!control_connected_) return;
  pollfd control = {control_.get(), POLLOUT, 0};
  while (out_size_ != 0 && poll(&control, 1, kLastWordsMs) > 0) FlushControl();
  if (!last_words_) return;
  // Switching the machine off would lose what the transport still holds; the host's end of file
  // says that it has read everything.
  shutdown(control_.get(), SHUT_WR);
  control.events = POLLIN;
  while (poll(&control, 1, kLastWordsMs) > 0) {
    uint8_t ignored[1024];
    const ssize_t n = read(control_.get(), ignored, sizeof(ignored));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

void Agent::Fatal(std::initializer_list<std::string_view> parts) {
  Explanation why;
  why.Assign(parts);
  log_.Error({why.view()});
  Send(EncodedFrame::Fatal(why.view()));
  last_words_ = true;
  done_ = true;
}

// ---- The container ----

void Agent::OnStartContainer() {
  if (process_id_ != 0) return Fatal({"the host sent StartContainer twice"});
  StartRequest& request = decoder_.start();
  process_id_ = request.process_id;
  Failure failure;
  if (!StartContainer(&request, &failure)) {
    log_.Debug({"start failed: ", failure.message.view()});
    // Nothing will come through them.
    output_stream_.Stop();
    error_stream_.Stop();
    input_stream_.Stop();
    stdio_ = StreamConnection();
    error_ = StreamConnection();
    Send(EncodedFrame::StartFailed(process_id_, failure.kind, failure.message.view()));
    return;
  }
  running_ = true;
  log_.Debug({"started ", request.args[0], " as pid ", Decimal(process_.pid)});
  Send(EncodedFrame::Started(process_id_, static_cast<uint32_t>(process_.pid)));
}

bool Agent::StartContainer(StartRequest* request, Failure* failure) {
  stream_token_ = request->stream_token;
  ChildStreams child;
  Fd child_fds[3];
  // The connections are made while the container is.
  if (!OpenStreams(*request, &child, child_fds, failure)) return false;
  return BringUpLoopback(failure) && Launch(request, child, &process_, failure);
}

bool Agent::OpenStreams(const StartRequest& request, ChildStreams* child, Fd (&child_fds)[3],
                        Failure* failure) {
  stdio_.fd = channel_.Connect();
  error_.fd = channel_.Connect();
  if (!stdio_.fd.valid() || !error_.fd.valid() || !Watch(stdio_.fd.get(), kStdioConnection) ||
      !Watch(error_.fd.get(), kErrorConnection)) {
    return Internal(failure, errno, {"cannot connect the standard streams to the host"});
  }
  Fd output, error, input;
  if (!MakePipe(0, &output, &child_fds[1]) || !MakePipe(0, &error, &child_fds[2]) ||
      !Watch(output.get(), kOutputPipe) || !Watch(error.get(), kErrorPipe)) {
    return Internal(failure, errno, {"cannot make the standard streams"});
  }
  output_stream_ = OutputStream(std::move(output), stdio_.fd.get());
  error_stream_ = OutputStream(std::move(error), error_.fd.get());
  if (request.attach_stdin) {
    if (!MakePipe(1, &input, &child_fds[0]) || !Watch(input.get(), kInputPipe)) {
      return Internal(failure, errno, {"cannot make the standard input"});
    }
    input_stream_ = InputStream(stdio_.fd.get(), std::move(input));
  } else {
    child_fds[0] = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!child_fds[0].valid()) return Internal(failure, errno, {"cannot open /dev/null"});
  }
  *child = {child_fds[0].get(), child_fds[1].get(), child_fds[2].get()};
  return true;
}

void Agent::OnStreamConnection(StreamConnection* connection, StreamKind kind) {
  if (connection->connected || !connection->fd.valid()) return;
  if (const int error = Channel::ConnectError(connection->fd.get()); error != 0) {
    return Fatal({"the host did not accept a stream connection: ", ErrorText(error)});
  }
  const EncodedFrame hello = EncodedFrame::StreamHello(kind, process_id_, stream_token_);
  // A new connection has room for it.
  const ssize_t n = write(connection->fd.get(), hello.bytes().data(), hello.bytes().size());
  if (n != static_cast<ssize_t>(hello.bytes().size())) {
    return Fatal({"the host did not take the first frame of a stream connection"});
  }
  connection->connected = true;
}

void Agent::RunStreams() {
  if (output_ready_) output_ready_ = stdio_.connected && output_stream_.Run() == Turn::kAgain;
  if (error_ready_) error_ready_ = error_.connected && error_stream_.Run() == Turn::kAgain;
  if (input_ready_) input_ready_ = stdio_.connected && input_stream_.Run() == Turn::kAgain;
}

void Agent::OnChildEnded() {
  signalfd_siginfo ignored;
  while (read(signals_.get(), &ignored, sizeof(ignored)) > 0) {
  }
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (!running_ || pid != process_.pid) continue;
    running_ = false;
    exit_pending_ = true;
    wait_status_ = status;
    input_stream_.Stop();
    // It was PID 1 of its namespace: every other process that could hold a pipe is gone too, so
    // both pipes are at their end once they are empty.
    output_ready_ = error_ready_ = true;
  }
}

void Agent::ReportExit() {
  if (!exit_pending_ || !output_stream_.done() || !error_stream_.done()) return;
  exit_pending_ = false;
  log_.Debug({"the container's process ended, wait status ",
              Decimal(static_cast<uint32_t>(wait_status_))});
  Send(EncodedFrame::Exited(process_id_, wait_status_));
}

void Agent::KillContainer() {
  if (!running_) return;
  syscall(SYS_pidfd_send_signal, process_.pidfd.get(), SIGKILL, nullptr, 0);
  pollfd ended = {process_.pidfd.get(), POLLIN, 0};
  if (poll(&ended, 1, kKillMs) <= 0) log_.Error({"the container does not end"});
}

}  // namespace hull::agent
