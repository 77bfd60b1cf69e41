// The part of an OCI image configuration that decides how a container runs.

#ifndef IMAGES_IMAGE_CONFIG_H_
#define IMAGES_IMAGE_CONFIG_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/digest.h"
#include "images/machine_config.h"
#include "nlohmann/json.hpp"

namespace hull::images {

// Members are named as in the OCI image specification, "Image Configuration", `config`. Absent
// members are empty. Values are the image's own and not interpreted: a user may name a user that
// does not exist.
struct ProcessConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // each "NAME=value"
  std::string user;              // "", "user", "uid", "user:group", "uid:gid" …
  std::string working_dir;       // absolute, or empty
  std::string stop_signal;       // "SIGTERM", "15" or empty
  std::map<std::string, std::string> labels;
};

// A whole image configuration file.
struct ImageConfig {
  ProcessConfig process;
  std::string architecture;  // as GOARCH: "amd64"
  std::string os;            // "linux"; of a machine's disk kPcOs
  std::string created;       // RFC 3339, or empty
  // The digest of each uncompressed layer, the bottom one first.
  std::vector<Digest> diff_ids;
  // Of an image that is a disk of a machine.
  std::optional<MachineConfig> machine;
};

// kInvalidArgument if `text` is not a valid configuration: bounded JSON, the right types, no
// NUL byte in a string that becomes an argument or variable, every env entry with a name and '='.
absl::StatusOr<ImageConfig> ParseImageConfig(absl::string_view text);

// `config` as an object of the specification's member names, and back with the same checks as
// ParseImageConfig: the form in which the store keeps it for a quick start.
nlohmann::json ProcessConfigToJson(const ProcessConfig& config);
absl::StatusOr<ProcessConfig> ProcessConfigFromJson(const nlohmann::json& object);

// The same of the member "machine": {"model": "pc", "boot": "floppy"}.
nlohmann::json MachineConfigToJson(const MachineConfig& machine);
absl::StatusOr<MachineConfig> MachineConfigFromJson(const nlohmann::json& object);

}  // namespace hull::images

#endif  // IMAGES_IMAGE_CONFIG_H_
