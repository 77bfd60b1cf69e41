#include "vmm/cli/containers.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/message.h"
#include "vmm/container/config.h"
#include "vmm/container/monitor_connection.h"

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
  std::vector<std::string> command = {app->get_name()};
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
