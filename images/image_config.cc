#include "images/image_config.h"

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "images/bounded_json.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

// Strings that end up in a C array: a NUL byte would cut them short and mean something else.
absl::Status CheckNoNul(absl::string_view key, const std::string& value) {
  if (value.find('\0') == std::string::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" has a NUL byte"));
}

absl::Status CheckProcess(const ProcessConfig& config) {
  for (const std::string& arg : config.entrypoint) {
    HULL_RETURN_IF_ERROR(CheckNoNul("Entrypoint", arg));
  }
  for (const std::string& arg : config.cmd) HULL_RETURN_IF_ERROR(CheckNoNul("Cmd", arg));
  for (const std::string& variable : config.env) {
    HULL_RETURN_IF_ERROR(CheckNoNul("Env", variable));
    const size_t equals = variable.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"Env\": \"", absl::CHexEscape(variable.substr(0, 100)), "\" is not NAME=value"));
    }
  }
  HULL_RETURN_IF_ERROR(CheckNoNul("User", config.user));
  HULL_RETURN_IF_ERROR(CheckNoNul("StopSignal", config.stop_signal));
  HULL_RETURN_IF_ERROR(CheckNoNul("WorkingDir", config.working_dir));
  if (!config.working_dir.empty() && config.working_dir.front() != '/') {
    return absl::InvalidArgumentError("\"WorkingDir\" is not an absolute path");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ProcessConfig> ProcessConfigFromJson(const nlohmann::json& object) {
  ProcessConfig config;
  HULL_RETURN_IF_ERROR(ReadStrings(object, "Entrypoint", &config.entrypoint));
  HULL_RETURN_IF_ERROR(ReadStrings(object, "Cmd", &config.cmd));
  HULL_RETURN_IF_ERROR(ReadStrings(object, "Env", &config.env));
  HULL_RETURN_IF_ERROR(ReadString(object, "User", &config.user));
  HULL_RETURN_IF_ERROR(ReadString(object, "WorkingDir", &config.working_dir));
  HULL_RETURN_IF_ERROR(ReadString(object, "StopSignal", &config.stop_signal));
  HULL_RETURN_IF_ERROR(ReadStringMap(object, "Labels", &config.labels));
  HULL_RETURN_IF_ERROR(CheckProcess(config));
  return config;
}

nlohmann::json ProcessConfigToJson(const ProcessConfig& config) {
  nlohmann::json object = nlohmann::json::object();
  if (!config.entrypoint.empty()) object["Entrypoint"] = config.entrypoint;
  if (!config.cmd.empty()) object["Cmd"] = config.cmd;
  if (!config.env.empty()) object["Env"] = config.env;
  if (!config.user.empty()) object["User"] = config.user;
  if (!config.working_dir.empty()) object["WorkingDir"] = config.working_dir;
  if (!config.stop_signal.empty()) object["StopSignal"] = config.stop_signal;
  if (!config.labels.empty()) object["Labels"] = config.labels;
  return object;
}

nlohmann::json MachineConfigToJson(const MachineConfig& machine) {
  return {{"model", kPcMachine}, {"boot", BootDeviceName(machine.boot)}};
}

absl::StatusOr<MachineConfig> MachineConfigFromJson(const nlohmann::json& object) {
  if (!object.is_object()) return absl::InvalidArgumentError("\"machine\" is not an object");
  std::string model;
  std::string boot;
  HULL_RETURN_IF_ERROR(ReadString(object, "model", &model));
  HULL_RETURN_IF_ERROR(ReadString(object, "boot", &boot));
  if (model != kPcMachine) {
    return absl::InvalidArgumentError(absl::StrCat("\"machine\": there is no model \"",
                                                   absl::CHexEscape(model.substr(0, 30)), "\""));
  }
  MachineConfig machine;
  HULL_ASSIGN_OR_RETURN(machine.boot, ParseBootDevice(boot));
  return machine;
}

absl::StatusOr<ImageConfig> ParseImageConfig(absl::string_view text) {
  constexpr absl::string_view kWhat = "the image configuration";
  HULL_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(text, kWhat));
  const auto in_config = [&](absl::Status status) {
    return status.ok() ? status : Annotate(status, kWhat);
  };
  ImageConfig image;
  HULL_RETURN_IF_ERROR(in_config(ReadString(object, "architecture", &image.architecture)));
  HULL_RETURN_IF_ERROR(in_config(ReadString(object, "os", &image.os)));
  HULL_RETURN_IF_ERROR(in_config(ReadString(object, "created", &image.created)));
  if (const nlohmann::json* config = FindMember(object, "config"); config != nullptr) {
    if (!config->is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(kWhat, ": \"config\" is not an object"));
    }
    absl::StatusOr<ProcessConfig> process = ProcessConfigFromJson(*config);
    if (!process.ok()) return in_config(process.status());
    image.process = *std::move(process);
  }
  if (const nlohmann::json* machine = FindMember(object, "machine"); machine != nullptr) {
    absl::StatusOr<MachineConfig> parsed = MachineConfigFromJson(*machine);
    if (!parsed.ok()) return in_config(parsed.status());
    image.machine = *parsed;
  }
  const nlohmann::json* rootfs = FindMember(object, "rootfs");
  if (rootfs == nullptr || !rootfs->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(kWhat, ": \"rootfs\" is not an object"));
  }
  std::string type;
  HULL_RETURN_IF_ERROR(in_config(ReadString(*rootfs, "type", &type)));
  if (type != "layers") {
    return absl::InvalidArgumentError(absl::StrCat(kWhat, ": \"rootfs.type\" is not \"layers\""));
  }
  std::vector<std::string> diff_ids;
  HULL_RETURN_IF_ERROR(in_config(ReadStrings(*rootfs, "diff_ids", &diff_ids)));
  for (const std::string& diff_id : diff_ids) {
    absl::StatusOr<Digest> digest = Digest::Parse(diff_id);
    if (!digest.ok()) return in_config(digest.status());
    image.diff_ids.push_back(*std::move(digest));
  }
  return image;
}

}  // namespace hull::images
