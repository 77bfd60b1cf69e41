// One request of the driver: a chain of buffers, already fetched and validated.

#ifndef VMM_VIRTIO_DESCRIPTOR_CHAIN_H_
#define VMM_VIRTIO_DESCRIPTOR_CHAIN_H_

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/memory/guest_memory.h"

namespace hull::virtio {

struct Buffer {
  GuestAddress address;
  uint32_t length = 0;
};

// Move-only. Owned by the device from Queue::Pop until Queue::Complete; destroying a chain that was
// not completed is a bug of the device (the driver would wait for ever), logged once and tolerated.
//
// Holds copies of the descriptors, so nothing the guest does later changes the chain; the *content*
// of the buffers stays volatile and is copied by Read and Write below.
// Readable buffers come before writable ones (2.7.4.2), every buffer lies wholly in guest memory,
// and the total of all fits 32 bits (2.7.5.2): Queue::Pop has checked it. A descriptor of length
// zero, which the specification does not forbid, carries nothing and is left out.
class DescriptorChain {
 public:
  using Buffers = absl::InlinedVector<Buffer, 4>;

  DescriptorChain(const GuestMemory& memory, uint16_t head, Buffers readable, Buffers writable);
  DescriptorChain(DescriptorChain&& other) noexcept;
  DescriptorChain& operator=(DescriptorChain&& other) noexcept;
  ~DescriptorChain();

  // Drops the chain because the driver no longer waits for it: the queue was reset.
  void Abandon() && { owed_ = false; }

  uint16_t head() const { return head_; }
  // What the device reads and what it writes, in order.
  std::span<const Buffer> readable() const { return readable_; }
  std::span<const Buffer> writable() const { return writable_; }
  uint32_t readable_size() const { return readable_size_; }
  uint32_t writable_size() const { return writable_size_; }

  // Copies from the readable part at `offset`. kOutOfRange if the part is shorter.
  absl::Status Read(uint32_t offset, std::span<uint8_t> out) const;
  // Copies to the writable part at `offset`.
  absl::Status Write(uint32_t offset, std::span<const uint8_t> data) const;

  // Host iovecs over [offset, offset + size) of either part, for a vectored system call only.
  absl::StatusOr<std::vector<iovec>> ReadableSlices(uint32_t offset, uint32_t size) const;
  absl::StatusOr<std::vector<iovec>> WritableSlices(uint32_t offset, uint32_t size) const;
  // The same, replacing the content of `slices`, whose capacity a busy device keeps.
  absl::Status ReadableSlices(uint32_t offset, uint32_t size, std::vector<iovec>& slices) const;
  absl::Status WritableSlices(uint32_t offset, uint32_t size, std::vector<iovec>& slices) const;

 private:
  friend class Queue;

  const GuestMemory* memory_;
  uint16_t head_;
  bool owed_ = true;  // Not yet returned to the driver.
  Buffers readable_;
  Buffers writable_;
  uint32_t readable_size_ = 0;
  uint32_t writable_size_ = 0;
};

}  // namespace hull::virtio

#endif  // VMM_VIRTIO_DESCRIPTOR_CHAIN_H_
