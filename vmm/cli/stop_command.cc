#include "vmm/cli/stop_command.h"

#include <signal.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/config.h"
#include "vmm/container/monitor_connection.h"
#include "vmm/container/names.h"
#include "vmm/container/signals.h"

namespace hull::cli {
namespace {

using container::AttachType;
using container::ContainerStore;
using container::MonitorConnection;

// From a kill to the end: the kernel's and the monitor's work. Generous, as a processor may be
// emulated.
constexpr absl::Duration kKillPatience = absl::Seconds(120);
// podman's statuses of `rm`.
constexpr int kNoSuchContainer = 1;
constexpr int kContainerRuns = 2;

absl::StatusOr<MonitorConnection> ConnectTo(ContainerStore* store, const Named& container) {
  HULL_ASSIGN_OR_RETURN(UniqueFd socket, Connect(store, container.info.config.id));
  return MonitorConnection(std::move(socket));
}

// A container that ended meanwhile is no error.
bool IsOver(const absl::Status& status) { return absl::IsFailedPrecondition(status); }

// Waits for the end of a container, and kills it if that does not come in time.
absl::Status EndBy(ContainerStore* store, MonitorConnection* connection, const std::string& id,
                   absl::Time deadline) {
  HULL_ASSIGN_OR_RETURN(const MonitorConnection::Event event,
                        connection->Await(/*until_start=*/false, deadline - absl::Now()));
  if (event == MonitorConnection::Event::kTimeout) {
    // If this cannot be sent, the monitor has ended, and the lock tells the rest.
    connection->Send({.type = AttachType::kKill}).IgnoreError();
    HULL_RETURN_IF_ERROR(connection->Await(/*until_start=*/false, kKillPatience).status());
  }
  return AwaitDead(store, id, kKillPatience);
}

absl::Status SendSignal(ContainerStore* store, const Named& container, uint32_t signal) {
  if (!container.info.alive) {
    return WrongState(container.info, "can only kill running containers");
  }
  absl::StatusOr<MonitorConnection> connection = ConnectTo(store, container);
  if (IsOver(connection.status())) {
    return WrongState(container.info, "can only kill running containers");
  }
  if (!connection.ok()) return connection.status();
  HULL_RETURN_IF_ERROR(connection->Send({.type = AttachType::kSignal, .number = signal}));
  if (signal != SIGKILL) return absl::OkStatus();
  return EndBy(store, &*connection, container.info.config.id, absl::Now() + kKillPatience);
}

// How the container ended, once it has.
absl::StatusOr<int> AwaitEnd(ContainerStore* store, Named container) {
  while (container.info.alive) {
    absl::StatusOr<MonitorConnection> connection = ConnectTo(store, container);
    if (!connection.ok() && !IsOver(connection.status())) return connection.status();
    if (connection.ok()) {
      HULL_ASSIGN_OR_RETURN(const MonitorConnection::Event event,
                            connection->Await(/*until_start=*/false, absl::InfiniteDuration()));
      if (event == MonitorConnection::Event::kEnded) return connection->outcome().exit_status;
    }
    // What the monitor did not tell is in the state.
    HULL_ASSIGN_OR_RETURN(container.info, store->Look(container.info.config.id));
  }
  return container.info.state.exit_status;
}

absl::Status Kill(ContainerStore* store, const Named& container) {
  absl::StatusOr<MonitorConnection> connection = ConnectTo(store, container);
  // One whose monitor no longer listens still clears up.
  if (IsOver(connection.status())) {
    return AwaitDead(store, container.info.config.id, kKillPatience);
  }
  if (!connection.ok()) return connection.status();
  return EndBy(store, &*connection, container.info.config.id, absl::InfinitePast());
}

}  // namespace

absl::Status RemoveContainer(ContainerStore* store, const Named& container, bool force) {
  const std::string& id = container.info.config.id;
  if (container.info.alive && !force) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot remove container ", id,
        " as it is running - running or paused containers cannot be removed without force: "
        "container state improper"));
  }
  if (container.info.alive) HULL_RETURN_IF_ERROR(Kill(store, container));
  const absl::StatusOr<UniqueFd> lock = store->Acquire(id);
  // Somebody else removed it, or it did so itself.
  if (absl::IsNotFound(lock.status())) return absl::OkStatus();
  if (!lock.ok()) return lock.status();
  HULL_ASSIGN_OR_RETURN(const container::Config config, store->ReadConfig(id));
  return store->Finish(config, /*discard=*/true);
}

std::vector<absl::Status> StopContainers(ContainerStore* store,
                                         const std::vector<Named>& containers,
                                         std::optional<absl::Duration> timeout) {
  struct Stopping {
    std::optional<MonitorConnection> connection;
    absl::Time deadline;
  };
  std::vector<Stopping> stopping(containers.size());
  std::vector<absl::Status> results(containers.size());
  for (size_t i = 0; i < containers.size(); ++i) {
    const container::ContainerInfo& info = containers[i].info;
    if (!info.alive) continue;
    if (!Runs(info)) {
      results[i] = WrongState(info, "can only stop created or running containers");
      continue;
    }
    absl::StatusOr<MonitorConnection> connection = ConnectTo(store, containers[i]);
    if (IsOver(connection.status())) {
      results[i] = AwaitDead(store, info.config.id, kKillPatience);
      continue;
    }
    results[i] = connection.status();
    if (!connection.ok()) continue;
    stopping[i].connection.emplace(*std::move(connection));
    stopping[i].deadline =
        absl::Now() + timeout.value_or(absl::Seconds(info.config.stop_timeout_seconds));
    // If this cannot be sent, the monitor has ended.
    stopping[i]
        .connection->Send({.type = AttachType::kSignal, .number = info.config.stop_signal})
        .IgnoreError();
  }
  for (size_t i = 0; i < containers.size(); ++i) {
    if (!stopping[i].connection.has_value()) continue;
    results[i] =
        EndBy(store, &*stopping[i].connection, containers[i].info.config.id, stopping[i].deadline);
  }
  return results;
}

int StopCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::string time;
  bool all = false;
  bool ignore = false;
  CLI::App app("Stops containers: sends each its stop signal, and kills it if it does not end.",
               "stop");
  app.formatter(std::make_shared<UsageFormatter>("stop [-t SECONDS] [-a] [-i] CONTAINER..."));
  app.add_option("-t,--time", time, "Seconds until it is killed (default: the container's)");
  app.add_flag("-a,--all", all, "All that run");
  app.add_flag("-i,--ignore", ignore, "Containers that do not exist are no error");
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation,
                                                     [&] { return ContainersOrAll(names); })) {
    return *status;
  }
  std::optional<absl::Duration> timeout;
  if (!time.empty()) {
    const absl::StatusOr<uint32_t> seconds = container::ParseSeconds(time);
    if (!seconds.ok()) return ReportFailure(Annotate(seconds.status(), "--time"));
    timeout = absl::Seconds(*seconds);
  }
  Selection selection;
  if (const std::optional<int> status = SelectContainers(
          installation, {.verb = "stop", .running_only = true, .ignore_missing = ignore}, names,
          all, &selection)) {
    return *status;
  }
  const std::vector<absl::Status> results =
      StopContainers(selection.store.get(), selection.containers, timeout);
  int overall = selection.status;
  for (size_t i = 0; i < results.size(); ++i) {
    Note(results[i].ok() ? PrintOutput(selection.containers[i].name + "\n")
                         : ReportFailure(results[i]),
         &overall);
  }
  return overall;
}

int KillCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::string signal_name = "KILL";
  bool all = false;
  CLI::App app("Sends a signal to containers' processes.", "kill");
  app.formatter(std::make_shared<UsageFormatter>("kill [-s SIGNAL] [-a] CONTAINER..."));
  app.add_option("-s,--signal", signal_name, "Name or number (default: KILL)");
  app.add_flag("-a,--all", all, "All that run");
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation,
                                                     [&] { return ContainersOrAll(names); })) {
    return *status;
  }
  const absl::StatusOr<uint32_t> signal = container::ParseSignal(signal_name);
  if (!signal.ok()) return ReportFailure(signal.status());
  Selection selection;
  if (const std::optional<int> status = SelectContainers(
          installation, {.verb = "kill", .running_only = true}, names, all, &selection)) {
    return *status;
  }
  int overall = selection.status;
  for (const Named& container : selection.containers) {
    const absl::Status sent = SendSignal(selection.store.get(), container, *signal);
    Note(sent.ok() ? PrintOutput(container.name + "\n") : ReportFailure(sent), &overall);
  }
  return overall;
}

int WaitCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  CLI::App app("Waits until containers have ended, and prints their exit statuses.", "wait");
  app.formatter(std::make_shared<UsageFormatter>("wait CONTAINER..."));
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, names);
      })) {
    return *status;
  }
  const absl::StatusOr<std::unique_ptr<ContainerStore>> store = OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  int overall = 0;
  for (const std::string& name : names) {
    absl::StatusOr<Named> found = FindContainer(store->get(), name);
    if (!found.ok()) {
      Note(ReportFailure(found.status()), &overall);
      continue;
    }
    const absl::StatusOr<int> status = AwaitEnd(store->get(), *std::move(found));
    Note(status.ok() ? PrintOutput(absl::StrCat(*status, "\n")) : ReportFailure(status.status()),
         &overall);
  }
  return overall;
}

int RmCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  bool all = false;
  bool force = false;
  bool ignore = false;
  bool volumes = false;
  CLI::App app("Removes containers.", "rm");
  app.formatter(std::make_shared<UsageFormatter>("rm [-f] [-a] [-i] CONTAINER..."));
  app.add_flag("-f,--force", force, "Also those that run, which are killed");
  app.add_flag("-a,--all", all, "All containers");
  app.add_flag("-i,--ignore", ignore, "Containers that do not exist are no error");
  app.add_flag("-v,--volumes", volumes, "")->group("");
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation,
                                                     [&] { return ContainersOrAll(names); })) {
    return *status;
  }
  Selection selection;
  if (const std::optional<int> status = SelectContainers(
          installation,
          {.verb = "rm", .ignore_missing = ignore || force, .missing_status = kNoSuchContainer},
          names, all, &selection)) {
    return *status;
  }
  int overall = selection.status;
  for (const Named& container : selection.containers) {
    const absl::Status removed = RemoveContainer(selection.store.get(), container, force);
    if (removed.ok()) {
      Note(PrintOutput(container.name + "\n"), &overall);
      continue;
    }
    const int status = ReportFailure(removed);
    Note(container.info.alive && !force ? kContainerRuns : status, &overall);
  }
  return overall;
}

int RenameCommand(const std::vector<std::string>& args) {
  std::string name;
  std::string new_name;
  CLI::App app("Gives a container another name.", "rename");
  app.formatter(std::make_shared<UsageFormatter>("rename CONTAINER NAME"));
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  app.add_option("NAME", new_name, "The new name")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, {name});
      })) {
    return *status;
  }
  const absl::Status good = container::ValidateName(new_name);
  if (!good.ok()) return ReportFailure(good);
  const absl::StatusOr<std::unique_ptr<ContainerStore>> store = OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  const absl::StatusOr<Named> found = FindContainer(store->get(), name);
  if (!found.ok()) return ReportFailure(found.status());
  const absl::Status renamed = (*store)->Rename(found->info.config.id, new_name);
  return renamed.ok() ? 0 : ReportFailure(renamed);
}

}  // namespace hull::cli
