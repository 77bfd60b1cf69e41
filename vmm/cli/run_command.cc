#include "vmm/cli/run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "images/store.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/load_progress.h"
#include "vmm/cli/message.h"
#include "vmm/cli/place.h"
#include "vmm/cli/run_flags.h"
#include "vmm/container/attach_client.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"
#include "vmm/container/monitor.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"
#include "vmm/container/process.h"
#include "vmm/container/spawn.h"

namespace hull::cli {
namespace {

// Where the monitor finds what it inherits.
constexpr int kMonitorLock = 3;
constexpr int kMonitorClient = 4;

absl::StatusOr<uint64_t> HostMemoryBytes() {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return PosixError("find this host's memory");
  return uint64_t{info.totalram} * info.mem_unit;
}

std::vector<std::string> HostEnvironment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

int64_t NowUnixMs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// The signals of a user who wants an end, held back from here on so that they end no half-made
// container. Until the container has a monitor, this is what sees them.
class Interruption {
 public:
  static absl::StatusOr<Interruption> Create() {
    const sigset_t forwarded = container::ForwardedSignals();
    if (sigprocmask(SIG_BLOCK, &forwarded, nullptr) != 0) return PosixError("block signals");
    sigset_t ending;
    sigemptyset(&ending);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&ending, signal);
    UniqueFd fd(signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd.valid()) return PosixError("create a signal descriptor");
    return Interruption(std::move(fd));
  }

  // Becomes readable when there is one.
  int fd() const { return fd_.get(); }
  // The signal, if there was one.
  std::optional<int> Take() const {
    signalfd_siginfo info;
    if (read(fd_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
    return static_cast<int>(info.ssi_signo);
  }

 private:
  explicit Interruption(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

absl::StatusOr<container::Config> BuildConfig(const RunFlags& flags,
                                              const images::ResolvedImage& image) {
  container::Config config;
  HULL_ASSIGN_OR_RETURN(config.id, container::NewId());
  const std::string short_id(container::ShortId(config.id));
  config.name = flags.name.empty() ? short_id : flags.name;
  config.created_unix_ms = NowUnixMs();
  config.image = image.name.empty() ? flags.image : image.name;
  config.image_digest = image.manifest.ToString();
  config.root_image = image.rootfs_path;
  config.hostname = flags.hostname.empty() ? short_id : flags.hostname;
  config.read_only = flags.read_only;
  config.console = flags.console;
  config.remove = flags.remove;
  config.cpus = flags.cpus;
  config.memory_bytes = flags.memory_bytes;
  container::ProcessOptions options = {.entrypoint = flags.entrypoint,
                                       .command = flags.command,
                                       .env_files = flags.env_files,
                                       .env = flags.env,
                                       .working_directory = flags.working_directory,
                                       .user = flags.user,
                                       .attach_stdin = flags.interactive};
  HULL_ASSIGN_OR_RETURN(
      config.process,
      container::BuildProcess(image.process, options, config.hostname, HostEnvironment()));
  return config;
}

struct Started {
  pid_t monitor = 0;
  UniqueFd socket;
};

absl::StatusOr<Started> StartMonitor(const Installation& installation,
                                     const container::Config& config, UniqueFd lock) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
    return PosixError("create a socket");
  }
  Started started = {.monitor = 0, .socket = UniqueFd(sockets[0])};
  const UniqueFd monitor_end(sockets[1]);
  static_assert(kMonitorLock == 3 && kMonitorClient == 4);
  HULL_ASSIGN_OR_RETURN(
      started.monitor,
      container::Spawn({.program = "/proc/self/exe",
                        .argv = {"hull", "monitor", config.id, installation.root, installation.run,
                                 installation.libexec, installation.share, installation.users},
                        .fds = {-1, -1, -1, lock.get(), monitor_end.get()},
                        // A Ctrl-C on this terminal is the client's to forward.
                        .new_session = true}));
  return started;
}

std::string DescribeLostMonitor(const container::Config& config, int wait_status) {
  return absl::StrCat("the monitor of container ", config.name, " ",
                      WIFSIGNALED(wait_status)
                          ? absl::StrCat("was killed by signal ", WTERMSIG(wait_status))
                          : absl::StrCat("ended with status ", WEXITSTATUS(wait_status)),
                      "; the container ended with it");
}

absl::StatusOr<container::Outcome> RunContainer(const Installation& installation,
                                                const RunFlags& flags,
                                                const images::ResolvedImage& image) {
  HULL_ASSIGN_OR_RETURN(const container::Config config, BuildConfig(flags, image));
  HULL_ASSIGN_OR_RETURN(
      const std::unique_ptr<container::ContainerStore> store,
      container::ContainerStore::Open({.root = installation.root, .run = installation.run}));
  // What others left does not keep this container from running.
  const absl::Status collected = store->CollectDead();
  if (!collected.ok()) {
    PrintError(
        absl::StrCat("what a container left behind cannot be cleared away: ", collected.message()));
  }
  HULL_ASSIGN_OR_RETURN(UniqueFd lock, store->Create(config));
  absl::StatusOr<Started> started = StartMonitor(installation, config, std::move(lock));
  if (!started.ok()) {
    store->Finish(config, /*discard=*/true).IgnoreError();  // the first error is the one to tell
    return started.status();
  }

  signal(SIGPIPE, SIG_IGN);
  absl::StatusOr<std::optional<container::Outcome>> outcome =
      container::AttachAndWait(std::move(started->socket), {.attach_stdin = flags.interactive});
  // The monitor goes on for a moment, until the kernel has dissolved the VM.
  if (outcome.ok() && outcome->has_value()) return **outcome;
  int wait_status = 0;
  while (waitpid(started->monitor, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (!outcome.ok()) return outcome.status();
  store->CollectDead().IgnoreError();  // what can be told is that the monitor died
  return absl::InternalError(DescribeLostMonitor(config, wait_status));
}

}  // namespace

int RunCommand(const std::vector<std::string>& args) {
  const absl::StatusOr<uint64_t> host_memory = HostMemoryBytes();
  if (!host_memory.ok()) return ReportFailure(host_memory.status());
  const absl::StatusOr<RunFlags> flags = ParseRunFlags(args, *host_memory);
  if (!flags.ok()) return ReportFailure(flags.status());
  if (!flags->help.empty()) return PrintOutput(flags->help);
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());

  std::vector<std::string> command = {"run"};
  command.insert(command.end(), args.begin(), args.end());
  if (std::optional<int> status =
          RunElsewhere(*installation, Needs::kKvm, command, flags->interactive)) {
    return *status;
  }

  const absl::StatusOr<Interruption> interruption = Interruption::Create();
  if (!interruption.ok()) return ReportFailure(interruption.status());
  LoadProgressLine progress;
  const images::Store store(installation->ImageStore());
  const absl::StatusOr<images::ResolvedImage> image = store.ResolveOrLoadBuiltin(
      flags->image, installation->share,
      {.unpack_program = installation->UnpackProgram(),
       .name = {},
       .cancel_fd = interruption->fd(),
       .progress = [&progress](const images::LoadProgress& state) { progress.Show(state); }});
  progress.Clear();
  if (const std::optional<int> signal = interruption->Take()) {
    return container::SignalStatus(*signal);
  }
  if (!image.ok()) return ReportFailure(image.status());

  const absl::StatusOr<container::Outcome> outcome = RunContainer(*installation, *flags, *image);
  if (!outcome.ok()) return ReportFailure(outcome.status());
  if (!outcome->error.empty()) PrintError(outcome->error);
  return outcome->exit_status;
}

int MonitorCommand(const std::vector<std::string>& args) {
  // An inner verb: whoever calls it by hand gets a refusal, not an explanation.
  if (args.size() != 6 || !container::IsId(args[0]) || fcntl(kMonitorClient, F_GETFD) < 0 ||
      fcntl(kMonitorLock, F_GETFD) < 0) {
    PrintError("\"hull monitor\" is started by hull run only");
    return container::kHullFailed;
  }
  const std::string& libexec = args[3];
  const std::string& share = args[4];
  container::MonitorOptions options;
  options.id = args[0];
  options.paths = {.root = args[1], .run = args[2]};
  options.files = {.vmm = absl::StrCat(libexec, "/hull-vmm"),
                   .kernel = absl::StrCat(share, "/vmlinux"),
                   .initramfs = absl::StrCat(share, "/initramfs.cpio")};
  if (!args[5].empty()) {
    const absl::StatusOr<sandbox::UserRange> users = sandbox::ParseUserRange(args[5]);
    if (!users.ok()) return ReportFailure(users.status());
    options.users = *users;
  }
  for (const int fd : {kMonitorLock, kMonitorClient}) fcntl(fd, F_SETFD, FD_CLOEXEC);
  options.lock.Reset(kMonitorLock);
  options.client.Reset(kMonitorClient);
  const absl::Status ran =
      container::RunMonitor(std::move(options), container::MonitorDeadlines::Default());
  return ran.ok() ? 0 : container::kHullFailed;
}

}  // namespace hull::cli
