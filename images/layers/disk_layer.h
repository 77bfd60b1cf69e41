// The one layer of an image that is a machine's disk (images/machine_config.h).

#ifndef IMAGES_LAYERS_DISK_LAYER_H_
#define IMAGES_LAYERS_DISK_LAYER_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "images/digest.h"
#include "images/machine_config.h"
#include "images/oci/byte_source.h"
#include "images/oci/descriptor.h"

namespace hull::images {

// Called now and then with the bytes that have been read.
using DiskProgress = std::function<void(uint64_t bytes)>;

struct PackedDisk {
  Digest diff_id;    // of the disk
  Descriptor layer;  // of the blob
};

// Copies `plain`, of `bytes` bytes, to `disk_fd`, and compressed to `blob_fd`; both files are empty
// and stay the caller's. Blocks of zeros become holes of the disk. kDataLoss if there is less.
absl::StatusOr<PackedDisk> PackDisk(ByteSource& plain, uint64_t bytes, int disk_fd, int blob_fd,
                                    const DiskProgress& progress);

// Writes the disk that `blob` holds to `disk_fd`, which is empty, and returns its size. At most
// `max_data_bytes` of it may be anything but zeros. kDataLoss if the blob is corrupt, or differs
// from `layer` or `diff_id`; kInvalidArgument for a disk that `boot` cannot be; kResourceExhausted
// at a limit or when the host's disk is full. After an error the file is of no use.
absl::StatusOr<uint64_t> UnpackDisk(ByteSource& blob, const Descriptor& layer,
                                    const Digest& diff_id, BootDevice boot, uint64_t max_data_bytes,
                                    int disk_fd, const DiskProgress& progress);

}  // namespace hull::images

#endif  // IMAGES_LAYERS_DISK_LAYER_H_
