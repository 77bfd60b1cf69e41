#include "vmm/devices/vga/device.h"

namespace hull::vga {

void Device::ReadPorts(uint16_t port, std::span<uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_();
  // An ISA bus splits a wide access into bytes at consecutive ports.
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = adapter_.ReadPort(static_cast<uint16_t>(port + i), now);
  }
}

void Device::WritePorts(uint16_t port, std::span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    adapter_.WritePort(static_cast<uint16_t>(port + i), data[i]);
  }
}

void Device::ReadMemory(uint64_t offset, std::span<uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) data[i] = adapter_.ReadMemory(offset + i);
}

void Device::WriteMemory(uint64_t offset, std::span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) adapter_.WriteMemory(offset + i, data[i]);
}

State Device::Snapshot() const {
  absl::MutexLock lock(&mutex_);
  return adapter_.state();
}

}  // namespace hull::vga
