// The verbs that look at images and change their names: `hull images`, `rmi`, `tag`, `untag`,
// `history`, and `hull image …`.

#ifndef VMM_CLI_IMAGE_COMMANDS_H_
#define VMM_CLI_IMAGE_COMMANDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "images/store.h"
#include "nlohmann/json.hpp"
#include "vmm/cli/installation.h"

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int ImagesCommand(const std::vector<std::string>& args);
int RmiCommand(const std::vector<std::string>& args);
int TagCommand(const std::vector<std::string>& args);
int UntagCommand(const std::vector<std::string>& args);
int HistoryCommand(const std::vector<std::string>& args);
// `hull image VERB`: the verbs above and load, save, pull, push, inspect, prune, exists.
int ImageCommand(const std::vector<std::string>& args);

// Removes the images without a name, or with `all` all, but those of containers.
absl::StatusOr<std::vector<images::RemovedImage>> PruneImages(const Installation& installation,
                                                              bool all);

// The image that `name` stands for, as `hull image inspect` and `hull inspect` show it. kNotFound.
absl::StatusOr<nlohmann::json> InspectImageByName(const Installation& installation,
                                                  const std::string& name);

}  // namespace hull::cli

#endif  // VMM_CLI_IMAGE_COMMANDS_H_
