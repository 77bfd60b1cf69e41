// A small guest memory with one queue at fixed places, which a fuzzer's input fills and overwrites.

#ifndef TESTS_FUZZ_VIRTIO_GUEST_H_
#define TESTS_FUZZ_VIRTIO_GUEST_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/fuzz/virtio/byte_source.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/wire.h"

namespace hull::fuzz {

// Small, so that random 16-bit addresses often hit: [0, kSize), with the descriptor table, the
// rings and buffers all in it and able to overlap.
class Guest {
 public:
  static constexpr uint64_t kSize = 0x4000;
  static constexpr uint16_t kQueueSize = 8;

  Guest()
      : memory_(
            GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, kSize}}).value()) {}

  const GuestMemory& memory() const { return memory_; }

  static virtio::QueueConfig Config() {
    return {.size = kQueueSize,
            .descriptor_table = GuestAddress{0},
            .driver_area = GuestAddress{0x100},
            .device_area = GuestAddress{0x200},
            .ready = true};
  }

  // One step of the driver's: a well-formed chain, of which later steps change parts; a descriptor;
  // an available entry; or bytes anywhere.
  void Step(ByteSource& source) {
    switch (source.Take<uint8_t>() % 5) {
      case 0: {
        // Buffers that may overlap each other but not the queue.
        const auto shape = source.Take<uint8_t>();
        Chain chain;
        for (int i = 0; i <= (shape & 3); ++i) {
          const GuestAddress address{0x1000 + source.Take<uint16_t>() % 0x2000ull};
          chain.push_back({address.value, source.Take<uint16_t>() % 0x1000u,
                           i >= (shape >> 2 & 3) ? virtio::kDescWrite : uint16_t{0}, 0});
        }
        Offer(chain, source.Take<uint8_t>(), (shape & 0x80) != 0);
        return;
      }
      case 1: {
        const virtio::Descriptor descriptor = {.address = source.Take<uint16_t>(),
                                               .length = source.Take<uint16_t>(),
                                               .flags = source.Take<uint8_t>(),
                                               .next = source.Take<uint8_t>()};
        Write((source.Take<uint8_t>() % kQueueSize) * sizeof(descriptor), descriptor);
        return;
      }
      case 2:
        MakeAvailable(source.Take<uint8_t>());
        return;
      case 3: {
        const GuestAddress at{source.Take<uint16_t>() % kSize};
        const std::span<const uint8_t> bytes = source.TakeBytes(source.Take<uint8_t>());
        if (memory_.Contains(at, bytes.size())) (void)memory_.Write(at, bytes);
        return;
      }
      default:
        // A whole descriptor, of any content.
        Write((source.Take<uint8_t>() % kQueueSize) * sizeof(virtio::Descriptor),
              source.Take<virtio::Descriptor>());
        return;
    }
  }

  using Chain = std::vector<virtio::Descriptor>;

  // Links the descriptors (at most kQueueSize), in the table from `head` onward or in an indirect
  // one, and makes the chain available.
  void Offer(Chain chain, uint16_t head, bool indirect) {
    head %= kQueueSize;
    for (size_t i = 0; i < chain.size(); ++i) {
      if (i + 1 == chain.size()) continue;
      chain[i].flags |= virtio::kDescNext;
      chain[i].next = static_cast<uint16_t>(indirect ? i + 1 : (head + i + 1) % kQueueSize);
    }
    for (size_t i = 0; i < chain.size(); ++i) {
      const uint64_t at = indirect ? kIndirectTable + i * sizeof(virtio::Descriptor)
                                   : (head + i) % kQueueSize * sizeof(virtio::Descriptor);
      Write(at, chain[i]);
    }
    if (indirect) {
      const auto size = static_cast<uint32_t>(chain.size() * sizeof(virtio::Descriptor));
      Write(head * sizeof(virtio::Descriptor),
            virtio::Descriptor{kIndirectTable, size, virtio::kDescIndirect, 0});
    }
    MakeAvailable(head);
  }

  template <typename T>
  void Write(uint64_t address, const T& value) {
    (void)memory_.WriteObject(GuestAddress{address}, value);
  }

 private:
  static constexpr uint64_t kIndirectTable = 0x300;

  void MakeAvailable(uint16_t head) {
    Write(0x100 + virtio::AvailableEntry(available_ % kQueueSize), head);
    Write(0x100 + virtio::kAvailableIndex, ++available_);
  }

  const GuestMemory memory_;
  uint16_t available_ = 0;
};

}  // namespace hull::fuzz

#endif  // TESTS_FUZZ_VIRTIO_GUEST_H_
