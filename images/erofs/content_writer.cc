#include "images/erofs/content_writer.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "images/erofs/format.h"
#include "vmm/base/checked.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images::erofs {
namespace {

absl::Status WriteAt(int fd, std::span<const uint8_t> data, uint64_t offset) {
  while (!data.empty()) {
    const ssize_t n = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("write the root file system image");
    data = data.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

// How much of the file lies in whole blocks of its own.
uint64_t BytesInBlocks(const Inode& inode) { return inode.size - inode.content.inline_bytes; }

}  // namespace

uint64_t XattrBytes(const Metadata& metadata) {
  if (metadata.xattrs.empty()) return 0;
  uint64_t bytes = sizeof(XattrHeader);
  for (const auto& [name, value] : metadata.xattrs) {
    const std::optional<XattrName> split = SplitXattrName(name);
    CHECK(split.has_value());
    bytes += *CheckedAlignUp<uint64_t>(sizeof(XattrEntry) + split->suffix.size() + value.size(), 4);
  }
  return bytes;
}

absl::StatusOr<uint32_t> ContentWriter::AllocateBlocks(uint64_t count) {
  if (count > std::numeric_limits<uint32_t>::max() - next_block_) {
    return absl::ResourceExhaustedError("the root file system would be larger than 16 TiB");
  }
  const auto first = static_cast<uint32_t>(next_block_);
  next_block_ += count;
  return first;
}

absl::Status ContentWriter::Allocate(Inode* inode) {
  const uint64_t tail = inode->size % kBlockBytes;
  if (sizeof(ExtendedInode) + XattrBytes(inode->metadata) + tail <= kBlockBytes) {
    inode->content.inline_bytes = static_cast<uint32_t>(tail);
    inode->content.scratch_offset = scratch_end_;
    scratch_end_ += tail;
  }
  const uint64_t bytes = BytesInBlocks(*inode);
  const uint64_t count = bytes / kBlockBytes + (bytes % kBlockBytes != 0 ? 1 : 0);
  if (count == 0) return absl::OkStatus();
  HULL_ASSIGN_OR_RETURN(inode->content.first_block, AllocateBlocks(count));
  return absl::OkStatus();
}

absl::Status ContentWriter::Write(const Inode& inode, uint64_t offset,
                                  std::span<const uint8_t> data) {
  CHECK(RangeFits<uint64_t>(offset, data.size(), inode.size));
  const uint64_t in_blocks = BytesInBlocks(inode);
  if (offset < in_blocks) {
    const std::span<const uint8_t> part =
        data.first(static_cast<size_t>(std::min<uint64_t>(data.size(), in_blocks - offset)));
    HULL_RETURN_IF_ERROR(
        WriteAt(image_fd_, part, inode.content.first_block * kBlockBytes + offset));
    data = data.subspan(part.size());
    offset += part.size();
  }
  return WriteAt(scratch_fd_, data, inode.content.scratch_offset + (offset - in_blocks));
}

void ContentWriter::Release(const Inode& inode) {
  const uint64_t bytes = BytesInBlocks(inode);
  if (bytes == 0) return;
  // Only saves disk space: nothing refers to these blocks any more, and a file system that cannot
  // make holes keeps them.
  fallocate(image_fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            static_cast<off_t>(inode.content.first_block * kBlockBytes), static_cast<off_t>(bytes));
}

absl::StatusOr<std::string> ContentWriter::ReadInline(const Inode& inode) const {
  std::string tail(inode.content.inline_bytes, '\0');
  HULL_ASSIGN_OR_RETURN(
      const size_t n,
      PreadFull(scratch_fd_, std::span(reinterpret_cast<uint8_t*>(tail.data()), tail.size()),
                static_cast<off_t>(inode.content.scratch_offset)));
  // The end of a sparse file was never written: zeros.
  std::fill(tail.begin() + static_cast<ptrdiff_t>(n), tail.end(), '\0');
  return tail;
}

}  // namespace hull::images::erofs
