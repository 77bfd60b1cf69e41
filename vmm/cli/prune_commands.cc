#include "vmm/cli/prune_commands.h"

#include <fts.h>
#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "images/store.h"
#include "vmm/cli/confirmation.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/image_commands.h"
#include "vmm/cli/image_views.h"
#include "vmm/cli/info_command.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/stop_command.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/cli/volume_command.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

using container::ContainerStore;

constexpr char kSystemHelp[] =
    R"(Looks after all that Hull keeps on this machine.

Usage: hull system VERB [ARG...]

  info      Check this host (also: hull info)
  prune     Remove what nobody uses
)";

// What the host stores of all files in a directory.
uint64_t StoredBytes(const std::string& directory) {
  constexpr uint64_t kStatBlock = 512;
  std::string path = directory;
  char* const paths[] = {path.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> tree(
      fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, nullptr), fts_close);
  uint64_t bytes = 0;
  while (const FTSENT* const entry = tree == nullptr ? nullptr : fts_read(tree.get())) {
    if (entry->fts_info == FTS_F) {
      bytes += static_cast<uint64_t>(entry->fts_statp->st_blocks) * kStatBlock;
    }
  }
  return bytes;
}

struct Pruned {
  std::string names;  // one a line
  uint64_t bytes = 0;
};

// Removes the containers that do not run. What fails is told and noted in `status`.
Pruned PruneContainers(const Installation& installation, int* status) {
  Pruned pruned;
  const absl::StatusOr<std::unique_ptr<ContainerStore>> store = OpenContainers(installation);
  const absl::StatusOr<std::vector<Named>> containers =
      store.ok() ? AllContainers(store->get()) : absl::StatusOr<std::vector<Named>>(store.status());
  if (!containers.ok()) {
    Note(ReportFailure(containers.status()), status);
    return pruned;
  }
  for (const Named& container : *containers) {
    if (container.info.alive) continue;
    const uint64_t bytes = StoredBytes((*store)->StateDirectory(container.info.config.id));
    const absl::Status removed = RemoveContainer(store->get(), container, /*force=*/false);
    // Somebody starts it in this moment.
    if (absl::IsFailedPrecondition(removed)) continue;
    if (!removed.ok()) {
      Note(ReportFailure(removed), status);
      continue;
    }
    absl::StrAppend(&pruned.names, container.name, "\n");
    pruned.bytes += bytes;
  }
  return pruned;
}

std::string Section(absl::string_view title, const std::string& names) {
  return names.empty() ? "" : absl::StrCat(title, "\n", names);
}

int PruneSystemCommand(const std::vector<std::string>& args) {
  bool all = false;
  bool force = false;
  bool volumes = false;
  CLI::App app("Removes the containers that do not run, and images that no container has.",
               "system prune");
  app.formatter(std::make_shared<UsageFormatter>("system prune [-a] [-f] [--volumes]"));
  app.add_flag("-a,--all", all, "All images that no container has, also those with names");
  app.add_flag("-f,--force", force, "Do not ask");
  app.add_flag("--volumes", volumes, "Also the volumes that no container has");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(
          &app, args, Needs::kStore, &installation,
          [&] { return force ? Subjects::All(Subjects::Kind::kEither) : Subjects(); },
          [&] { return !force; })) {
    return *status;
  }
  if (!force && !Confirmed(absl::StrCat("Remove all containers that do not run, ",
                                        volumes ? "all volumes that no container has, " : "",
                                        "and all images ", all ? "" : "without a name ",
                                        "that no container has?"))) {
    return 0;
  }
  int overall = 0;
  const Pruned containers = PruneContainers(installation, &overall);
  uint64_t bytes = containers.bytes;
  std::string out = Section("Deleted Containers", containers.names);
  std::string names;
  if (volumes) {
    for (const container::Volume& volume : PruneVolumes(installation, &overall)) {
      absl::StrAppend(&names, volume.name, "\n");
      bytes += volume.usage.allocated_bytes;
    }
    absl::StrAppend(&out, Section("Deleted Volumes", names));
    names.clear();
  }
  const absl::StatusOr<std::vector<images::RemovedImage>> removed = PruneImages(installation, all);
  if (removed.ok()) {
    for (const images::RemovedImage& image : *removed) {
      absl::StrAppend(&names, image.manifest.ToString(), "\n");
      bytes += image.bytes;
    }
    absl::StrAppend(&out, Section("Deleted Images", names));
  } else {
    Note(ReportFailure(removed.status()), &overall);
  }
  Note(PrintOutput(absl::StrCat(out, "Total reclaimed space: ", HumanSize(bytes), "\n")), &overall);
  return overall;
}

}  // namespace

int PruneContainersCommand(const std::vector<std::string>& args) {
  bool force = false;
  CLI::App app("Removes the containers that do not run.", "container prune");
  app.formatter(std::make_shared<UsageFormatter>("container prune [-f]"));
  app.add_flag("-f,--force", force, "Do not ask");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(
          &app, args, Needs::kStore, &installation,
          [&] { return force ? Subjects::All(Subjects::Kind::kContainers) : Subjects(); },
          [&] { return !force; })) {
    return *status;
  }
  if (!force && !Confirmed("Remove all containers that do not run?")) return 0;
  int overall = 0;
  const Pruned pruned = PruneContainers(installation, &overall);
  Note(PrintOutput(pruned.names), &overall);
  PrintError(absl::StrCat("total reclaimed space: ", HumanSize(pruned.bytes)));
  return overall;
}

int SystemCommand(const std::vector<std::string>& args) {
  if (args.empty() || args.front() == "--help" || args.front() == "-h") {
    return PrintOutput(kSystemHelp);
  }
  const std::vector<std::string> rest(args.begin() + 1, args.end());
  if (args.front() == "prune") return PruneSystemCommand(rest);
  if (args.front() == "info") return InfoCommand(rest);
  PrintError(absl::StrCat("unknown verb system ", container::Printable(args.front()),
                          ": hull system --help lists them"));
  return container::kHullFailed;
}

}  // namespace hull::cli
