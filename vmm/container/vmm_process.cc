#include "vmm/container/vmm_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/disk.h"
#include "vmm/container/machine_builder.h"
#include "vmm/container/spawn.h"
#include "vmm/container/volume_store.h"
#include "vmm/machine/pause_protocol.h"
#include "vmm/machine/spec.h"

namespace hull::container {
namespace {

// What is kept of the VMM's standard error.
constexpr size_t kMaxLastWords = 4096;
// How long a machine may still have its disks whose monitor was killed.
constexpr absl::Duration kDyingMachine = absl::Seconds(10);

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

}  // namespace

VmmProcess::VmmProcess(EventLoop* loop, Handler* handler)
    : loop_(loop), handler_(handler), buffer_(new char[kMaxAttachFrame]) {}

VmmProcess::~VmmProcess() {
  if (process_.valid() && !ended_) loop_->RemoveFd(process_watch_);
  if (report_.valid()) loop_->RemoveFd(report_watch_);
  if (last_words_.valid()) loop_->RemoveFd(last_words_watch_);
  if (pause_.valid()) loop_->RemoveFd(pause_watch_);
  if (console_.valid()) loop_->RemoveFd(console_watch_);
}

absl::Status VmmProcess::Start(const Config& config, const VmmOptions& options) {
  HULL_ASSIGN_OR_RETURN(Pipe report, MakePipe());
  HULL_ASSIGN_OR_RETURN(
      report_watch_, loop_->AddFd(report.read.get(), EPOLLIN, [this](uint32_t) { ReadReport(); }));
  report_ = std::move(report.read);
  HULL_ASSIGN_OR_RETURN(Pipe last_words, MakePipe());
  HULL_ASSIGN_OR_RETURN(last_words_watch_, loop_->AddFd(last_words.read.get(), EPOLLIN,
                                                        [this](uint32_t) { ReadLastWords(); }));
  last_words_ = std::move(last_words.read);

  int pause[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pause) != 0) {
    return PosixError("create a socket");
  }
  UniqueFd pause_end(pause[0]);
  const UniqueFd machine_pause_end(pause[1]);
  HULL_ASSIGN_OR_RETURN(pause_watch_,
                        loop_->AddFd(pause_end.get(), EPOLLIN, [this](uint32_t) { ReadPause(); }));
  pause_ = std::move(pause_end);

  SpawnOptions spawn;
  spawn.program = options.files.vmm;
  // 0 and 1 are /dev/null; 3 is for --report_fd and 8 for --parent_fd, the others are those of
  // MachineDescriptors.
  spawn.fds = {-1, -1, last_words.write.get(), report.write.get()};
  MachineDescriptors descriptors;
  HULL_RETURN_IF_ERROR(config.pc.has_value()
                           ? AddPcFiles(config, options, &spawn, &descriptors)
                           : AddMicroFiles(config, options, &spawn, &descriptors));
  const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!self.valid()) return PosixError("watch this process");
  spawn.fds.push_back(self.get());
  descriptors.pause = static_cast<int>(spawn.fds.size());
  spawn.fds.push_back(machine_pause_end.get());
  Pipe console;
  // A pc machine always has a serial port.
  if (config.console || config.pc.has_value()) {
    HULL_ASSIGN_OR_RETURN(console, MakePipe());
    HULL_ASSIGN_OR_RETURN(console_watch_, loop_->AddFd(console.read.get(), EPOLLIN,
                                                       [this](uint32_t) { ReadConsole(); }));
    console_ = std::move(console.read);
    descriptors.console = static_cast<int>(spawn.fds.size());
    spawn.fds.push_back(console.write.get());
  }
  UniqueFd layer;
  if (!options.layer.empty()) {
    HULL_ASSIGN_OR_RETURN(layer, OpenDisk(options.layer, DiskAccess::kReadWrite, kDyingMachine));
    descriptors.layer = static_cast<int>(spawn.fds.size());
    spawn.fds.push_back(layer.get());
  }
  std::vector<UniqueFd> volumes;
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    if (config.mounts[i].type != MountType::kVolume) continue;
    bool writable = false;
    HULL_ASSIGN_OR_RETURN(UniqueFd volume,
                          OpenVolume(config.mounts[i], options.volumes[i], &writable));
    descriptors.volumes.push_back(
        {.fd = static_cast<int>(spawn.fds.size()), .read_only = !writable});
    spawn.fds.push_back(volume.get());
    volumes.push_back(std::move(volume));
  }
  HULL_ASSIGN_OR_RETURN(const std::string spec, BuildMachineSpec(config, descriptors));
  HULL_ASSIGN_OR_RETURN(const UniqueFd spec_file,
                        UniqueFd::Open(absl::StrCat(options.run_directory, "/machine.json"),
                                       O_RDWR | O_CREAT | O_EXCL, 0600));
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
    HULL_ASSIGN_OR_RETURN(user_, sandbox::ClaimUser(options.users, options.users_lock));
    spawn.user = user_.user;
  }
  spawn.leave_host = true;
  // Neither outlives the other: the VMM is killed with its monitor, and the monitor waits for it.
  spawn.parent_death_signal = SIGKILL;
  HULL_ASSIGN_OR_RETURN(pid_, SpawnInCgroup(config, options, std::move(spawn)));
  inherited_.clear();
  process_.Reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (!process_.valid()) return PosixError("watch the VMM's process");
  HULL_ASSIGN_OR_RETURN(
      process_watch_, loop_->AddFd(process_.get(), EPOLLIN, [this](uint32_t) { OnProcessEnd(); }));
  return absl::OkStatus();
}

absl::Status VmmProcess::AddMicroFiles(const Config& config, const VmmOptions& options,
                                       SpawnOptions* spawn, MachineDescriptors* descriptors) {
  for (const std::string& path :
       {options.files.kernel, options.files.initramfs, config.root_image}) {
    HULL_ASSIGN_OR_RETURN(UniqueFd file, UniqueFd::Open(path, O_RDONLY));
    spawn->fds.push_back(file.get());
    inherited_.push_back(std::move(file));
  }
  spawn->fds.push_back(options.connector);
  *descriptors = {.kernel = 4, .initramfs = 5, .root = 6, .connector = 7};
  return absl::OkStatus();
}

absl::Status VmmProcess::AddPcFiles(const Config& config, const VmmOptions& options,
                                    SpawnOptions* spawn, MachineDescriptors* descriptors) {
  for (const std::string& path : {options.files.firmware, options.files.video_firmware}) {
    absl::StatusOr<UniqueFd> file = UniqueFd::Open(path, O_RDONLY);
    if (absl::IsNotFound(file.status())) {
      return absl::NotFoundError(
          absl::StrCat(file.status().message(), " (try: apt-get install seabios)"));
    }
    if (!file.ok()) return file.status();
    spawn->fds.push_back(file->get());
    inherited_.push_back(*std::move(file));
  }
  HULL_ASSIGN_OR_RETURN(UniqueFd disk,
                        UniqueFd::Open(options.disk, config.read_only ? O_RDONLY : O_RDWR));
  spawn->fds.push_back(disk.get());
  inherited_.push_back(std::move(disk));
  spawn->fds.push_back(options.control);
  *descriptors = {.kernel = 4, .root = 6, .video_firmware = 5, .control = 7};
  return absl::OkStatus();
}

absl::StatusOr<pid_t> VmmProcess::SpawnInCgroup(const Config& config, const VmmOptions& options,
                                                SpawnOptions spawn) {
  const sandbox::CgroupLimits limits =
      sandbox::LimitsOfMachine(config.memory_bytes, config.cpus, config.cpu_millis);
  bool again = false;
  while (true) {
    HULL_ASSIGN_OR_RETURN(cgroup_, sandbox::Cgroup::Create(sandbox::ThisCgroupHost(), config.id,
                                                           limits, options.is_alive));
    if (!cgroup_.has_value() && config.cpu_millis != uint64_t{config.cpus} * 1000) {
      return absl::FailedPreconditionError(
          "a fraction of a CPU (--cpus) needs a control group, and this host has none to give "
          "(hull "
          "info says why): give whole CPUs");
    }
    spawn.cgroup = cgroup_.has_value() ? cgroup_->directory() : -1;
    absl::StatusOr<pid_t> pid = Spawn(spawn);
    if (pid.ok() || !cgroup_.has_value()) return pid;
    // Somebody else's Hull may have taken the empty group for one that was left behind; not twice.
    const bool lost = cgroup_->removed();
    cgroup_->Remove().IgnoreError();  // the first error is the one to tell
    cgroup_.reset();
    if (!lost || again) return pid;
    again = true;
  }
}

void VmmProcess::Kill() {
  if (pid_ <= 0 || ended_ || killed_) return;
  killed_ = true;
  SendSignal(SIGKILL);
}

void VmmProcess::Terminate() {
  if (pid_ <= 0 || ended_ || killed_) return;
  SendSignal(SIGTERM);
}

void VmmProcess::SendSignal(int signal) {
  // By its descriptor, the only way that the monitor's sandbox leaves it. Without one it was not
  // entered, and as the process is not reaped yet, the number is still its own.
  if (process_.valid()) {
    syscall(SYS_pidfd_send_signal, process_.get(), signal, nullptr, 0);
  } else {
    kill(pid_, signal);
  }
}

void VmmProcess::Wait() {
  if (!ended_) Reap();
}

void VmmProcess::Reap() {
  if (pid_ <= 0 || reaped_) return;
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
}

void VmmProcess::ClearAway() {
  if (!cgroup_.has_value()) return;
  // One that has said that it is over may be any program by now, and is not to go on.
  if (pid_ > 0 && !reaped_) SendSignal(SIGKILL);
  Reap();
  // One that cannot be removed is found by a later start.
  cgroup_->Remove().IgnoreError();
  cgroup_.reset();
}

absl::Status VmmProcess::PauseConsole(bool paused) {
  if (!console_.valid() || console_paused_ == paused) return absl::OkStatus();
  console_paused_ = paused;
  return loop_->ModifyFd(console_watch_, paused ? 0u : EPOLLIN);
}

void VmmProcess::SetPaused(bool paused) {
  pause_wanted_ = paused;
  if (!pause_.valid()) return;
  const char request = paused ? machine::kPause : machine::kResume;
  // The few requests that fit are all there are: the next waits for the answer. One to a machine
  // that ends needs no answer.
  send(pause_.get(), &request, sizeof(request), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void VmmProcess::ReadPause() {
  char answer;
  const ssize_t n = recv(pause_.get(), &answer, sizeof(answer), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n != 1) {
    loop_->RemoveFd(pause_watch_);
    pause_.Reset();
    return;
  }
  // One that nobody waits for any more, or ever did, is nothing.
  if (answer != (pause_wanted_ ? machine::kPause : machine::kResume)) return;
  handler_->OnPaused(pause_wanted_);
}

void VmmProcess::OnProcessEnd() {
  Wait();
  EndMachine();
}

// The VMM says with which status it will exit before it does: the machine is over, and what the
// kernel still has to free concerns nobody. A VMM that dies before that is OnProcessEnd's.
void VmmProcess::ReadReport() {
  char text[8];
  const ssize_t n = read(report_.get(), text, sizeof(text));
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  loop_->RemoveFd(report_watch_);
  report_.Reset();
  int status;
  if (n <= 0 || ended_ ||
      !absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(n)), &status)) {
    return;
  }
  status_ = W_EXITCODE(status, 0);
  EndMachine();
}

void VmmProcess::EndMachine() {
  ended_ = true;
  loop_->RemoveFd(process_watch_);
  // What it sent is still in the sockets and pipes, and ends there; but its standard error, which
  // stays open until the process is gone, holds all that will ever come.
  while (ReadLastWords()) {
  }
  handler_->OnMachineEnd();
}

void VmmProcess::ReadConsole() {
  if (console_paused_) return;
  const ssize_t n = read(console_.get(), buffer_.get() + 1, kMaxAttachPayload);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    loop_->RemoveFd(console_watch_);
    console_.Reset();
    return handler_->OnConsoleEnd();
  }
  buffer_[0] = static_cast<char>(AttachType::kConsole);
  handler_->OnConsole(absl::string_view(buffer_.get(), static_cast<size_t>(n) + 1));
}

// Takes a piece of the VMM's standard error; whether there was one.
bool VmmProcess::ReadLastWords() {
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

}  // namespace hull::container
