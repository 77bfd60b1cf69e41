#include "vmm/container/monitor.h"

#include <cpuid.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "guest-agent/protocol/framing.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/agent_messages.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/attach_socket.h"
#include "vmm/container/config.h"
#include "vmm/container/machine_builder.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"
#include "vmm/container/spawn.h"
#include "vmm/event/event_loop.h"
#include "vmm/machine/spec.h"
#include "vmm/sandbox/broker.h"
#include "vmm/sandbox/user_range.h"

namespace hull::container {
namespace {

// Connections that have not said what they are. The agent opens three; more at a time come from
// processes of the container, and are refused.
constexpr size_t kMaxGreeting = 8;
// Frames for the agent that it has not taken yet, beyond the first: signals are dropped above it.
constexpr size_t kMaxWaitingForAgent = agent::kMaxHostMessageBytes + 65536;
// What is kept of the VMM's standard error.
constexpr size_t kMaxLastWords = 4096;

int64_t NowUnixMs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

struct Pipe {
  UniqueFd read;   // non-blocking
  UniqueFd write;  // blocking
};

absl::StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return PosixError("create a pipe");
  Pipe pipe = {.read = UniqueFd(fds[0]), .write = UniqueFd(fds[1])};
  if (fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0) return PosixError("set up a pipe");
  return pipe;
}

class Monitor : public AttachSocket::Handler {
 public:
  Monitor(MonitorOptions options, const MonitorDeadlines& deadlines, EventLoop* loop,
          ContainerStore* store, Config config)
      : options_(std::move(options)),
        deadlines_(deadlines),
        loop_(loop),
        store_(store),
        config_(std::move(config)),
        buffer_(new char[kMaxAttachFrame]) {}

  void Run() {
    absl::StatusOr<std::unique_ptr<AttachSocket>> client =
        AttachSocket::Create(loop_, std::move(options_.client), this);
    if (!client.ok()) return;  // nobody to tell, and nothing was started
    client_ = *std::move(client);
    client_->Send({.type = AttachType::kHello, .number = kAttachVersion});
    absl::Status status = StartMachine();
    if (status.ok()) status = loop_->Run();
    if (!status.ok()) {
      Fail({.exit_status = kHullFailed, .error = std::string(status.message())});
      if (vmm_pid_ > 0 && !vmm_ended_) waitpid(vmm_pid_, &vmm_status_, 0);
    }
    Conclude();
  }

  // ---- The client ----

  void OnFrame(const AttachFrame& frame) override {
    switch (frame.type) {
      case AttachType::kStdin:
        return AcceptStdin(frame.data);
      case AttachType::kStdinEnd:
        stdin_ended_ = true;
        return PumpStdin();
      case AttachType::kSignal:
        return OnSignal(frame.number);
      case AttachType::kKill:
        if (!outcome_.has_value()) outcome_ = Outcome{.exit_status = SignalStatus(SIGKILL)};
        return KillMachine();
      case AttachType::kOutputClosed:
        return CloseOutput(frame.number == static_cast<uint32_t>(AttachType::kStandardOutput)
                               ? &stdio_
                               : &stderr_);
      default:
        return EndForClient("sent what is no frame of a client");
    }
  }

  void OnSendable() override {
    UpdateStreams();
    if (credit_owed_ > 0) SendCredit();
    MaybeStop();
  }

  void OnClosed(const absl::Status& status) override {
    EndForClient(status.ok() ? "went away" : status.message());
    UpdateStreams();
    MaybeStop();
  }

 private:
  // A connection from the guest that has not said what it is. The Hello is read to the byte, so
  // that what follows it stays in the socket.
  struct Greeting {
    UniqueFd socket;
    EventLoop::Id watch = 0;
    std::array<uint8_t, agent::kFrameHeaderBytes + agent::kMaxHelloBytes> bytes;
    size_t have = 0;
  };

  // A byte stream of the process.
  struct Stream {
    explicit Stream(AttachType output) : type(output) {}
    const AttachType type;
    UniqueFd socket;
    EventLoop::Id watch = 0;
    uint32_t events = 0;
    bool connected = false;  // was, at some time
    bool ended = false;      // nothing more comes from the guest
    bool unwanted = false;   // the client has nowhere to put it
  };

  // ---- Start ----

  absl::Status StartMachine() {
    HULL_ASSIGN_OR_RETURN(stream_token_, RandomU64());
    HULL_ASSIGN_OR_RETURN(for_agent_, StartContainerFrames(config_, stream_token_));

    const std::string run = store_->RunDirectory(config_.id);
    HULL_ASSIGN_OR_RETURN(sandbox::BrokerSockets broker, sandbox::MakeBrokerSockets());
    broker_ = std::move(broker.server);
    HULL_ASSIGN_OR_RETURN(broker_watch_, loop_->AddFd(broker_.get(), EPOLLIN,
                                                      [this](uint32_t) { AnswerRequests(); }));

    HULL_ASSIGN_OR_RETURN(const UniqueFd kernel, UniqueFd::Open(options_.files.kernel, O_RDONLY));
    HULL_ASSIGN_OR_RETURN(const UniqueFd initramfs,
                          UniqueFd::Open(options_.files.initramfs, O_RDONLY));
    HULL_ASSIGN_OR_RETURN(const UniqueFd root, UniqueFd::Open(config_.root_image, O_RDONLY));
    HULL_ASSIGN_OR_RETURN(Pipe report, MakePipe());
    report_ = std::move(report.read);
    HULL_ASSIGN_OR_RETURN(report_watch_,
                          loop_->AddFd(report_.get(), EPOLLIN, [this](uint32_t) { ReadReport(); }));
    HULL_ASSIGN_OR_RETURN(Pipe last_words, MakePipe());
    last_words_ = std::move(last_words.read);
    HULL_ASSIGN_OR_RETURN(last_words_watch_, loop_->AddFd(last_words_.get(), EPOLLIN,
                                                          [this](uint32_t) { ReadLastWords(); }));

    SpawnOptions spawn;
    spawn.program = options_.files.vmm;
    // 0 and 1 are /dev/null; 3 is for --report_fd and 8 for --parent_fd, the others are those of
    // MachineDescriptors.
    const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!self.valid()) return PosixError("watch this process");
    spawn.fds = {-1,
                 -1,
                 last_words.write.get(),
                 report.write.get(),
                 kernel.get(),
                 initramfs.get(),
                 root.get(),
                 broker.requester.get(),
                 self.get()};
    MachineDescriptors descriptors = {
        .kernel = 4, .initramfs = 5, .root = 6, .connector = 7, .console = -1};
    Pipe console;
    if (config_.console) {
      HULL_ASSIGN_OR_RETURN(console, MakePipe());
      console_ = std::move(console.read);
      HULL_ASSIGN_OR_RETURN(console_watch_, loop_->AddFd(console_.get(), EPOLLIN,
                                                         [this](uint32_t) { ReadConsole(); }));
      descriptors.console = static_cast<int>(spawn.fds.size());
      spawn.fds.push_back(console.write.get());
    }
    HULL_ASSIGN_OR_RETURN(const std::string spec, BuildMachineSpec(config_, descriptors));
    HULL_ASSIGN_OR_RETURN(
        const UniqueFd spec_file,
        UniqueFd::Open(absl::StrCat(run, "/machine.json"), O_RDWR | O_CREAT | O_EXCL, 0600));
    HULL_RETURN_IF_ERROR(WriteFull(spec_file.get(), spec));
    if (lseek(spec_file.get(), 0, SEEK_SET) != 0) return PosixError("rewind machine.json");
    spawn.argv = {"hull-vmm", absl::StrCat("--spec_fd=", spawn.fds.size()), "--report_fd=3",
                  "--parent_fd=8", "--host_left"};
    spawn.fds.push_back(spec_file.get());
    // Where it cannot be opened, hull-vmm says why.
    const UniqueFd kvm(open(machine::kKvmDevice, O_RDWR | O_CLOEXEC));
    if (kvm.valid()) {
      spawn.argv.push_back(absl::StrCat("--kvm_fd=", spawn.fds.size()));
      spawn.fds.push_back(kvm.get());
    }
    // Anybody but root stays this user, who can become no other.
    if (geteuid() == 0) {
      HULL_ASSIGN_OR_RETURN(
          user_,
          sandbox::ClaimUser(options_.users, absl::StrCat(options_.paths.run, "/users.lock")));
      spawn.user = user_.user;
    }
    spawn.leave_host = true;
    // Neither outlives the other: the VMM is killed with its monitor, and the monitor waits for it.
    spawn.parent_death_signal = SIGKILL;
    HULL_ASSIGN_OR_RETURN(vmm_pid_, Spawn(spawn));
    vmm_fd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, vmm_pid_, 0)));
    if (!vmm_fd_.valid()) return PosixError("watch the VMM's process");
    HULL_ASSIGN_OR_RETURN(vmm_watch_,
                          loop_->AddFd(vmm_fd_.get(), EPOLLIN, [this](uint32_t) { OnVmmEnd(); }));
    SetDeadline(deadlines_.boot, absl::StrCat("the guest's agent did not answer within ",
                                              absl::FormatDuration(deadlines_.boot),
                                              " (hull run --console shows what the guest does)"));
    return absl::OkStatus();
  }

  // Ends the machine with this error unless the deadline is set anew or cleared.
  void SetDeadline(absl::Duration delay, std::string error) {
    ClearDeadline();
    deadline_ = loop_->AddTimer(delay, [this, error = std::move(error)] {
      deadline_.reset();
      FailMachine(error);
    });
  }

  void ClearDeadline() {
    if (deadline_.has_value()) loop_->CancelTimer(*deadline_);
    deadline_.reset();
  }

  // ---- Ends ----

  // Keeps the first outcome: what follows is its consequence.
  void Fail(Outcome outcome) {
    if (!outcome_.has_value()) outcome_ = std::move(outcome);
    KillMachine();
  }

  void FailMachine(absl::string_view error) {
    Fail({.exit_status = kHullFailed,
          .error = absl::StrCat("container ", config_.name, ": ", error)});
  }

  void OnGuestViolation(absl::string_view what) {
    // A status of the process counts only with all of its output.
    if (answered_ && outcome_.has_value() && outcome_->error.empty()) outcome_.reset();
    FailMachine(
        absl::StrCat("the guest broke the agent protocol with ", what, "; its microVM was ended"));
  }

  void KillMachine() {
    if (vmm_pid_ <= 0 || vmm_ended_ || killed_) return;
    killed_ = true;
    ClearDeadline();
    // Not reaped yet, so the number is still this process's.
    kill(vmm_pid_, SIGKILL);
  }

  // The process has ended or will not start: once its output is through, the machine goes.
  void OrderShutdown() {
    if (shutdown_ordered_ || vmm_ended_ || killed_) return;
    shutdown_ordered_ = true;
    ClearDeadline();
    deadline_ = loop_->AddTimer(deadlines_.shutdown, [this] {
      deadline_.reset();
      KillMachine();
    });
    SendToAgent(ShutdownFrame());
  }

  // The owner of the container is not there any more.
  void EndForClient(absl::string_view why) {
    if (!outcome_.has_value()) {
      outcome_ =
          Outcome{.exit_status = SignalStatus(SIGHUP),
                  .error = absl::StrCat("the hull run of container ", config_.name, " ", why)};
    }
    if (running_) {
      OrderShutdown();
    } else {
      KillMachine();
    }
  }

  void OnVmmEnd() {
    while (waitpid(vmm_pid_, &vmm_status_, 0) < 0 && errno == EINTR) {
    }
    OnMachineEnd();
  }

  // The VMM says with which status it will exit before it does: the machine is over, and what the
  // kernel still has to free concerns nobody. A VMM that dies before that is OnVmmEnd's.
  void ReadReport() {
    char text[8];
    const ssize_t n = read(report_.get(), text, sizeof(text));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    loop_->RemoveFd(report_watch_);
    report_.Reset();
    int status;
    if (n <= 0 || vmm_ended_ ||
        !absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(n)), &status)) {
      return;
    }
    vmm_status_ = W_EXITCODE(status, 0);
    OnMachineEnd();
  }

  void OnMachineEnd() {
    vmm_ended_ = true;
    loop_->RemoveFd(vmm_watch_);
    ClearDeadline();
    // What it sent is still in the sockets and pipes, and ends there; but its standard error, which
    // stays open until the process is gone, holds all that will ever come.
    while (ReadLastWords()) {
    }
    StopAnswering();
    MaybeStop();
  }

  // Everything that comes from the machine has been taken and passed on.
  void MaybeStop() {
    if (!vmm_ended_ || !greetings_.empty() || control_.valid()) return;
    if ((stdio_.connected && !stdio_.ended) || (stderr_.connected && !stderr_.ended)) return;
    if (console_.valid()) return;
    if (client_->open() && !client_->sendable()) return;
    loop_->Stop();
  }

  Outcome FinalOutcome() {
    const bool clean = vmm_ended_ && WIFEXITED(vmm_status_) && WEXITSTATUS(vmm_status_) == 0;
    if (!outcome_.has_value()) return MachineFailure(config_.name, vmm_status_, last_words_text_);
    if (outcome_->error.empty() && vmm_pid_ > 0 && !clean && !killed_) {
      // The process's own end was known before; the machine's is another matter.
      client_->Send({.type = AttachType::kNotice,
                     .data = MachineFailure(config_.name, vmm_status_, last_words_text_).error});
    }
    return *outcome_;
  }

  void Conclude() {
    Outcome outcome = FinalOutcome();
    State state;
    state.status = outcome.error.empty() ? Status::kExited : Status::kFailed;
    state.started_unix_ms = started_unix_ms_;
    state.finished_unix_ms = NowUnixMs();
    state.exit_status = outcome.exit_status;
    state.error = outcome.error;
    absl::Status cleared;
    if (!config_.remove) cleared = store_->WriteState(config_, state);
    cleared.Update(store_->Finish(config_, /*discard=*/false));
    if (!cleared.ok() && outcome.error.empty()) {
      client_->Send({.type = AttachType::kNotice,
                     .data = absl::StrCat("container ", config_.name,
                                          " could not be cleared away: ", cleared.message())});
    }
    // Last, so that a client which has its answer finds nothing left.
    if (outcome.error.empty()) {
      client_->Send(
          {.type = AttachType::kExited, .number = static_cast<uint32_t>(outcome.exit_status)});
    } else {
      client_->Send({.type = AttachType::kFailed,
                     .data = outcome.error,
                     .number = static_cast<uint32_t>(outcome.exit_status)});
    }
    // What still waits for room is sent even so: the peer is there and reads.
    while (client_->open() && !client_->sendable()) {
      if (!loop_->RunOnce(absl::InfiniteDuration()).ok()) break;
    }
  }

  // ---- Connections from the guest ----

  // The guest connects to the host: to nobody but this monitor.
  void AnswerRequests() {
    while (broker_.valid()) {
      const absl::StatusOr<std::optional<sandbox::BrokerRequest>> request =
          sandbox::ReceiveRequest(broker_.get());
      if (!request.ok()) return StopAnswering();
      if (!request->has_value()) return;
      sandbox::BrokerReply reply = {.id = (*request)->id, .error = ECONNREFUSED};
      if ((*request)->port == agent::kAgentPort) {
        reply.connection = Greet();
        if (reply.connection.valid()) reply.error = 0;
      }
      // A VMM that does not take its replies has nobody else to blame.
      sandbox::SendReply(broker_.get(), reply).IgnoreError();
    }
  }

  // The guest's end of a new connection; invalid if there is none to be had.
  UniqueFd Greet() {
    int sockets[2];
    if (greetings_.size() >= kMaxGreeting ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) != 0) {
      return UniqueFd();
    }
    UniqueFd guest(sockets[1]);
    auto greeting = std::make_unique<Greeting>();
    Greeting* const raw = greeting.get();
    raw->socket = UniqueFd(sockets[0]);
    absl::StatusOr<EventLoop::Id> watch =
        loop_->AddFd(raw->socket.get(), EPOLLIN, [this, raw](uint32_t) { ReadHello(raw); });
    if (!watch.ok()) return UniqueFd();
    raw->watch = *watch;
    greetings_.push_back(std::move(greeting));
    return guest;
  }

  void StopAnswering() {
    if (!broker_.valid()) return;
    loop_->RemoveFd(broker_watch_);
    broker_.Reset();
  }

  void ReadHello(Greeting* greeting) {
    while (true) {
      size_t want = agent::kFrameHeaderBytes;
      if (greeting->have >= want) {
        uint32_t length;
        memcpy(&length, greeting->bytes.data(), sizeof(length));  // x86-64 is little-endian too
        if (length > agent::kMaxHelloBytes) return (void)TakeGreeting(greeting);
        want += length;
      }
      if (greeting->have == want && want > agent::kFrameHeaderBytes) return OnHello(greeting);
      const ssize_t n = read(greeting->socket.get(), greeting->bytes.data() + greeting->have,
                             want - greeting->have);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      // Not the agent: whatever it is, only its own connection ends.
      if (n <= 0) {
        TakeGreeting(greeting);
        return MaybeStop();
      }
      greeting->have += static_cast<size_t>(n);
    }
  }

  // Its socket, with the greeting itself gone.
  UniqueFd TakeGreeting(Greeting* greeting) {
    loop_->RemoveFd(greeting->watch);
    UniqueFd socket = std::move(greeting->socket);
    std::erase_if(greetings_, [greeting](const auto& other) { return other.get() == greeting; });
    return socket;
  }

  void OnHello(Greeting* greeting) {
    const absl::StatusOr<ConnectionRole> role = ParseHello(
        std::span(greeting->bytes)
            .subspan(agent::kFrameHeaderBytes, greeting->have - agent::kFrameHeaderBytes),
        stream_token_);
    UniqueFd socket = TakeGreeting(greeting);
    if (absl::IsFailedPrecondition(role.status())) return FailMachine(role.status().message());
    if (!role.ok()) return;
    switch (*role) {
      case ConnectionRole::kControl:
        return OpenControl(std::move(socket));
      case ConnectionRole::kStdio:
        return OpenStream(&stdio_, std::move(socket));
      case ConnectionRole::kStandardError:
        return OpenStream(&stderr_, std::move(socket));
    }
  }

  // ---- The control connection ----

  void OpenControl(UniqueFd socket) {
    if (control_known_) return OnGuestViolation("a second control connection");
    control_known_ = true;
    control_ = std::move(socket);
    absl::StatusOr<EventLoop::Id> watch =
        loop_->AddFd(control_.get(), EPOLLIN, [this](uint32_t events) { OnControl(events); });
    if (!watch.ok()) return FailMachine(watch.status().message());
    control_watch_ = *watch;
    if (!outcome_.has_value()) {
      SetDeadline(deadlines_.start,
                  absl::StrCat("the guest's agent did not start the process within ",
                               absl::FormatDuration(deadlines_.start)));
    }
    FlushToAgent();
  }

  void SendToAgent(absl::string_view frame) {
    if (for_agent_.size() + frame.size() > kMaxWaitingForAgent) return;
    for_agent_.append(frame.data(), frame.size());
    if (control_.valid()) FlushToAgent();
  }

  void FlushToAgent() {
    while (control_.valid() && !for_agent_.empty()) {
      const ssize_t n = send(control_.get(), for_agent_.data(), for_agent_.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) {
        // Its end is about to be read.
        for_agent_.clear();
        break;
      }
      for_agent_.erase(0, static_cast<size_t>(n));
    }
    if (!control_.valid()) return;
    absl::Status status =
        loop_->ModifyFd(control_watch_, for_agent_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
    if (!status.ok()) FailMachine(status.message());
  }

  void OnControl(uint32_t events) {
    if (events & EPOLLOUT) FlushToAgent();
    if (!control_.valid() || (events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
    const ssize_t n = read(control_.get(), buffer_.get(), kMaxAttachPayload);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return CloseControl();
    // SAFETY: bytes are bytes.
    std::span<const uint8_t> input(reinterpret_cast<const uint8_t*>(buffer_.get()),
                                   static_cast<size_t>(n));
    while (control_.valid()) {
      switch (decoder_.Push(&input)) {
        case agent::FrameDecoder::Event::kNeedMore:
          return;
        case agent::FrameDecoder::Event::kTooLong:
          return OnGuestViolation("a frame that is too long");
        case agent::FrameDecoder::Event::kFrame:
          OnAgentMessage(decoder_.payload());
      }
    }
  }

  void CloseControl() {
    loop_->RemoveFd(control_watch_);
    control_.Reset();
    // The agent ends the machine with its control connection, so the VMM's end follows; a guest in
    // which it does not is ended here.
    if (!vmm_ended_ && !shutdown_ordered_ && !killed_) {
      SetDeadline(deadlines_.shutdown, "the guest's agent went away");
    }
    MaybeStop();
  }

  void OnAgentMessage(std::span<const uint8_t> payload) {
    absl::StatusOr<AgentEvent> event = ParseAgentMessage(payload);
    if (!event.ok()) return OnGuestViolation(event.status().message());
    switch (event->kind) {
      case AgentEvent::Kind::kStarted:
        if (running_ || answered_) return OnGuestViolation("a second start of the process");
        return OnStarted();
      case AgentEvent::Kind::kStartFailed:
        if (running_ || answered_) return OnGuestViolation("a second start of the process");
        answered_ = true;
        if (!outcome_.has_value()) outcome_ = std::move(event->outcome);
        return OrderShutdown();
      case AgentEvent::Kind::kExited:
        if (!running_ || answered_)
          return OnGuestViolation("an end of a process that does not run");
        answered_ = true;
        if (!outcome_.has_value()) outcome_ = std::move(event->outcome);
        return OnProcessEnd();
      case AgentEvent::Kind::kFatal:
        // A container that was told to end has its outcome already.
        if (!outcome_.has_value()) return FailMachine(event->outcome.error);
        return;
      case AgentEvent::Kind::kNothing:
        return;
    }
  }

  void OnStarted() {
    running_ = true;
    ClearDeadline();
    started_unix_ms_ = NowUnixMs();
    State state;
    state.started_unix_ms = started_unix_ms_;
    state.monitor_pid = getpid();
    state.vmm_pid = vmm_pid_;
    const absl::Status written = store_->WriteState(config_, state);
    if (!written.ok()) {
      FailMachine(absl::StrCat("its state cannot be written: ", written.message()));
    }
  }

  void OnProcessEnd() {
    WaitForOutput();
    if (OutputEnded()) OrderShutdown();
  }

  bool OutputEnded() const { return stdio_.ended && stderr_.ended; }

  // The agent has handed over all output; it arrives soon, unless the client does not read.
  void WaitForOutput() {
    ClearDeadline();
    deadline_ = loop_->AddTimer(deadlines_.drain, [this] {
      deadline_.reset();
      if (!client_->sendable()) return WaitForOutput();
      OnGuestViolation("output that does not end");
    });
  }

  void OnSignal(uint32_t signal) {
    if (running_) return SendToAgent(SignalFrame(signal));
    const bool ends =
        signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
    if (!ends) return SendToAgent(SignalFrame(signal));
    // Nothing of the container's runs yet that could want to know.
    if (!outcome_.has_value()) {
      outcome_ = Outcome{.exit_status = SignalStatus(static_cast<int>(signal))};
    }
    KillMachine();
  }

  // ---- Streams ----

  void OpenStream(Stream* stream, UniqueFd socket) {
    if (stream->connected) return;  // has one already: refused
    stream->connected = true;
    stream->socket = std::move(socket);
    absl::StatusOr<EventLoop::Id> watch =
        loop_->AddFd(stream->socket.get(), EPOLLIN,
                     [this, stream](uint32_t events) { OnStream(stream, events); });
    if (!watch.ok()) return FailMachine(watch.status().message());
    stream->watch = *watch;
    stream->events = EPOLLIN;
    // The agent has all its connections: nobody else is to be listened to.
    if (stdio_.connected && stderr_.connected) StopAnswering();
    if (stream == &stdio_) PumpStdin();
    UpdateStreams();
    if (stream->unwanted) CloseOutput(stream);
  }

  void OnStream(Stream* stream, uint32_t events) {
    if (stream == &stdio_ && (events & EPOLLOUT)) PumpStdin();
    if (!stream->socket.valid() || (events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
    if (stream->ended || !client_->sendable()) {
      // EPOLLHUP and EPOLLERR come unasked. The other direction may be what ended.
      if (stream->ended) CloseStream(stream);
      return;
    }
    const ssize_t n = read(stream->socket.get(), buffer_.get() + 1, kMaxAttachPayload);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return EndStream(stream);
    buffer_[0] = static_cast<char>(stream->type);
    client_->SendMessage(absl::string_view(buffer_.get(), static_cast<size_t>(n) + 1));
    if (!client_->sendable()) UpdateStreams();
  }

  // Nothing more comes from the guest on it. Standard input may still go the other way.
  void EndStream(Stream* stream) {
    stream->ended = true;
    if (stream == &stdio_ && !answered_ && !vmm_ended_) {
      UpdateStreams();
    } else {
      CloseStream(stream);
    }
    if (answered_ && OutputEnded()) OrderShutdown();
    MaybeStop();
  }

  void CloseStream(Stream* stream) {
    if (!stream->socket.valid()) return;
    stream->ended = true;
    loop_->RemoveFd(stream->watch);
    stream->socket.Reset();
    if (stream == &stdio_) PumpStdin();  // what waits is dropped
  }

  // The client cannot pass this output on any more. Closing makes the writer get SIGPIPE; while
  // standard input is in use, only the direction is shut.
  void CloseOutput(Stream* stream) {
    stream->unwanted = true;
    if (!stream->socket.valid()) return;
    if (stream == &stdio_ && config_.process.attach_stdin && !stdin_shut_) {
      shutdown(stream->socket.get(), SHUT_RD);
      return;  // reads as its end
    }
    CloseStream(stream);
    if (answered_ && OutputEnded()) OrderShutdown();
    MaybeStop();
  }

  // Which events each stream waits for: none from the guest while the client has no room, which in
  // turn stops the process that writes.
  void UpdateStreams() {
    const bool room = client_->sendable();
    for (Stream* stream : {&stdio_, &stderr_}) {
      if (!stream->socket.valid()) continue;
      uint32_t events = 0;
      if (room && !stream->ended) events |= EPOLLIN;
      if (stream == &stdio_ && !stdin_.empty()) events |= EPOLLOUT;
      if (events == stream->events) continue;
      stream->events = events;
      const absl::Status status = loop_->ModifyFd(stream->watch, events);
      if (!status.ok()) return FailMachine(status.message());
    }
    if (console_.valid() && console_paused_ == room) {
      console_paused_ = !room;
      const absl::Status status = loop_->ModifyFd(console_watch_, room ? EPOLLIN : 0u);
      if (!status.ok()) return FailMachine(status.message());
    }
  }

  void AcceptStdin(absl::string_view data) {
    if (stdin_.size() + data.size() > kInitialStdinCredit || stdin_ended_) {
      return EndForClient("sent more standard input than it may");
    }
    stdin_.append(data.data(), data.size());
    PumpStdin();
  }

  void PumpStdin() {
    const bool gone = stdio_.connected && !stdio_.socket.valid();
    if (gone || !config_.process.attach_stdin) {
      // Nobody will read it; the client goes on as if somebody did, as with a pipe to /dev/null.
      AddCredit(stdin_.size());
      stdin_.clear();
      return;
    }
    if (!stdio_.socket.valid()) return;
    while (!stdin_.empty()) {
      const ssize_t n = send(stdio_.socket.get(), stdin_.data(), stdin_.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      // The process has closed its input: the rest is for nobody.
      const size_t taken = n < 0 ? stdin_.size() : static_cast<size_t>(n);
      AddCredit(taken);
      stdin_.erase(0, taken);
    }
    if (stdin_.empty() && stdin_ended_ && !stdin_shut_) {
      stdin_shut_ = true;
      shutdown(stdio_.socket.get(), SHUT_WR);
    }
    UpdateStreams();
  }

  void AddCredit(size_t bytes) {
    credit_owed_ += static_cast<uint32_t>(bytes);
    if (credit_owed_ > 0 && client_->sendable()) SendCredit();
  }

  void SendCredit() {
    client_->Send({.type = AttachType::kStdinCredit, .number = std::exchange(credit_owed_, 0u)});
  }

  void ReadConsole() {
    if (!client_->sendable()) return;
    const ssize_t n = read(console_.get(), buffer_.get() + 1, kMaxAttachPayload);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      loop_->RemoveFd(console_watch_);
      console_.Reset();
      return MaybeStop();
    }
    buffer_[0] = static_cast<char>(AttachType::kConsole);
    client_->SendMessage(absl::string_view(buffer_.get(), static_cast<size_t>(n) + 1));
    if (!client_->sendable()) UpdateStreams();
  }

  // Takes a piece of the VMM's standard error; whether there was one.
  bool ReadLastWords() {
    if (!last_words_.valid()) return false;
    const ssize_t n = read(last_words_.get(), buffer_.get(), kMaxAttachPayload);
    if (n < 0 && errno == EINTR) return true;
    if (n < 0 && errno == EAGAIN) return false;
    if (n <= 0) {
      loop_->RemoveFd(last_words_watch_);
      last_words_.Reset();
      return false;
    }
    last_words_text_.append(buffer_.get(), static_cast<size_t>(n));
    if (last_words_text_.size() > kMaxLastWords) {
      last_words_text_.erase(0, last_words_text_.size() - kMaxLastWords);
    }
    return true;
  }

  MonitorOptions options_;
  const MonitorDeadlines deadlines_;
  EventLoop* const loop_;
  ContainerStore* const store_;
  const Config config_;
  // For whatever is being passed on at the moment; not cleared at the start.
  const std::unique_ptr<char[]> buffer_;

  std::unique_ptr<AttachSocket> client_;

  // The VMM.
  pid_t vmm_pid_ = 0;
  UniqueFd vmm_fd_;
  EventLoop::Id vmm_watch_ = 0;
  bool vmm_ended_ = false;
  int vmm_status_ = 0;
  bool killed_ = false;  // by this monitor
  UniqueFd report_;
  EventLoop::Id report_watch_ = 0;
  UniqueFd last_words_;
  EventLoop::Id last_words_watch_ = 0;
  std::string last_words_text_;
  UniqueFd console_;
  EventLoop::Id console_watch_ = 0;
  bool console_paused_ = false;

  // The guest's connections.
  uint64_t stream_token_ = 0;
  UniqueFd broker_;
  EventLoop::Id broker_watch_ = 0;
  sandbox::ClaimedUser user_;
  std::vector<std::unique_ptr<Greeting>> greetings_;
  UniqueFd control_;
  EventLoop::Id control_watch_ = 0;
  bool control_known_ = false;
  std::array<uint8_t, agent::kMaxAgentMessageBytes> control_buffer_;
  agent::FrameDecoder decoder_{control_buffer_};
  std::string for_agent_;
  Stream stdio_{AttachType::kStandardOutput};
  Stream stderr_{AttachType::kStandardError};

  // Standard input: at most kInitialStdinCredit bytes.
  std::string stdin_;
  bool stdin_ended_ = false;  // nothing more comes from the client
  bool stdin_shut_ = false;   // and the guest has been told
  uint32_t credit_owed_ = 0;

  // The container.
  bool running_ = false;   // its process was started
  bool answered_ = false;  // its end, or that it cannot start, is known
  bool shutdown_ordered_ = false;
  int64_t started_unix_ms_ = 0;
  std::optional<EventLoop::Id> deadline_;
  std::optional<Outcome> outcome_;
};

}  // namespace

MonitorDeadlines MonitorDeadlines::Default() {
  // A processor that QEMU emulates says so where hypervisors sign.
  uint32_t eax;
  uint32_t signature[3];
  __cpuid(0x40000000, eax, signature[0], signature[1], signature[2]);
  const bool emulated = memcmp(signature, "TCGTCGTCGTCG", sizeof(signature)) == 0;
  const int slow = emulated ? 6 : 1;
  return {.boot = absl::Seconds(30) * slow,
          .start = absl::Seconds(30) * slow,
          .drain = absl::Seconds(10) * slow,
          .shutdown = absl::Seconds(10) * slow};
}

absl::Status RunMonitor(MonitorOptions options, const MonitorDeadlines& deadlines) {
  // A client or guest that goes away is an error of a write, not a reason to die.
  signal(SIGPIPE, SIG_IGN);
  umask(0077);
  // It was executed as /proc/self/exe, and ps would show it as "exe".
  prctl(PR_SET_NAME, "hull-monitor");
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ContainerStore> store,
                        ContainerStore::Open(options.paths));
  HULL_ASSIGN_OR_RETURN(Config config, store->ReadConfig(options.id));
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create());
  Monitor monitor(std::move(options), deadlines, loop.get(), store.get(), std::move(config));
  monitor.Run();
  return absl::OkStatus();
}

}  // namespace hull::container
