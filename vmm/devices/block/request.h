// Parsing of block requests (VIRTIO 1.2, 5.2.6).

#ifndef VMM_DEVICES_BLOCK_REQUEST_H_
#define VMM_DEVICES_BLOCK_REQUEST_H_

#include <cstdint>
#include <variant>

#include "absl/container/inlined_vector.h"
#include "vmm/devices/block/wire.h"
#include "vmm/virtio/descriptor_chain.h"

namespace hull::block {

// A part of the disk, in bytes; within it and a multiple of kSectorSize.
struct Range {
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Data to the chain's writable part, from offset 0.
struct ReadRequest {
  Range range;
};
// Data from the chain's readable part, after the header.
struct WriteRequest {
  Range range;
};
struct FlushRequest {};
// `size` bytes of identity to the chain's writable part.
struct GetIdRequest {
  uint32_t size = 0;
};
struct DiscardRequest {
  absl::InlinedVector<Range, 1> ranges;
};
struct WriteZeroesRequest {
  Range range;
  bool may_unmap = false;
};
// To be answered with this status and nothing else.
struct RefusedRequest {
  RequestStatus status;
};
// Not even the status byte has a place.
struct UnanswerableRequest {};

using Request = std::variant<ReadRequest, WriteRequest, FlushRequest, GetIdRequest, DiscardRequest,
                             WriteZeroesRequest, RefusedRequest, UnanswerableRequest>;

struct DiskShape {
  uint64_t size = 0;  // Bytes.
  bool read_only = false;
};

// Validates a whole request before anything of it is done. The status byte is the last one of the
// writable part; framing otherwise follows the sizes, not the descriptors (2.7.4.3).
Request ParseRequest(const virtio::DescriptorChain& chain, const DiskShape& disk);

}  // namespace hull::block

#endif  // VMM_DEVICES_BLOCK_REQUEST_H_
