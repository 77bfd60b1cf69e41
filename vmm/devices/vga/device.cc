#include "vmm/devices/vga/device.h"

#include <algorithm>

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

uint16_t Device::ReadVbe(bool data) const {
  absl::MutexLock lock(&mutex_);
  return adapter_.ReadVbe(data);
}

void Device::WriteVbe(bool data, uint16_t value) {
  absl::MutexLock lock(&mutex_);
  adapter_.WriteVbe(data, value);
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
  return adapter_.Snapshot();
}

void VbePorts::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  if (data.size() != 2) return;
  const uint16_t value = device_->ReadVbe(offset == 1);
  data[0] = static_cast<uint8_t>(value);
  data[1] = static_cast<uint8_t>(value >> 8);
}

void VbePorts::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (data.size() != 2) return;
  device_->WriteVbe(offset == 1, static_cast<uint16_t>(data[0] | data[1] << 8));
}

}  // namespace hull::vga
