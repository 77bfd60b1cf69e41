// Builds the root file system image of a container image, layer by layer.

#ifndef IMAGES_LAYERS_ROOTFS_BUILDER_H_
#define IMAGES_LAYERS_ROOTFS_BUILDER_H_

#include <array>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "images/digest.h"
#include "images/erofs/content_writer.h"
#include "images/layers/tree.h"
#include "images/oci/byte_source.h"
#include "images/oci/descriptor.h"

namespace hull::images {

struct UnpackLimits {
  // Of all layers together, uncompressed; and of all files together, holes counted.
  uint64_t max_expanded_bytes = uint64_t{64} << 30;
  // A layer that has expanded to more than `free_expanded_bytes` must not have done so to more
  // than `max_expansion` times its compressed size. (Real software compresses 2 to 10 times.)
  uint64_t free_expanded_bytes = uint64_t{1} << 30;
  uint64_t max_expansion = 200;
  TreeLimits tree = {};
};

// Applies the entries of an uncompressed layer to `tree` and its files to `content`. Errors name
// the entry.
absl::Status ApplyLayer(ByteSource& tar, uint64_t max_file_bytes, Tree& tree,
                        erofs::ContentWriter& content, uint64_t* file_bytes);

// Not thread-safe.
class RootfsBuilder {
 public:
  // Called now and then with the bytes of the current blob that have been read.
  using Progress = std::function<void(uint64_t blob_bytes)>;

  // Both files are empty, and stay the caller's.
  RootfsBuilder(int image_fd, int scratch_fd, const UnpackLimits& limits);

  // Reads a layer's blob and applies it. kDataLoss if it is corrupt, or differs from `descriptor`
  // or `diff_id`; kInvalidArgument if an entry must not be; kResourceExhausted at a limit or
  // when the disk is full. After an error the image is of no use.
  absl::Status AddLayer(ByteSource& blob, const Descriptor& descriptor, const Digest& diff_id,
                        const Progress& progress);
  // Bytes of the uncompressed layers so far.
  uint64_t expanded_bytes() const { return expanded_bytes_; }
  // Completes the image.
  absl::Status Finish(const std::array<uint8_t, 16>& uuid);

 private:
  const UnpackLimits limits_;
  const int image_fd_;
  erofs::ContentWriter content_;
  Tree tree_;
  uint64_t expanded_bytes_ = 0;
  uint64_t file_bytes_ = 0;
};

}  // namespace hull::images

#endif  // IMAGES_LAYERS_ROOTFS_BUILDER_H_
