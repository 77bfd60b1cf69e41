// Where the contents of regular files go while layers are still being applied: straight to their
// final place in the image file.

#ifndef IMAGES_EROFS_CONTENT_WRITER_H_
#define IMAGES_EROFS_CONTENT_WRITER_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "images/layers/tree.h"

namespace hull::images::erofs {

// Block 0 of the image file is left for the super block; contents follow in the order in which
// they come. The tail of a file (what is after its last whole block) waits in the scratch file
// until the inode is written, to be stored beside it; where the two would not fit one block, it
// gets a block like the rest. Contents that a later layer takes away leave a hole.
//
// Not thread-safe. Both files start empty.
class ContentWriter : public ContentOwner {
 public:
  // The descriptors stay the caller's, and outlive the writer.
  ContentWriter(int image_fd, int scratch_fd) : image_fd_(image_fd), scratch_fd_(scratch_fd) {}

  // Chooses the place for `inode->size` bytes. Its metadata must be complete. kResourceExhausted
  // if the image would become larger than EROFS allows (16 TiB).
  absl::Status Allocate(Inode* inode);
  // Writes a part of the content; parts that are never written are zeros. The part must lie
  // within the file.
  absl::Status Write(const Inode& inode, uint64_t offset, std::span<const uint8_t> data);
  void Release(const Inode& inode) override;

  // The bytes to be stored beside the inode.
  absl::StatusOr<std::string> ReadInline(const Inode& inode) const;

  // For what is not a regular file's content: reserves blocks, returns the first one.
  absl::StatusOr<uint32_t> AllocateBlocks(uint64_t count);
  uint64_t blocks() const { return next_block_; }

 private:
  const int image_fd_;
  const int scratch_fd_;
  uint64_t next_block_ = 1;
  uint64_t scratch_end_ = 0;
};

// The bytes that an inode's extended attributes take after it, with their header; 0 for none.
uint64_t XattrBytes(const Metadata& metadata);

}  // namespace hull::images::erofs

#endif  // IMAGES_EROFS_CONTENT_WRITER_H_
