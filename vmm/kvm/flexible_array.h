// A header followed by an array, as KVM's variable-length ioctls take it.

#ifndef VMM_KVM_FLEXIBLE_ARRAY_H_
#define VMM_KVM_FLEXIBLE_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace hull::kvm {

// Owns zero-initialised storage for one Header and `count` Entries right behind it.
template <typename Header, typename Entry>
class FlexibleArray {
 public:
  static_assert(std::is_trivially_copyable_v<Header> && std::is_trivially_copyable_v<Entry>);
  static_assert(alignof(Header) <= alignof(uint64_t) && alignof(Entry) <= alignof(uint64_t));
  static_assert(sizeof(Header) % alignof(Entry) == 0, "a gap between the header and the array");

  explicit FlexibleArray(size_t count)
      : storage_((sizeof(Header) + count * sizeof(Entry) + sizeof(uint64_t) - 1) /
                 sizeof(uint64_t)),
        count_(count) {}

  // SAFETY of both casts: the storage is large and aligned enough (asserted above), and both types
  // are trivially copyable, for which zeroed storage is a valid object.
  Header* header() { return reinterpret_cast<Header*>(storage_.data()); }
  std::span<Entry> entries() {
    return {reinterpret_cast<Entry*>(reinterpret_cast<uint8_t*>(storage_.data()) + sizeof(Header)),
            count_};
  }

 private:
  std::vector<uint64_t> storage_;
  size_t count_;
};

}  // namespace hull::kvm

#endif  // VMM_KVM_FLEXIBLE_ARRAY_H_
