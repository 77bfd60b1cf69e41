#include "vmm/cli/containers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/message.h"
#include "vmm/container/config.h"
#include "vmm/container/monitor_connection.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

constexpr absl::Duration kLookAgain = absl::Milliseconds(20);
// From a monitor's start to its listening there are some milliseconds, much more on a host that is
// out of memory.
constexpr absl::Duration kConnectPatience = absl::Seconds(30);

}  // namespace

absl::StatusOr<std::unique_ptr<container::ContainerStore>> OpenContainers(
    const Installation& installation) {
  HULL_ASSIGN_OR_RETURN(
      std::unique_ptr<container::ContainerStore> store,
      container::ContainerStore::Open({.root = installation.root, .run = installation.run}));
  const absl::Status collected = store->CollectDead();
  if (!collected.ok()) {
    PrintError(
        absl::StrCat("what a container left behind cannot be cleared away: ", collected.message()));
  }
  return store;
}

std::optional<int> BeginCommand(CLI::App* app, const std::vector<std::string>& args, Needs needs,
                                Installation* installation,
                                const std::function<Subjects()>& subjects,
                                const std::function<bool()>& forward_stdin) {
  if (const std::optional<int> status = ParseCommandLine(app, args)) return *status;
  absl::StatusOr<Installation> found = Installation::FromEnvironment();
  if (!found.ok()) return ReportFailure(found.status());
  *installation = *std::move(found);
  std::vector<std::string> command = absl::StrSplit(app->get_name(), ' ');
  command.insert(command.end(), args.begin(), args.end());
  return RunElsewhere(*installation, needs, command, forward_stdin(), subjects());
}

Subjects ContainersOrAll(const std::vector<std::string>& names) {
  if (names.empty()) return Subjects::All(Subjects::Kind::kContainers);
  return Subjects::Of(Subjects::Kind::kContainers, names);
}

absl::StatusOr<Named> FindContainer(container::ContainerStore* store, const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const std::string id, store->Resolve(name));
  Named found = {.name = name, .info = {}};
  HULL_ASSIGN_OR_RETURN(found.info, store->Look(id));
  return found;
}

bool Runs(const container::ContainerInfo& info) {
  return info.alive && info.state.status != container::Status::kPaused;
}

absl::StatusOr<std::vector<Named>> AllContainers(container::ContainerStore* store) {
  HULL_ASSIGN_OR_RETURN(std::vector<container::ContainerInfo> infos, store->List());
  std::vector<Named> all;
  for (container::ContainerInfo& info : infos) {
    std::string id = info.config.id;
    all.push_back({.name = std::move(id), .info = std::move(info)});
  }
  return all;
}

void Note(int status, int* overall) {
  if (*overall == 0) *overall = status;
}

std::optional<int> SelectContainers(const Installation& installation, const SelectionRules& rules,
                                    const std::vector<std::string>& names, bool all,
                                    Selection* selection) {
  if (names.empty() != all) {
    PrintError(absl::StrCat("give either names of containers or --all (see hull ", rules.verb,
                            " --help)"));
    return container::kHullFailed;
  }
  absl::StatusOr<std::unique_ptr<container::ContainerStore>> store = OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  selection->store = *std::move(store);
  if (all) {
    absl::StatusOr<std::vector<Named>> found = AllContainers(selection->store.get());
    if (!found.ok()) return ReportFailure(found.status());
    selection->containers = *std::move(found);
    if (rules.running_only) {
      std::erase_if(selection->containers,
                    [](const Named& container) { return !container.info.alive; });
    }
  }
  for (const std::string& name : names) {
    absl::StatusOr<Named> found = FindContainer(selection->store.get(), name);
    if (found.ok()) {
      selection->containers.push_back(*std::move(found));
    } else if (!absl::IsNotFound(found.status())) {
      Note(ReportFailure(found.status()), &selection->status);
    } else if (!rules.ignore_missing) {
      const int status = ReportFailure(found.status());
      Note(rules.missing_status.value_or(status), &selection->status);
    }
  }
  return std::nullopt;
}

absl::Status WrongState(const container::ContainerInfo& info, absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat(what, ". ", info.config.id, " is in state ",
                                                    container::StatusName(info.state.status),
                                                    ": container state improper"));
}

absl::StatusOr<UniqueFd> Connect(container::ContainerStore* store, const std::string& id) {
  const absl::Time end = absl::Now() + kConnectPatience;
  while (true) {
    absl::StatusOr<UniqueFd> socket = container::ConnectToMonitor(store->RunDirectory(id));
    if (!absl::IsNotFound(socket.status())) return socket;
    const absl::StatusOr<container::ContainerInfo> info = store->Look(id);
    if (!info.ok() || !info->alive) {
      return absl::FailedPreconditionError(absl::StrCat("container ", id, " is not running"));
    }
    if (absl::Now() > end) return absl::UnavailableError(socket.status().message());
    absl::SleepFor(kLookAgain);
  }
}

absl::Status AwaitDead(container::ContainerStore* store, const std::string& id,
                       absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (true) {
    const absl::StatusOr<container::ContainerInfo> info = store->Look(id);
    if (absl::IsNotFound(info.status()) || (info.ok() && !info->alive)) return absl::OkStatus();
    if (absl::Now() > end) {
      return absl::DeadlineExceededError(
          absl::StrCat("container ", id, " did not end within ", absl::FormatDuration(timeout)));
    }
    absl::SleepFor(kLookAgain);
  }
}

}  // namespace hull::cli
