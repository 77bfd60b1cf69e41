#include "vmm/devices/block/request.h"

#include <array>
#include <optional>
#include <span>
#include <utility>

#include "vmm/base/checked.h"

namespace hull::block {
namespace {

constexpr RefusedRequest kIoError{RequestStatus::kIoError};
constexpr RefusedRequest kUnsupported{RequestStatus::kUnsupported};

// The range as bytes, or nullopt where it is not on the disk.
std::optional<Range> OnDisk(uint64_t sector, uint64_t size, const DiskShape& disk) {
  const std::optional<uint64_t> offset = CheckedMul(sector, kSectorSize);
  if (!offset.has_value() || size % kSectorSize != 0 || !RangeFits(*offset, size, disk.size)) {
    return std::nullopt;
  }
  return Range{*offset, size};
}

Request ParseDiscard(std::span<const RangeSegment> segments, const DiskShape& disk) {
  DiscardRequest request;
  for (const RangeSegment& segment : segments) {
    // 5.2.6.2: "The device MUST set the status byte to VIRTIO_BLK_S_UNSUPP for discard, secure
    // erase and write zeroes commands if any unknown flag is set. Furthermore, the device MUST set
    // the status byte to VIRTIO_BLK_S_UNSUPP for discard commands if the unmap flag is set."
    if (segment.flags != 0) return kUnsupported;
    if (segment.num_sectors > kMaxDiscardSectors) return kIoError;
    const std::optional<Range> range =
        OnDisk(segment.sector, segment.num_sectors * kSectorSize, disk);
    if (!range.has_value()) return kIoError;
    request.ranges.push_back(*range);
  }
  return request;
}

Request ParseWriteZeroes(const RangeSegment& segment, const DiskShape& disk) {
  if ((segment.flags & ~kRangeUnmap) != 0) return kUnsupported;
  if (segment.num_sectors > kMaxWriteZeroesSectors) return kIoError;
  const std::optional<Range> range =
      OnDisk(segment.sector, segment.num_sectors * kSectorSize, disk);
  if (!range.has_value()) return kIoError;
  return WriteZeroesRequest{*range, (segment.flags & kRangeUnmap) != 0};
}

Request ParseRanges(const virtio::DescriptorChain& chain, uint32_t type, const DiskShape& disk) {
  // Neither feature is offered then.
  if (disk.read_only) return kUnsupported;
  const uint32_t size = chain.readable_size() - sizeof(RequestHeader);
  const uint32_t limit = type == kTypeDiscard ? kMaxDiscardSegments : kMaxWriteZeroesSegments;
  const uint32_t count = size / sizeof(RangeSegment);
  if (count == 0 || count > limit || size % sizeof(RangeSegment) != 0) return kIoError;
  std::array<RangeSegment, kMaxDiscardSegments> storage;
  const std::span<RangeSegment> segments = std::span(storage).first(count);
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(segments.data()),
                                 segments.size_bytes());
  if (!chain.Read(sizeof(RequestHeader), bytes).ok()) return kIoError;
  return type == kTypeDiscard ? ParseDiscard(segments, disk) : ParseWriteZeroes(segments[0], disk);
}

}  // namespace

Request ParseRequest(const virtio::DescriptorChain& chain, const DiskShape& disk) {
  if (chain.writable_size() == 0) return UnanswerableRequest{};
  RequestHeader header;
  if (!chain.Read(0, std::span(reinterpret_cast<uint8_t*>(&header), sizeof(header))).ok()) {
    return kIoError;
  }
  const uint32_t out_size = chain.readable_size() - sizeof(header);
  const uint32_t in_size = chain.writable_size() - 1;
  switch (header.type) {
    case kTypeIn: {
      const std::optional<Range> range = OnDisk(header.sector, in_size, disk);
      if (!range.has_value()) return kIoError;
      return ReadRequest{*range};
    }
    case kTypeOut: {
      // 5.2.6.2: "A device MUST set the status byte to VIRTIO_BLK_S_IOERR for a write request if
      // the VIRTIO_BLK_F_RO feature if offered, and MUST NOT write any data."
      if (disk.read_only) return kIoError;
      const std::optional<Range> range = OnDisk(header.sector, out_size, disk);
      if (!range.has_value()) return kIoError;
      return WriteRequest{*range};
    }
    case kTypeFlush:
      return FlushRequest{};
    case kTypeGetId:
      return GetIdRequest{in_size < kIdSize ? in_size : kIdSize};
    case kTypeDiscard:
    case kTypeWriteZeroes:
      return ParseRanges(chain, header.type, disk);
    default:
      return kUnsupported;
  }
}

}  // namespace hull::block
