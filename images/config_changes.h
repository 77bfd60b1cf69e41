// What `hull commit --change` says about the configuration of the new image, in the words of a
// Dockerfile.
//
// Source: docker's "Dockerfile reference"; podman-commit(1), "--change".

#ifndef IMAGES_CONFIG_CHANGES_H_
#define IMAGES_CONFIG_CHANGES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hull::images {

struct ConfigChange {
  enum class Kind {
    kCommand,
    kEntrypoint,
    kEnvironment,
    kExposedPorts,
    kLabels,
    kStopSignal,
    kUser,
    kVolumes,
    kWorkingDirectory,
  };
  Kind kind = Kind::kCommand;
  // Of kCommand and kEntrypoint the arguments, of kEnvironment and kLabels NAME=VALUE, of
  // kExposedPorts PORT/PROTOCOL, of kVolumes absolute paths; of the others one value.
  std::vector<std::string> values;
};

// "CMD ["sh"]", "CMD=sh -c ls", "ENV A=1 B='2 3'", "EXPOSE 80/tcp" and the like. kInvalidArgument
// for what is none, fit for the user.
absl::StatusOr<ConfigChange> ParseConfigChange(absl::string_view text);

// Changes the member "config" of an image configuration. kInvalidArgument, and it may be half
// changed, if a member has the wrong type there.
absl::Status ApplyConfigChange(const ConfigChange& change, nlohmann::json* config);

}  // namespace hull::images

#endif  // IMAGES_CONFIG_CHANGES_H_
