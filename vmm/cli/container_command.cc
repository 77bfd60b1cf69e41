#include "vmm/cli/container_command.h"

#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "vmm/cli/commit_command.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/copy_command.h"
#include "vmm/cli/diff_command.h"
#include "vmm/cli/exec_command.h"
#include "vmm/cli/inspection_commands.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/logs_command.h"
#include "vmm/cli/message.h"
#include "vmm/cli/pause_command.h"
#include "vmm/cli/prune_commands.h"
#include "vmm/cli/ps_command.h"
#include "vmm/cli/run_command.h"
#include "vmm/cli/start_command.h"
#include "vmm/cli/stop_command.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

// podman-container-exists(1).
constexpr int kNoSuchContainer = 1;

constexpr char kContainerHelp[] =
    R"(Manages containers.

Usage: hull container VERB [ARG...]

  exists    Tell by the exit status whether there is one
  ls        List containers (also: hull ps)
  prune     Remove those that do not run
  attach, commit, cp, create, diff, exec, export, kill, logs, pause, ps, rename,
  restart, rm, run, start, stats, stop, top, unpause, wait
            As without the word container
)";

int ExistsCommand(const std::vector<std::string>& args) {
  std::string name;
  CLI::App app("Exits with 0 if there is such a container, else with 1.", "container exists");
  app.formatter(std::make_shared<UsageFormatter>("container exists CONTAINER"));
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, {name});
      })) {
    return *status;
  }
  const absl::StatusOr<std::unique_ptr<container::ContainerStore>> store =
      OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  const absl::Status found = FindContainer(store->get(), name).status();
  if (absl::IsNotFound(found)) return kNoSuchContainer;
  return found.ok() ? 0 : ReportFailure(found);
}

struct Verb {
  const char* name;
  int (*run)(const std::vector<std::string>& args);
};

constexpr Verb kVerbs[] = {
    {"attach", AttachCommand}, {"commit", CommitCommand},   {"cp", CopyCommand},
    {"create", CreateCommand}, {"diff", DiffCommand},       {"exec", ExecCommand},
    {"exists", ExistsCommand}, {"export", ExportCommand},   {"kill", KillCommand},
    {"list", PsCommand},       {"logs", LogsCommand},       {"ls", PsCommand},
    {"pause", PauseCommand},   {"ps", PsCommand},           {"prune", PruneContainersCommand},
    {"rename", RenameCommand}, {"restart", RestartCommand}, {"rm", RmCommand},
    {"run", RunCommand},       {"start", StartCommand},     {"stats", StatsCommand},
    {"stop", StopCommand},     {"top", TopCommand},         {"unpause", UnpauseCommand},
    {"wait", WaitCommand},
};

}  // namespace

int ContainerCommand(const std::vector<std::string>& args) {
  if (args.empty() || args.front() == "--help" || args.front() == "-h") {
    return PrintOutput(kContainerHelp);
  }
  for (const Verb& verb : kVerbs) {
    if (args.front() == verb.name) return verb.run({args.begin() + 1, args.end()});
  }
  PrintError(absl::StrCat("unknown verb container ", container::Printable(args.front()),
                          ": hull container --help lists them"));
  return container::kHullFailed;
}

}  // namespace hull::cli
