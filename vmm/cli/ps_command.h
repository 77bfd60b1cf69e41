// `hull ps`.

#ifndef VMM_CLI_PS_COMMAND_H_
#define VMM_CLI_PS_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "vmm/container/container_store.h"

namespace hull::cli {

// A span of time as podman's table shows it: "5 seconds", "About an hour".
std::string HumanDuration(absl::Duration duration);

// The conditions of --filter: those of the same key are alternatives, but labels; those of
// different keys must all hold.
class ContainerFilter {
 public:
  // Each KEY=VALUE with KEY one of id, name, status, ancestor, label, exited. kInvalidArgument, fit
  // for the user, for anything else.
  static absl::StatusOr<ContainerFilter> Parse(const std::vector<std::string>& filters);

  bool Matches(const container::ContainerInfo& info) const;
  // Containers that do not run are asked for.
  bool asks_for_status() const { return !statuses_.empty() || !exited_.empty(); }

 private:
  std::vector<std::string> ids_;
  std::vector<std::string> names_;
  std::vector<std::string> statuses_;
  std::vector<std::string> ancestors_;
  std::vector<std::string> labels_;
  std::vector<int> exited_;
};

// `args` is what follows the verb. Returns the exit status.
int PsCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_PS_COMMAND_H_
