#include "vmm/cli/exec_command.h"

#include <signal.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/exec_flags.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/message.h"
#include "vmm/cli/pc_containers.h"
#include "vmm/cli/place.h"
#include "vmm/container/attach_client.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"
#include "vmm/container/environment.h"
#include "vmm/container/exec_request.h"
#include "vmm/container/outcome.h"
#include "vmm/container/raw_terminal.h"

namespace hull::cli {
namespace {

std::vector<std::string> HostEnvironment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

// As podman: the container's process in everything that is not said otherwise.
absl::StatusOr<container::ExecRequest> BuildRequest(const ExecFlags& flags,
                                                    const container::Process& first) {
  container::ExecRequest request = {.process = first, .detach = flags.detach};
  container::Process& process = request.process;
  process.args = flags.command;
  if (process.args[0].empty()) {
    return absl::InvalidArgumentError("the command to run is an empty string");
  }
  container::Environment environment(HostEnvironment());
  for (const std::string& variable : first.environment) {
    const size_t equals = variable.find('=');
    environment.Set(variable.substr(0, equals),
                    equals == std::string::npos ? "" : variable.substr(equals + 1));
  }
  if (flags.terminal && !environment.Has("TERM")) environment.Set("TERM", "xterm");
  for (const std::string& path : flags.env_files) {
    HULL_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, container::kMaxEnvFileBytes));
    HULL_RETURN_IF_ERROR(environment.AddFile(path, content));
  }
  for (const std::string& entry : flags.env) HULL_RETURN_IF_ERROR(environment.Add(entry));
  process.environment = std::move(environment).Take();
  if (!flags.working_directory.empty()) process.working_directory = flags.working_directory;
  if (!flags.user.empty()) process.user = flags.user;
  process.attach_stdin = flags.interactive && !flags.detach;
  process.terminal = flags.terminal;
  process.terminal_size = flags.terminal ? container::OwnTerminalSize() : container::TerminalSize{};
  return request;
}

absl::StatusOr<container::Outcome> Exec(const Installation& installation, const ExecFlags& flags) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<container::ContainerStore> store,
                        OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const Named container, FindContainer(store.get(), flags.container));
  HULL_RETURN_IF_ERROR(
      RefusePc(container.info, "processes to be beside (hull sendkeys types on it)"));
  constexpr char kOnlyRunning[] = "can only create exec sessions on running containers";
  if (!Runs(container.info)) return WrongState(container.info, kOnlyRunning);
  HULL_ASSIGN_OR_RETURN(const container::ExecRequest request,
                        BuildRequest(flags, container.info.config.process));
  absl::StatusOr<UniqueFd> socket = Connect(store.get(), container.info.config.id);
  if (absl::IsFailedPrecondition(socket.status())) return WrongState(container.info, kOnlyRunning);
  if (!socket.ok()) return socket.status();
  signal(SIGPIPE, SIG_IGN);
  HULL_ASSIGN_OR_RETURN(
      const std::optional<container::Outcome> outcome,
      container::AttachAndWait(*std::move(socket),
                               {.attach_stdin = request.process.attach_stdin,
                                .terminal = flags.terminal && !flags.detach,
                                .detach_keys = flags.detach_keys,
                                .exec_request = container::SerializeExecRequest(request)}));
  if (outcome.has_value()) return *outcome;
  return absl::UnavailableError(
      absl::StrCat("the monitor of container ", container.name, " has gone away"));
}

}  // namespace

int ExecCommand(const std::vector<std::string>& args) {
  const absl::StatusOr<ExecFlags> flags = ParseExecFlags(args);
  if (!flags.ok()) return ReportFailure(flags.status());
  if (!flags->help.empty()) return PrintOutput(flags->help);
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  std::vector<std::string> command = {"exec"};
  command.insert(command.end(), args.begin(), args.end());
  if (const std::optional<int> status =
          RunElsewhere(*installation, Needs::kStore, command, flags->interactive && !flags->detach,
                       Subjects::Of(Subjects::Kind::kContainers, {flags->container}))) {
    return *status;
  }
  // Signals are held back until there is a client that passes them on.
  const absl::StatusOr<Interruption> interruption = Interruption::Create();
  if (!interruption.ok()) return ReportFailure(interruption.status());
  const absl::StatusOr<container::Outcome> outcome = Exec(*installation, *flags);
  if (!outcome.ok()) return ReportFailure(outcome.status());
  if (!outcome->error.empty()) PrintError(outcome->error);
  return outcome->exit_status;
}

}  // namespace hull::cli
