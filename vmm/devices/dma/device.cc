#include "vmm/devices/dma/device.h"

#include <algorithm>
#include <utility>

namespace hull::dma {

namespace {

class Channel : public DmaChannel {
 public:
  Channel(std::shared_ptr<Device> device, size_t number)
      : device_(std::move(device)), number_(number) {}
  Moved ToMemory(std::span<const uint8_t> data) override {
    return device_->ToMemory(number_, data);
  }
  Moved FromMemory(std::span<uint8_t> data) override { return device_->FromMemory(number_, data); }

 private:
  const std::shared_ptr<Device> device_;
  const size_t number_;
};

}  // namespace

uint8_t Device::ReadPort(uint16_t port) {
  absl::MutexLock lock(&mutex_);
  return controller_.ReadPort(port);
}

void Device::WritePort(uint16_t port, uint8_t value) {
  absl::MutexLock lock(&mutex_);
  controller_.WritePort(port, value);
}

Controller::Chunk Device::Advance(size_t channel, Controller::Direction direction, size_t limit) {
  absl::MutexLock lock(&mutex_);
  return controller_.Advance(channel, direction, limit);
}

DmaChannel::Moved Device::ToMemory(size_t channel, std::span<const uint8_t> data) {
  DmaChannel::Moved moved;
  while (moved.bytes < data.size() && !moved.terminal_count) {
    const Controller::Chunk chunk =
        Advance(channel, Controller::Direction::kToMemory, data.size() - moved.bytes);
    if (chunk.size == 0) break;
    if (chunk.to_memory) {
      // What lies outside memory is lost, as on a bus where nobody answers.
      (void)memory_.Write(GuestAddress{chunk.address}, data.subspan(moved.bytes, chunk.size));
    }
    moved.bytes += chunk.size;
    moved.terminal_count = chunk.terminal_count;
  }
  return moved;
}

DmaChannel::Moved Device::FromMemory(size_t channel, std::span<uint8_t> data) {
  DmaChannel::Moved moved;
  while (moved.bytes < data.size() && !moved.terminal_count) {
    const Controller::Chunk chunk =
        Advance(channel, Controller::Direction::kFromMemory, data.size() - moved.bytes);
    if (chunk.size == 0) break;
    const std::span<uint8_t> part = data.subspan(moved.bytes, chunk.size);
    if (!memory_.Read(GuestAddress{chunk.address}, part).ok()) {
      std::fill(part.begin(), part.end(), uint8_t{0xff});
    }
    moved.bytes += chunk.size;
    moved.terminal_count = chunk.terminal_count;
  }
  return moved;
}

void Ports::Read(uint64_t offset, std::span<uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = device_->ReadPort(static_cast<uint16_t>(first_ + offset + i));
  }
}

void Ports::Write(uint64_t offset, std::span<const uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) {
    device_->WritePort(static_cast<uint16_t>(first_ + offset + i), data[i]);
  }
}

std::unique_ptr<DmaChannel> CreateChannel(std::shared_ptr<Device> device, size_t number) {
  return std::make_unique<Channel>(std::move(device), number);
}

}  // namespace hull::dma
