#include "vmm/cli/flag_prefix.h"

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"

namespace hull::cli {

absl::StatusOr<std::vector<std::string>> TakeFlags(const CLI::App& app,
                                                   const std::vector<std::string>& args,
                                                   absl::string_view verb, size_t* taken) {
  const auto usage = [verb](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(what, " (see hull ", verb, " --help)"));
  };
  std::vector<std::string> flags;
  size_t i = 0;
  const auto takes_value = [](const CLI::Option* option) {
    return option->get_items_expected_max() > 0;
  };
  const auto next_value = [&](const std::string& name) -> absl::Status {
    if (i >= args.size()) return usage(absl::StrCat(name, " needs a value"));
    flags.push_back(args[i++]);
    return absl::OkStatus();
  };
  while (i < args.size() && args[i].size() > 1 && args[i][0] == '-') {
    const std::string arg = args[i++];
    if (arg == "--") break;
    if (arg[1] == '-') {
      const size_t equals = arg.find('=');
      const std::string name = arg.substr(0, equals);
      const CLI::Option* const option = app.get_option_no_throw(name);
      if (option == nullptr) {
        return usage(absl::StrCat("unknown flag ", absl::CHexEscape(name)));
      }
      flags.push_back(equals == std::string::npos || takes_value(option) ? name : arg);
      if (!takes_value(option)) continue;
      if (equals != std::string::npos) {
        flags.push_back(arg.substr(equals + 1));
      } else {
        HULL_RETURN_IF_ERROR(next_value(name));
      }
      continue;
    }
    for (size_t at = 1; at < arg.size(); ++at) {
      const std::string name = {'-', arg[at]};
      const CLI::Option* const option = app.get_option_no_throw(name);
      if (option == nullptr) {
        return usage(absl::StrCat("unknown flag ", absl::CHexEscape(name)));
      }
      flags.push_back(name);
      if (!takes_value(option)) continue;
      if (at + 1 == arg.size()) {
        HULL_RETURN_IF_ERROR(next_value(name));
      } else {
        flags.push_back(arg.substr(at + (arg[at + 1] == '=' ? 2 : 1)));
      }
      break;
    }
  }
  *taken = i;
  return flags;
}

}  // namespace hull::cli
