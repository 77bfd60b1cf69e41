#include "guest-agent/agent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>

namespace hull::agent {
namespace {

// How long the host may take to read a last message, and a killed container to end.
constexpr int kLastWordsMs = 2000;
constexpr int kKillMs = 5000;

// What an event of the poller is about: one of these, or a stream of a process.
constexpr uint64_t kControl = 0;
constexpr uint64_t kSignals = 1;
constexpr uint64_t kFirstStream = 2;

constexpr uint32_t kBroken = EPOLLHUP | EPOLLERR;

constexpr uint64_t StreamTag(size_t slot) {
  return kFirstStream + slot * SupervisedProcess::kSources;
}

}  // namespace

void Agent::Run() {
  if (Initialise()) {
    Loop();
    DrainControl();
  }
  KillContainer();
  UnmountDisks();
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

  const bool polled = poller_.Create();
  signals_ = Fd(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  control_ = channel_.Connect();
  if (!polled || !signals_.valid() || !control_.valid() || !poller_.Add(signals_.get(), kSignals) ||
      !poller_.Add(control_.get(), kControl)) {
    log_.Error({"cannot reach the host: ", ErrorText(errno)});
    return false;
  }
  return true;
}

void Agent::Loop() {
  while (!done_) {
    epoll_event events[8];
    const int n = poller_.Wait(events, std::size(events), AnyBusy() ? 0 : -1);
    if (n < 0 && errno != EINTR) return Fatal({"epoll_wait: ", ErrorText(errno)});
    for (int i = 0; i < n && !done_; ++i) Handle(events[i].data.u64, events[i].events);
    for (size_t i = 0; i < used_; ++i) {
      if (processes_[i]) processes_[i]->RunStreams();
    }
    // Slots become empty here only: no event above is about a process that is gone.
    ReportExits();
    FlushControl();
  }
}

void Agent::Handle(uint64_t tag, uint32_t events) {
  if (tag == kControl) return OnControl(events);
  if (tag == kSignals) return ReapChildren();
  const size_t slot = (tag - kFirstStream) / SupervisedProcess::kSources;
  const auto source =
      static_cast<SupervisedProcess::Source>((tag - kFirstStream) % SupervisedProcess::kSources);
  std::optional<SupervisedProcess>& process = processes_[slot];
  Failure failure;
  if (!process || process->Handle(source, events, &failure)) return;
  if (slot == 0) return Fatal({failure.message.view()});
  log_.Error({failure.message.view()});
  process->StopStreams();
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
    case HostMessageType::kStartProcess:
      return OnStartProcess();
    case HostMessageType::kSignalProcess:
      if (const SupervisedProcess* const process = Find(decoder_.process_id())) {
        process->Signal(decoder_.signal());
      }
      return;
    case HostMessageType::kResizeTerminal:
      if (const SupervisedProcess* const process = Find(decoder_.process_id())) {
        process->Resize(decoder_.terminal_size());
      }
      return;
    case HostMessageType::kListProcesses:
      return OnListProcesses();
    case HostMessageType::kGetStatistics:
      return OnGetStatistics();
    case HostMessageType::kShutdown:
      log_.Debug({"the host asked for shutdown"});
      done_ = true;
      return;
  }
}

void Agent::Send(const EncodedFrame& frame) {
  const std::span<const uint8_t> bytes = frame.bytes();
  if (bytes.size() > out_.size() - out_size_) {
    log_.Error({"the host does not read"});
    done_ = true;
    return;
  }
  std::memcpy(out_.data() + out_size_, bytes.data(), bytes.size());
  out_size_ += bytes.size();
}

void Agent::FlushControl() {
  while (control_connected_ && out_size_ != 0) {
    const ssize_t n = write(control_.get(), out_.data(), out_size_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      log_.Debug({"the control connection is gone: ", ErrorText(errno)});
      out_size_ = 0;
      done_ = true;
      return;
    }
    out_size_ -= static_cast<size_t>(n);
    std::memmove(out_.data(), out_.data() + n, out_size_);
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
  if (container_started_) return Fatal({"the host sent StartContainer twice"});
  container_started_ = true;
  const StartRequest& request = decoder_.start();
  has_disks_ = request.root.layer_device != nullptr;
  for (const MountRequest& mount : std::span(request.mounts).first(request.mount_count)) {
    has_disks_ = has_disks_ || mount.device != nullptr;
  }
  Failure failure;
  if (!BringUpLoopback(&failure)) return SendStartFailed(failure);
  Start(0, nullptr);
}

void Agent::OnStartProcess() {
  const uint32_t id = decoder_.start().process_id;
  if (Find(id) != nullptr) {
    return Fatal({"the host sent StartProcess with the id of another process, ", Decimal(id)});
  }
  Failure failure;
  const LaunchedProcess* const container = RunningContainer();
  if (container == nullptr) {
    Fail(&failure, StartFailure::kInternal, 0, {"the container is not running"});
    return SendStartFailed(failure);
  }
  size_t slot = 1;
  while (slot < processes_.size() && processes_[slot]) ++slot;
  if (slot == processes_.size()) {
    Fail(&failure, StartFailure::kInternal, 0,
         {"the container runs ", Decimal(kMaxProcesses - 1), " further processes already"});
    return SendStartFailed(failure);
  }
  Start(slot, container);
}

void Agent::Start(size_t slot, const LaunchedProcess* container) {
  StartRequest& request = decoder_.start();
  SupervisedProcess& process = processes_[slot].emplace(&terminals_[slot]);
  if (used_ <= slot) used_ = slot + 1;
  Failure failure;
  if (!process.Start(&request, container, channel_, poller_, StreamTag(slot), &failure)) {
    SendStartFailed(failure);
    processes_[slot].reset();
    return;
  }
  const pid_t pid = process.process().pid;
  log_.Debug({"started ", request.args[0], " as pid ", Decimal(static_cast<uint32_t>(pid))});
  Send(EncodedFrame::Started(process.id(), static_cast<uint32_t>(pid)));
}

void Agent::SendStartFailed(const Failure& failure) {
  log_.Debug({"start failed: ", failure.message.view()});
  Send(
      EncodedFrame::StartFailed(decoder_.start().process_id, failure.kind, failure.message.view()));
}

void Agent::OnListProcesses() {
  ListedProcess entries[kMaxListedProcesses];
  size_t count = 0;
  bool complete = true;
  const LaunchedProcess* const container = RunningContainer();
  if (container != nullptr) {
    count = inspection_.ListProcesses(container->pid, decoder_.after_pid(), entries, &complete);
  }
  Send(EncodedFrame::ProcessList(decoder_.request_id(), std::span(entries).first(count), complete));
}

void Agent::OnGetStatistics() {
  Send(EncodedFrame::Statistics(decoder_.request_id(), inspection_.ReadStatistics()));
}

SupervisedProcess* Agent::Find(uint32_t id) {
  for (size_t i = 0; i < used_; ++i) {
    if (processes_[i] && processes_[i]->id() == id) return &*processes_[i];
  }
  return nullptr;
}

const LaunchedProcess* Agent::RunningContainer() const {
  return processes_[0] && processes_[0]->running() ? &processes_[0]->process() : nullptr;
}

bool Agent::AnyBusy() const {
  for (size_t i = 0; i < used_; ++i) {
    if (processes_[i] && processes_[i]->busy()) return true;
  }
  return false;
}

void Agent::ReapChildren() {
  signalfd_siginfo ignored;
  while (read(signals_.get(), &ignored, sizeof(ignored)) > 0) {
  }
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    for (size_t i = 0; i < used_; ++i) {
      std::optional<SupervisedProcess>& process = processes_[i];
      if (!process || !process->running() || process->process().pid != pid) continue;
      // The first was PID 1 of its namespace: every other process that could hold a pipe is gone
      // too, so its pipes are at their end once they are empty.
      process->OnExit(status, /*alone=*/i == 0);
    }
  }
}

void Agent::ReportExits() {
  const bool container_ended = processes_[0] && processes_[0]->exited();
  bool others = false;
  for (size_t i = 1; i < used_; ++i) {
    std::optional<SupervisedProcess>& process = processes_[i];
    if (!process || !process->exited()) {
      others = others || process.has_value();
      continue;
    }
    // A reader that does not read must not keep the container from ending.
    if (container_ended) process->StopStreams();
    if (!process->output_done()) {
      others = true;
      continue;
    }
    Send(EncodedFrame::Exited(process->id(), process->wait_status()));
    process.reset();
  }
  if (!container_ended || others || end_reported_ || !processes_[0]->output_done()) return;
  // It stays in its slot: it keeps the mounts, which are not worth taking down but for disks.
  end_reported_ = true;
  log_.Debug({"the container's process ended, wait status ",
              Decimal(static_cast<uint32_t>(processes_[0]->wait_status()))});
  Send(EncodedFrame::Exited(processes_[0]->id(), processes_[0]->wait_status()));
}

void Agent::KillContainer() {
  if (RunningContainer() == nullptr) return;
  processes_[0]->Signal(SIGKILL);
  // It ends only after those in its pid namespace that are this process's to reap.
  pollfd child_ended = {signals_.get(), POLLIN, 0};
  while (RunningContainer() != nullptr) {
    if (poll(&child_ended, 1, kKillMs) <= 0) return log_.Error({"the container does not end"});
    ReapChildren();
  }
}

void Agent::UnmountDisks() {
  // Its processes are gone, so this is the last that holds the container's mounts.
  if (has_disks_ && RunningContainer() == nullptr) processes_[0].reset();
}

}  // namespace hull::agent
