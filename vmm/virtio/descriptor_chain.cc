#include "vmm/virtio/descriptor_chain.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/checked.h"
#include "vmm/base/status_macros.h"

namespace hull::virtio {
namespace {

uint32_t TotalSize(const DescriptorChain::Buffers& buffers) {
  uint32_t total = 0;
  for (const Buffer& buffer : buffers) total += buffer.length;
  return total;
}

// Calls visit(address, size) for the pieces of [offset, offset + size) of a part.
template <typename Visitor>
absl::Status VisitRange(const DescriptorChain::Buffers& buffers, uint32_t total, uint32_t offset,
                        uint64_t size, Visitor visit) {
  if (!RangeFits<uint64_t>(offset, size, total)) {
    return absl::OutOfRangeError(absl::StrCat(size, " bytes at offset ", offset,
                                              " of a descriptor chain's part of ", total));
  }
  uint64_t skip = offset;
  for (const Buffer& buffer : buffers) {
    if (size == 0) break;
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const uint64_t piece = std::min<uint64_t>(buffer.length - skip, size);
    HULL_RETURN_IF_ERROR(visit(GuestAddress{buffer.address.value + skip}, piece));
    size -= piece;
    skip = 0;
  }
  return absl::OkStatus();
}

absl::Status Slices(const GuestMemory& memory, const DescriptorChain::Buffers& buffers,
                    uint32_t total, uint32_t offset, uint32_t size, std::vector<iovec>& slices) {
  slices.clear();
  return VisitRange(buffers, total, offset, size,
                    [&](GuestAddress address, uint64_t piece) -> absl::Status {
                      HULL_ASSIGN_OR_RETURN(const iovec slice, memory.Slice(address, piece));
                      slices.push_back(slice);
                      return absl::OkStatus();
                    });
}

}  // namespace

DescriptorChain::DescriptorChain(const GuestMemory& memory, uint16_t head, Buffers readable,
                                 Buffers writable)
    : memory_(&memory),
      head_(head),
      readable_(std::move(readable)),
      writable_(std::move(writable)),
      readable_size_(TotalSize(readable_)),
      writable_size_(TotalSize(writable_)) {}

DescriptorChain::DescriptorChain(DescriptorChain&& other) noexcept
    : memory_(other.memory_),
      head_(other.head_),
      owed_(std::exchange(other.owed_, false)),
      readable_(std::move(other.readable_)),
      writable_(std::move(other.writable_)),
      readable_size_(other.readable_size_),
      writable_size_(other.writable_size_) {}

DescriptorChain& DescriptorChain::operator=(DescriptorChain&& other) noexcept {
  // The chain that was here goes with `other`, whose destructor reports it if it is still owed.
  std::swap(memory_, other.memory_);
  std::swap(head_, other.head_);
  std::swap(owed_, other.owed_);
  std::swap(readable_, other.readable_);
  std::swap(writable_, other.writable_);
  std::swap(readable_size_, other.readable_size_);
  std::swap(writable_size_, other.writable_size_);
  return *this;
}

DescriptorChain::~DescriptorChain() {
  if (owed_) {
    LOG_FIRST_N(ERROR, 1) << "a device dropped descriptor chain " << head_
                          << " without returning it to the driver";
  }
}

absl::Status DescriptorChain::Read(uint32_t offset, std::span<uint8_t> out) const {
  return VisitRange(readable_, readable_size_, offset, out.size(),
                    [&](GuestAddress address, uint64_t piece) {
                      const std::span<uint8_t> part = out.first(piece);
                      out = out.subspan(piece);
                      return memory_->Read(address, part);
                    });
}

absl::Status DescriptorChain::Write(uint32_t offset, std::span<const uint8_t> data) const {
  return VisitRange(writable_, writable_size_, offset, data.size(),
                    [&](GuestAddress address, uint64_t piece) {
                      const std::span<const uint8_t> part = data.first(piece);
                      data = data.subspan(piece);
                      return memory_->Write(address, part);
                    });
}

absl::Status DescriptorChain::ReadableSlices(uint32_t offset, uint32_t size,
                                             std::vector<iovec>& slices) const {
  return Slices(*memory_, readable_, readable_size_, offset, size, slices);
}

absl::Status DescriptorChain::WritableSlices(uint32_t offset, uint32_t size,
                                             std::vector<iovec>& slices) const {
  return Slices(*memory_, writable_, writable_size_, offset, size, slices);
}

absl::StatusOr<std::vector<iovec>> DescriptorChain::ReadableSlices(uint32_t offset,
                                                                   uint32_t size) const {
  std::vector<iovec> slices;
  HULL_RETURN_IF_ERROR(ReadableSlices(offset, size, slices));
  return slices;
}

absl::StatusOr<std::vector<iovec>> DescriptorChain::WritableSlices(uint32_t offset,
                                                                   uint32_t size) const {
  std::vector<iovec> slices;
  HULL_RETURN_IF_ERROR(WritableSlices(offset, size, slices));
  return slices;
}

}  // namespace hull::virtio
