// The driver's side of a split virtqueue, for tests.

#ifndef TESTS_FAKES_FAKE_QUEUE_H_
#define TESTS_FAKES_FAKE_QUEUE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/wire.h"

namespace hull::fakes {

// A region of guest memory that a test hands out piece by piece and never takes back.
class GuestAllocator {
 public:
  GuestAllocator(const GuestMemory& memory, GuestAddress start, uint64_t size)
      : memory_(&memory), next_(start.value), end_(start.value + size) {}

  // CHECK-fails when there is no more: a test that needs more gives more.
  GuestAddress Allocate(uint64_t size, uint64_t alignment = 16);
  const GuestMemory& memory() const { return *memory_; }

 private:
  const GuestMemory* memory_;
  uint64_t next_;
  uint64_t end_;
};

class FakeQueue;

// A chain that was made available. Cheap to copy.
class SentChain {
 public:
  uint16_t head() const { return head_; }
  // The content of the device-writable part now, whole.
  std::vector<uint8_t> Written() const;
  // One byte of it.
  uint8_t WrittenAt(uint32_t offset) const { return Written().at(offset); }
  std::span<const virtio::Buffer> readable() const { return readable_; }
  std::span<const virtio::Buffer> writable() const { return writable_; }

 private:
  friend class ChainBuilder;
  const GuestMemory* memory_ = nullptr;
  uint16_t head_ = 0;
  std::vector<virtio::Buffer> readable_;
  std::vector<virtio::Buffer> writable_;
};

// Builds one chain, fluently:
//   const SentChain chain = queue.Chain().Readable(header).Writable(512).Writable(1).Send();
class ChainBuilder {
 public:
  explicit ChainBuilder(FakeQueue& queue) : queue_(queue) {}

  // A buffer with this content that the device reads.
  ChainBuilder& Readable(std::span<const uint8_t> bytes);
  template <typename T>
  ChainBuilder& ReadableObject(const T& object) {
    return Readable(std::span(reinterpret_cast<const uint8_t*>(&object), sizeof(object)));
  }
  // A buffer of `size` bytes that the device writes, filled with kUnwritten.
  ChainBuilder& Writable(uint32_t size);
  // A buffer anywhere, for tests of what a driver must not do.
  ChainBuilder& Raw(GuestAddress address, uint32_t length, bool writable);
  // All buffers go to an indirect table instead of to the queue's own.
  ChainBuilder& Indirect();

  // Writes the descriptors, makes the chain available and notifies the device (unless it asked not
  // to be).
  SentChain Send();
  // The same without the notification.
  SentChain SendQuietly();

  static constexpr uint8_t kUnwritten = 0xa5;

 private:
  struct Element {
    virtio::Buffer buffer;
    bool writable;
  };
  FakeQueue& queue_;
  std::vector<Element> elements_;
  bool indirect_ = false;
};

// What the device returned.
struct Used {
  uint16_t head = 0;
  uint32_t length = 0;
};

// One queue, laid out in memory from `allocator`. Not thread-safe.
class FakeQueue {
 public:
  // `features` are the negotiated ones; `kick` notifies the device.
  FakeQueue(
      GuestAllocator& allocator, uint16_t size, uint64_t features,
      std::function<void()> kick = [] {});

  // What a driver tells the transport.
  virtio::QueueConfig config() const;
  uint16_t size() const { return size_; }

  ChainBuilder Chain() { return ChainBuilder(*this); }

  // The next chain that the device returned, or nullopt. Its descriptors are free again.
  std::optional<Used> PopUsed();
  // Whether the device asked not to be notified of the chain made available last.
  bool NotificationSuppressed() const;
  // Asks for no interrupts; with the event index, by leaving used_event behind.
  void SetNoInterrupt(bool no_interrupt);
  // With the event index: interrupt when the used index passes `index`.
  void SetUsedEvent(uint16_t index);
  uint16_t avail_event() const;
  uint16_t available_index() const { return available_index_; }
  uint16_t used_index() const;

  // The raw layout, for tests of what a driver must not do.
  void WriteDescriptor(uint16_t index, const virtio::Descriptor& descriptor);
  virtio::Descriptor ReadDescriptor(uint16_t index) const;
  void MakeAvailable(uint16_t head);
  void SetAvailableIndex(uint16_t index);
  void Kick() { kick_(); }
  GuestAllocator& allocator() { return *allocator_; }

 private:
  friend class ChainBuilder;
  // Takes free descriptors and links them.
  uint16_t WriteChain(std::vector<virtio::Descriptor> descriptors);

  GuestAllocator* allocator_;
  uint16_t size_;
  bool event_index_;
  std::function<void()> kick_;
  GuestAddress descriptors_;
  GuestAddress available_;
  GuestAddress used_;
  uint16_t available_index_ = 0;
  uint16_t next_used_ = 0;
  std::vector<uint16_t> free_;
};

}  // namespace hull::fakes

#endif  // TESTS_FAKES_FAKE_QUEUE_H_
