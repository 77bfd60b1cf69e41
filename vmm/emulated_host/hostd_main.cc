// hull-hostd: PID 1 of the emulated host. Boots it, then runs the commands that come over the
// virtio-serial port. See README.md in this folder.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/emulated_host/frame_channel.h"
#include "vmm/emulated_host/hostd_boot.h"
#include "vmm/emulated_host/hostd_prefix_cache.h"
#include "vmm/emulated_host/hostd_session.h"
#include "vmm/emulated_host/monotonic.h"
#include "vmm/emulated_host/protocol.h"

namespace hull::emulated_host {
namespace {

// Above this, outputs are not read: the link is the bottleneck, and what waits here is latency for
// everybody else.
constexpr size_t kChannelHighWater = 128 * 1024;

// The caller's clock is believed when this one differs by more: after the outer machine slept.
constexpr absl::Duration kClockTolerance = absl::Seconds(1);

void CorrectClock(uint64_t caller_ns) {
  if (caller_ns == 0) return;
  const absl::Time caller = absl::FromUnixNanos(static_cast<int64_t>(caller_ns));
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (absl::AbsDuration(absl::TimeFromTimespec(now) - caller) <= kClockTolerance) return;
  const timespec corrected = absl::ToTimespec(caller);
  clock_settime(CLOCK_REALTIME, &corrected);
}

class Hostd {
 public:
  Hostd(FrameChannel channel, PrefixCache prefix_cache, UniqueFd signals)
      : channel_(std::move(channel)),
        prefix_cache_(std::move(prefix_cache)),
        signals_(std::move(signals)) {}

  // Returns when the emulated host is to be switched off.
  absl::Status Run() {
    channel_.Queue(0, FrameType::kReady, 0, EncodeU32(kProtocolVersion));
    while (true) {
      HULL_RETURN_IF_ERROR(channel_.Flush());
      Wait();
      HULL_RETURN_IF_ERROR(channel_.Read());
      while (true) {
        HULL_ASSIGN_OR_RETURN(std::optional<Frame> frame, channel_.Next());
        if (!frame.has_value()) break;
        if (frame->type == FrameType::kShutdown) return absl::OkStatus();
        OnFrame(*frame);
      }
      Reap();
      for (auto it = sessions_.begin(); it != sessions_.end();) {
        HostdSession& session = *it->second;
        if (session.deadline() <= MonotonicNow()) session.Expire();
        session.Pump(MaySend(), channel_);
        it = session.finished() ? sessions_.erase(it) : std::next(it);
      }
    }
  }

 private:
  bool MaySend() const { return channel_.queued() < kChannelHighWater; }

  void Wait() {
    std::vector<pollfd> fds = {{channel_.fd(), channel_.PollEvents(), 0},
                               {signals_.get(), POLLIN, 0}};
    absl::Duration deadline = absl::InfiniteDuration();
    for (const auto& [id, session] : sessions_) {
      session->AddPollFds(MaySend(), fds);
      deadline = std::min(deadline, session->deadline());
    }
    // A failure is EINTR or a lack of memory: both pass.
    (void)poll(fds.data(), fds.size(), PollTimeout(deadline));
  }

  void OnFrame(const Frame& frame) {
    if (frame.type == FrameType::kPing) {
      channel_.Queue(0, FrameType::kPong, 0, frame.payload);
      return;
    }
    const auto it = sessions_.find(frame.session);
    if (frame.type == FrameType::kOpen) {
      if (it == sessions_.end()) Open(frame);
      return;
    }
    // A frame may cross with the end of its session.
    if (it == sessions_.end()) return;
    const absl::Status handled = it->second->OnFrame(frame, channel_);
    if (handled.ok()) return;
    Fail(frame.session, handled.message());
    (void)it->second->OnFrame({frame.session, FrameType::kClose, 0, ""}, channel_);
  }

  void Open(const Frame& frame) {
    const absl::StatusOr<OpenRequest> request = DecodeOpenRequest(frame.payload);
    if (!request.ok()) return Fail(frame.session, request.status().message());
    CorrectClock(request->clock_ns);
    absl::StatusOr<std::unique_ptr<HostdSession>> session =
        HostdSession::Start(frame.session, *request, prefix_cache_);
    if (!session.ok()) return Fail(frame.session, session.status().message());
    sessions_.emplace(frame.session, *std::move(session));
  }

  void Fail(uint32_t session, absl::string_view message) {
    channel_.Queue(session, FrameType::kFailed, 0, EncodeFailure({false, std::string(message)}));
  }

  // Every orphan of this machine is reaped here too.
  void Reap() {
    signalfd_siginfo ignored;
    while (read(signals_.get(), &ignored, sizeof(ignored)) > 0) {
    }
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      for (const auto& [id, session] : sessions_) {
        if (session->pid() == pid) session->OnReaped(status);
      }
    }
  }

  FrameChannel channel_;
  const PrefixCache prefix_cache_;
  const UniqueFd signals_;
  std::map<uint32_t, std::unique_ptr<HostdSession>> sessions_;
};

absl::StatusOr<UniqueFd> WatchChildren() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_SETMASK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return PosixError("signalfd");
  return UniqueFd(fd);
}

// What every process inside inherits; the limits are those of a Debian system.
void SetLimits() {
  const rlimit files = {1024, 1 << 20};
  setrlimit(RLIMIT_NOFILE, &files);
  // Commands undo both.
  setpriority(PRIO_PROCESS, 0, -20);
  const absl::StatusOr<UniqueFd> score = UniqueFd::Open("/proc/self/oom_score_adj", O_WRONLY);
  if (score.ok() && write(score->get(), "-1000", 5) != 5) LogToKernel("oom_score_adj");
}

absl::StatusOr<BootConfig> ReceiveBootConfig(FrameChannel& channel) {
  constexpr int kTimeoutMs = 60'000;
  while (true) {
    HULL_ASSIGN_OR_RETURN(std::optional<Frame> frame, channel.Next());
    if (frame.has_value() && frame->type == FrameType::kBoot) {
      return DecodeBootConfig(frame->payload);
    }
    if (frame.has_value()) return absl::InvalidArgumentError("unexpected first frame");
    pollfd fd = {channel.fd(), POLLIN, 0};
    if (poll(&fd, 1, kTimeoutMs) == 0) {
      return absl::DeadlineExceededError("the supervisor does not answer");
    }
    HULL_RETURN_IF_ERROR(channel.Read());
  }
}

absl::Status Serve(FrameChannel& channel) {
  HULL_ASSIGN_OR_RETURN(const BootConfig config, ReceiveBootConfig(channel));
  HULL_ASSIGN_OR_RETURN(UniqueFd host_root, MountFileSystems(config));
  HULL_ASSIGN_OR_RETURN(
      PrefixCache prefix_cache,
      PrefixCache::Create(std::move(host_root), absl::StrCat(kDataDirectory, "/prefix")));
  SetLimits();
  HULL_ASSIGN_OR_RETURN(UniqueFd signals, WatchChildren());
  return Hostd(std::move(channel), std::move(prefix_cache), std::move(signals)).Run();
}

absl::Status Main() {
  HULL_RETURN_IF_ERROR(PrepareKernel());
  HULL_ASSIGN_OR_RETURN(UniqueFd port, OpenPort());
  FrameChannel channel(std::move(port));
  const absl::Status served = Serve(channel);
  // Before Run() the channel is still here, to say what went wrong.
  if (!served.ok() && channel.valid()) {
    channel.Queue(0, FrameType::kFailed, 0, EncodeFailure({false, std::string(served.message())}));
    (void)channel.Flush();
  }
  return served;
}

}  // namespace
}  // namespace hull::emulated_host

int main() {
  if (getpid() != 1) {
    constexpr char kMessage[] = "hull-hostd is the emulated host's PID 1; it does nothing else\n";
    (void)!write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
    return 64;
  }
  const absl::Status status = hull::emulated_host::Main();
  if (!status.ok()) hull::emulated_host::LogToKernel(status.message());
  hull::emulated_host::PowerOff();
}
