// The layouts of the virtio block device.
//
// VIRTIO 1.2: 5.2.3 (feature bits), 5.2.4 (configuration), 5.2.6 (requests).

#ifndef VMM_DEVICES_BLOCK_WIRE_H_
#define VMM_DEVICES_BLOCK_WIRE_H_

#include <cstdint>

namespace hull::block {

// The unit of every sector number, whatever the disk's own block size is (5.2.4).
inline constexpr uint64_t kSectorSize = 512;

inline constexpr uint64_t kFeatureSegMax = 1ull << 2;
inline constexpr uint64_t kFeatureReadOnly = 1ull << 5;
inline constexpr uint64_t kFeatureBlockSize = 1ull << 6;
inline constexpr uint64_t kFeatureFlush = 1ull << 9;
inline constexpr uint64_t kFeatureDiscard = 1ull << 13;
inline constexpr uint64_t kFeatureWriteZeroes = 1ull << 14;

struct [[gnu::packed]] ConfigSpace {
  uint64_t capacity = 0;  // Sectors.
  uint32_t size_max = 0;
  uint32_t seg_max = 0;  // Buffers of data in one request.
  uint16_t cylinders = 0;
  uint8_t heads = 0;
  uint8_t sectors = 0;
  uint32_t block_size = 0;  // Bytes.
  uint8_t physical_block_exp = 0;
  uint8_t alignment_offset = 0;
  uint16_t min_io_size = 0;
  uint32_t opt_io_size = 0;
  uint8_t writeback = 0;
  uint8_t unused0 = 0;
  uint16_t num_queues = 0;
  uint32_t max_discard_sectors = 0;
  uint32_t max_discard_segments = 0;
  uint32_t discard_sector_alignment = 0;
  uint32_t max_write_zeroes_sectors = 0;
  uint32_t max_write_zeroes_segments = 0;
  uint8_t write_zeroes_may_unmap = 0;
  uint8_t unused1[3] = {};
};
static_assert(sizeof(ConfigSpace) == 60);

// The device-readable start of every request.
struct RequestHeader {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(RequestHeader) == 16);

inline constexpr uint32_t kTypeIn = 0;
inline constexpr uint32_t kTypeOut = 1;
inline constexpr uint32_t kTypeFlush = 4;
inline constexpr uint32_t kTypeGetId = 8;
inline constexpr uint32_t kTypeDiscard = 11;
inline constexpr uint32_t kTypeWriteZeroes = 13;

// What kTypeGetId returns: not terminated if all are used.
inline constexpr uint32_t kIdSize = 20;

// One element of the data of kTypeDiscard and kTypeWriteZeroes.
struct RangeSegment {
  uint64_t sector;
  uint32_t num_sectors;
  uint32_t flags;
};
static_assert(sizeof(RangeSegment) == 16);
inline constexpr uint32_t kRangeUnmap = 1;

// The device-writable end of every request: one byte.
enum class RequestStatus : uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

// Limits that the configuration space announces and the parser enforces. Write-zeroes is the
// smaller one because a file system that cannot do it makes the host write all of it.
inline constexpr uint32_t kMaxDiscardSectors = (2u << 30) / kSectorSize;
inline constexpr uint32_t kMaxDiscardSegments = 16;
inline constexpr uint32_t kMaxWriteZeroesSectors = (128u << 20) / kSectorSize;
inline constexpr uint32_t kMaxWriteZeroesSegments = 1;

}  // namespace hull::block

#endif  // VMM_DEVICES_BLOCK_WIRE_H_
