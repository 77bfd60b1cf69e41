#include "vmm/cli/start_command.h"

#include <signal.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/displays.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/message.h"
#include "vmm/cli/monitor_command.h"
#include "vmm/cli/pc_containers.h"
#include "vmm/cli/stop_command.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/attach_client.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"
#include "vmm/container/detach_keys.h"
#include "vmm/container/outcome.h"
#include "vmm/container/signals.h"

namespace hull::cli {
namespace {

using container::ClientMode;
using container::ContainerStore;
using container::Outcome;

int Report(const absl::StatusOr<Outcome>& outcome) {
  if (!outcome.ok()) return ReportFailure(outcome.status());
  if (!outcome->error.empty()) PrintError(outcome->error);
  return outcome->exit_status;
}

absl::StatusOr<StartedMonitor> StartExisting(const Installation& installation,
                                             ContainerStore* store, const std::string& id,
                                             ClientMode mode, container::Config* config) {
  HULL_ASSIGN_OR_RETURN(UniqueFd lock, store->Acquire(id));
  absl::StatusOr<container::Config> read = store->ReadConfig(id);
  absl::StatusOr<StartedMonitor> monitor = StartedMonitor{};
  if (read.ok()) {
    *config = *std::move(read);
    absl::StatusOr<DisplaySocket> display = ReopenDisplay(config);
    if (display.ok()) {
      monitor = StartMonitor(installation, *config, std::move(lock), mode);
      if (monitor.ok()) StartDisplay(installation, *config, store, *std::move(display));
    } else {
      monitor = display.status();
    }
  } else {
    monitor = read.status();
  }
  if (!monitor.ok()) store->Release(id).IgnoreError();  // the first error is the one to tell
  return monitor;
}

// Status 0 if it runs then.
absl::StatusOr<Outcome> StartDetached(const Installation& installation, ContainerStore* store,
                                      const std::string& id, const Interruption& interruption) {
  container::Config config;
  HULL_ASSIGN_OR_RETURN(StartedMonitor monitor,
                        StartExisting(installation, store, id, ClientMode::kDetached, &config));
  HULL_ASSIGN_OR_RETURN(const std::optional<Outcome> ended,
                        AwaitStart(std::move(monitor), config, store, interruption));
  return ended.value_or(Outcome{.exit_status = 0});
}

absl::StatusOr<Outcome> AttachToRunning(ContainerStore* store, const Named& container,
                                        const container::AttachOptions& options) {
  const std::string& id = container.info.config.id;
  absl::StatusOr<UniqueFd> socket = Connect(store, id);
  if (absl::IsFailedPrecondition(socket.status())) {
    return absl::FailedPreconditionError("you can only attach to running containers");
  }
  if (!socket.ok()) return socket.status();
  signal(SIGPIPE, SIG_IGN);
  HULL_ASSIGN_OR_RETURN(std::optional<Outcome> outcome,
                        container::AttachAndWait(*std::move(socket), options));
  if (outcome.has_value()) return *std::move(outcome);
  HULL_RETURN_IF_ERROR(store->CollectDead());
  HULL_ASSIGN_OR_RETURN(const container::ContainerInfo info, store->Look(id));
  return Outcome{.exit_status = info.state.exit_status, .error = info.state.error};
}

// Signals are held back until there is a client that passes them on.
std::optional<int> HoldSignals(std::optional<Interruption>* interruption) {
  absl::StatusOr<Interruption> created = Interruption::Create();
  if (!created.ok()) return ReportFailure(created.status());
  *interruption = *std::move(created);
  return std::nullopt;
}

}  // namespace

int StartCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  bool attach = false;
  bool interactive = false;
  bool all = false;
  std::string detach_keys = container::kDefaultDetachKeys;
  CLI::App app("Starts containers that do not run.", "start");
  app.formatter(std::make_shared<UsageFormatter>("start [-a [-i]] CONTAINER..."));
  app.add_flag("-a,--attach", attach, "Show its output, and exit as it does (one container)");
  app.add_flag("-i,--interactive", interactive, "With -a: pass standard input to it");
  app.add_flag("--all", all, "All that do not run");
  app.add_option("--detach-keys", detach_keys,
                 "Keys that leave it running (default: ctrl-p,ctrl-q)");
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(
          &app, args, Needs::kKvm, &installation, [&] { return ContainersOrAll(names); },
          [&] { return interactive; })) {
    return *status;
  }
  const absl::StatusOr<container::DetachKeys> keys = container::DetachKeys::Parse(detach_keys);
  if (!keys.ok()) return ReportFailure(Annotate(keys.status(), "--detach-keys"));
  if (names.empty() != all) {
    PrintError("give either names of containers or --all (see hull start --help)");
    return container::kHullFailed;
  }
  if (attach && names.size() != 1) {
    PrintError("you cannot start and attach multiple containers at once");
    return container::kHullFailed;
  }
  std::optional<Interruption> interruption;
  if (const std::optional<int> status = HoldSignals(&interruption)) return *status;
  const absl::StatusOr<std::unique_ptr<ContainerStore>> opened = OpenContainers(installation);
  if (!opened.ok()) return ReportFailure(opened.status());
  ContainerStore* const store = opened->get();
  if (all) {
    const absl::StatusOr<std::vector<container::ContainerInfo>> infos = store->List();
    if (!infos.ok()) return ReportFailure(infos.status());
    for (const container::ContainerInfo& info : *infos) names.push_back(info.config.id);
  }
  int overall = 0;
  for (const std::string& name : names) {
    const absl::StatusOr<Named> found = FindContainer(store, name);
    if (!found.ok()) {
      Note(ReportFailure(found.status()), &overall);
      continue;
    }
    if (found->info.alive && !Runs(found->info)) {
      Note(ReportFailure(WrongState(found->info, "can only start stopped containers")), &overall);
      continue;
    }
    const container::Config& config = found->info.config;
    container::AttachOptions options = {.attach_stdin = interactive && config.process.attach_stdin,
                                        .terminal = config.process.terminal,
                                        .detach_keys = *keys};
    ShowPcScreen(config, detach_keys, &options);
    if (attach && found->info.alive) {
      options.ask_for_output = true;
      return Report(AttachToRunning(store, *found, options));
    }
    if (attach) {
      container::Config started_config;
      absl::StatusOr<StartedMonitor> monitor =
          StartExisting(installation, store, config.id, ClientMode::kAttached, &started_config);
      if (!monitor.ok()) return ReportFailure(monitor.status());
      return Report(AttachToStarted(*std::move(monitor), started_config, store, options));
    }
    int status = 0;
    // One that runs is as it is wanted.
    if (!found->info.alive) {
      status = Report(StartDetached(installation, store, config.id, *interruption));
    }
    if (status == 0 && (!all || !found->info.alive)) status = PrintOutput(name + "\n");
    Note(status, &overall);
  }
  return overall;
}

int AttachCommand(const std::vector<std::string>& args) {
  std::string name;
  bool no_stdin = false;
  bool sig_proxy = true;
  std::string detach_keys = container::kDefaultDetachKeys;
  CLI::App app("Shows the output of a running container, and exits as it does.", "attach");
  app.formatter(std::make_shared<UsageFormatter>("attach [FLAG...] CONTAINER"));
  app.add_flag("--no-stdin", no_stdin, "Do not pass standard input to it");
  app.add_flag("--sig-proxy", sig_proxy,
               "Pass signals to it (default; --sig-proxy=false: they end hull)");
  app.add_option("--detach-keys", detach_keys,
                 "Keys that leave it running (default: ctrl-p,ctrl-q)");
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(
          &app, args, Needs::kStore, &installation,
          [&] { return Subjects::Of(Subjects::Kind::kContainers, {name}); },
          [&] { return !no_stdin; })) {
    return *status;
  }
  const absl::StatusOr<container::DetachKeys> keys = container::DetachKeys::Parse(detach_keys);
  if (!keys.ok()) return ReportFailure(Annotate(keys.status(), "--detach-keys"));
  std::optional<Interruption> interruption;
  if (sig_proxy) {
    if (const std::optional<int> status = HoldSignals(&interruption)) return *status;
  }
  const absl::StatusOr<std::unique_ptr<ContainerStore>> store = OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  const absl::StatusOr<Named> found = FindContainer(store->get(), name);
  if (!found.ok()) return ReportFailure(found.status());
  if (!found->info.alive) {
    PrintError("you can only attach to running containers");
    return container::kHullFailed;
  }
  const container::Process& process = found->info.config.process;
  container::AttachOptions options = {.attach_stdin = !no_stdin && process.attach_stdin,
                                      .ask_for_output = true,
                                      .forward_signals = sig_proxy,
                                      .terminal = process.terminal,
                                      .detach_keys = *keys};
  // A machine has a screen, however it was started.
  if (found->info.config.pc.has_value() && !no_stdin && isatty(STDIN_FILENO) == 1 &&
      isatty(STDOUT_FILENO) == 1) {
    options.attach_stdin = options.terminal = true;
  }
  ShowPcScreen(found->info.config, detach_keys, &options);
  return Report(AttachToRunning(store->get(), *found, options));
}

int RestartCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::string time;
  CLI::App app("Stops containers that run, and starts them again.", "restart");
  app.formatter(std::make_shared<UsageFormatter>("restart [-t SECONDS] CONTAINER..."));
  app.add_option("-t,--time", time, "Seconds until it is killed (default: the container's)");
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kKvm, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, names);
      })) {
    return *status;
  }
  std::optional<absl::Duration> timeout;
  if (!time.empty()) {
    const absl::StatusOr<uint32_t> seconds = container::ParseSeconds(time);
    if (!seconds.ok()) return ReportFailure(Annotate(seconds.status(), "--time"));
    timeout = absl::Seconds(*seconds);
  }
  std::optional<Interruption> interruption;
  if (const std::optional<int> status = HoldSignals(&interruption)) return *status;
  const absl::StatusOr<std::unique_ptr<ContainerStore>> store = OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  int overall = 0;
  std::vector<Named> containers;
  for (const std::string& name : names) {
    absl::StatusOr<Named> found = FindContainer(store->get(), name);
    if (!found.ok()) {
      Note(ReportFailure(found.status()), &overall);
    } else if (found->info.alive && found->info.config.remove) {
      PrintError(absl::StrCat("container ", found->info.config.id,
                              " was run with --rm: it would be gone when it has stopped"));
      Note(container::kHullFailed, &overall);
    } else {
      containers.push_back(*std::move(found));
    }
  }
  const std::vector<absl::Status> stopped = StopContainers(store->get(), containers, timeout);
  for (size_t i = 0; i < containers.size(); ++i) {
    int status = 0;
    if (!stopped[i].ok()) {
      status = ReportFailure(stopped[i]);
    } else {
      status = Report(
          StartDetached(installation, store->get(), containers[i].info.config.id, *interruption));
    }
    if (status == 0) status = PrintOutput(containers[i].name + "\n");
    Note(status, &overall);
  }
  return overall;
}

}  // namespace hull::cli
