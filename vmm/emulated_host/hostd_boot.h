// The emulated host's first second: kernel modules, the port, the file systems.

#ifndef VMM_EMULATED_HOST_HOSTD_BOOT_H_
#define VMM_EMULATED_HOST_HOSTD_BOOT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/emulated_host/protocol.h"

namespace hull::emulated_host {

// Where the data disk is mounted inside.
inline constexpr char kDataDirectory[] = "/run/hull-emulated-host";
// Names that the supervisor gives on QEMU's command line.
inline constexpr char kPortName[] = "hull";
inline constexpr char kHostTag[] = "host";

// A line in the kernel's log, which is QEMU's console.
void LogToKernel(absl::string_view line);

// Mounts proc, sysfs and devtmpfs on the initramfs and inserts the modules listed in
// /modules/order. A module that its hardware lacks is no error.
absl::Status PrepareKernel();

// The virtio-serial port to the supervisor, non-blocking.
absl::StatusOr<UniqueFd> OpenPort();

// Makes the user's file system the root, with this machine's own /dev, /proc, /run, /sys,
// $HULL_ROOT and $HULL_RUN over it. Returns a descriptor of the user's file system with nothing
// mounted over its directories.
absl::StatusOr<UniqueFd> MountFileSystems(const BootConfig& config);

// Ends every other process, writes everything to the disk, switches the machine off.
[[noreturn]] void PowerOff();

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_HOSTD_BOOT_H_
