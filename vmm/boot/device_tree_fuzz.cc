// The input describes hardware; the tree must be well-formed for any of it.

extern "C" {
#include <libfdt.h>
}

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "vmm/boot/device_tree.h"

namespace {

// Takes numbers from the input; zeroes once it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  template <typename T>
  T Take() {
    T value = 0;
    const size_t n = size_ < sizeof(T) ? size_ : sizeof(T);
    std::memcpy(&value, data_, n);
    data_ += n;
    size_ -= n;
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  hull::boot::HardwareDescription hardware;
  hardware.vcpus = input.Take<uint8_t>();
  hardware.lapic_address = input.Take<uint64_t>();
  hardware.ioapic_address = input.Take<uint64_t>();
  const uint8_t devices = input.Take<uint8_t>() % 32;
  for (uint8_t i = 0; i < devices; ++i) {
    hardware.virtio.push_back({.address = input.Take<uint64_t>(),
                               .size = input.Take<uint64_t>(),
                               .irq = input.Take<uint32_t>()});
  }
  if (input.Take<uint8_t>() % 2 == 1) hardware.exit_port = input.Take<uint16_t>();
  if (input.Take<uint8_t>() % 2 == 1) {
    hardware.serial = {.port = input.Take<uint16_t>(), .irq = input.Take<uint32_t>()};
  }
  const auto blob = hull::boot::BuildDeviceTree(hardware);
  if (!blob.ok() || fdt_check_full(blob->data(), blob->size()) != 0) std::abort();
  return 0;
}
