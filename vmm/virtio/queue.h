// The device side of a split virtqueue.
//
// Virtual I/O Device (VIRTIO) Version 1.2, section 2.7 (split virtqueues), with
// VIRTIO_F_INDIRECT_DESC (2.7.5.3) and VIRTIO_F_EVENT_IDX (2.7.7, 2.7.10).

#ifndef VMM_VIRTIO_QUEUE_H_
#define VMM_VIRTIO_QUEUE_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/guest_view.h"
#include "vmm/virtio/descriptor_chain.h"

namespace hull::virtio {

// The largest queue this VMM offers; also the cap on the descriptors of an indirect table. (Linux
// puts more descriptors into such a table than the queue has entries, against 2.7.5.3.1, so the
// queue's size is the cap of the direct part of a chain only.)
inline constexpr uint16_t kMaxQueueSize = 1024;

// What the driver wrote to the transport's queue registers: all of it guest-controlled.
struct QueueConfig {
  uint16_t size = 0;              // Entries; a power of two, at most what the device offered.
  GuestAddress descriptor_table;  // 16-byte aligned.
  GuestAddress driver_area;       // The available ring; 2-byte aligned.
  GuestAddress device_area;       // The used ring; 4-byte aligned.
  bool ready = false;
};

// Free-running ring positions: what a snapshot must hold besides QueueConfig.
struct QueueState {
  uint16_t next_available = 0;
  uint16_t next_used = 0;
};

// Owned by one device and used on that device's thread only.
class Queue {
 public:
  // kInvalidArgument when the size is not a power of two in [1, max_size], an area is misaligned or
  // is not wholly inside guest memory. `features` are the negotiated feature bits.
  // `memory` must outlive the queue.
  static absl::StatusOr<Queue> Create(const GuestMemory& memory, const QueueConfig& config,
                                      uint64_t features, uint16_t max_size);

  Queue(Queue&&) = default;
  Queue& operator=(Queue&&) = default;

  // The next chain that the driver made available, or nullopt if there is none. The chain is parsed
  // (every descriptor fetched once and validated) before it is returned. A malformed chain, or an
  // available index that runs ahead by more than the queue's size, is kDataLoss: the device must
  // then ask for a reset (DEVICE_NEEDS_RESET) and not touch the queue again.
  //
  // An empty queue asks the driver for a notification, unless those are disabled: a device that
  // never disables them gets one for every batch without doing more.
  absl::StatusOr<std::optional<DescriptorChain>> Pop();

  // Gives the last popped chain back unused, so that the next Pop returns it again: for a device
  // that has no room yet. Only valid for the most recent Pop, before any other was returned.
  void UndoPop(DescriptorChain chain);

  // Returns a chain to the driver with `written` bytes of its device-writable part used. Chains may
  // be completed in any order.
  absl::Status Complete(DescriptorChain chain, uint32_t written);

  // Whether the completions since the last call ask for an interrupt (event index or
  // VIRTQ_AVAIL_F_NO_INTERRUPT). Call once after a batch of Complete; false if there was none.
  bool NeedsInterrupt();

  // Suppresses and re-enables the driver's notifications. Enable returns true if chains arrived
  // meanwhile, in which case the device must go on popping: the race of 2.7.10 is closed here.
  void DisableNotification();
  bool EnableNotification();

  uint16_t size() const { return config_.size; }
  const QueueConfig& config() const { return config_; }
  QueueState state() const { return state_; }
  void RestoreState(const QueueState& state);

 private:
  Queue(const GuestMemory& memory, const QueueConfig& config, uint64_t features,
        GuestView descriptors, GuestView available, GuestView used);

  absl::StatusOr<DescriptorChain> ParseChain(uint16_t head) const;
  // Whether the driver offered more than was popped. kDataLoss if it is more than the ring holds.
  absl::StatusOr<bool> HasAvailable();

  const GuestMemory* memory_;
  QueueConfig config_;
  bool event_index_;
  bool indirect_;
  // The three areas, translated once. Their content is guest-controlled, except for the used ring's
  // positions, which are ours (state_) and never read back.
  GuestView descriptors_;
  GuestView available_;
  GuestView used_;
  QueueState state_;
  uint16_t seen_available_ = 0;        // The driver's index when last loaded.
  uint16_t signalled_used_ = 0;        // next_used when an interrupt was last decided.
  bool signalled_used_valid_ = false;  // False until the first decision, which always interrupts.
  bool notification_enabled_ = true;
};

}  // namespace hull::virtio

#endif  // VMM_VIRTIO_QUEUE_H_
