#include "vmm/cli/run_command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "images/store.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/displays.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/load_progress.h"
#include "vmm/cli/message.h"
#include "vmm/cli/monitor_command.h"
#include "vmm/cli/pc_containers.h"
#include "vmm/cli/place.h"
#include "vmm/cli/run_flags.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"
#include "vmm/container/disk.h"
#include "vmm/container/labels.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"
#include "vmm/container/process.h"
#include "vmm/container/raw_terminal.h"
#include "vmm/container/signals.h"
#include "vmm/container/volume_store.h"

namespace hull::cli {
namespace {

constexpr mode_t kCidfileMode = 0644;

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
  config.cpus = flags.cpus.count;
  config.cpu_millis = flags.cpus.millis;
  config.memory_bytes = flags.memory_bytes;
  // Where nothing is kept there is nothing to keep it on.
  const bool keeps = !flags.remove && !flags.read_only;
  config.storage_bytes = flags.storage_bytes.value_or(keeps ? container::kDefaultStorageBytes : 0);
  HULL_ASSIGN_OR_RETURN(config.labels, container::MergeLabels(image.process.labels, flags.labels));
  config.stop_signal = flags.stop_signal.value_or(SIGTERM);
  if (!flags.stop_signal.has_value() && !image.process.stop_signal.empty()) {
    HULL_ASSIGN_OR_RETURN(config.stop_signal, container::ParseSignal(image.process.stop_signal));
  }
  config.stop_timeout_seconds = flags.stop_timeout_seconds;
  config.log_max_bytes = flags.log_max_bytes;
  config.mounts = flags.mounts;
  if (image.machine.has_value()) {
    HULL_RETURN_IF_ERROR(CompletePcConfig(flags, image, &config));
  }
  HULL_RETURN_IF_ERROR(CompleteDisplayConfig(flags, &config));
  if (image.machine.has_value()) return config;
  container::ProcessOptions options = {.entrypoint = flags.entrypoint,
                                       .command = flags.command,
                                       .env_files = flags.env_files,
                                       .env = flags.env,
                                       .working_directory = flags.working_directory,
                                       .user = flags.user,
                                       .attach_stdin = flags.interactive,
                                       .terminal = flags.terminal};
  HULL_ASSIGN_OR_RETURN(
      config.process,
      container::BuildProcess(image.process, options, config.hostname, HostEnvironment()));
  if (flags.terminal) config.process.terminal_size = container::OwnTerminalSize();
  return config;
}

// A file for the id, taken before the container exists, so that no other's is overwritten.
class Cidfile {
 public:
  static absl::StatusOr<Cidfile> Create(const std::string& path) {
    Cidfile file(path);
    if (path.empty()) return file;
    absl::StatusOr<UniqueFd> fd = UniqueFd::Open(path, O_WRONLY | O_CREAT | O_EXCL, kCidfileMode);
    if (absl::IsAlreadyExists(fd.status())) {
      return absl::AlreadyExistsError(absl::StrCat(
          "the container id file \"", path, "\" exists: if no other container uses it, delete it"));
    }
    HULL_ASSIGN_OR_RETURN(file.fd_, std::move(fd));
    return file;
  }
  Cidfile(Cidfile&&) = default;
  ~Cidfile() {
    if (fd_.valid()) unlink(path_.c_str());
  }

  absl::Status Write(const std::string& id) {
    if (!fd_.valid()) return absl::OkStatus();
    HULL_RETURN_IF_ERROR(Annotate(WriteFull(fd_.get(), id), "--cidfile"));
    fd_.Reset();
    return absl::OkStatus();
  }

 private:
  explicit Cidfile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  UniqueFd fd_;  // until the id is in it
};

// What `run` and `create` have in common: everything before the container.
struct Request {
  RunFlags flags;
  Installation installation;
  std::optional<Interruption> interruption;
  std::optional<images::ResolvedImage> image;  // always, once prepared
};

// The exit status, if the command is done with that.
std::optional<int> Prepare(const std::string& verb, const std::vector<std::string>& args,
                           Request* request) {
  const absl::StatusOr<uint64_t> host_memory = HostMemoryBytes();
  if (!host_memory.ok()) return ReportFailure(host_memory.status());
  absl::StatusOr<RunFlags> flags = ParseRunFlags(verb, args, *host_memory);
  if (!flags.ok()) return ReportFailure(flags.status());
  if (!flags->help.empty()) return PrintOutput(flags->help);
  request->flags = *std::move(flags);
  const absl::Status display_place = CheckDisplayPlace(request->flags);
  if (!display_place.ok()) return ReportFailure(display_place);
  absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  request->installation = *std::move(installation);

  std::vector<std::string> command = {verb};
  command.insert(command.end(), args.begin(), args.end());
  if (std::optional<int> status =
          RunElsewhere(request->installation, Needs::kKvm, command,
                       request->flags.interactive && !request->flags.detach,
                       Subjects::Of(Subjects::Kind::kImages, {request->flags.image}))) {
    return *status;
  }

  absl::StatusOr<Interruption> interruption = Interruption::Create();
  if (!interruption.ok()) return ReportFailure(interruption.status());
  request->interruption = *std::move(interruption);
  LoadProgressLine progress;
  const images::Store store(request->installation.ImageStore());
  absl::StatusOr<images::ResolvedImage> image = store.ResolveOrLoadBuiltin(
      request->flags.image, request->installation.share,
      {.unpack_program = request->installation.UnpackProgram(),
       .name = {},
       .cancel_fd = request->interruption->fd(),
       .progress = [&progress](const images::LoadProgress& state) { progress.Show(state); }});
  progress.Clear();
  if (const std::optional<int> signal = request->interruption->Take()) {
    return container::SignalStatus(*signal);
  }
  if (!image.ok()) return ReportFailure(image.status());
  request->image = *std::move(image);
  return std::nullopt;
}

// Of a container that is in the store: from then on nobody removes its volumes.
absl::Status MakeDisks(const Installation& installation, const container::ContainerStore& store,
                       const container::Config& config) {
  if (!container::HasDisks(config)) return absl::OkStatus();
  HULL_ASSIGN_OR_RETURN(const container::DiskMaker maker, installation.DiskMaker());
  HULL_RETURN_IF_ERROR(container::VolumeStore(installation.root, maker)
                           .CreateFor(config, store.StateDirectory(config.id)));
  if (config.storage_bytes == 0) return absl::OkStatus();
  return Annotate(container::MakeDisk(maker, container::LayerPath(store.StateDirectory(config.id)),
                                      config.storage_bytes),
                  "the container's disk cannot be made");
}

// Returns its id.
absl::StatusOr<std::string> CreateContainer(const Request& request) {
  HULL_ASSIGN_OR_RETURN(container::Config config, BuildConfig(request.flags, *request.image));
  // Settles the port, and is closed with this scope: it listens when the container is started.
  HULL_ASSIGN_OR_RETURN(const DisplaySocket display, OpenDisplay(&config));
  HULL_ASSIGN_OR_RETURN(Cidfile cidfile, Cidfile::Create(request.flags.cidfile));
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<container::ContainerStore> store,
                        OpenContainers(request.installation));
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, store->Create(config));
  absl::Status status = MakeDisks(request.installation, *store, config);
  if (status.ok()) status = MakePcDisk(*store, config);
  if (status.ok()) status = store->WriteState(config, {.status = container::Status::kCreated});
  if (status.ok()) status = cidfile.Write(config.id);
  if (!status.ok()) {
    store->Finish(config, /*discard=*/true).IgnoreError();  // the first error is the one to tell
    return status;
  }
  HULL_RETURN_IF_ERROR(store->Release(config.id));
  return config.id;
}

absl::StatusOr<container::Outcome> RunContainer(const Request& request) {
  const RunFlags& flags = request.flags;
  HULL_ASSIGN_OR_RETURN(container::Config config, BuildConfig(flags, *request.image));
  // The output of one that is gone when it ends has a reader, and nobody could ask for its log.
  if (flags.remove && !flags.detach) config.log_max_bytes = 0;
  HULL_ASSIGN_OR_RETURN(DisplaySocket display, OpenDisplay(&config));
  HULL_ASSIGN_OR_RETURN(Cidfile cidfile, Cidfile::Create(flags.cidfile));
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<container::ContainerStore> store,
                        OpenContainers(request.installation));
  HULL_ASSIGN_OR_RETURN(UniqueFd lock, store->Create(config));
  absl::Status status = MakeDisks(request.installation, *store, config);
  if (status.ok()) status = MakePcDisk(*store, config);
  if (status.ok()) status = cidfile.Write(config.id);
  StartedMonitor monitor;
  if (status.ok()) {
    absl::StatusOr<StartedMonitor> started = StartMonitor(
        request.installation, config, std::move(lock),
        flags.detach ? container::ClientMode::kDetached : container::ClientMode::kOwner);
    status = started.status();
    if (started.ok()) monitor = *std::move(started);
  }
  if (!status.ok()) {
    store->Finish(config, /*discard=*/true).IgnoreError();  // the first error is the one to tell
    return status;
  }
  StartDisplay(request.installation, config, store.get(), std::move(display));
  if (!flags.detach) {
    container::AttachOptions options = {.attach_stdin = flags.interactive,
                                        .terminal = flags.terminal,
                                        .detach_keys = flags.detach_keys};
    ShowPcScreen(config, flags.detach_keys_text, &options);
    return AttachToStarted(std::move(monitor), config, store.get(), options);
  }
  HULL_ASSIGN_OR_RETURN(const std::optional<container::Outcome> ended,
                        AwaitStart(std::move(monitor), config, store.get(), *request.interruption));
  if (ended.has_value()) return *ended;
  return container::Outcome{.exit_status = PrintOutput(absl::StrCat(config.id, "\n"))};
}

}  // namespace

int RunCommand(const std::vector<std::string>& args) {
  Request request;
  if (const std::optional<int> status = Prepare("run", args, &request)) return *status;
  const absl::StatusOr<container::Outcome> outcome = RunContainer(request);
  if (!outcome.ok()) return ReportFailure(outcome.status());
  if (!outcome->error.empty()) PrintError(outcome->error);
  return outcome->exit_status;
}

int CreateCommand(const std::vector<std::string>& args) {
  Request request;
  if (const std::optional<int> status = Prepare("create", args, &request)) return *status;
  const absl::StatusOr<std::string> id = CreateContainer(request);
  if (!id.ok()) return ReportFailure(id.status());
  return PrintOutput(absl::StrCat(*id, "\n"));
}

}  // namespace hull::cli
