// The command lines of `hull run` and `hull create`.

#ifndef VMM_CLI_RUN_FLAGS_H_
#define VMM_CLI_RUN_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/container/detach_keys.h"
#include "vmm/container/limits.h"
#include "vmm/container/log_format.h"
#include "vmm/container/mounts.h"
#include "vmm/container/signals.h"
#include "vmm/display/address.h"

namespace hull::cli {

struct RunFlags {
  std::string help;  // not empty: the user asked for this text, and nothing else is set
  bool remove = false;
  std::string name;  // empty: Hull chooses
  container::Cpus cpus;
  uint64_t memory_bytes = container::kDefaultMemoryBytes;
  // Size of the disk for what it writes; 0: none, it is kept in memory; absent: as the other flags
  // have it.
  std::optional<uint64_t> storage_bytes;
  std::vector<container::Mount> mounts;
  std::vector<std::string> env;
  std::vector<std::string> env_files;
  std::string working_directory;
  std::string user;
  std::optional<std::string> entrypoint;
  std::string hostname;  // empty: the container's short id
  bool read_only = false;
  bool console = false;
  bool interactive = false;
  bool terminal = false;
  container::DetachKeys detach_keys;
  std::string detach_keys_text;  // as they were given
  bool detach = false;
  std::vector<std::string> labels;      // as they were given
  std::string cidfile;                  // path of a file for the id; empty: none
  std::optional<uint32_t> stop_signal;  // absent: the image's
  uint32_t stop_timeout_seconds = container::kDefaultStopTimeoutSeconds;
  uint64_t log_max_bytes = container::kDefaultLogMaxBytes;
  std::optional<display::Address> display;  // of a pc machine; absent: none
  std::string display_password_file;        // path; empty: none
  std::string image;
  std::vector<std::string> command;
};

// `args` is what follows `verb`, "run" or "create"; `host_memory_bytes` bounds --memory.
// kInvalidArgument, fit for the user, for an unknown flag, a bad value or no image. The first
// argument that is no flag is the image; what follows it is the command, flags included.
absl::StatusOr<RunFlags> ParseRunFlags(absl::string_view verb, const std::vector<std::string>& args,
                                       uint64_t host_memory_bytes);

}  // namespace hull::cli

#endif  // VMM_CLI_RUN_FLAGS_H_
