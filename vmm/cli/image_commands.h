// `hull images`, `hull load` and `hull rmi`.

#ifndef VMM_CLI_IMAGE_COMMANDS_H_
#define VMM_CLI_IMAGE_COMMANDS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int ImagesCommand(const std::vector<std::string>& args);
int LoadCommand(const std::vector<std::string>& args);
int RmiCommand(const std::vector<std::string>& args);

// For the tables: "4.19 MB" (powers of 1000, three digits, as podman), "3 weeks ago".
std::string HumanSize(uint64_t bytes);
std::string HumanAge(int64_t seconds);

}  // namespace hull::cli

#endif  // VMM_CLI_IMAGE_COMMANDS_H_
