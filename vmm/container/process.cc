#include "vmm/container/process.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "vmm/base/file_io.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
namespace {

// A list of strings if `text` is the JSON of one.
std::optional<std::vector<std::string>> ParseJsonStrings(const std::string& text) {
  if (text.empty() || text[0] != '[') return std::nullopt;
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_array()) return std::nullopt;
  std::vector<std::string> strings;
  for (nlohmann::json& element : value) {
    if (!element.is_string()) return std::nullopt;
    strings.push_back(std::move(element.get_ref<std::string&>()));
  }
  return strings;
}

absl::StatusOr<std::vector<std::string>> BuildArgs(const images::ProcessConfig& image,
                                                   const ProcessOptions& options) {
  std::vector<std::string> args;
  if (!options.entrypoint.has_value()) {
    args = image.entrypoint;
    // Some builders write [""] for "none".
    if (args.size() == 1 && args[0].empty()) args.clear();
  } else if (std::optional<std::vector<std::string>> list = ParseJsonStrings(*options.entrypoint)) {
    args = *std::move(list);
  } else if (!options.entrypoint->empty()) {
    args = {*options.entrypoint};
  }
  // The image's command is made for the image's entry point: another entry point goes without it.
  const bool own_entrypoint = options.entrypoint.has_value() && !args.empty();
  const std::vector<std::string>& command =
      options.command.empty() && !own_entrypoint ? image.cmd : options.command;
  args.insert(args.end(), command.begin(), command.end());
  if (args.empty()) {
    return absl::InvalidArgumentError(
        "the image names no command to run: write one after the image's name");
  }
  if (args[0].empty()) return absl::InvalidArgumentError("the command to run is an empty string");
  for (const std::string& arg : args) {
    if (arg.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the argument \"", absl::CHexEscape(arg.substr(0, 60)), "\" has a NUL byte"));
    }
  }
  return args;
}

}  // namespace

absl::StatusOr<Process> BuildProcess(const images::ProcessConfig& image,
                                     const ProcessOptions& options, const std::string& hostname,
                                     std::vector<std::string> host_environment) {
  Process process;
  HULL_ASSIGN_OR_RETURN(process.args, BuildArgs(image, options));

  Environment environment(std::move(host_environment));
  environment.Set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  environment.Set("container", "hull");
  environment.Set("HOSTNAME", hostname);
  if (options.terminal) environment.Set("TERM", "xterm");
  for (const std::string& variable : image.env) {
    const size_t equals = variable.find('=');
    environment.Set(variable.substr(0, equals),
                    equals == std::string::npos ? "" : variable.substr(equals + 1));
  }
  for (const std::string& path : options.env_files) {
    HULL_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxEnvFileBytes));
    HULL_RETURN_IF_ERROR(environment.AddFile(path, content));
  }
  for (const std::string& entry : options.env) HULL_RETURN_IF_ERROR(environment.Add(entry));
  process.environment = std::move(environment).Take();

  process.working_directory =
      options.working_directory.empty() ? image.working_dir : options.working_directory;
  if (!process.working_directory.empty() && process.working_directory[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat(
        "the working directory \"", absl::CHexEscape(process.working_directory.substr(0, 200)),
        "\" is not an absolute path in the container"));
  }
  process.user = options.user.empty() ? image.user : options.user;
  process.attach_stdin = options.attach_stdin;
  process.terminal = options.terminal;
  return process;
}

}  // namespace hull::container
