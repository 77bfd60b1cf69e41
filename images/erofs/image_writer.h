// Turns a tree whose file contents are in place into a complete EROFS image.

#ifndef IMAGES_EROFS_IMAGE_WRITER_H_
#define IMAGES_EROFS_IMAGE_WRITER_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "images/erofs/content_writer.h"
#include "images/layers/tree.h"

namespace hull::images::erofs {

// Writes directories, inodes and the super block after the contents that `content` has placed in
// the same file, `image_fd`. The result depends on the tree, the order in which contents came and
// `uuid` alone. Not synced.
absl::Status WriteImage(Tree& tree, ContentWriter& content, int image_fd,
                        const std::array<uint8_t, 16>& uuid);

}  // namespace hull::images::erofs

#endif  // IMAGES_EROFS_IMAGE_WRITER_H_
