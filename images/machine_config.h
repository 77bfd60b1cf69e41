// An image that is a disk of a pc machine (vmm/machine/PC.md) instead of a root file system.
//
// It is an OCI artifact (OCI image specification 1.1, "Guidelines for Artifact Usage"): a manifest
// with one layer, the disk, and a configuration, both with media types of their own. README.md here
// shows both documents.

#ifndef IMAGES_MACHINE_CONFIG_H_
#define IMAGES_MACHINE_CONFIG_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::images {

// The configuration's media type. Its form is that of an OCI image configuration with a further
// member, "machine".
inline constexpr char kMachineConfigType[] = "application/vnd.hull.machine.config.v1+json";
// The layer's: the bytes of the disk, compressed with Zstandard (RFC 8878).
inline constexpr char kDiskLayerType[] = "application/vnd.hull.machine.disk.v1.raw+zstd";
// What the manifest says as annotations, for tools that read no configuration.
inline constexpr char kMachineAnnotation[] = "io.hull.machine";
inline constexpr char kBootAnnotation[] = "io.hull.boot";
// The machine model that such images are for.
inline constexpr char kPcMachine[] = "pc";
// In the configuration's "os", where an image for Linux has "linux".
inline constexpr char kPcOs[] = "bios";

inline constexpr uint64_t kMaxDiskBytes = uint64_t{2} << 40;
inline constexpr uint64_t kDiskSectorBytes = 512;

enum class BootDevice { kFloppy, kDisk, kCdrom };

struct MachineConfig {
  BootDevice boot = BootDevice::kFloppy;

  friend bool operator==(const MachineConfig&, const MachineConfig&) = default;
};

// "floppy", "disk", "cdrom".
const char* BootDeviceName(BootDevice boot);
// kInvalidArgument for another word.
absl::StatusOr<BootDevice> ParseBootDevice(absl::string_view name);

// Whether a disk of `bytes` can be that device: kInvalidArgument, fit for the user, for one that is
// empty, larger than kMaxDiskBytes, no whole number of sectors, or of no diskette's size.
absl::Status CheckDiskSize(BootDevice boot, uint64_t bytes);
// Whether it is the size of a diskette.
bool IsDisketteSize(uint64_t bytes);

}  // namespace hull::images

#endif  // IMAGES_MACHINE_CONFIG_H_
