#include "vmm/cli/exec_flags.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/completion.h"
#include "vmm/cli/flag_prefix.h"
#include "vmm/cli/usage_formatter.h"

namespace hull::cli {
namespace {

absl::Status Usage(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(what, " (see hull exec --help)"));
}

}  // namespace

absl::StatusOr<ExecFlags> ParseExecFlags(const std::vector<std::string>& args) {
  ExecFlags flags;
  std::string detach_keys = container::kDefaultDetachKeys;
  CLI::App app("Runs a further command in a container that runs.");
  app.formatter(std::make_shared<UsageFormatter>("exec [FLAG...] CONTAINER CMD [ARG...]"));
  app.add_flag("-i,--interactive", flags.interactive, "Pass standard input to the command");
  app.add_flag("-t,--tty", flags.terminal, "Give the command a terminal");
  app.add_flag("-d,--detach", flags.detach, "Return when the command has started");
  app.add_option("-e,--env", flags.env, "NAME=VALUE, or NAME to pass this shell's; repeatable")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--env-file", flags.env_files, "File of such lines; repeatable")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("-w,--workdir", flags.working_directory,
                 "Working directory (default: the container's)");
  app.add_option("-u,--user", flags.user, "USER[:GROUP] (default: the container's)");
  app.add_option("--detach-keys", detach_keys,
                 "Keys that leave it running (default: ctrl-p,ctrl-q)");
  if (args == std::vector<std::string>{kDescribeFlag}) {
    flags.help = DescribeVerb(app);
    return flags;
  }

  size_t taken = 0;
  HULL_ASSIGN_OR_RETURN(std::vector<std::string> own, TakeFlags(app, args, "exec", &taken));
  std::reverse(own.begin(), own.end());  // the order in which CLI11 takes a vector
  try {
    app.parse(std::move(own));
  } catch (const CLI::CallForHelp&) {
    flags.help = app.help();
    return flags;
  } catch (const CLI::ParseError& error) {
    return Usage(error.what());
  }
  absl::StatusOr<container::DetachKeys> keys = container::DetachKeys::Parse(detach_keys);
  if (!keys.ok()) return Annotate(keys.status(), "--detach-keys");
  flags.detach_keys = *std::move(keys);
  if (taken == args.size()) return Usage("which container? None was given");
  flags.container = args[taken];
  flags.command.assign(args.begin() + static_cast<ptrdiff_t>(taken) + 1, args.end());
  if (flags.command.empty()) return Usage("which command? None was given");
  if (!flags.working_directory.empty() && flags.working_directory[0] != '/') {
    return Usage(absl::StrCat("the working directory \"",
                              absl::CHexEscape(flags.working_directory.substr(0, 200)),
                              "\" is not an absolute path in the container"));
  }
  return flags;
}

}  // namespace hull::cli
