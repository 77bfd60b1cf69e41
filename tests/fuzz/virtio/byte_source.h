// Takes a fuzzer's input apart.

#ifndef TESTS_FUZZ_VIRTIO_BYTE_SOURCE_H_
#define TESTS_FUZZ_VIRTIO_BYTE_SOURCE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace hull::fuzz {

// Values in order; zeroes when the input is used up.
class ByteSource {
 public:
  ByteSource(const uint8_t* data, size_t size) : rest_(data, size) {}

  bool empty() const { return rest_.empty(); }
  template <typename T>
  T Take() {
    T value{};
    const std::span<const uint8_t> bytes = TakeBytes(sizeof(T));
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  // At most `size` bytes.
  std::span<const uint8_t> TakeBytes(size_t size) {
    const std::span<const uint8_t> bytes = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }

 private:
  std::span<const uint8_t> rest_;
};

}  // namespace hull::fuzz

#endif  // TESTS_FUZZ_VIRTIO_BYTE_SOURCE_H_
