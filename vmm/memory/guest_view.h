// A translated part of guest memory.

#ifndef VMM_MEMORY_GUEST_VIEW_H_
#define VMM_MEMORY_GUEST_VIEW_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace hull {

// The guest's layouts are little-endian, and so are the hosts that KVM and Hull run on together.
static_assert(std::endian::native == std::endian::little);

// A range of guest memory that GuestMemory checked and translated once, so that a ring's index
// costs one load and not one search. Cheap to copy; must not outlive its GuestMemory.
//
// Offsets are the VMM's own arithmetic (an index that was masked by the ring's size), never a
// number of the guest's: one outside the view is our bug and ends the process at once, before it
// could touch other memory.
class GuestView {
 public:
  GuestView() = default;  // Empty: every access is outside.

  uint64_t size() const { return size_; }

  // One copy of possibly torn content (the guest may be writing it).
  template <typename T>
  T Load(uint64_t offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    const uint8_t* source = At(offset, sizeof(T));
    std::memcpy(&value, source, sizeof(T));
    // Keeps the compiler from loading the field a second time where the copy is used.
    asm volatile("" : : : "memory");
    return value;
  }

  template <typename T>
  void Store(uint64_t offset, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(At(offset, sizeof(T)), &value, sizeof(T));
    asm volatile("" : : : "memory");
  }

  // Single-copy atomic; the offset must be aligned within an aligned view.
  uint16_t LoadAcquire16(uint64_t offset) const {
    return __atomic_load_n(At16(offset), __ATOMIC_ACQUIRE);
  }
  uint16_t LoadRelaxed16(uint64_t offset) const {
    return __atomic_load_n(At16(offset), __ATOMIC_RELAXED);
  }
  void StoreRelease16(uint64_t offset, uint16_t value) const {
    __atomic_store_n(At16(offset), value, __ATOMIC_RELEASE);
  }
  void StoreRelaxed16(uint64_t offset, uint16_t value) const {
    __atomic_store_n(At16(offset), value, __ATOMIC_RELAXED);
  }

 private:
  friend class GuestMemory;
  GuestView(uint8_t* data, uint64_t size) : data_(data), size_(size) {}

  uint8_t* At(uint64_t offset, uint64_t size) const {
    if (size > size_ || offset > size_ - size) __builtin_trap();
    return data_ + offset;
  }
  uint16_t* At16(uint64_t offset) const {
    uint8_t* address = At(offset, sizeof(uint16_t));
    if (reinterpret_cast<uintptr_t>(address) % sizeof(uint16_t) != 0) __builtin_trap();
    // SAFETY: in bounds and aligned as checked; only accessed through the __atomic builtins.
    return reinterpret_cast<uint16_t*>(address);
  }

  uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace hull

#endif  // VMM_MEMORY_GUEST_VIEW_H_
