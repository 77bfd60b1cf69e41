#include "vmm/cli/inspect_command.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "vmm/base/file_io.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/displays.h"
#include "vmm/cli/format_template.h"
#include "vmm/cli/image_commands.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"
#include "vmm/container/disk.h"
#include "vmm/container/log_format.h"
#include "vmm/container/monitor.h"
#include "vmm/container/mounts.h"
#include "vmm/container/volume_store.h"

namespace hull::cli {
namespace {

using container::ContainerInfo;
using container::ContainerStore;
using container::Status;
using nlohmann::json;

constexpr size_t kMaxProcFileBytes = 1 << 20;

// podman's form of a time that never was is the year 1.
std::string Time(int64_t unix_ms) {
  if (unix_ms == 0) return "0001-01-01T00:00:00Z";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(unix_ms),
                          absl::UTCTimeZone());
}

// The cgroup v2 of a process on this host; empty if it is in none or has ended.
std::string CgroupOf(int32_t pid) {
  if (pid <= 0) return "";
  const absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat("/proc/", pid, "/cgroup"), kMaxProcFileBytes);
  if (!text.ok()) return "";
  const size_t line = text->find("0::");
  if (line == std::string::npos) return "";
  return text->substr(line + 3, text->find('\n', line) - line - 3);
}

json Host() {
  json host = {{"Kernel", ""},
               {"Architecture", ""},
               {"ProcessorEmulated", container::OnEmulatedProcessor()}};
  utsname names;
  if (uname(&names) == 0) {
    host["Kernel"] = names.release;
    host["Architecture"] = names.machine;
  }
  return host;
}

json Describe(const Installation& installation, const ContainerStore& store,
              const ContainerInfo& info) {
  const container::Config& config = info.config;
  const container::State& state = info.state;
  const container::Process& process = config.process;
  const bool running = state.status == Status::kRunning;
  const std::string directory = store.StateDirectory(config.id);

  json labels = json::object();
  for (const std::string& label : config.labels) {
    const size_t equals = label.find('=');
    labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  json command = process.args;
  json arguments = command;
  arguments.erase(0);
  json storage = {{"Type", config.storage_bytes > 0 ? "disk" : "memory"},
                  {"Path", ""},
                  {"SizeBytes", config.storage_bytes},
                  {"AllocatedBytes", 0}};
  if (config.storage_bytes > 0) {
    storage["Path"] = container::LayerPath(directory);
    const absl::StatusOr<container::DiskUsage> usage =
        container::LookAtDisk(container::LayerPath(directory));
    if (usage.ok()) storage["AllocatedBytes"] = usage->allocated_bytes;
  }
  json mounts = json::array();
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    const container::Mount& mount = config.mounts[i];
    const bool volume = mount.type == container::MountType::kVolume;
    std::string source;
    if (volume) {
      source = mount.volume.empty() ? container::OwnVolumePath(directory, i)
                                    : container::VolumePath(installation.root, mount.volume);
    }
    mounts.push_back({{"Type", volume ? "volume" : "tmpfs"},
                      {"Name", mount.volume},
                      {"Source", std::move(source)},
                      {"Destination", mount.target},
                      {"Driver", volume ? "local" : ""},
                      {"RW", !mount.read_only}});
  }
  json log = {{"Type", config.log_max_bytes > 0 ? "cri" : "none"},
              {"Path", config.log_max_bytes > 0 ? container::LogPath(directory, 0) : ""},
              {"MaxSize", config.log_max_bytes},
              {"MaxFiles", config.log_max_bytes > 0 ? container::kLogFiles : 0}};
  return {
      {"Id", config.id},
      {"Name", config.name},
      {"Created", Time(config.created_unix_ms)},
      {"Path", process.args.empty() ? "" : process.args[0]},
      {"Args", std::move(arguments)},
      {"Image", std::string(absl::StripPrefix(config.image_digest, "sha256:"))},
      {"ImageName", config.image},
      {"State",
       {{"Status", container::StatusName(state.status)},
        {"Running", running},
        {"Paused", state.status == Status::kPaused},
        {"Pid", state.vmm_pid},
        {"ConmonPid", state.monitor_pid},
        {"ExitCode", state.exit_status},
        {"Error", state.error},
        {"StartedAt", Time(state.started_unix_ms)},
        {"FinishedAt", Time(state.finished_unix_ms)}}},
      {"Config",
       {{"Hostname", config.hostname},
        {"User", process.user},
        {"Env", process.environment},
        {"Cmd", std::move(command)},
        {"WorkingDir", process.working_directory.empty() ? "/" : process.working_directory},
        {"Labels", std::move(labels)},
        {"OpenStdin", process.attach_stdin},
        {"StopSignal", config.stop_signal},
        {"StopTimeout", config.stop_timeout_seconds}}},
      {"Mounts", std::move(mounts)},
      {"HostConfig",
       {{"AutoRemove", config.remove},
        {"ReadonlyRootfs", config.read_only},
        {"Memory", config.memory_bytes},
        {"NanoCpus", config.cpu_millis * 1'000'000},
        {"LogConfig", std::move(log)}}},
      {"Machine",
       {{"Vcpus", config.cpus},
        {"MemoryBytes", config.memory_bytes},
        {"RootImage", config.root_image},
        {"Storage", std::move(storage)},
        {"Console", config.console},
        {"Model", config.pc.has_value() ? "pc" : "micro"},
        {"Boot", config.pc.has_value() ? config.pc->boot : ""},
        {"Display", DisplayPort(config)},
        {"VmmPid", state.vmm_pid},
        {"MonitorPid", state.monitor_pid},
        {"Cgroup", CgroupOf(state.vmm_pid)},
        {"StateDirectory", directory},
        {"RunDirectory", info.alive ? store.RunDirectory(config.id) : ""}}},
      {"Host", Host()},
  };
}

absl::StatusOr<json> InspectOne(const Installation& installation, ContainerStore* store,
                                const std::string& name, const std::string& type) {
  if (type == "image") return InspectImageByName(installation, name);
  const absl::StatusOr<Named> found = FindContainer(store, name);
  if (found.ok()) return Describe(installation, *store, found->info);
  if (type == "all" && absl::IsNotFound(found.status())) {
    absl::StatusOr<json> image = InspectImageByName(installation, name);
    if (image.ok()) return image;
  }
  return found.status();
}

absl::StatusOr<std::string> Render(const json& containers, const std::string& format) {
  if (format.empty() || format == "json") return PrettyJson(containers);
  std::string text;
  for (const json& container : containers) {
    HULL_ASSIGN_OR_RETURN(const std::string line, RenderTemplate(format, container));
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace

int InspectCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::string format;
  std::string type = "all";
  CLI::App app("Shows all about containers and images, as JSON.", "inspect");
  app.formatter(std::make_shared<UsageFormatter>("inspect [-f FORMAT] CONTAINER|IMAGE..."));
  app.add_option("-f,--format", format, "json, or a template such as {{.State.Status}}");
  app.add_option("-t,--type", type, "container, image, or all (default): containers come first")
      ->check(CLI::IsMember({"all", "container", "image"}));
  app.add_option("NAME", names, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(type == "image"       ? Subjects::Kind::kImages
                            : type == "container" ? Subjects::Kind::kContainers
                                                  : Subjects::Kind::kEither,
                            names);
      })) {
    return *status;
  }
  const absl::StatusOr<std::unique_ptr<ContainerStore>> store = OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  json objects = json::array();
  int overall = 0;
  for (const std::string& name : names) {
    absl::StatusOr<json> found = InspectOne(installation, store->get(), name, type);
    if (found.ok()) {
      objects.push_back(*std::move(found));
    } else {
      overall = ReportFailure(found.status());
    }
  }
  const absl::StatusOr<std::string> text = Render(objects, format);
  if (!text.ok()) return ReportFailure(text.status());
  const int printed = PrintOutput(*text);
  return overall != 0 ? overall : printed;
}

}  // namespace hull::cli
