#include "vmm/cli/command_line.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/cli/completion.h"
#include "vmm/cli/message.h"
#include "vmm/container/outcome.h"

namespace hull::cli {

std::optional<int> ParseCommandLine(CLI::App* app, std::vector<std::string> args) {
  if (args == std::vector<std::string>{kDescribeFlag}) return PrintOutput(DescribeVerb(*app));
  std::reverse(args.begin(), args.end());  // the order in which CLI11 takes a vector
  try {
    app->parse(std::move(args));
  } catch (const CLI::CallForHelp&) {
    return PrintOutput(app->help());
  } catch (const CLI::ParseError& error) {
    PrintError(absl::StrCat(error.what(), " (see hull ", app->get_name(), " --help)"));
    return container::kHullFailed;
  }
  return std::nullopt;
}

}  // namespace hull::cli
