#include "vmm/cli/diff_command.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/archiver_session.h"
#include "vmm/cli/container_changes.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/pc_containers.h"
#include "vmm/cli/place.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

using container::ContainerStore;

// Some hundred thousand paths.
constexpr size_t kMaxChangesAnswer = size_t{64} << 20;

absl::StatusOr<std::vector<ContainerChange>> Diff(const Installation& installation,
                                                  const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ContainerStore> store, OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const Named container, FindContainer(store.get(), name));
  HULL_RETURN_IF_ERROR(RefusePc(container.info, kNoFiles));
  HULL_ASSIGN_OR_RETURN(const std::string answer,
                        AskArchiver(store.get(), container, {"changes"}, kMaxChangesAnswer));
  return ParseContainerChanges(answer);
}

absl::Status Export(const Installation& installation, const std::string& name,
                    const std::string& path) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ContainerStore> store, OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const Named container, FindContainer(store.get(), name));
  HULL_RETURN_IF_ERROR(RefusePc(container.info, kNoFiles));
  HULL_ASSIGN_OR_RETURN(ArchiverSession session,
                        ArchiverSession::Start(store.get(), container, {"export"},
                                               ArchiverSession::Direction::kFromContainer));
  UniqueFd file;
  if (!path.empty()) {
    HULL_ASSIGN_OR_RETURN(file, UniqueFd::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666));
  }
  const absl::Status written =
      RelayArchive(session.fd(), path.empty() ? STDOUT_FILENO : file.get());
  const absl::Status sent = session.Finish();
  absl::Status status = written.ok() ? sent : written;
  // Half an archive is of no use to anybody.
  if (!status.ok() && !path.empty()) unlink(path.c_str());
  return status;
}

}  // namespace

int DiffCommand(const std::vector<std::string>& args) {
  std::string name;
  std::string format;
  CLI::App app("Shows what a container that runs has added (A), changed (C) and deleted (D).",
               "diff");
  app.formatter(std::make_shared<UsageFormatter>("diff [--format json] CONTAINER"));
  app.add_option("--format", format, "json: as JSON");
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, {name});
      })) {
    return *status;
  }
  if (!format.empty() && format != "json") {
    PrintError("--format is json or nothing (see hull diff --help)");
    return container::kHullFailed;
  }
  const absl::StatusOr<std::vector<ContainerChange>> changes = Diff(installation, name);
  if (!changes.ok()) return ReportFailure(changes.status());
  return PrintOutput(format.empty() ? RenderChanges(*changes) : RenderChangesAsJson(*changes));
}

int ExportCommand(const std::vector<std::string>& args) {
  std::string name;
  std::string path;
  CLI::App app("Writes the whole root of a container that runs as a tar archive.", "export");
  app.formatter(std::make_shared<UsageFormatter>("export [-o FILE] CONTAINER"));
  app.add_option("-o,--output", path, "Where to (default: standard output)");
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, {name});
      })) {
    return *status;
  }
  if (path.empty() && isatty(STDOUT_FILENO)) {
    PrintError("refusing to export to terminal. Use -o flag or redirect");
    return container::kHullFailed;
  }
  const absl::Status exported = Export(installation, name, path);
  return exported.ok() ? 0 : ReportFailure(exported);
}

}  // namespace hull::cli
