#include "vmm/cli/volume_command.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/format_template.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/place.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/container_store.h"
#include "vmm/container/limits.h"
#include "vmm/container/mounts.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"
#include "vmm/container/volume_store.h"

namespace hull::cli {
namespace {

using container::Volume;
using container::VolumeStore;
using nlohmann::json;

// podman-volume-rm(1) and podman-volume-exists(1).
constexpr int kNoSuchVolume = 1;
constexpr int kVolumeInUse = 2;

constexpr char kVolumeHelp[] =
    R"(Manages volumes: disks that outlive containers.

Usage: hull volume VERB [ARG...]

  create    Make a volume
  exists    Tell by the exit status whether there is one
  inspect   Show everything about volumes
  ls        List volumes
  prune     Remove those that no container has
  rm        Remove volumes
)";

// What every verb begins with: the exit status, if the command is done with that.
std::optional<int> Begin(CLI::App* app, const char* verb, const std::vector<std::string>& args,
                         Installation* installation) {
  if (const std::optional<int> status = ParseCommandLine(app, args)) return *status;
  absl::StatusOr<Installation> found = Installation::FromEnvironment();
  if (!found.ok()) return ReportFailure(found.status());
  *installation = *std::move(found);
  std::vector<std::string> command = {"volume", verb};
  command.insert(command.end(), args.begin(), args.end());
  return RunElsewhere(*installation, Needs::kStore, command, /*forward_stdin=*/false);
}

// Where the volumes are, and who has them.
struct Stores {
  std::unique_ptr<container::ContainerStore> containers;
  std::unique_ptr<VolumeStore> volumes;
};

absl::StatusOr<Stores> OpenStores(const Installation& installation) {
  Stores stores;
  HULL_ASSIGN_OR_RETURN(stores.containers, OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(container::DiskMaker maker, installation.DiskMaker());
  stores.volumes = std::make_unique<VolumeStore>(installation.root, std::move(maker));
  return stores;
}

// The names of the containers that have the volume, running or not.
absl::StatusOr<std::vector<std::string>> UsersOf(const Stores& stores, const std::string& volume) {
  std::vector<std::string> users;
  HULL_ASSIGN_OR_RETURN(const std::vector<container::ContainerInfo> infos,
                        stores.containers->List());
  for (const container::ContainerInfo& info : infos) {
    for (const container::Mount& mount : info.config.mounts) {
      if (mount.type == container::MountType::kVolume && mount.volume == volume) {
        users.push_back(info.config.name);
      }
    }
  }
  return users;
}

absl::Status RemoveUnused(const Stores& stores, const std::string& name) {
  std::string users;
  const absl::Status removed = stores.volumes->Remove(name, [&]() -> absl::StatusOr<bool> {
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> names, UsersOf(stores, name));
    for (const std::string& user : names) absl::StrAppend(&users, users.empty() ? "" : ", ", user);
    return !names.empty();
  });
  if (!absl::IsFailedPrecondition(removed) || users.empty()) return removed;
  return absl::FailedPreconditionError(
      absl::StrCat("volume ", name, " is being used by the following container(s): ", users));
}

int RemovalStatus(const absl::Status& removed) {
  if (removed.ok()) return 0;
  if (absl::IsNotFound(removed)) return kNoSuchVolume;
  return absl::IsFailedPrecondition(removed) ? kVolumeInUse : container::kHullFailed;
}

absl::StatusOr<json> Describe(const Stores& stores, const Volume& volume) {
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> users, UsersOf(stores, volume.name));
  return json{{"Name", volume.name},
              {"Driver", "local"},
              {"Mountpoint", volume.path},
              {"CreatedAt",
               absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ",
                                absl::FromUnixMillis(volume.created_unix_ms), absl::UTCTimeZone())},
              {"Labels", json::object()},
              {"Scope", "local"},
              {"Options", json::object()},
              {"SizeBytes", volume.usage.size_bytes},
              {"AllocatedBytes", volume.usage.allocated_bytes},
              {"Containers", users}};
}

std::string Mebibytes(uint64_t bytes) { return absl::StrCat((bytes + (1 << 20) - 1) >> 20, "m"); }

// ---- The verbs ----

int CreateVolume(const std::vector<std::string>& args) {
  std::string name;
  std::string size_text;
  CLI::App app("Makes a volume and prints its name.", "volume create");
  app.formatter(std::make_shared<UsageFormatter>("volume create [--size SIZE] [NAME]"));
  app.add_option("--size", size_text, "64m to 4t, of which what is stored counts (default: 10g)");
  app.add_option("NAME", name, "Default: 64 random digits");
  Installation installation;
  if (const std::optional<int> status = Begin(&app, "create", args, &installation)) return *status;
  absl::StatusOr<uint64_t> size = container::kDefaultStorageBytes;
  if (!size_text.empty()) size = container::ParseStorageSize(size_text);
  if (!size.ok()) return ReportFailure(Annotate(size.status(), "--size"));
  if (name.empty()) {
    absl::StatusOr<std::string> random = container::NewId();
    if (!random.ok()) return ReportFailure(random.status());
    name = *std::move(random);
  }
  const absl::Status valid = container::ValidateVolumeName(name);
  if (!valid.ok()) return ReportFailure(valid);
  const absl::StatusOr<Stores> stores = OpenStores(installation);
  if (!stores.ok()) return ReportFailure(stores.status());
  const absl::Status created = stores->volumes->Create(name, *size);
  return created.ok() ? PrintOutput(absl::StrCat(name, "\n")) : ReportFailure(created);
}

int ListVolumes(const std::vector<std::string>& args) {
  bool quiet = false;
  std::string format;
  CLI::App app("Lists volumes.", "volume ls");
  app.formatter(std::make_shared<UsageFormatter>("volume ls [-q] [--format FORMAT]"));
  app.add_flag("-q,--quiet", quiet, "Names alone");
  app.add_option("--format", format, "json, or a template such as {{.Name}}");
  Installation installation;
  if (const std::optional<int> status = Begin(&app, "ls", args, &installation)) return *status;
  const absl::StatusOr<Stores> stores = OpenStores(installation);
  if (!stores.ok()) return ReportFailure(stores.status());
  const absl::StatusOr<std::vector<Volume>> volumes = stores->volumes->List();
  if (!volumes.ok()) return ReportFailure(volumes.status());
  std::vector<std::vector<std::string>> rows = {{"DRIVER", "VOLUME NAME", "SIZE", "STORED"}};
  json objects = json::array();
  std::string text;
  for (const Volume& volume : *volumes) {
    if (quiet) {
      absl::StrAppend(&text, volume.name, "\n");
      continue;
    }
    if (format.empty()) {
      rows.push_back({"local", volume.name, Mebibytes(volume.usage.size_bytes),
                      Mebibytes(volume.usage.allocated_bytes)});
      continue;
    }
    absl::StatusOr<json> object = Describe(*stores, volume);
    if (!object.ok()) return ReportFailure(object.status());
    if (format == "json") {
      objects.push_back(*std::move(object));
      continue;
    }
    const absl::StatusOr<std::string> line = RenderTemplate(format, *object);
    if (!line.ok()) return ReportFailure(line.status());
    absl::StrAppend(&text, *line, "\n");
  }
  if (quiet) return PrintOutput(text);
  if (format.empty()) return PrintOutput(RenderTable(rows));
  return PrintOutput(format == "json" ? PrettyJson(objects) : text);
}

int InspectVolumes(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::string format;
  CLI::App app("Shows everything about volumes, as JSON.", "volume inspect");
  app.formatter(std::make_shared<UsageFormatter>("volume inspect [-f FORMAT] NAME..."));
  app.add_option("-f,--format", format, "json, or a template such as {{.SizeBytes}}");
  app.add_option("NAME", names, "Of volumes")->required();
  Installation installation;
  if (const std::optional<int> status = Begin(&app, "inspect", args, &installation)) {
    return *status;
  }
  const absl::StatusOr<Stores> stores = OpenStores(installation);
  if (!stores.ok()) return ReportFailure(stores.status());
  json objects = json::array();
  std::string text;
  int overall = 0;
  for (const std::string& name : names) {
    const absl::StatusOr<Volume> volume = stores->volumes->Look(name);
    absl::StatusOr<json> object =
        volume.ok() ? Describe(*stores, *volume) : absl::StatusOr<json>(volume.status());
    if (!object.ok()) {
      overall = ReportFailure(object.status());
      continue;
    }
    if (!format.empty() && format != "json") {
      const absl::StatusOr<std::string> line = RenderTemplate(format, *object);
      if (!line.ok()) return ReportFailure(line.status());
      absl::StrAppend(&text, *line, "\n");
    }
    objects.push_back(*std::move(object));
  }
  const int printed = PrintOutput(format.empty() || format == "json" ? PrettyJson(objects) : text);
  return overall != 0 ? overall : printed;
}

int VolumeExists(const std::vector<std::string>& args) {
  std::string name;
  CLI::App app("Exits with 0 if there is such a volume, else with 1.", "volume exists");
  app.formatter(std::make_shared<UsageFormatter>("volume exists NAME"));
  app.add_option("NAME", name, "Of a volume")->required();
  Installation installation;
  if (const std::optional<int> status = Begin(&app, "exists", args, &installation)) return *status;
  const absl::StatusOr<Stores> stores = OpenStores(installation);
  if (!stores.ok()) return ReportFailure(stores.status());
  const absl::StatusOr<Volume> volume = stores->volumes->Look(name);
  if (absl::IsNotFound(volume.status())) return kNoSuchVolume;
  return volume.ok() ? 0 : ReportFailure(volume.status());
}

int RemoveVolumes(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  bool force = false;
  bool all = false;
  CLI::App app("Removes volumes that no container has.", "volume rm");
  app.formatter(std::make_shared<UsageFormatter>("volume rm [-f] [-a] NAME..."));
  app.add_flag("-f,--force", force, "One that does not exist is no error");
  app.add_flag("-a,--all", all, "All");
  app.add_option("NAME", names, "Of volumes");
  Installation installation;
  if (const std::optional<int> status = Begin(&app, "rm", args, &installation)) return *status;
  if (names.empty() != all) {
    PrintError("give either names of volumes or --all (see hull volume rm --help)");
    return container::kHullFailed;
  }
  const absl::StatusOr<Stores> stores = OpenStores(installation);
  if (!stores.ok()) return ReportFailure(stores.status());
  if (all) {
    const absl::StatusOr<std::vector<Volume>> volumes = stores->volumes->List();
    if (!volumes.ok()) return ReportFailure(volumes.status());
    for (const Volume& volume : *volumes) names.push_back(volume.name);
  }
  int overall = 0;
  for (const std::string& name : names) {
    const absl::Status removed = RemoveUnused(*stores, name);
    if (force && absl::IsNotFound(removed)) continue;
    if (removed.ok()) {
      PrintOutput(absl::StrCat(name, "\n"));
      continue;
    }
    ReportFailure(removed);
    if (overall == 0) overall = RemovalStatus(removed);
  }
  return overall;
}

int PruneVolumesCommand(const std::vector<std::string>& args) {
  bool force = false;
  CLI::App app("Removes the volumes that no container has.", "volume prune");
  app.formatter(std::make_shared<UsageFormatter>("volume prune -f"));
  app.add_flag("-f,--force", force, "Do it: what is in them is lost");
  Installation installation;
  if (const std::optional<int> status = Begin(&app, "prune", args, &installation)) return *status;
  if (!force) {
    PrintError("what is in volumes that no container has would be lost: say so with --force");
    return container::kHullFailed;
  }
  int overall = 0;
  for (const Volume& volume : PruneVolumes(installation, &overall)) {
    Note(PrintOutput(absl::StrCat(volume.name, "\n")), &overall);
  }
  return overall;
}

struct Verb {
  const char* name;
  int (*run)(const std::vector<std::string>& args);
};

constexpr Verb kVerbs[] = {
    {"create", CreateVolume}, {"exists", VolumeExists},  {"inspect", InspectVolumes},
    {"ls", ListVolumes},      {"list", ListVolumes},     {"prune", PruneVolumesCommand},
    {"rm", RemoveVolumes},    {"remove", RemoveVolumes},
};

}  // namespace

std::vector<Volume> PruneVolumes(const Installation& installation, int* status) {
  std::vector<Volume> pruned;
  const absl::StatusOr<Stores> stores = OpenStores(installation);
  const absl::StatusOr<std::vector<Volume>> volumes =
      stores.ok() ? stores->volumes->List() : absl::StatusOr<std::vector<Volume>>(stores.status());
  if (!volumes.ok()) {
    Note(ReportFailure(volumes.status()), status);
    return pruned;
  }
  for (const Volume& volume : *volumes) {
    const absl::Status removed = RemoveUnused(*stores, volume.name);
    if (removed.ok()) {
      pruned.push_back(volume);
    } else if (!absl::IsFailedPrecondition(removed) && !absl::IsNotFound(removed)) {
      Note(ReportFailure(removed), status);
    }
  }
  return pruned;
}

int VolumeCommand(const std::vector<std::string>& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    return PrintOutput(kVolumeHelp);
  }
  for (const Verb& verb : kVerbs) {
    if (args[0] == verb.name) return verb.run({args.begin() + 1, args.end()});
  }
  PrintError(absl::StrCat("hull volume has no verb \"", absl::CHexEscape(args[0].substr(0, 60)),
                          "\" (see hull volume --help)"));
  return container::kHullFailed;
}

}  // namespace hull::cli
