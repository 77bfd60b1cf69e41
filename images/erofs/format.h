// The parts of the EROFS on-disk format that Hull writes: uncompressed, 4 KiB blocks, inline tails.
//
// Source: Linux 6.12, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst. All integers
// are little-endian, as is every machine that Hull builds for.

#ifndef IMAGES_EROFS_FORMAT_H_
#define IMAGES_EROFS_FORMAT_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace hull::images::erofs {

static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kBlockBits = 12;
inline constexpr uint32_t kBlockBytes = 1u << kBlockBits;
// An inode's number is its offset from the metadata's start in these units.
inline constexpr uint32_t kSlotBytes = 32;

inline constexpr uint64_t kSuperOffset = 1024;
inline constexpr uint32_t kMagic = 0xE0F5E1E2;
inline constexpr uint32_t kFeatureCompatChecksum = 1;
inline constexpr uint32_t kFeatureCompatMtime = 2;

struct SuperBlock {
  uint32_t magic;
  uint32_t checksum;  // CRC-32C, seed ~0, not inverted, of the block from here to its end
  uint32_t feature_compat;
  uint8_t block_bits;
  uint8_t extra_slots;
  uint16_t root_nid;
  uint64_t inodes;
  uint64_t build_time;
  uint32_t build_time_nsec;
  uint32_t blocks;
  uint32_t meta_block;
  uint32_t xattr_block;
  uint8_t uuid[16];
  uint8_t volume_name[16];
  uint32_t feature_incompat;
  uint16_t compression_algorithms;
  uint16_t extra_devices;
  uint16_t device_slot;
  uint8_t directory_block_bits;
  uint8_t xattr_prefix_count;
  uint32_t xattr_prefix_start;
  uint64_t packed_nid;
  uint8_t xattr_filter_reserved;
  uint8_t reserved[23];
} __attribute__((packed));
static_assert(sizeof(SuperBlock) == 128);

// Bit 0 of an inode's format is the version (0 compact, 1 extended), bits 1 to 3 the data layout.
inline constexpr uint16_t kFormatExtended = 1;
inline constexpr uint16_t kLayoutFlatPlain = 0 << 1;
inline constexpr uint16_t kLayoutFlatInline = 2 << 1;

// For what fits: the modification time is the super block's.
struct CompactInode {
  uint16_t format;
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t links;
  uint32_t size;
  uint32_t reserved;
  uint32_t block_or_device;
  uint32_t number;
  uint16_t uid;
  uint16_t gid;
  uint32_t reserved2;
} __attribute__((packed));
static_assert(sizeof(CompactInode) == 32);

struct ExtendedInode {
  uint16_t format;
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t reserved;
  uint64_t size;
  uint32_t block_or_device;
  uint32_t number;
  uint32_t uid;
  uint32_t gid;
  uint64_t mtime;
  uint32_t mtime_nsec;
  uint32_t links;
  uint8_t reserved2[16];
} __attribute__((packed));
static_assert(sizeof(ExtendedInode) == 64);

struct Dirent {
  uint64_t nid;
  uint16_t name_offset;
  uint8_t file_type;
  uint8_t reserved;
} __attribute__((packed));
static_assert(sizeof(Dirent) == 12);

// Follows the inode if it has extended attributes; xattr_count is then 1 + (bytes after it) / 4.
struct XattrHeader {
  uint32_t name_filter;
  uint8_t shared_count;
  uint8_t reserved[7];
} __attribute__((packed));
static_assert(sizeof(XattrHeader) == 12);

// Followed by name (without its prefix) and value, and padded to a multiple of 4.
struct XattrEntry {
  uint8_t name_bytes;
  uint8_t name_index;
  uint16_t value_bytes;
} __attribute__((packed));
static_assert(sizeof(XattrEntry) == 4);

inline constexpr size_t kXattrEntryOverhead = sizeof(XattrEntry) + 3;
inline constexpr size_t kMaxXattrValueBytes = 65535;
// What xattr_count can say, less the header.
inline constexpr size_t kMaxXattrBytes = (65535 - 1) * 4;

// What a device number can hold (12 and 20 bits).
inline constexpr uint64_t kMaxDeviceMajor = (1u << 12) - 1;
inline constexpr uint64_t kMaxDeviceMinor = (1u << 20) - 1;

struct XattrName {
  uint8_t index;
  absl::string_view suffix;
};

// The stored form of an attribute's name; nullopt if EROFS, as Linux, has no such name space.
inline std::optional<XattrName> SplitXattrName(absl::string_view name) {
  struct Prefix {
    absl::string_view text;
    uint8_t index;
    bool whole_name;
  };
  constexpr Prefix kPrefixes[] = {
      {"user.", 1, false},
      {"system.posix_acl_access", 2, true},
      {"system.posix_acl_default", 3, true},
      {"trusted.", 4, false},
      {"security.", 6, false},
  };
  for (const Prefix& prefix : kPrefixes) {
    if (!absl::StartsWith(name, prefix.text)) continue;
    const absl::string_view suffix = name.substr(prefix.text.size());
    if (suffix.empty() != prefix.whole_name) continue;
    return XattrName{.index = prefix.index, .suffix = suffix};
  }
  return std::nullopt;
}

}  // namespace hull::images::erofs

#endif  // IMAGES_EROFS_FORMAT_H_
