#include "vmm/cli/place.h"

#include "absl/status/statusor.h"
#include "vmm/cli/message.h"
#include "vmm/emulated_host/emulated_host.h"

namespace hull::cli {

std::optional<int> RunElsewhere(const Installation& installation, Needs needs,
                                const std::vector<std::string>& args, bool forward_stdin) {
  const absl::StatusOr<emulated_host::Decision> decision = emulated_host::Decide();
  if (!decision.ok()) {
    // The store can be looked at without KVM; a variable that makes no sense is always told.
    if (needs == Needs::kStore && !absl::IsInvalidArgument(decision.status())) return std::nullopt;
    return ReportFailure(decision.status());
  }
  if (decision->place == emulated_host::Place::kHere) return std::nullopt;

  const absl::StatusOr<emulated_host::Config> config = emulated_host::Config::FromEnvironment();
  if (!config.ok()) return ReportFailure(config.status());
  emulated_host::RunOptions options = {.argv = {installation.executable},
                                       .forward_stdin = forward_stdin};
  options.argv.insert(options.argv.end(), args.begin(), args.end());
  const absl::StatusOr<emulated_host::ExitStatus> ended =
      emulated_host::RunInside(*config, decision->reason, options);
  if (!ended.ok()) return ReportFailure(ended.status());
  ended->Mirror();
}

}  // namespace hull::cli
