// QEMU's command line and the part of its monitor protocol that the supervisor needs. Pure.

#ifndef VMM_EMULATED_HOST_QEMU_H_
#define VMM_EMULATED_HOST_QEMU_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace hull::emulated_host {

struct QemuOptions {
  std::string kernel;
  std::string initramfs;
  std::string data_disk;
  uint32_t cpus = 1;
  uint64_t memory_bytes = 0;
  bool icount = false;
  // Descriptors of sockets that QEMU inherits.
  int link_fd = -1;
  int monitor_fd = -1;
  int console_fd = -1;
};

// The arguments, of which the first is the program's name.
std::vector<std::string> QemuCommand(const QemuOptions& options);

// Lines to send to the monitor, with their line ends.
inline constexpr char kMonitorHandshake[] = "{\"execute\":\"qmp_capabilities\"}\n";
inline constexpr char kMonitorContinue[] = "{\"execute\":\"cont\"}\n";

// Whether a line from the monitor is the event of a write that failed for lack of space, on which
// QEMU has stopped the machine.
bool IsNoSpaceEvent(absl::string_view line);

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_QEMU_H_
