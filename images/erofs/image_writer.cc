#include "images/erofs/image_writer.h"

#include <glog/logging.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "images/erofs/format.h"
#include "vmm/base/checked.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images::erofs {
namespace {

// A node number of 0 would be an inode number that readdir(3) hides.
constexpr uint64_t kFirstMetadataByte = 2 * kSlotBytes;

using Timestamp = std::pair<int64_t, uint32_t>;

template <typename T>
void AppendStruct(std::string* out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  // SAFETY: the on-disk structures are packed and have no padding to leak.
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Where an inode goes, and what is stored with it.
struct Placement {
  Inode* inode = nullptr;
  uint64_t offset = 0;  // in the metadata, in bytes
  bool compact = false;
  uint32_t first_block = 0;  // of content in blocks
  uint32_t inline_bytes = 0;
  uint64_t size = 0;  // of the content: a directory's entries, a symlink's target
  uint32_t subdirectories = 0;

  uint64_t nid() const { return offset / kSlotBytes; }
  uint64_t inode_bytes() const { return compact ? sizeof(CompactInode) : sizeof(ExtendedInode); }
};

// Hands out places for inodes so that none that fits a block crosses one: an inline tail must lie
// in one block, and it is cheaper to read for the rest. Blocks with room left are kept open.
class SlotAllocator {
 public:
  uint64_t Allocate(uint64_t bytes) {
    bytes = *CheckedAlignUp<uint64_t>(bytes, kSlotBytes);
    if (bytes > kBlockBytes) {
      const uint64_t offset = end_;
      end_ += *CheckedAlignUp<uint64_t>(bytes, kBlockBytes);
      return offset;
    }
    for (OpenBlock& block : open_) {
      if (block.used + bytes > kBlockBytes) continue;
      const uint64_t offset = block.start + block.used;
      block.used += bytes;
      return offset;
    }
    OpenBlock block{.start = end_, .used = bytes};
    uint64_t offset = end_;
    if (end_ == 0) {
      // The root comes first and alone, so there is room for it after the unused slots.
      CHECK_LE(bytes + kFirstMetadataByte, uint64_t{kBlockBytes});
      block.used += kFirstMetadataByte;
      offset += kFirstMetadataByte;
    }
    end_ += kBlockBytes;
    if (open_.size() < kMaxOpen) {
      open_.push_back(block);
    } else {
      *std::max_element(open_.begin(), open_.end(), [](const OpenBlock& a, const OpenBlock& b) {
        return a.used < b.used;
      }) = block;
    }
    return offset;
  }

  uint64_t end() const { return end_; }

 private:
  static constexpr size_t kMaxOpen = 16;
  struct OpenBlock {
    uint64_t start;
    uint64_t used;
  };
  std::vector<OpenBlock> open_;
  uint64_t end_ = 0;
};

// Writes ascending pieces, with zeros between them, in large writes.
class SequentialWriter {
 public:
  SequentialWriter(int fd, uint64_t offset) : fd_(fd), start_(offset) {}

  absl::Status Put(uint64_t offset, absl::string_view data) {
    CHECK_GE(offset, start_ + buffer_.size());
    buffer_.resize(static_cast<size_t>(offset - start_), '\0');
    buffer_.append(data.data(), data.size());
    constexpr size_t kFlushBytes = size_t{1} << 20;
    return buffer_.size() >= kFlushBytes ? Flush() : absl::OkStatus();
  }

  absl::Status Flush() {
    absl::string_view rest = buffer_;
    while (!rest.empty()) {
      const ssize_t n = pwrite(fd_, rest.data(), rest.size(), static_cast<off_t>(start_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return PosixError("write the root file system image");
      rest.remove_prefix(static_cast<size_t>(n));
      start_ += static_cast<uint64_t>(n);
    }
    buffer_.clear();
    return absl::OkStatus();
  }

 private:
  const int fd_;
  uint64_t start_;  // of the buffer, in the file
  std::string buffer_;
};

uint8_t DirentType(FileType type) {
  switch (type) {
    case FileType::kRegular:
      return 1;
    case FileType::kDirectory:
      return 2;
    case FileType::kCharDevice:
      return 3;
    case FileType::kBlockDevice:
      return 4;
    case FileType::kFifo:
      return 5;
    case FileType::kSymlink:
      return 7;
  }
  return 0;
}

uint16_t ModeOf(const Inode& inode) {
  const auto with_type = [&inode](mode_t type) {
    return static_cast<uint16_t>(type | inode.metadata.permissions);
  };
  switch (inode.type) {
    case FileType::kRegular:
      return with_type(S_IFREG);
    case FileType::kDirectory:
      return with_type(S_IFDIR);
    case FileType::kCharDevice:
      return with_type(S_IFCHR);
    case FileType::kBlockDevice:
      return with_type(S_IFBLK);
    case FileType::kFifo:
      return with_type(S_IFIFO);
    case FileType::kSymlink:
      return with_type(S_IFLNK);
  }
  return 0;
}

// Linux's new_encode_dev().
uint32_t EncodeDevice(const Inode& inode) {
  return (inode.device_minor & 0xff) | (inode.device_major << 8) |
         ((inode.device_minor & ~0xffu) << 12);
}

std::string EncodeXattrs(const Metadata& metadata) {
  std::string out;
  if (metadata.xattrs.empty()) return out;
  AppendStruct(&out, XattrHeader{});
  for (const auto& [name, value] : metadata.xattrs) {
    const std::optional<XattrName> split = SplitXattrName(name);
    CHECK(split.has_value());
    AppendStruct(&out, XattrEntry{.name_bytes = static_cast<uint8_t>(split->suffix.size()),
                                  .name_index = split->index,
                                  .value_bytes = static_cast<uint16_t>(value.size())});
    out.append(split->suffix.data(), split->suffix.size());
    out.append(value);
    out.resize(*CheckedAlignUp<size_t>(out.size(), 4), '\0');
  }
  return out;
}

// CRC-32C as the kernel's crc32c() computes it.
uint32_t Crc32c(absl::string_view data) {
  constexpr uint32_t kReversedPolynomial = 0x82F63B78;
  uint32_t crc = ~0u;
  for (const char c : data) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) * kReversedPolynomial);
  }
  return crc;
}

class ImageWriter {
 public:
  ImageWriter(Tree& tree, ContentWriter& content, int fd, const std::array<uint8_t, 16>& uuid)
      : tree_(tree), content_(content), fd_(fd), uuid_(uuid) {}

  absl::Status Write() {
    CollectDirectory(&tree_.root());
    ChooseBuildTime();
    HULL_RETURN_IF_ERROR(PlaceInodes());
    HULL_RETURN_IF_ERROR(WriteBlocks());
    HULL_RETURN_IF_ERROR(WriteMetadata());
    return WriteSuperBlock();
  }

 private:
  // Parents before children, and the children of a directory together. Recursion is bounded by
  // the tree's greatest depth.
  void CollectDirectory(Inode* directory) {
    if (directory == &tree_.root()) Add(directory);
    for (auto& [name, link] : directory->children) Add(link.inode);
    for (auto& [name, link] : directory->children) {
      if (link.inode->type == FileType::kDirectory) CollectDirectory(link.inode);
    }
  }

  void Add(Inode* inode) {
    if (index_.try_emplace(inode, placements_.size()).second) {
      placements_.push_back(Placement{.inode = inode});
    }
  }

  static Timestamp TimeOf(const Inode& inode) {
    return {inode.metadata.mtime, inode.metadata.mtime_nsec};
  }

  // Inodes with the image's own time can be compact; take the time that most of them have.
  void ChooseBuildTime() {
    std::map<Timestamp, size_t> counts;
    for (const Placement& placement : placements_) ++counts[TimeOf(*placement.inode)];
    build_time_ = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
                    return a.second < b.second;
                  })->first;
  }

  uint64_t NidOf(Inode* inode) const { return placements_[index_.at(inode)].nid(); }

  // The entries of a directory: blocks of 4096 bytes, each with its own array of entries and their
  // names after it, in byte order over the whole directory; the last is only as long as needed.
  std::string EncodeDirectory(Inode* directory) const {
    std::map<absl::string_view, Inode*> names;
    names.emplace(".", directory);
    names.emplace("..", directory->parent);
    for (auto& [name, link] : directory->children) names.emplace(name, link.inode);

    std::string out;
    for (auto first = names.begin(); first != names.end();) {
      size_t used = 0;
      size_t count = 0;
      auto last = first;
      for (; last != names.end(); ++last, ++count) {
        const size_t bytes = sizeof(Dirent) + last->first.size();
        if (used + bytes > kBlockBytes) break;
        used += bytes;
      }
      size_t name_offset = count * sizeof(Dirent);
      std::string text;
      for (; first != last; ++first) {
        AppendStruct(&out, Dirent{.nid = NidOf(first->second),
                                  .name_offset = static_cast<uint16_t>(name_offset),
                                  .file_type = DirentType(first->second->type),
                                  .reserved = 0});
        text.append(first->first.data(), first->first.size());
        name_offset += first->first.size();
      }
      out += text;
      if (first != names.end()) out.resize(*CheckedAlignUp<size_t>(out.size(), kBlockBytes), '\0');
    }
    return out;
  }

  bool FitsCompact(const Placement& placement) const {
    const Metadata& metadata = placement.inode->metadata;
    return TimeOf(*placement.inode) == build_time_ && metadata.uid <= UINT16_MAX &&
           metadata.gid <= UINT16_MAX && placement.size <= UINT32_MAX &&
           LinksOf(placement) <= UINT16_MAX;
  }

  static uint64_t LinksOf(const Placement& placement) {
    if (placement.inode->type != FileType::kDirectory) return placement.inode->links;
    return uint64_t{2} + placement.subdirectories;
  }

  absl::Status PlaceInodes() {
    SlotAllocator slots;
    for (Placement& placement : placements_) {
      const Inode& inode = *placement.inode;
      if (inode.type == FileType::kRegular) {
        placement.size = inode.size;
      } else if (inode.type == FileType::kSymlink) {
        placement.size = inode.target.size();
      } else if (inode.type == FileType::kDirectory) {
        // The numbers in it are not known yet; its size does not depend on them.
        placement.size = EncodeDirectory(placement.inode).size();
        for (const auto& [name, link] : inode.children) {
          if (link.inode->type == FileType::kDirectory) ++placement.subdirectories;
        }
      }
      placement.compact = FitsCompact(placement);
      uint64_t bytes = placement.inode_bytes() + XattrBytes(inode.metadata);
      if (inode.type == FileType::kRegular) {
        placement.inline_bytes = inode.content.inline_bytes;
        placement.first_block = static_cast<uint32_t>(inode.content.first_block);
      } else if (placement.size > 0) {
        const uint64_t tail = placement.size % kBlockBytes;
        // The root's block has some slots less.
        if (bytes + tail + kFirstMetadataByte <= kBlockBytes) {
          placement.inline_bytes = static_cast<uint32_t>(tail);
        }
        const uint64_t in_blocks = placement.size - placement.inline_bytes;
        const uint64_t count = *CheckedAlignUp<uint64_t>(in_blocks, kBlockBytes) / kBlockBytes;
        if (count > 0) {
          HULL_ASSIGN_OR_RETURN(placement.first_block, content_.AllocateBlocks(count));
        }
      }
      bytes += placement.inline_bytes;
      if (placement.inode == &tree_.root() && bytes + kFirstMetadataByte > kBlockBytes) {
        return absl::InvalidArgumentError(
            "the extended attributes of the root directory take more than a block");
      }
      placement.offset = slots.Allocate(bytes);
    }
    const uint64_t blocks = slots.end() / kBlockBytes;
    HULL_ASSIGN_OR_RETURN(meta_block_, content_.AllocateBlocks(blocks));
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ContentOf(const Placement& placement) const {
    switch (placement.inode->type) {
      case FileType::kDirectory:
        return EncodeDirectory(placement.inode);
      case FileType::kSymlink:
        return placement.inode->target;
      default:
        return std::string();
    }
  }

  // The whole blocks of directories and long symlinks, in the order in which they were allocated.
  absl::Status WriteBlocks() {
    std::optional<SequentialWriter> writer;
    for (const Placement& placement : placements_) {
      if (placement.first_block == 0 || placement.inode->type == FileType::kRegular) continue;
      const uint64_t start = uint64_t{placement.first_block} * kBlockBytes;
      if (!writer.has_value()) writer.emplace(fd_, start);
      HULL_ASSIGN_OR_RETURN(const std::string data, ContentOf(placement));
      HULL_RETURN_IF_ERROR(writer->Put(
          start, absl::string_view(data).substr(0, data.size() - placement.inline_bytes)));
    }
    return writer.has_value() ? writer->Flush() : absl::OkStatus();
  }

  absl::Status WriteMetadata() {
    std::vector<size_t> order(placements_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [this](size_t a, size_t b) { return placements_[a].offset < placements_[b].offset; });
    const uint64_t start = uint64_t{meta_block_} * kBlockBytes;
    SequentialWriter writer(fd_, start);
    for (const size_t i : order) {
      const Placement& placement = placements_[i];
      std::string data = EncodeInode(placement, static_cast<uint32_t>(i + 1));
      data += EncodeXattrs(placement.inode->metadata);
      if (placement.inline_bytes > 0) {
        std::string tail;
        if (placement.inode->type == FileType::kRegular) {
          HULL_ASSIGN_OR_RETURN(tail, content_.ReadInline(*placement.inode));
        } else {
          HULL_ASSIGN_OR_RETURN(tail, ContentOf(placement));
          tail.erase(0, tail.size() - placement.inline_bytes);
        }
        data += tail;
      }
      HULL_RETURN_IF_ERROR(writer.Put(start + placement.offset, data));
    }
    HULL_RETURN_IF_ERROR(writer.Flush());
    // The image ends with a whole block.
    if (ftruncate(fd_, static_cast<off_t>(content_.blocks() * kBlockBytes)) != 0) {
      return PosixError("write the root file system image");
    }
    return absl::OkStatus();
  }

  std::string EncodeInode(const Placement& placement, uint32_t number) const {
    const Inode& inode = *placement.inode;
    const uint64_t xattr_bytes = XattrBytes(inode.metadata);
    const auto xattr_count =
        static_cast<uint16_t>(xattr_bytes == 0 ? 0 : 1 + (xattr_bytes - sizeof(XattrHeader)) / 4);
    const uint16_t layout = placement.inline_bytes > 0 ? kLayoutFlatInline : kLayoutFlatPlain;
    const bool is_device =
        inode.type == FileType::kCharDevice || inode.type == FileType::kBlockDevice;
    const uint32_t block_or_device = is_device ? EncodeDevice(inode) : placement.first_block;
    std::string out;
    if (placement.compact) {
      AppendStruct(&out, CompactInode{.format = layout,
                                      .xattr_count = xattr_count,
                                      .mode = ModeOf(inode),
                                      .links = static_cast<uint16_t>(LinksOf(placement)),
                                      .size = static_cast<uint32_t>(placement.size),
                                      .reserved = 0,
                                      .block_or_device = block_or_device,
                                      .number = number,
                                      .uid = static_cast<uint16_t>(inode.metadata.uid),
                                      .gid = static_cast<uint16_t>(inode.metadata.gid),
                                      .reserved2 = 0});
    } else {
      AppendStruct(&out, ExtendedInode{.format = static_cast<uint16_t>(layout | kFormatExtended),
                                       .xattr_count = xattr_count,
                                       .mode = ModeOf(inode),
                                       .reserved = 0,
                                       .size = placement.size,
                                       .block_or_device = block_or_device,
                                       .number = number,
                                       .uid = inode.metadata.uid,
                                       .gid = inode.metadata.gid,
                                       .mtime = static_cast<uint64_t>(inode.metadata.mtime),
                                       .mtime_nsec = inode.metadata.mtime_nsec,
                                       .links = static_cast<uint32_t>(LinksOf(placement)),
                                       .reserved2 = {}});
    }
    return out;
  }

  absl::Status WriteSuperBlock() {
    SuperBlock super{};
    super.magic = kMagic;
    super.feature_compat = kFeatureCompatChecksum | kFeatureCompatMtime;
    super.block_bits = kBlockBits;
    super.root_nid = static_cast<uint16_t>(NidOf(&tree_.root()));
    super.inodes = placements_.size();
    super.build_time = static_cast<uint64_t>(build_time_.first);
    super.build_time_nsec = build_time_.second;
    super.blocks = static_cast<uint32_t>(content_.blocks());
    super.meta_block = meta_block_;
    std::copy(uuid_.begin(), uuid_.end(), super.uuid);
    std::string block(kBlockBytes, '\0');
    std::memcpy(block.data() + kSuperOffset, &super, sizeof(super));
    super.checksum = Crc32c(absl::string_view(block).substr(kSuperOffset));
    std::memcpy(block.data() + kSuperOffset, &super, sizeof(super));
    SequentialWriter writer(fd_, 0);
    HULL_RETURN_IF_ERROR(writer.Put(0, block));
    return writer.Flush();
  }

  Tree& tree_;
  ContentWriter& content_;
  const int fd_;
  const std::array<uint8_t, 16> uuid_;
  std::vector<Placement> placements_;
  absl::flat_hash_map<const Inode*, size_t> index_;
  Timestamp build_time_;
  uint32_t meta_block_ = 0;
};

}  // namespace

absl::Status WriteImage(Tree& tree, ContentWriter& content, int image_fd,
                        const std::array<uint8_t, 16>& uuid) {
  return ImageWriter(tree, content, image_fd, uuid).Write();
}

}  // namespace hull::images::erofs
