#include "images/machine_config.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace hull::images {
namespace {

constexpr std::pair<BootDevice, const char*> kNames[] = {
    {BootDevice::kFloppy, "floppy"},
    {BootDevice::kDisk, "disk"},
    {BootDevice::kCdrom, "cdrom"},
};

// What the machine's diskette drives take (vmm/devices/floppy), in KiB.
constexpr uint64_t kDisketteKiB[] = {160, 180, 320, 360, 720, 1200, 1440, 2880};
// ECMA-119, 6.1.2: a logical sector.
constexpr uint64_t kCdromSectorBytes = 2048;

}  // namespace

const char* BootDeviceName(BootDevice boot) {
  for (const auto& [device, name] : kNames) {
    if (device == boot) return name;
  }
  return "unknown";
}

absl::StatusOr<BootDevice> ParseBootDevice(absl::string_view name) {
  for (const auto& [device, known] : kNames) {
    if (name == known) return device;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(name.substr(0, 30)),
                   "\" is no device to boot from: there are floppy, disk and cdrom"));
}

bool IsDisketteSize(uint64_t bytes) {
  return bytes % 1024 == 0 &&
         std::count(std::begin(kDisketteKiB), std::end(kDisketteKiB), bytes / 1024) > 0;
}

absl::Status CheckDiskSize(BootDevice boot, uint64_t bytes) {
  if (bytes == 0) return absl::InvalidArgumentError("the disk is empty");
  if (bytes > kMaxDiskBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a disk of ", bytes, " bytes is larger than the 2 TiB allowed"));
  }
  if (boot == BootDevice::kFloppy && !IsDisketteSize(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no diskette of ", bytes,
                     " bytes; there are 160, 180, 320, 360, 720, 1200, 1440 and 2880 KiB (--boot "
                     "disk takes other sizes)"));
  }
  const uint64_t sector = boot == BootDevice::kCdrom ? kCdromSectorBytes : kDiskSectorBytes;
  if (bytes % sector != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a disk of ", bytes, " bytes is no whole number of ", sector, "-byte sectors"));
  }
  return absl::OkStatus();
}

}  // namespace hull::images
