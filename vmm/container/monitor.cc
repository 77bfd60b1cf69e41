#include "vmm/container/monitor.h"

#include <cpuid.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/agent_connection.h"
#include "vmm/container/agent_messages.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/attached_clients.h"
#include "vmm/container/config.h"
#include "vmm/container/disk.h"
#include "vmm/container/exec_sessions.h"
#include "vmm/container/guest_listener.h"
#include "vmm/container/log_format.h"
#include "vmm/container/log_writer.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"
#include "vmm/container/pc_control.h"
#include "vmm/container/pc_disk.h"
#include "vmm/container/process_streams.h"
#include "vmm/container/screen.h"
#include "vmm/container/screen_log.h"
#include "vmm/container/volume_store.h"
#include "vmm/event/event_loop.h"

namespace hull::container {
namespace {

int64_t NowUnixNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

int64_t NowUnixMs() { return NowUnixNs() / 1'000'000; }

// In what a VMM writes to its standard error when the host has no room for a disk's data.
constexpr absl::string_view kDiskFull = "No space left on device";
// How long an ended container's clients that read nothing are waited for.
constexpr absl::Duration kFarewell = absl::Seconds(2);
// Until a connection that could not be accepted is tried again.
constexpr absl::Duration kListenPause = absl::Seconds(1);
// Connections that wait to be accepted.
constexpr int kBacklog = 16;
// hull-vmm's exit statuses (vmm/README.md).
constexpr int kPoweredOff = 0;
constexpr int kReset = 66;

// What a guest wrote to a serial port, without what would move a terminal's cursor or worse.
std::string PlainText(absl::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '\n' || c == '\t') {
      text += c;
    } else if (c != '\r') {
      absl::StrAppend(&text, byte < 0x20 || byte == 0x7f ? "." : Cp437ToUtf8(byte));
    }
  }
  return text;
}

absl::StatusOr<UniqueFd> ListenAtPath(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", path, "\" is too long for a socket"));
  }
  memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return PosixError("create a socket");
  // SAFETY: what every socket address is passed as.
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return PosixError(absl::StrCat("bind \"", path, "\""));
  }
  if (listen(socket.get(), kBacklog) != 0)
    return PosixError(absl::StrCat("listen at \"", path, "\""));
  return socket;
}

// What the container as a whole does; each of its parts is an object of its own, and tells it here.
class Monitor : public AttachedClients::Handler,
                public VmmProcess::Handler,
                public GuestListener::Handler,
                public AgentConnection::Handler,
                public ProcessStreams::Handler,
                public ExecSessions::Handler,
                public PcControl::Handler {
 public:
  Monitor(MonitorOptions options, const MonitorDeadlines& deadlines, EventLoop* loop,
          ContainerStore* store, Config config)
      : options_(std::move(options)),
        deadlines_(deadlines),
        loop_(loop),
        store_(store),
        config_(std::move(config)),
        clients_(loop, this),
        vmm_(loop, this),
        listener_(loop, this),
        agent_(loop, this),
        streams_(loop, this, config_.process.attach_stdin,
                 /*standard_error=*/!config_.process.terminal),
        sessions_(loop, &clients_, this, deadlines.drain),
        pc_control_(loop, this) {
    if (config_.log_max_bytes > 0) {
      log_.emplace(store->StateDirectory(config_.id), config_.log_max_bytes);
    }
  }

  void Run() {
    const absl::StatusOr<ClientId> starter = clients_.Add(std::move(options_.client));
    if (!starter.ok()) return;  // nobody to tell, and nothing was started
    if (options_.client_mode == ClientMode::kOwner) owner_ = *starter;
    if (options_.client_mode != ClientMode::kDetached) {
      clients_.Attach(*starter, {.process = kMainProcessId, .paced = true});
    }
    absl::Status status = StartMachine();
    if (status.ok()) status = loop_->Run();
    if (!status.ok()) {
      Fail({.exit_status = kHullFailed, .error = std::string(status.message())});
      vmm_.Wait();
    }
    Conclude();
    // After the client has its answer, which need not wait for the kernel.
    vmm_.ClearAway();
  }

  // ---- Clients ----

  void OnClientFrame(ClientId client, const AttachFrame& frame) override {
    if (sessions_.OnClientFrame(client, frame)) return;
    switch (frame.type) {
      case AttachType::kAttach:
        return clients_.Attach(client, {.process = kMainProcessId, .paced = false});
      case AttachType::kStdin:
        if (!clients_.TakeStdin(client, frame.data.size())) {
          return RefuseClient(client, "sent more standard input than it may");
        }
        return streams_.AcceptStdin(client, frame.data);
      case AttachType::kStdinEnd:
        return streams_.EndStdin();
      case AttachType::kSignal:
        return OnSignal(frame.number);
      case AttachType::kResize:
        return agent_.Send(ResizeTerminalFrame(kMainProcessId, FrameTerminalSize(frame)));
      case AttachType::kDetach:
        return OnDetach(client);
      case AttachType::kControlRequest:
        return OnControlRequest(client, frame.data);
      case AttachType::kKill:
        if (!outcome_.has_value()) outcome_ = Outcome{.exit_status = SignalStatus(SIGKILL)};
        return KillMachine();
      case AttachType::kPause:
      case AttachType::kResume:
        return RequestPause(client, frame.type == AttachType::kPause);
      case AttachType::kOutputClosed: {
        const auto type = static_cast<AttachType>(frame.number);
        if (client == owner_) return streams_.CloseOutput(type);
        return clients_.CloseOutput(client, type);
      }
      default:
        return RefuseClient(client, "sent what is no frame of a client");
    }
  }

  void OnClientRoom() override {
    UpdateFlow();
    MaybeStop();
  }

  void OnClientGone(ClientId client, const absl::Status& status) override {
    sessions_.OnClientGone(client);
    pc_control_.Forget(client);
    if (client == owner_) EndForOwner(status.ok() ? "went away" : status.message());
    UpdateFlow();
    MaybeStop();
  }

  // ---- The machine ----

  void OnMachineEnd() override {
    ClearDeadline();
    listener_.Stop();
    streams_.OnProcessGone();
    sessions_.OnMachineEnd();
    if (config_.pc.has_value()) EndPc();
    MaybeStop();
  }

  void OnConsole(absl::string_view frame) override {
    // The serial port of a pc machine is the guest's to write to, not its kernel's.
    if (config_.pc.has_value()) {
      return SendText(AttachType::kStandardError, PlainText(frame.substr(1)));
    }
    clients_.SendOutput(kMainProcessId, frame);
    UpdateFlow();
  }

  void OnConsoleEnd() override { MaybeStop(); }

  void OnPaused(bool paused) override {
    // One that came too late for a process that has ended is not to last.
    if (answered_ || paused_ == paused) return AnswerPause();
    paused_ = paused;
    // Nobody in a machine that is paused can be asked for anything.
    sessions_.SetRunning(!paused);
    const absl::Status written = WriteLiveState();
    if (!written.ok()) return FailMachine(written.message());
    AnswerPause();
  }

  // ---- Connections from the guest ----

  void OnGuestConnection(std::span<const uint8_t> hello, UniqueFd socket) override {
    const absl::StatusOr<GuestHello> parsed = ParseHello(hello);
    if (absl::IsFailedPrecondition(parsed.status())) return FailMachine(parsed.status().message());
    if (!parsed.ok()) return;
    if (parsed->role == ConnectionRole::kControl) return OpenControl(std::move(socket));
    if (parsed->process_id != kMainProcessId) {
      return sessions_.OnConnection(*parsed, std::move(socket));
    }
    if (parsed->token != stream_token_) return;
    OpenStream(parsed->role == ConnectionRole::kStdio ? AttachType::kStandardOutput
                                                      : AttachType::kStandardError,
               std::move(socket));
  }

  void OnStrangerGone() override { MaybeStop(); }

  // ---- The agent ----

  void OnAgentMessage(std::span<const uint8_t> payload) override {
    absl::StatusOr<AgentEvent> event = ParseAgentMessage(payload);
    if (!event.ok()) return OnAgentViolation(event.status().message());
    const bool about_process = event->process_id != 0;
    if (about_process && event->process_id != kMainProcessId) return sessions_.OnAgentEvent(*event);
    switch (event->kind) {
      case AgentEvent::Kind::kStarted:
        if (running_ || answered_) return OnAgentViolation("a second start of the process");
        return OnStarted();
      case AgentEvent::Kind::kStartFailed:
        if (running_ || answered_) return OnAgentViolation("a second start of the process");
        Answer(std::move(event->outcome));
        return OrderShutdown();
      case AgentEvent::Kind::kExited:
        if (!running_ || answered_) {
          return OnAgentViolation("an end of a process that does not run");
        }
        Answer(std::move(event->outcome));
        WaitForOutput();
        if (streams_.ended()) OrderShutdown();
        return;
      case AgentEvent::Kind::kFatal:
        // A container that was told to end has its outcome already.
        if (!outcome_.has_value()) return FailMachine(event->outcome.error);
        return;
      case AgentEvent::Kind::kProcesses:
      case AgentEvent::Kind::kStatistics:
        return sessions_.OnAgentEvent(*event);
      case AgentEvent::Kind::kNothing:
        return;
    }
  }

  void OnAgentViolation(absl::string_view what) override {
    // A status of the process counts only with all of its output.
    if (answered_ && outcome_.has_value() && outcome_->error.empty()) outcome_.reset();
    FailMachine(
        absl::StrCat("the guest broke the agent protocol with ", what, "; its microVM was ended"));
  }

  void OnAgentClosed() override {
    // The agent ends the machine with its control connection, so the VMM's end follows; a guest in
    // which it does not is ended here.
    if (!vmm_.ended() && !shutdown_ordered_ && !vmm_.killed()) {
      SetDeadline(deadlines_.shutdown, "the guest's agent went away");
    }
    MaybeStop();
  }

  void OnAgentError(const absl::Status& status) override { FailMachine(status.message()); }

  // ---- Streams ----

  void OnOutput(ProcessStreams*, absl::string_view frame) override {
    if (log_.has_value()) {
      log_->Write(static_cast<AttachType>(frame[0]) == AttachType::kStandardOutput
                      ? LogStream::kStandardOutput
                      : LogStream::kStandardError,
                  frame.substr(1), NowUnixNs());
    }
    clients_.SendOutput(kMainProcessId, frame);
    if (!clients_.HasRoom(kMainProcessId)) UpdateFlow();
  }

  bool HasRoom(const ProcessStreams*) override { return clients_.HasRoom(kMainProcessId); }

  void OnStdinTaken(ProcessStreams*, uint32_t client, size_t bytes) override {
    clients_.ReturnStdinCredit(client, bytes);
  }

  void OnOutputEnd(ProcessStreams*) override {
    if (answered_ && streams_.ended()) OrderShutdown();
    MaybeStop();
  }

  void OnStreamError(ProcessStreams*, const absl::Status& status) override {
    FailMachine(status.message());
  }

  // ---- Further processes ----

  void SendToAgent(absl::string_view frame) override { agent_.Send(frame); }

  void ExpectConnections(bool expected) override {
    if (expected) return listener_.Resume();
    if (streams_.connected()) listener_.Pause();
  }

  // A client that broke the protocol.
  void RefuseClient(ClientId client, absl::string_view why) override {
    if (client == owner_) return EndForOwner(why);
    clients_.Send(client, {.type = AttachType::kNotice, .data = why});
    clients_.Close(client);
    sessions_.OnClientGone(client);
    UpdateFlow();
  }

  void OnSessionViolation(absl::string_view what) override { OnAgentViolation(what); }

  void OnSessionError(const absl::Status& status) override { FailMachine(status.message()); }

  void OnSessionsDone() override { MaybeStop(); }

  // ---- A pc machine ----

  void OnControlReply(ClientId client, absl::string_view reply) override {
    constexpr size_t kPart = kMaxAttachPayload - 1;
    do {
      const absl::string_view part = reply.substr(0, kPart);
      reply.remove_prefix(part.size());
      clients_.Send(
          client,
          {.type = AttachType::kControlReply, .data = part, .number = reply.empty() ? 1u : 0u});
    } while (!reply.empty());
  }

  void OnScreen(const TextScreen& screen) override {
    // It answers: the machine runs.
    if (!running_ && !answered_) OnStarted();
    SendText(AttachType::kStandardOutput, screen_log_.Look(screen));
  }

  void OnControlViolation(absl::string_view what) override {
    FailMachine(
        absl::StrCat("its VMM broke the control protocol with ", what, "; the machine was ended"));
  }

 private:
  // ---- Start ----

  absl::Status StartMachine() {
    if (config_.pc.has_value()) return StartPc();
    HULL_ASSIGN_OR_RETURN(stream_token_, RandomU64());
    HULL_ASSIGN_OR_RETURN(const std::string start, StartContainerFrames(config_, stream_token_));
    agent_.Send(start);
    HULL_ASSIGN_OR_RETURN(const UniqueFd connector, listener_.Start());
    HULL_RETURN_IF_ERROR(StartVmm(connector.get(), /*control=*/-1));
    SetDeadline(deadlines_.boot, absl::StrCat("the guest's agent did not answer within ",
                                              absl::FormatDuration(deadlines_.boot),
                                              " (hull run --console shows what the guest does)"));
    // After the machine, which need not wait for it.
    return Listen();
  }

  absl::Status StartPc() {
    HULL_ASSIGN_OR_RETURN(const UniqueFd control, pc_control_.Start());
    HULL_RETURN_IF_ERROR(StartVmm(/*connector=*/-1, control.get()));
    SetDeadline(deadlines_.boot, absl::StrCat("its machine did not start within ",
                                              absl::FormatDuration(deadlines_.boot)));
    return Listen();
  }

  // Starts the VMM, and goes into the sandbox.
  absl::Status StartVmm(int connector, int control) {
    VmmOptions options;
    options.connector = connector;
    options.control = control;
    options.files = options_.files;
    options.users = options_.users;
    options.users_lock = absl::StrCat(options_.paths.run, "/users.lock");
    options.run_directory = store_->RunDirectory(config_.id);
    options.is_alive = [this](absl::string_view id) {
      return access(store_->RunDirectory(id).c_str(), F_OK) == 0;
    };
    if (config_.storage_bytes > 0) {
      options.layer = LayerPath(store_->StateDirectory(config_.id));
    }
    options.volumes = VolumePaths();
    // What cannot be written to needs no copy.
    options.disk =
        config_.read_only ? config_.root_image : PcDiskPath(store_->StateDirectory(config_.id));
    HULL_RETURN_IF_ERROR(vmm_.Start(config_, options));
    return options_.confine(
        {.own = {store_->RunDirectory(config_.id), store_->StateDirectory(config_.id)},
         .parents = {options_.paths.run, absl::StrCat(options_.paths.root, "/containers"),
                     vmm_.cgroup_parent()},
         .links = {absl::StrCat(options_.paths.root, "/names")}});
  }

  std::vector<std::string> VolumePaths() const {
    std::vector<std::string> paths;
    for (size_t i = 0; i < config_.mounts.size(); ++i) {
      const std::string& name = config_.mounts[i].volume;
      paths.push_back(name.empty() ? OwnVolumePath(store_->StateDirectory(config_.id), i)
                                   : VolumePath(options_.paths.root, name));
    }
    return paths;
  }

  absl::Status Listen() {
    const std::string path = absl::StrCat(store_->RunDirectory(config_.id), "/", kAttachSocketName);
    HULL_ASSIGN_OR_RETURN(UniqueFd socket, ListenAtPath(path));
    HULL_ASSIGN_OR_RETURN(
        attach_watch_, loop_->AddFd(socket.get(), EPOLLIN, [this](uint32_t) { AcceptClient(); }));
    attach_socket_ = std::move(socket);
    return absl::OkStatus();
  }

  // Whether there was one.
  bool AcceptClient() {
    UniqueFd socket(accept4(attach_socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      // For want of descriptors, say: it is still there when somebody has left.
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) PauseListening();
      return false;
    }
    const absl::StatusOr<ClientId> client = clients_.Add(std::move(socket));
    if (client.ok() && running_) clients_.Send(*client, {.type = AttachType::kStarted});
    return true;
  }

  void PauseListening() {
    loop_->ModifyFd(attach_watch_, 0).IgnoreError();  // then this is called again
    loop_->AddTimer(kListenPause, [this] {
      if (attach_socket_.valid()) loop_->ModifyFd(attach_watch_, EPOLLIN).IgnoreError();
    });
  }

  // Those that have connected are clients as all others: they are told of the end.
  void StopListening() {
    if (!attach_socket_.valid()) return;
    while (AcceptClient()) {
    }
    loop_->RemoveFd(attach_watch_);
    attach_socket_.Reset();
  }

  void OpenControl(UniqueFd socket) {
    if (agent_.known()) return OnAgentViolation("a second control connection");
    if (!outcome_.has_value()) {
      SetDeadline(deadlines_.start,
                  absl::StrCat("the guest's agent did not start the process within ",
                               absl::FormatDuration(deadlines_.start)));
    }
    agent_.Open(std::move(socket));
  }

  void OpenStream(AttachType type, UniqueFd socket) {
    streams_.Open(type, std::move(socket));
    // The agent has all its connections: nobody else is to be listened to.
    if (streams_.connected()) listener_.Pause();
  }

  // ---- Deadlines ----

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

  // ---- The process ----

  void OnStarted() {
    running_ = true;
    sessions_.SetRunning(true);
    ClearDeadline();
    started_unix_ms_ = NowUnixMs();
    const absl::Status written = WriteLiveState();
    if (!written.ok()) return FailMachine(written.message());
    clients_.SendToAll({.type = AttachType::kStarted});
  }

  // Of a container whose process runs.
  absl::Status WriteLiveState() {
    State state;
    state.status = paused_ ? Status::kPaused : Status::kRunning;
    state.started_unix_ms = started_unix_ms_;
    state.monitor_pid = getpid();
    state.vmm_pid = vmm_.pid();
    return Annotate(store_->WriteState(config_, state), "its state cannot be written");
  }

  void RequestPause(ClientId client, bool pause) {
    if (!running_ || answered_ || vmm_.ended() || vmm_.killed()) {
      return clients_.Send(client, {.type = AttachType::kFailed,
                                    .data = "the container is not running",
                                    .number = kHullFailed});
    }
    if (pause_waiters_.size() >= kMaxClients) {
      return RefuseClient(client, "asked for a pause again and again");
    }
    pause_waiters_.push_back(client);
    vmm_.SetPaused(pause);
  }

  void AnswerPause() {
    for (const ClientId client : std::exchange(pause_waiters_, {})) {
      clients_.Send(client, {.type = AttachType::kPaused, .number = paused_ ? 1u : 0u});
    }
  }

  // The process's end, or that it cannot start, is known.
  void Answer(Outcome outcome) {
    answered_ = true;
    // The machine has to hear that it is to end.
    if (paused_ || !pause_waiters_.empty()) vmm_.SetPaused(false);
    sessions_.SetRunning(false);
    streams_.OnProcessGone();
    if (!outcome_.has_value()) outcome_ = std::move(outcome);
  }

  // The agent has handed over all output; it arrives soon, unless a client that it waits for does
  // not read.
  void WaitForOutput() {
    ClearDeadline();
    deadline_ = loop_->AddTimer(deadlines_.drain, [this] {
      deadline_.reset();
      if (!clients_.HasRoom(kMainProcessId)) return WaitForOutput();
      OnAgentViolation("output that does not end");
    });
  }

  void OnSignal(uint32_t signal) {
    if (running_ && config_.pc.has_value()) return OnPcSignal(signal);
    if (running_ && !(paused_ && signal == SIGKILL)) {
      // A machine that is paused gets it when it goes on.
      agent_.Send(SignalFrame(kMainProcessId, signal));
      if (signal == SIGKILL) InsistOnEnd();
      return;
    }
    const bool ends = signal == SIGINT || signal == SIGTERM || signal == SIGHUP ||
                      signal == SIGQUIT || signal == SIGKILL;
    if (!ends) return agent_.Send(SignalFrame(kMainProcessId, signal));
    // Nothing of the container's runs that could want to know.
    if (!outcome_.has_value()) {
      outcome_ = Outcome{.exit_status = SignalStatus(static_cast<int>(signal))};
    }
    KillMachine();
  }

  // A guest that does not even kill its process when told to is killed itself.
  void InsistOnEnd() {
    if (answered_ || shutdown_ordered_ || insisting_) return;
    insisting_ = true;
    loop_->AddTimer(deadlines_.shutdown, [this] {
      if (answered_ || vmm_.ended()) return;
      if (!outcome_.has_value()) outcome_ = Outcome{.exit_status = SignalStatus(SIGKILL)};
      KillMachine();
    });
  }

  // There is nothing in a PC that a signal could be sent to: those that end a process end the
  // machine.
  void OnPcSignal(uint32_t signal) {
    const bool ends = signal == SIGINT || signal == SIGTERM || signal == SIGHUP ||
                      signal == SIGQUIT || signal == SIGKILL;
    if (!ends) return;
    if (!outcome_.has_value()) {
      outcome_ = Outcome{.exit_status = SignalStatus(static_cast<int>(signal))};
    }
    if (signal == SIGKILL) return KillMachine();
    OrderShutdown();
  }

  void OnControlRequest(ClientId client, absl::string_view request) {
    if (!config_.pc.has_value())
      return RefuseClient(client, "asked for the screen of no pc machine");
    if (!pc_control_.Ask(client, request)) {
      RefuseClient(client, "asked the machine for more than it answers");
    }
  }

  // What the machine shows or writes is output as a process's is.
  void SendText(AttachType type, absl::string_view text) {
    const LogStream stream = type == AttachType::kStandardOutput ? LogStream::kStandardOutput
                                                                 : LogStream::kStandardError;
    while (!text.empty()) {
      const absl::string_view piece = text.substr(0, kMaxAttachPayload);
      text.remove_prefix(piece.size());
      if (log_.has_value()) log_->Write(stream, piece, NowUnixNs());
      clients_.SendOutput(kMainProcessId, EncodeAttachFrame({.type = type, .data = piece}));
    }
    UpdateFlow();
  }

  // The machine is over; that it was powered off or reset is the end that a PC has.
  void EndPc() {
    pc_control_.Stop();
    SendText(AttachType::kStandardOutput, screen_log_.Finish());
    answered_ = true;
    const int status = vmm_.wait_status();
    if (!outcome_.has_value() && WIFEXITED(status) &&
        (WEXITSTATUS(status) == kPoweredOff || WEXITSTATUS(status) == kReset)) {
      outcome_ = Outcome{.exit_status = 0};
    }
  }

  // The client leaves, and the container goes on without it.
  void OnDetach(ClientId client) {
    if (client == owner_) owner_ = 0;
    clients_.Attach(client, {});
    clients_.Send(client, {.type = AttachType::kExited, .number = 0});
    UpdateFlow();
  }

  // Whether there is room for output has changed.
  void UpdateFlow() {
    streams_.Update();
    sessions_.Update();
    pc_control_.PauseLooking(!clients_.HasRoom(kMainProcessId));
    const absl::Status status = vmm_.PauseConsole(!clients_.HasRoom(kMainProcessId));
    if (!status.ok()) FailMachine(status.message());
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

  void KillMachine() {
    if (vmm_.pid() <= 0 || vmm_.ended() || vmm_.killed()) return;
    ClearDeadline();
    vmm_.Kill();
  }

  // The process has ended or will not start: once its output is through, the machine goes.
  void OrderShutdown() {
    if (shutdown_ordered_ || vmm_.ended() || vmm_.killed()) return;
    shutdown_ordered_ = true;
    ClearDeadline();
    deadline_ = loop_->AddTimer(HasDisks(config_) ? deadlines_.flush : deadlines_.shutdown, [this] {
      deadline_.reset();
      KillMachine();
    });
    if (config_.pc.has_value()) return vmm_.Terminate();
    agent_.Send(ShutdownFrame());
  }

  // The owner of the container is not there any more.
  void EndForOwner(absl::string_view why) {
    if (!outcome_.has_value()) {
      outcome_ =
          Outcome{.exit_status = SignalStatus(SIGHUP),
                  .error = absl::StrCat("the hull run of container ", config_.name, " ", why)};
    }
    if (running_ && !paused_) {
      OrderShutdown();
    } else {
      KillMachine();
    }
  }

  // Everything that comes from the machine has been taken and passed on.
  void MaybeStop() {
    if (!vmm_.ended() || !listener_.idle() || agent_.open()) return;
    if (streams_.pending() || vmm_.console_open() || !sessions_.done()) return;
    if (!clients_.paced_sendable()) return;
    loop_->Stop();
  }

  Outcome FinalOutcome() {
    const int status = vmm_.wait_status();
    const bool clean = vmm_.ended() && WIFEXITED(status) &&
                       (WEXITSTATUS(status) == kPoweredOff || config_.pc.has_value());
    if (!outcome_.has_value()) return MachineFailure(config_.name, status, vmm_.last_words());
    if (clean && absl::StrContains(vmm_.last_words(), kDiskFull)) {
      clients_.SendToAll(
          {.type = AttachType::kNotice,
           .data = absl::StrCat("container ", config_.name, " got errors from its disk, as the ",
                                "host's file system is full: some of what it wrote is lost")});
    }
    if (outcome_->error.empty() && vmm_.pid() > 0 && !clean && !vmm_.killed()) {
      // The process's own end was known before; the machine's is another matter.
      clients_.SendToAll({.type = AttachType::kNotice,
                          .data = MachineFailure(config_.name, status, vmm_.last_words()).error});
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
    if (log_.has_value()) log_->Close();
    if (!config_.remove) cleared = store_->WriteState(config_, state);
    cleared.Update(store_->Finish(config_, /*discard=*/false));
    StopListening();
    if (!cleared.ok() && outcome.error.empty()) {
      clients_.SendToAll({.type = AttachType::kNotice,
                          .data = absl::StrCat("container ", config_.name,
                                               " could not be cleared away: ", cleared.message())});
    }
    // Last, so that a client which has its answer finds nothing left.
    const auto exit_status = static_cast<uint32_t>(outcome.exit_status);
    if (outcome.error.empty()) {
      clients_.SendToAll({.type = AttachType::kExited, .number = exit_status});
    } else {
      clients_.SendToAll(
          {.type = AttachType::kFailed, .data = outcome.error, .number = exit_status});
    }
    FlushClients();
  }

  // What still waits for room is sent even so: to those that were always waited for, as long as
  // they are there, and to others for a moment.
  void FlushClients() {
    bool patient = true;
    const EventLoop::Id farewell = loop_->AddTimer(kFarewell, [&patient] { patient = false; });
    while (!clients_.paced_sendable() || (patient && !clients_.sendable())) {
      if (!loop_->RunOnce(absl::InfiniteDuration()).ok()) break;
    }
    loop_->CancelTimer(farewell);
  }

  MonitorOptions options_;
  const MonitorDeadlines deadlines_;
  EventLoop* const loop_;
  ContainerStore* const store_;
  const Config config_;

  AttachedClients clients_;
  ClientId owner_ = 0;  // nobody, if the container outlives its clients
  UniqueFd attach_socket_;
  EventLoop::Id attach_watch_ = 0;
  VmmProcess vmm_;
  GuestListener listener_;
  AgentConnection agent_;
  uint64_t stream_token_ = 0;
  ProcessStreams streams_;  // of the container's main process
  std::optional<LogWriter> log_;
  ExecSessions sessions_;  // the others
  PcControl pc_control_;   // of a pc machine, which has no processes
  ScreenLog screen_log_;

  bool running_ = false;  // the process was started
  bool paused_ = false;   // no vCPU runs
  std::vector<ClientId> pause_waiters_;
  bool answered_ = false;  // its end, or that it cannot start, is known
  bool shutdown_ordered_ = false;
  bool insisting_ = false;  // on an end by SIGKILL
  int64_t started_unix_ms_ = 0;
  std::optional<EventLoop::Id> deadline_;
  std::optional<Outcome> outcome_;
};

}  // namespace

bool OnEmulatedProcessor() {
  // It says so where hypervisors sign.
  uint32_t eax;
  uint32_t signature[3];
  __cpuid(0x40000000, eax, signature[0], signature[1], signature[2]);
  return memcmp(signature, "TCGTCGTCGTCG", sizeof(signature)) == 0;
}

MonitorDeadlines MonitorDeadlines::Default() {
  const int slow = OnEmulatedProcessor() ? 6 : 1;
  return {.boot = absl::Seconds(30) * slow,
          .start = absl::Seconds(30) * slow,
          .drain = absl::Seconds(10) * slow,
          .shutdown = absl::Seconds(10) * slow,
          .flush = absl::Minutes(5) * slow};
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
