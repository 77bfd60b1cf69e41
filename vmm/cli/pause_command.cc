#include "vmm/cli/pause_command.h"

#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/config.h"
#include "vmm/container/monitor_question.h"

namespace hull::cli {
namespace {

using container::Status;

// The VMM's answer comes at once; the time is for a host that is out of breath.
constexpr absl::Duration kPatience = absl::Seconds(60);

absl::Status Improper(absl::string_view whose, absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("\"", whose, "\" is ", what, ": container state improper"));
}

absl::Status SetPaused(container::ContainerStore* store, const container::ContainerInfo& info,
                       bool pause) {
  const std::string& id = info.config.id;
  const bool paused = info.alive && info.state.status == Status::kPaused;
  if (pause && paused) return Improper(id, "already paused");
  if (pause && !info.alive) {
    return Improper(container::StatusName(info.state.status), "not running, can't pause");
  }
  if (!pause && !paused) return Improper(id, "not paused, can't unpause");
  HULL_ASSIGN_OR_RETURN(const UniqueFd socket, Connect(store, id));
  return container::AskToPause(socket.get(), pause, kPatience);
}

int Run(const std::vector<std::string>& args, const std::string& verb, bool pause) {
  std::vector<std::string> names;
  bool all = false;
  CLI::App app(pause ? "Stops everything in containers, until they are unpaused."
                     : "Lets containers go on that were paused.",
               verb);
  app.formatter(std::make_shared<UsageFormatter>(absl::StrCat(verb, " [-a] CONTAINER...")));
  app.add_flag("-a,--all", all, pause ? "All that run" : "All that are paused");
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation,
                                                     [&] { return ContainersOrAll(names); })) {
    return *status;
  }
  Selection selection;
  if (const std::optional<int> status = SelectContainers(
          installation, {.verb = verb, .running_only = true}, names, all, &selection)) {
    return *status;
  }
  int overall = selection.status;
  for (const Named& container : selection.containers) {
    // Of all, those that are not so already.
    if (all && Runs(container.info) != pause) continue;
    const absl::Status done = SetPaused(selection.store.get(), container.info, pause);
    Note(done.ok() ? PrintOutput(container.name + "\n") : ReportFailure(done), &overall);
  }
  return overall;
}

}  // namespace

int PauseCommand(const std::vector<std::string>& args) {
  return Run(args, "pause", /*pause=*/true);
}

int UnpauseCommand(const std::vector<std::string>& args) {
  return Run(args, "unpause", /*pause=*/false);
}

}  // namespace hull::cli
