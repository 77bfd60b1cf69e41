// The background process of the emulated host: QEMU's parent, and the relay between commands and
// hull-hostd. One thread, one poll loop, no timers while nothing happens.

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/emulated_host/emulated_host.h"
#include "vmm/emulated_host/frame_channel.h"
#include "vmm/emulated_host/internal.h"
#include "vmm/emulated_host/monotonic.h"
#include "vmm/emulated_host/protocol.h"
#include "vmm/emulated_host/qemu.h"
#include "vmm/emulated_host/repaired_qemu.h"

namespace hull::emulated_host {
namespace {

// A command's whole windows, several times. The other end is at fault when it exceeds this.
constexpr size_t kMaxClientQueue = 4 * size_t{kStreamWindow};
// Above this, commands are not read.
constexpr size_t kLinkHighWater = 4 << 20;
constexpr size_t kMaxLog = 1 << 20;
constexpr size_t kConsoleTail = 2048;
// For the shutdown inside: two grace periods of 5 s, and writing back the disk.
constexpr absl::Duration kStopDeadline = absl::Seconds(30);
constexpr absl::Duration kFarewellDeadline = absl::Seconds(2);
constexpr absl::Duration kPredecessorDeadline = absl::Seconds(10);
constexpr uint64_t kEnoughSpace = 64 << 20;

struct SocketPair {
  UniqueFd ours;
  UniqueFd theirs;
};

absl::StatusOr<SocketPair> MakeSocketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return PosixError("socketpair");
  SocketPair pair{UniqueFd(fds[0]), UniqueFd(fds[1])};
  if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) return PosixError("fcntl");
  return pair;
}

// PATH, which for ordinary users may lack the directories of system programs.
std::string SearchPath() {
  const char* path = getenv("PATH");
  return absl::StrCat(path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path, ":/usr/sbin:/sbin");
}

// execvp needs char*.
[[noreturn]] void ExecProgram(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& arg : command) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  setenv("PATH", SearchPath().c_str(), 1);
  execvp(argv[0], argv.data());
  (void)!write(STDERR_FILENO, argv[0], strlen(argv[0]));
  const std::string error = absl::StrCat(": ", strerror(errno), "\n");
  (void)!write(STDERR_FILENO, error.data(), error.size());
  _exit(127);
}

void ResetSignalsForExec() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
}

// Runs a program to its end; returns its exit status. Its output goes to the log.
absl::StatusOr<int> RunProgram(const std::vector<std::string>& command) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return PosixError("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    ResetSignalsForExec();
    ExecProgram(command);
  }
  int status;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return PosixError("waitpid");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class Supervisor {
 public:
  explicit Supervisor(const Config& config) : config_(config), started_(MonotonicNow()) {}

  // Until commands can connect.
  absl::Status Listen();
  // Until the emulated host has ended. An error is why it did not end in an orderly way; it has
  // been told to every command.
  absl::Status Run();

 private:
  struct Client {
    FrameChannel channel;
    // Its command was passed on, and hull-hostd has not yet told its end.
    bool active = false;
    // Waits for the boot: the command, and what came behind it.
    std::vector<Frame> waiting;
    bool opened = false;
    // Asked to be told of the end of the boot.
    bool awaits_ready = false;
    // Nothing more is expected of it: close when its queue is empty.
    bool leaving = false;
  };

  absl::Status PrepareDataDisk();
  absl::Status StartQemu();
  absl::Status Loop();
  absl::Duration NextDeadline() const;
  absl::Status CheckDeadlines();
  absl::Status ReadSignals();
  absl::Status ReadLink();
  void ReadMonitor();
  void ReadConsole();
  void Accept();
  // False when the client is to be forgotten.
  bool ServeClient(uint32_t id, Client& client, short events);
  void OnClientFrame(uint32_t id, Client& client, Frame frame);
  void OnLinkFrame(const Frame& frame);
  void Forward(uint32_t id, Client& client, const Frame& frame);
  void OnReady();
  void OnNoSpace();
  bool ResumeIfSpace();
  void Dismiss(uint32_t id, Client& client, const Failure& failure);
  void BeginStop();
  void EndQemu();
  void SayFarewell(absl::string_view message, bool retry);
  StatusReply MakeStatus() const;
  absl::Status Broken(absl::string_view what) const;
  std::string PathOf(const char* name) const {
    return absl::StrCat(config_.instance_dir, "/", name);
  }

  const Config config_;
  const absl::Duration started_;
  UniqueFd lock_;
  UniqueFd listener_;
  UniqueFd signals_;
  FrameChannel link_;
  UniqueFd monitor_;
  UniqueFd console_;
  pid_t qemu_pid_ = -1;
  int qemu_status_ = 0;
  std::string monitor_buffer_;
  std::string console_tail_;
  size_t logged_ = 0;
  bool ready_ = false;
  bool stopping_ = false;
  absl::Duration stop_deadline_ = absl::InfiniteDuration();
  // hull-hostd owes a sign of life until then.
  absl::Duration answer_deadline_ = absl::InfiniteDuration();
  std::string trouble_;
  uint32_t next_session_ = 1;
  std::map<uint32_t, Client> clients_;
};

absl::Status Supervisor::Listen() {
  // Held by QEMU too, which inherits the descriptor: with the lock, nobody writes to the disk.
  HULL_ASSIGN_OR_RETURN(lock_, UniqueFd::Open(PathOf(kLockName), O_RDWR | O_CREAT, 0600));
  const absl::Status locked = LockFile(lock_.get(), kPredecessorDeadline);
  if (!locked.ok()) return Annotate(locked, "the emulated host seems to be running");
  // With the lock, a socket is a leftover.
  if (unlink(PathOf(kSocketName).c_str()) != 0 && errno != ENOENT) {
    return PosixError(absl::StrCat("remove \"", PathOf(kSocketName), "\""));
  }
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, s);
  sigprocmask(SIG_SETMASK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return PosixError("signalfd");
  HULL_ASSIGN_OR_RETURN(listener_, OpenSocket(config_, SocketEnd::kListen));
  return absl::OkStatus();
}

absl::Status Supervisor::PrepareDataDisk() {
  const std::string disk = PathOf(kDataDiskName);
  if (access(disk.c_str(), F_OK) == 0) {
    // Replays the journal and repairs what is safe to repair. 0: clean; 1: repaired.
    HULL_ASSIGN_OR_RETURN(const int status, RunProgram({"e2fsck", "-p", disk}));
    if (status <= 1) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("the emulated host's data disk is damaged (e2fsck -p says ", status,
                     "): repair it with e2fsck -f ", disk, ", or remove it to start afresh; see ",
                     PathOf(kLogName)));
  }
  const std::string unfinished = absl::StrCat(disk, ".new");
  {
    HULL_ASSIGN_OR_RETURN(const UniqueFd fd,
                          UniqueFd::Open(unfinished, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    if (ftruncate(fd.get(), static_cast<off_t>(config_.data_disk_bytes)) != 0) {
      return PosixError(absl::StrCat("create \"", unfinished, "\""));
    }
  }
  // The file is all zeroes already, so nothing but the first group's tables is written.
  HULL_ASSIGN_OR_RETURN(
      const int status,
      RunProgram({"mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=64", "-L", "hull-data", "-E",
                  "lazy_itable_init=1,lazy_journal_init=1,nodiscard", unfinished}));
  if (status == 0 && rename(unfinished.c_str(), disk.c_str()) == 0) return absl::OkStatus();
  unlink(unfinished.c_str());
  return absl::ResourceExhaustedError(absl::StrCat("cannot create the emulated host's data disk ",
                                                   disk, " (mkfs.ext4 says ", status,
                                                   "): is the disk full? See ", PathOf(kLogName)));
}

absl::Status Supervisor::StartQemu() {
  QemuOptions options;
  options.kernel = absl::StrCat(config_.assets_dir, "/vmlinux");
  options.initramfs = absl::StrCat(config_.assets_dir, "/initramfs.cpio");
  for (const std::string& asset : {options.kernel, options.initramfs}) {
    if (access(asset.c_str(), R_OK) != 0) {
      return absl::NotFoundError(
          absl::StrCat("the emulated host is not prepared: ", asset, ": ", strerror(errno)));
    }
  }
  options.data_disk = PathOf(kDataDiskName);
  options.cpus = config_.cpus;
  options.memory_bytes = config_.memory_bytes;
  options.icount = config_.icount;
  HULL_ASSIGN_OR_RETURN(SocketPair link, MakeSocketPair());
  HULL_ASSIGN_OR_RETURN(SocketPair monitor, MakeSocketPair());
  HULL_ASSIGN_OR_RETURN(SocketPair console, MakeSocketPair());
  options.link_fd = link.theirs.get();
  options.monitor_fd = monitor.theirs.get();
  options.console_fd = console.theirs.get();
  std::vector<std::string> command = QemuCommand(options);
  command[0] = ChooseQemu(command[0], SearchPath(), absl::StrCat(config_.assets_dir, "/qemu"));

  const pid_t parent = getpid();
  qemu_pid_ = fork();
  if (qemu_pid_ < 0) return PosixError("fork");
  if (qemu_pid_ == 0) {
    // However this process ends, QEMU ends with it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    ResetSignalsForExec();
    for (const int fd : {options.link_fd, options.monitor_fd, options.console_fd, lock_.get()}) {
      fcntl(fd, F_SETFD, 0);
    }
    ExecProgram(command);
  }
  link_ = FrameChannel(std::move(link.ours));
  monitor_ = std::move(monitor.ours);
  console_ = std::move(console.ours);
  // Into an empty socket buffer: never short.
  (void)WriteFull(monitor_.get(), kMonitorHandshake);
  BootConfig boot{config_.hull_root, config_.hull_run, ""};
  char host_name[HOST_NAME_MAX + 1] = {};
  if (gethostname(host_name, sizeof(host_name) - 1) == 0) boot.host_name = host_name;
  link_.Queue(0, FrameType::kBoot, 0, EncodeBootConfig(boot));
  return absl::OkStatus();
}

absl::Status Supervisor::Run() {
  absl::Status status = PrepareDataDisk();
  if (status.ok()) status = StartQemu();
  if (status.ok()) status = Loop();
  EndQemu();
  // From here on a new command starts anew, and waits for the lock.
  unlink(PathOf(kSocketName).c_str());
  // Commands that had connected, but were not looked at yet, are told as well.
  Accept();
  SayFarewell(status.ok() ? "the emulated host was stopped" : status.message(),
              absl::IsAborted(status));
  return status;
}

absl::Status Supervisor::Loop() {
  while (qemu_pid_ > 0) {
    HULL_RETURN_IF_ERROR(link_.Flush().ok() ? absl::OkStatus() : ReadSignals());
    std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0},
                               {listener_.get(), POLLIN, 0},
                               {link_.fd(), link_.PollEvents(), 0},
                               {monitor_.get(), POLLIN, 0},
                               {console_.get(), POLLIN, 0}};
    std::vector<uint32_t> ids;
    const bool may_read = link_.queued() < kLinkHighWater;
    for (const auto& [id, client] : clients_) {
      short events = client.channel.PollEvents();
      if (!may_read) events &= ~POLLIN;
      fds.push_back({client.channel.fd(), events, 0});
      ids.push_back(id);
    }
    const size_t first_client = fds.size() - ids.size();
    if (poll(fds.data(), fds.size(), PollTimeout(NextDeadline())) < 0) continue;
    if (fds[4].revents != 0) ReadConsole();
    if (fds[3].revents != 0) ReadMonitor();
    if (fds[2].revents != 0) HULL_RETURN_IF_ERROR(ReadLink());
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto it = clients_.find(ids[i]);
      if (it == clients_.end()) continue;
      if (!ServeClient(it->first, it->second, fds[first_client + i].revents)) {
        if (it->second.active) link_.Queue(it->first, FrameType::kClose, 0, "");
        clients_.erase(it);
      }
    }
    if (fds[1].revents != 0) Accept();
    if (fds[0].revents != 0) HULL_RETURN_IF_ERROR(ReadSignals());
    HULL_RETURN_IF_ERROR(CheckDeadlines());
  }
  return absl::OkStatus();
}

absl::Duration Supervisor::NextDeadline() const {
  absl::Duration deadline = std::min(stop_deadline_, answer_deadline_);
  if (!ready_) deadline = std::min(deadline, started_ + config_.boot_deadline);
  return deadline;
}

absl::Status Supervisor::CheckDeadlines() {
  const absl::Duration now = MonotonicNow();
  if (stop_deadline_ <= now) {
    // Asked to end, and did not: ended, then.
    EndQemu();
    return absl::OkStatus();
  }
  if (!ready_ && started_ + config_.boot_deadline <= now) {
    return Broken(
        absl::StrCat("did not boot within ", absl::FormatDuration(config_.boot_deadline)));
  }
  if (answer_deadline_ <= now) {
    // Aborted: nothing has run, so commands may start it again by themselves.
    return absl::AbortedError(absl::StrCat("the emulated host did not answer for ",
                                           absl::FormatDuration(config_.answer_deadline),
                                           " and was ended"));
  }
  return absl::OkStatus();
}

absl::Status Supervisor::Broken(absl::string_view what) const {
  std::string message = absl::StrCat("the emulated host ", what, "; its log is ", PathOf(kLogName));
  const absl::string_view tail = absl::StripAsciiWhitespace(console_tail_);
  if (!tail.empty()) {
    const size_t line = tail.rfind('\n');
    absl::StrAppend(&message,
                    ", which ends: ", tail.substr(line == absl::string_view::npos ? 0 : line + 1));
  }
  return absl::UnavailableError(message);
}

absl::Status Supervisor::ReadSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo != SIGCHLD) BeginStop();
  }
  if (qemu_pid_ <= 0 || waitpid(qemu_pid_, &qemu_status_, WNOHANG) != qemu_pid_) {
    return absl::OkStatus();
  }
  qemu_pid_ = -1;
  ReadConsole();
  if (stopping_) return absl::OkStatus();
  if (WIFSIGNALED(qemu_status_)) {
    return Broken(absl::StrCat("ended: QEMU was killed by signal ", WTERMSIG(qemu_status_)));
  }
  if (WEXITSTATUS(qemu_status_) == 127) {
    return absl::NotFoundError(
        "the emulated host needs qemu-system-x86_64: install the package qemu-system-x86");
  }
  return Broken(absl::StrCat("ended: QEMU's exit status is ", WEXITSTATUS(qemu_status_)));
}

absl::Status Supervisor::ReadLink() {
  const absl::Status read = link_.Read();
  // QEMU is about to end; its status says more.
  if (absl::IsUnavailable(read)) {
    siginfo_t info;
    (void)waitid(P_PID, static_cast<id_t>(qemu_pid_), &info, WEXITED | WNOWAIT);
    return ReadSignals();
  }
  HULL_RETURN_IF_ERROR(read);
  while (true) {
    absl::StatusOr<std::optional<Frame>> frame = link_.Next();
    if (!frame.ok()) return Broken(absl::StrCat("broke its protocol: ", frame.status().message()));
    if (!frame->has_value()) return absl::OkStatus();
    answer_deadline_ = absl::InfiniteDuration();
    if ((*frame)->session == 0 && (*frame)->type == FrameType::kFailed) {
      const absl::StatusOr<Failure> failure = DecodeFailure((*frame)->payload);
      return Broken(absl::StrCat("could not start: ",
                                 failure.ok() ? failure->message : std::string("unknown reason")));
    }
    OnLinkFrame(**frame);
  }
}

void Supervisor::OnLinkFrame(const Frame& frame) {
  if (frame.type == FrameType::kReady) return OnReady();
  const auto it = clients_.find(frame.session);
  if (it == clients_.end() || it->second.leaving) return;
  Client& client = it->second;
  switch (frame.type) {
    case FrameType::kExit:
    case FrameType::kRefused:
    case FrameType::kFailed:
      client.active = false;
      client.leaving = true;
      break;
    case FrameType::kOpened:
    case FrameType::kData:
    case FrameType::kEnd:
    case FrameType::kCredit:
    case FrameType::kShut:
      break;
    default:
      return;
  }
  client.channel.Queue(0, frame.type, frame.stream, frame.payload);
  if (client.channel.queued() > kMaxClientQueue) {
    Dismiss(frame.session, client, {false, "the emulated host broke its protocol"});
  }
}

void Supervisor::OnReady() {
  ready_ = true;
  for (auto& [id, client] : clients_) {
    const std::vector<Frame> waiting = std::exchange(client.waiting, {});
    for (const Frame& frame : waiting) Forward(id, client, frame);
    if (client.awaits_ready) {
      client.channel.Queue(0, FrameType::kStatus, 0, EncodeStatusReply(MakeStatus()));
    }
  }
}

void Supervisor::ReadMonitor() {
  char buffer[4096];
  const ssize_t n = read(monitor_.get(), buffer, sizeof(buffer));
  if (n <= 0) {
    // An end without an event is QEMU's end; SIGCHLD tells.
    if (n == 0) monitor_.Reset();
    return;
  }
  monitor_buffer_.append(buffer, static_cast<size_t>(n));
  size_t end;
  while ((end = monitor_buffer_.find('\n')) != std::string::npos) {
    if (IsNoSpaceEvent(absl::string_view(monitor_buffer_).substr(0, end))) OnNoSpace();
    monitor_buffer_.erase(0, end + 1);
  }
}

void Supervisor::OnNoSpace() {
  if (!trouble_.empty()) return;
  trouble_ =
      absl::StrCat("no space left on the disk that holds ", PathOf(kDataDiskName),
                   ": the emulated host is paused; free some space and run the command again");
  answer_deadline_ = absl::InfiniteDuration();
  for (auto& [id, client] : clients_) {
    if (client.opened) Dismiss(id, client, {false, trouble_});
  }
}

bool Supervisor::ResumeIfSpace() {
  if (trouble_.empty()) return true;
  struct statvfs space;
  if (statvfs(config_.instance_dir.c_str(), &space) != 0) return false;
  if (uint64_t{space.f_bavail} * space.f_frsize < kEnoughSpace) return false;
  trouble_.clear();
  // Repeats the write that failed; should it fail again, the event comes again.
  (void)WriteFull(monitor_.get(), kMonitorContinue);
  return true;
}

void Supervisor::ReadConsole() {
  char buffer[4096];
  ssize_t n;
  while (console_.valid() && (n = read(console_.get(), buffer, sizeof(buffer))) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;
    const absl::string_view text(buffer, static_cast<size_t>(n));
    console_tail_.append(text.data(), text.size());
    if (console_tail_.size() > kConsoleTail) {
      console_tail_.erase(0, console_tail_.size() - kConsoleTail);
    }
    if (logged_ > kMaxLog && ftruncate(STDERR_FILENO, 0) == 0) logged_ = 0;
    logged_ += text.size();
    (void)WriteFull(STDERR_FILENO, text);
  }
  console_.Reset();
}

void Supervisor::Accept() {
  while (true) {
    UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) return;
    Client client;
    client.channel = FrameChannel(std::move(fd));
    client.channel.Queue(0, FrameType::kHello, 0, EncodeU32(kProtocolVersion));
    clients_.emplace(next_session_++, std::move(client));
  }
}

bool Supervisor::ServeClient(uint32_t id, Client& client, short events) {
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
    const absl::Status read = client.channel.Read();
    if (!read.ok()) return false;
    while (true) {
      absl::StatusOr<std::optional<Frame>> frame = client.channel.Next();
      if (!frame.ok()) return false;
      if (!frame->has_value()) break;
      OnClientFrame(id, client, *std::move(*frame));
    }
  }
  if (!client.channel.Flush().ok()) return false;
  return !client.leaving || client.channel.queued() > 0;
}

void Supervisor::OnClientFrame(uint32_t id, Client& client, Frame frame) {
  if (client.leaving) return;
  switch (frame.type) {
    case FrameType::kGetStatus:
      client.channel.Queue(0, FrameType::kStatus, 0, EncodeStatusReply(MakeStatus()));
      return;
    case FrameType::kAwaitReady:
      if (ready_) {
        client.channel.Queue(0, FrameType::kStatus, 0, EncodeStatusReply(MakeStatus()));
      }
      client.awaits_ready = !ready_;
      return;
    case FrameType::kStop:
      BeginStop();
      return;
    case FrameType::kOpen:
      if (client.opened) break;
      client.opened = true;
      if (stopping_) return Dismiss(id, client, {false, "the emulated host is being stopped"});
      if (!ResumeIfSpace()) return Dismiss(id, client, {false, trouble_});
      return Forward(id, client, frame);
    case FrameType::kData:
    case FrameType::kEnd:
    case FrameType::kCredit:
    case FrameType::kShut:
    case FrameType::kSignal:
    case FrameType::kResize:
      if (!client.opened) break;
      return Forward(id, client, frame);
    default:
      break;
  }
  Dismiss(id, client, {false, "unexpected frame"});
}

void Supervisor::Forward(uint32_t id, Client& client, const Frame& frame) {
  if (!ready_) {
    client.waiting.push_back(frame);
    return;
  }
  if (frame.type == FrameType::kOpen) {
    client.active = true;
    // Answered at once, whatever the command does: a sign of life.
    link_.Queue(0, FrameType::kPing, 0, "");
    answer_deadline_ = std::min(answer_deadline_, MonotonicNow() + config_.answer_deadline);
  }
  link_.Queue(id, frame.type, frame.stream, frame.payload);
}

void Supervisor::Dismiss(uint32_t id, Client& client, const Failure& failure) {
  if (client.leaving) return;
  client.channel.Queue(0, FrameType::kFailed, 0, EncodeFailure(failure));
  client.leaving = true;
  if (std::exchange(client.active, false)) link_.Queue(id, FrameType::kClose, 0, "");
}

void Supervisor::BeginStop() {
  if (stopping_) return;
  stopping_ = true;
  stop_deadline_ = MonotonicNow() + kStopDeadline;
  link_.Queue(0, FrameType::kShutdown, 0, "");
  // A paused machine cannot shut down, and its disk has what was written; one that still boots has
  // run nothing.
  if (!ready_ || (!trouble_.empty() && !ResumeIfSpace())) stop_deadline_ = MonotonicNow();
  for (auto& [id, client] : clients_) {
    if (client.opened || client.awaits_ready)
      Dismiss(id, client, {false, "the emulated host was stopped"});
  }
}

void Supervisor::EndQemu() {
  if (qemu_pid_ <= 0) return;
  kill(qemu_pid_, SIGKILL);
  while (waitpid(qemu_pid_, &qemu_status_, 0) < 0 && errno == EINTR) {
  }
  qemu_pid_ = -1;
}

void Supervisor::SayFarewell(absl::string_view message, bool retry) {
  for (auto& [id, client] : clients_) {
    // One that only waits for the stop learns it by the end of the connection.
    if (client.opened || !stopping_) Dismiss(id, client, {retry, std::string(message)});
  }
  const absl::Duration deadline = MonotonicNow() + kFarewellDeadline;
  while (MonotonicNow() < deadline) {
    std::vector<pollfd> fds;
    for (auto it = clients_.begin(); it != clients_.end();) {
      const bool gone = !it->second.channel.Flush().ok() || it->second.channel.queued() == 0;
      if (!gone) fds.push_back({it->second.channel.fd(), POLLOUT, 0});
      // Kept open: the lock is to be released before these see the end.
      it = std::next(it);
    }
    if (fds.empty()) return;
    (void)poll(fds.data(), fds.size(), PollTimeout(deadline));
  }
}

StatusReply Supervisor::MakeStatus() const {
  StatusReply reply;
  reply.ready = ready_;
  reply.icount = config_.icount;
  reply.supervisor_pid = static_cast<uint32_t>(getpid());
  reply.qemu_pid = static_cast<uint32_t>(std::max(qemu_pid_, 0));
  for (const auto& [id, client] : clients_) {
    if (client.opened && !client.leaving) ++reply.sessions;
  }
  reply.cpus = config_.icount ? 1 : config_.cpus;
  reply.memory_bytes = config_.memory_bytes;
  reply.uptime_ns = static_cast<uint64_t>(absl::ToInt64Nanoseconds(MonotonicNow() - started_));
  reply.trouble = trouble_;
  return reply;
}

}  // namespace

int Supervise(const Config& config, int ready_fd) {
  UniqueFd ready(ready_fd);
  Supervisor supervisor(config);
  const absl::Status listening = supervisor.Listen();
  if (!listening.ok()) {
    (void)WriteFull(ready.get(), listening.message());
    return 1;
  }
  (void)WriteFull(ready.get(), absl::string_view("\0", 1));
  ready.Reset();
  const absl::Status status = supervisor.Run();
  if (status.ok()) return 0;
  (void)WriteFull(STDERR_FILENO, absl::StrCat(status.message(), "\n"));
  return 1;
}

}  // namespace hull::emulated_host
