// A physical address of the guest.

#ifndef VMM_MEMORY_GUEST_ADDRESS_H_
#define VMM_MEMORY_GUEST_ADDRESS_H_

#include <compare>
#include <cstdint>

namespace hull {

// A strong type, so that a guest address is never mistaken for a host pointer, a size or an offset.
// Any 64-bit value is representable; whether it is backed by memory is GuestMemory's to say.
struct GuestAddress {
  uint64_t value = 0;

  friend auto operator<=>(GuestAddress, GuestAddress) = default;
};

}  // namespace hull

#endif  // VMM_MEMORY_GUEST_ADDRESS_H_
