// The values of --volume, --mount and --tmpfs, of any content: what is accepted is fit for a guest.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "vmm/container/mounts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::container;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& mount : {ParseVolumeFlag(text), ParseTmpfsFlag(text), ParseMountFlag(text)}) {
    if (!mount.ok()) continue;
    if (mount->target.size() < 2 || mount->target[0] != '/' || mount->target.back() == '/' ||
        mount->target.find('\0') != std::string::npos ||
        mount->target.find("/../") != std::string::npos ||
        mount->target.find("//") != std::string::npos) {
      abort();
    }
    if (!mount->volume.empty() && !ValidateVolumeName(mount->volume).ok()) abort();
    if (mount->tmpfs_mode > 07777 || !ValidateMounts({*mount}).ok()) abort();
  }
  return 0;
}
