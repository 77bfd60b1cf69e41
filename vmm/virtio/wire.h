// The layouts of a split virtqueue, in guest memory.
//
// VIRTIO 1.2: 2.7.5 (descriptor table), 2.7.6 (available ring), 2.7.8 (used ring).

#ifndef VMM_VIRTIO_WIRE_H_
#define VMM_VIRTIO_WIRE_H_

#include <cstdint>

namespace hull::virtio {

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

inline constexpr uint16_t kDescNext = 1;
inline constexpr uint16_t kDescWrite = 2;
inline constexpr uint16_t kDescIndirect = 4;

// struct { le16 flags; le16 idx; le16 ring[size]; le16 used_event; }
inline constexpr uint64_t kAvailableFlags = 0;
inline constexpr uint64_t kAvailableIndex = 2;
inline constexpr uint64_t kAvailableRing = 4;
constexpr uint64_t AvailableEntry(uint16_t slot) { return kAvailableRing + 2ull * slot; }
// Where used_event is; the area is two bytes longer.
constexpr uint64_t UsedEventOffset(uint16_t size) { return AvailableEntry(size); }
inline constexpr uint16_t kAvailableNoInterrupt = 1;

struct UsedElement {
  uint32_t id;
  uint32_t length;
};
static_assert(sizeof(UsedElement) == 8);

// struct { le16 flags; le16 idx; UsedElement ring[size]; le16 avail_event; }
inline constexpr uint64_t kUsedFlags = 0;
inline constexpr uint64_t kUsedIndex = 2;
inline constexpr uint64_t kUsedRing = 4;
constexpr uint64_t UsedEntry(uint16_t slot) { return kUsedRing + sizeof(UsedElement) * slot; }
// Where avail_event is; the area is two bytes longer.
constexpr uint64_t AvailableEventOffset(uint16_t size) { return UsedEntry(size); }
inline constexpr uint16_t kUsedNoNotify = 1;

// 2.7.7.2 and 2.7.10.1: whether moving an index from `before` to `now` passed `event`.
constexpr bool NeedsEvent(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace hull::virtio

#endif  // VMM_VIRTIO_WIRE_H_
