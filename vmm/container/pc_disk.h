// The disk of a container that is a pc machine: the container's own, as its image never changes.

#ifndef VMM_CONTAINER_PC_DISK_H_
#define VMM_CONTAINER_PC_DISK_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// Where it is, in the container's state directory.
std::string PcDiskPath(absl::string_view state_directory);

// Makes `to`, which must not exist, of the bytes of `from`. The two share blocks where the file
// system can, until one is written to; where it cannot, holes stay holes.
absl::Status CopyDisk(const std::string& from, const std::string& to);

}  // namespace hull::container

#endif  // VMM_CONTAINER_PC_DISK_H_
