// The container's process: the image's defaults and the user's options, merged as podman does.

#ifndef VMM_CONTAINER_PROCESS_H_
#define VMM_CONTAINER_PROCESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "images/image_config.h"
#include "vmm/container/config.h"
#include "vmm/container/environment.h"

namespace hull::container {

struct ProcessOptions {
  // Replaces the image's entry point: a command, or a JSON list of strings. Empty: no entry point.
  std::optional<std::string> entrypoint = {};
  std::vector<std::string> command = {};    // CMD [ARG...]; empty: the image's
  std::vector<std::string> env_files = {};  // paths, read before `env`
  std::vector<std::string> env = {};        // as -e takes them
  std::string working_directory = {};       // empty: the image's
  std::string user = {};                    // empty: the image's
  bool attach_stdin = false;
  bool terminal = false;  // the process gets one, and TERM=xterm where the image does not say
};

// Linux capabilities that the container's root has, bit n for capability n: podman's default set,
// and CAP_SYS_BOOT, as the machine is the container's own: poweroff and reboot end it, and only it.
inline constexpr uint64_t kDefaultCapabilities = 1u << 0 |   // CAP_CHOWN
                                                 1u << 1 |   // CAP_DAC_OVERRIDE
                                                 1u << 3 |   // CAP_FOWNER
                                                 1u << 4 |   // CAP_FSETID
                                                 1u << 5 |   // CAP_KILL
                                                 1u << 6 |   // CAP_SETGID
                                                 1u << 7 |   // CAP_SETUID
                                                 1u << 8 |   // CAP_SETPCAP
                                                 1u << 10 |  // CAP_NET_BIND_SERVICE
                                                 1u << 18 |  // CAP_SYS_CHROOT
                                                 1u << 22 |  // CAP_SYS_BOOT
                                                 1u << 31;   // CAP_SETFCAP

// Open files a process of the container may have, soft and hard: podman's default for root.
inline constexpr uint64_t kDefaultOpenFiles = 1048576;

// `host_environment` is that of the invoking process (for `-e NAME`). Errors are kInvalidArgument
// or those of reading an env file, and say what to change.
absl::StatusOr<Process> BuildProcess(const images::ProcessConfig& image,
                                     const ProcessOptions& options, const std::string& hostname,
                                     std::vector<std::string> host_environment);

}  // namespace hull::container

#endif  // VMM_CONTAINER_PROCESS_H_
