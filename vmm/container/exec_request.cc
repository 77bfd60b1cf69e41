#include "vmm/container/exec_request.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "guest-agent/protocol/agent.pb.h"

namespace hull::container {
namespace {

// The agent's bound on arguments, and on variables.
constexpr int kMaxStrings = 16384;
constexpr size_t kMaxUser = 256;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("exec request: ", what));
}

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

}  // namespace

// In the agent's own words, of which the monitor sets the rest.
std::string SerializeExecRequest(const ExecRequest& request) {
  agent::ProcessSpec spec;
  const Process& process = request.process;
  for (const std::string& arg : process.args) spec.add_args(arg);
  for (const std::string& variable : process.environment) spec.add_environment(variable);
  spec.set_working_directory(process.working_directory);
  spec.set_user(process.user);
  spec.set_attach_stdin(process.attach_stdin);
  spec.set_discard_output(request.detach);
  spec.set_archiver(request.archiver);
  if (process.terminal) {
    spec.mutable_terminal()->set_rows(process.terminal_size.rows);
    spec.mutable_terminal()->set_columns(process.terminal_size.columns);
  }
  return spec.SerializeAsString();
}

absl::StatusOr<ExecRequest> ParseExecRequest(absl::string_view bytes) {
  agent::ProcessSpec spec;
  if (bytes.size() > kMaxExecRequest ||
      !spec.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Malformed("it does not decode");
  }
  if (spec.args_size() == 0 || spec.args(0).empty()) return Malformed("no command");
  if (spec.args_size() > kMaxStrings || spec.environment_size() > kMaxStrings) {
    return Malformed("too many arguments or variables");
  }
  ExecRequest request;
  Process& process = request.process;
  process.args.assign(spec.args().begin(), spec.args().end());
  process.environment.assign(spec.environment().begin(), spec.environment().end());
  process.working_directory = spec.working_directory();
  process.user = spec.user();
  process.attach_stdin = spec.attach_stdin();
  request.detach = spec.discard_output();
  request.archiver = spec.archiver();
  for (const std::string& text : process.args) {
    if (HasNul(text)) return Malformed("an argument with a NUL byte");
  }
  for (const std::string& text : process.environment) {
    if (HasNul(text)) return Malformed("a variable with a NUL byte");
  }
  if (HasNul(process.user) || process.user.size() > kMaxUser) return Malformed("no user's name");
  if (HasNul(process.working_directory) ||
      (!process.working_directory.empty() && process.working_directory[0] != '/')) {
    return Malformed("no absolute working directory");
  }
  if (spec.has_terminal()) {
    if (spec.terminal().rows() > UINT16_MAX || spec.terminal().columns() > UINT16_MAX) {
      return Malformed("no size of a terminal");
    }
    process.terminal = true;
    process.terminal_size = {.rows = static_cast<uint16_t>(spec.terminal().rows()),
                             .columns = static_cast<uint16_t>(spec.terminal().columns())};
  }
  return request;
}

}  // namespace hull::container
