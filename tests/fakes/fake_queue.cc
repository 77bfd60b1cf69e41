#include "tests/fakes/fake_queue.h"

#include <glog/logging.h>

#include <atomic>
#include <optional>
#include <utility>

#include "vmm/base/checked.h"
#include "vmm/virtio/device.h"

namespace hull::fakes {
namespace {

using virtio::Descriptor;

template <typename T>
void Store(const GuestMemory& memory, GuestAddress base, uint64_t offset, const T& value) {
  CHECK(memory.WriteObject(GuestAddress{base.value + offset}, value).ok());
}

template <typename T>
T Load(const GuestMemory& memory, GuestAddress base, uint64_t offset) {
  return memory.ReadObject<T>(GuestAddress{base.value + offset}).value();
}

}  // namespace

GuestAddress GuestAllocator::Allocate(uint64_t size, uint64_t alignment) {
  const uint64_t start = CheckedAlignUp(next_, alignment).value();
  CHECK(RangeFits(start, size, end_)) << "the test ran out of guest memory";
  next_ = start + size;
  return GuestAddress{start};
}

std::vector<uint8_t> SentChain::Written() const {
  std::vector<uint8_t> bytes;
  for (const virtio::Buffer& buffer : writable_) {
    const size_t old_size = bytes.size();
    bytes.resize(old_size + buffer.length);
    CHECK(memory_->Read(buffer.address, std::span(bytes).subspan(old_size)).ok());
  }
  return bytes;
}

ChainBuilder& ChainBuilder::Readable(std::span<const uint8_t> bytes) {
  const GuestAddress address = queue_.allocator_->Allocate(bytes.size());
  CHECK(queue_.allocator_->memory().Write(address, bytes).ok());
  return Raw(address, static_cast<uint32_t>(bytes.size()), false);
}

ChainBuilder& ChainBuilder::Writable(uint32_t size) {
  const GuestAddress address = queue_.allocator_->Allocate(size);
  CHECK(queue_.allocator_->memory().Fill(address, kUnwritten, size).ok());
  return Raw(address, size, true);
}

ChainBuilder& ChainBuilder::Raw(GuestAddress address, uint32_t length, bool writable) {
  elements_.push_back(Element{{address, length}, writable});
  return *this;
}

ChainBuilder& ChainBuilder::Indirect() {
  indirect_ = true;
  return *this;
}

SentChain ChainBuilder::SendQuietly() {
  const GuestMemory& memory = queue_.allocator_->memory();
  SentChain sent;
  sent.memory_ = &memory;
  std::vector<Descriptor> descriptors;
  for (const Element& element : elements_) {
    (element.writable ? sent.writable_ : sent.readable_).push_back(element.buffer);
    descriptors.push_back({.address = element.buffer.address.value,
                           .length = element.buffer.length,
                           .flags = element.writable ? virtio::kDescWrite : uint16_t{0},
                           .next = 0});
  }
  if (indirect_) {
    for (size_t i = 0; i + 1 < descriptors.size(); ++i) {
      descriptors[i].flags |= virtio::kDescNext;
      descriptors[i].next = static_cast<uint16_t>(i + 1);
    }
    const uint64_t size = descriptors.size() * sizeof(Descriptor);
    const GuestAddress table = queue_.allocator_->Allocate(size);
    CHECK(memory.Write(table, std::span(reinterpret_cast<const uint8_t*>(descriptors.data()), size))
              .ok());
    descriptors = {{.address = table.value,
                    .length = static_cast<uint32_t>(size),
                    .flags = virtio::kDescIndirect,
                    .next = 0}};
  }
  sent.head_ = queue_.WriteChain(std::move(descriptors));
  queue_.MakeAvailable(sent.head_);
  return sent;
}

SentChain ChainBuilder::Send() {
  SentChain sent = SendQuietly();
  if (!queue_.NotificationSuppressed()) queue_.Kick();
  return sent;
}

FakeQueue::FakeQueue(GuestAllocator& allocator, uint16_t size, uint64_t features,
                     std::function<void()> kick)
    : allocator_(&allocator),
      size_(size),
      event_index_((features & virtio::kFeatureEventIdx) != 0),
      kick_(std::move(kick)),
      descriptors_(allocator.Allocate(sizeof(Descriptor) * size, 16)),
      available_(allocator.Allocate(virtio::UsedEventOffset(size) + 2, 2)),
      used_(allocator.Allocate(virtio::AvailableEventOffset(size) + 2, 4)) {
  const GuestMemory& memory = allocator.memory();
  CHECK(memory.Fill(available_, 0, virtio::UsedEventOffset(size) + 2).ok());
  CHECK(memory.Fill(used_, 0, virtio::AvailableEventOffset(size) + 2).ok());
  for (uint16_t i = size; i > 0; --i) free_.push_back(static_cast<uint16_t>(i - 1));
}

virtio::QueueConfig FakeQueue::config() const {
  return {.size = size_,
          .descriptor_table = descriptors_,
          .driver_area = available_,
          .device_area = used_,
          .ready = true};
}

uint16_t FakeQueue::WriteChain(std::vector<Descriptor> descriptors) {
  CHECK(!descriptors.empty());
  CHECK_LE(descriptors.size(), free_.size()) << "the test's queue is full";
  std::vector<uint16_t> indices;
  for (size_t i = 0; i < descriptors.size(); ++i) {
    indices.push_back(free_.back());
    free_.pop_back();
  }
  for (size_t i = 0; i < descriptors.size(); ++i) {
    if (i + 1 < descriptors.size()) {
      descriptors[i].flags |= virtio::kDescNext;
      descriptors[i].next = indices[i + 1];
    }
    WriteDescriptor(indices[i], descriptors[i]);
  }
  return indices[0];
}

void FakeQueue::WriteDescriptor(uint16_t index, const Descriptor& descriptor) {
  Store(allocator_->memory(), descriptors_, sizeof(Descriptor) * index, descriptor);
}

Descriptor FakeQueue::ReadDescriptor(uint16_t index) const {
  return Load<Descriptor>(allocator_->memory(), descriptors_, sizeof(Descriptor) * index);
}

void FakeQueue::MakeAvailable(uint16_t head) {
  Store(allocator_->memory(), available_, virtio::AvailableEntry(available_index_ % size_), head);
  SetAvailableIndex(static_cast<uint16_t>(available_index_ + 1));
}

void FakeQueue::SetAvailableIndex(uint16_t index) {
  available_index_ = index;
  CHECK(allocator_->memory()
            .StoreRelease16(GuestAddress{available_.value + virtio::kAvailableIndex}, index)
            .ok());
}

bool FakeQueue::NotificationSuppressed() const {
  // The index was written before; the device's wish is read after (2.7.10).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (event_index_) {
    return !virtio::NeedsEvent(avail_event(), available_index_,
                               static_cast<uint16_t>(available_index_ - 1));
  }
  return (Load<uint16_t>(allocator_->memory(), used_, virtio::kUsedFlags) &
          virtio::kUsedNoNotify) != 0;
}

void FakeQueue::SetNoInterrupt(bool no_interrupt) {
  if (event_index_) {
    SetUsedEvent(static_cast<uint16_t>(no_interrupt ? next_used_ - 1 : next_used_));
    return;
  }
  Store(allocator_->memory(), available_, virtio::kAvailableFlags,
        no_interrupt ? virtio::kAvailableNoInterrupt : uint16_t{0});
}

void FakeQueue::SetUsedEvent(uint16_t index) {
  Store(allocator_->memory(), available_, virtio::UsedEventOffset(size_), index);
}

uint16_t FakeQueue::avail_event() const {
  return Load<uint16_t>(allocator_->memory(), used_, virtio::AvailableEventOffset(size_));
}

uint16_t FakeQueue::used_index() const {
  return allocator_->memory().LoadAcquire16(GuestAddress{used_.value + virtio::kUsedIndex}).value();
}

std::optional<Used> FakeQueue::PopUsed() {
  if (used_index() == next_used_) return std::nullopt;
  const auto element =
      Load<virtio::UsedElement>(allocator_->memory(), used_, virtio::UsedEntry(next_used_ % size_));
  ++next_used_;
  CHECK_LT(element.id, size_) << "the device returned a chain that does not exist";
  uint16_t index = static_cast<uint16_t>(element.id);
  while (true) {
    free_.push_back(index);
    const Descriptor descriptor = ReadDescriptor(index);
    if ((descriptor.flags & virtio::kDescNext) == 0 || free_.size() >= size_) break;
    index = descriptor.next;
  }
  // Ask for an interrupt at the next one, as Linux does.
  if (event_index_) SetUsedEvent(next_used_);
  return Used{static_cast<uint16_t>(element.id), element.length};
}

}  // namespace hull::fakes
