#include "vmm/virtio/queue.h"

#include <atomic>
#include <bit>
#include <utility>

#include "absl/strings/str_format.h"
#include "vmm/base/status_macros.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/wire.h"

namespace hull::virtio {
namespace {

absl::StatusOr<GuestView> Area(const GuestMemory& memory, const char* what, GuestAddress address,
                               uint64_t size, uint64_t alignment) {
  absl::StatusOr<GuestView> view = memory.View(address, size);
  if (!view.ok() || address.value % alignment != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the %s at 0x%x is misaligned or not in guest memory", what, address.value));
  }
  return view;
}

// Adds the buffers of a chain in order, with the rules that hold across all its descriptors.
class ChainBuilder {
 public:
  explicit ChainBuilder(const GuestMemory& memory) : memory_(memory) {}

  absl::Status Add(const Descriptor& descriptor) {
    const bool writable = (descriptor.flags & kDescWrite) != 0;
    // 2.7.4.2: "The driver MUST place any device-writable descriptor elements after any
    // device-readable descriptor elements."
    if (!writable && seen_writable_) return absl::DataLossError("readable buffer after a writable");
    seen_writable_ |= writable;
    if (descriptor.length == 0) return absl::OkStatus();
    const GuestAddress address{descriptor.address};
    if (!memory_.Contains(address, descriptor.length)) {
      return absl::DataLossError(absl::StrFormat("buffer of %u bytes at 0x%x is not guest memory",
                                                 descriptor.length, descriptor.address));
    }
    // 2.7.5.2: "Drivers MUST NOT add a descriptor chain longer than 2^32 bytes in total"; exactly
    // that much would not fit the used length either.
    if (__builtin_add_overflow(total_, descriptor.length, &total_)) {
      return absl::DataLossError("descriptor chain of 4 GiB or more");
    }
    (writable ? this->writable : readable).push_back(Buffer{address, descriptor.length});
    return absl::OkStatus();
  }

  DescriptorChain::Buffers readable;
  DescriptorChain::Buffers writable;

 private:
  const GuestMemory& memory_;
  bool seen_writable_ = false;
  uint32_t total_ = 0;
};

// 2.7.5.3: the table that an indirect descriptor refers to.
absl::Status AddIndirect(const GuestMemory& memory, const Descriptor& indirect,
                         ChainBuilder& chain) {
  const uint32_t count = indirect.length / sizeof(Descriptor);
  if (count == 0 || count > kMaxQueueSize || indirect.length % sizeof(Descriptor) != 0) {
    return absl::DataLossError(
        absl::StrFormat("indirect descriptor table of %u bytes", indirect.length));
  }
  // No alignment is asked of the table.
  const absl::StatusOr<GuestView> table =
      memory.View(GuestAddress{indirect.address}, indirect.length);
  if (!table.ok()) return absl::DataLossError(table.status().message());
  uint32_t index = 0;
  for (uint32_t steps = 0; steps < count; ++steps) {
    const auto descriptor = table->Load<Descriptor>(index * sizeof(Descriptor));
    // 2.7.5.3.1: "A driver MUST NOT set the VIRTQ_DESC_F_INDIRECT flag within an indirect
    // descriptor".
    if ((descriptor.flags & kDescIndirect) != 0) {
      return absl::DataLossError("indirect descriptor within an indirect table");
    }
    HULL_RETURN_IF_ERROR(chain.Add(descriptor));
    if ((descriptor.flags & kDescNext) == 0) return absl::OkStatus();
    index = descriptor.next;
    if (index >= count) return absl::DataLossError("next outside the indirect table");
  }
  return absl::DataLossError("loop in an indirect descriptor table");
}

}  // namespace

Queue::Queue(const GuestMemory& memory, const QueueConfig& config, uint64_t features,
             GuestView descriptors, GuestView available, GuestView used)
    : memory_(&memory),
      config_(config),
      event_index_((features & kFeatureEventIdx) != 0),
      indirect_((features & kFeatureIndirectDesc) != 0),
      descriptors_(descriptors),
      available_(available),
      used_(used) {}

absl::StatusOr<Queue> Queue::Create(const GuestMemory& memory, const QueueConfig& config,
                                    uint64_t features, uint16_t max_size) {
  if (!std::has_single_bit(config.size) || config.size > max_size || config.size > kMaxQueueSize) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a queue size of %u, where at most %u was offered", config.size, max_size));
  }
  // The two bytes of an event index belong to the areas even when it was not negotiated.
  HULL_ASSIGN_OR_RETURN(const GuestView descriptors,
                        Area(memory, "descriptor table", config.descriptor_table,
                             sizeof(Descriptor) * config.size, 16));
  HULL_ASSIGN_OR_RETURN(
      const GuestView available,
      Area(memory, "available ring", config.driver_area, UsedEventOffset(config.size) + 2, 2));
  HULL_ASSIGN_OR_RETURN(const GuestView used, Area(memory, "used ring", config.device_area,
                                                   AvailableEventOffset(config.size) + 2, 4));
  return Queue(memory, config, features, descriptors, available, used);
}

void Queue::RestoreState(const QueueState& state) {
  state_ = state;
  seen_available_ = state.next_available;
  signalled_used_ = state.next_used;
  signalled_used_valid_ = false;
}

absl::StatusOr<bool> Queue::HasAvailable() {
  if (seen_available_ != state_.next_available) return true;
  // Acquire: the entries and descriptors below the index are read after it (2.7.13.3).
  const uint16_t index = available_.LoadAcquire16(kAvailableIndex);
  const uint16_t count = static_cast<uint16_t>(index - state_.next_available);
  if (count > config_.size) {
    return absl::DataLossError(
        absl::StrFormat("available index %u runs ahead of %u by more than %u", index,
                        state_.next_available, config_.size));
  }
  seen_available_ = index;
  return count != 0;
}

absl::StatusOr<std::optional<DescriptorChain>> Queue::Pop() {
  HULL_ASSIGN_OR_RETURN(bool has_available, HasAvailable());
  if (!has_available && notification_enabled_ && EnableNotification()) {
    HULL_ASSIGN_OR_RETURN(has_available, HasAvailable());
  }
  if (!has_available) return std::nullopt;
  const uint16_t slot = state_.next_available & (config_.size - 1);
  const uint16_t head = available_.LoadRelaxed16(AvailableEntry(slot));
  HULL_ASSIGN_OR_RETURN(DescriptorChain chain, ParseChain(head));
  ++state_.next_available;
  return chain;
}

absl::StatusOr<DescriptorChain> Queue::ParseChain(uint16_t head) const {
  ChainBuilder builder(*memory_);
  uint16_t index = head;
  // A chain of more descriptors than the table has contains a loop.
  for (uint32_t steps = 0; steps < config_.size; ++steps) {
    if (index >= config_.size) return absl::DataLossError("descriptor index out of range");
    const auto descriptor = descriptors_.Load<Descriptor>(uint64_t{index} * sizeof(Descriptor));
    if ((descriptor.flags & kDescIndirect) != 0) {
      // 2.7.5.3.1: "A driver MUST NOT set both VIRTQ_DESC_F_INDIRECT and VIRTQ_DESC_F_NEXT in
      // flags", nor the former without the feature. 2.7.5.3.2: "The device MUST ignore the
      // write-only flag (flags&VIRTQ_DESC_F_WRITE) in the descriptor that refers to an indirect
      // table", and "MUST handle the case of zero or more normal chained descriptors followed by a
      // single descriptor with flags&VIRTQ_DESC_F_INDIRECT".
      if (!indirect_ || (descriptor.flags & kDescNext) != 0) {
        return absl::DataLossError("indirect descriptor that is not negotiated or not the last");
      }
      HULL_RETURN_IF_ERROR(AddIndirect(*memory_, descriptor, builder));
      return DescriptorChain(*memory_, head, std::move(builder.readable),
                             std::move(builder.writable));
    }
    HULL_RETURN_IF_ERROR(builder.Add(descriptor));
    if ((descriptor.flags & kDescNext) == 0) {
      return DescriptorChain(*memory_, head, std::move(builder.readable),
                             std::move(builder.writable));
    }
    index = descriptor.next;
  }
  return absl::DataLossError("loop in a descriptor chain");
}

void Queue::UndoPop(DescriptorChain chain) {
  chain.owed_ = false;
  --state_.next_available;
}

absl::Status Queue::Complete(DescriptorChain chain, uint32_t written) {
  chain.owed_ = false;
  if (written > chain.writable_size()) {
    return absl::InternalError(absl::StrFormat(
        "a device wrote %u bytes to a chain with room for %u", written, chain.writable_size()));
  }
  const uint16_t slot = state_.next_used & (config_.size - 1);
  used_.Store(UsedEntry(slot), UsedElement{chain.head(), written});
  ++state_.next_used;
  // Release: the buffers' content and the element are visible before the index that covers them.
  used_.StoreRelease16(kUsedIndex, state_.next_used);
  return absl::OkStatus();
}

bool Queue::NeedsInterrupt() {
  const uint16_t before = signalled_used_;
  if (state_.next_used == before) return false;
  signalled_used_ = state_.next_used;
  const bool first = !std::exchange(signalled_used_valid_, true);
  // The used index is written before the driver's wish is read; the driver does the converse, so
  // that one of the two sees the other (2.7.7.2).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!event_index_) {
    return (available_.LoadRelaxed16(kAvailableFlags) & kAvailableNoInterrupt) == 0;
  }
  const uint16_t used_event = available_.LoadRelaxed16(UsedEventOffset(config_.size));
  return first || NeedsEvent(used_event, state_.next_used, before);
}

void Queue::DisableNotification() {
  notification_enabled_ = false;
  // With the event index there is nothing to do: an avail_event that stays behind suppresses.
  if (!event_index_) used_.StoreRelaxed16(kUsedFlags, kUsedNoNotify);
}

bool Queue::EnableNotification() {
  notification_enabled_ = true;
  if (event_index_) {
    used_.StoreRelaxed16(AvailableEventOffset(config_.size), state_.next_available);
  } else {
    used_.StoreRelaxed16(kUsedFlags, 0);
  }
  // What the driver added before it saw that store came without a notification (2.7.10).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return available_.LoadRelaxed16(kAvailableIndex) != state_.next_available;
}

}  // namespace hull::virtio
