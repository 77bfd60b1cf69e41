#include "tests/fakes/fake_driver.h"

#include <array>
#include <utility>

namespace hull::fakes {
namespace {

using namespace virtio;  // NOLINT(google-build-using-namespace): the register names.

// Not at 0, so that an address left out shows as an error.
constexpr GuestAddress kMemoryStart{0x10000};

GuestMemory CreateMemory(uint64_t size) {
  const std::array<GuestMemory::Range, 1> ranges = {{{kMemoryStart, size}}};
  return GuestMemory::Create(ranges).value();
}

}  // namespace

FakeDriver::FakeDriver(std::shared_ptr<Device> device, uint64_t memory_size)
    : memory_(CreateMemory(memory_size)),
      allocator_(memory_, kMemoryStart, memory_size),
      device_(std::move(device)),
      interrupt_(std::make_shared<FakeInterrupt>()),
      transport_(MmioTransport::Create(memory_, device_, interrupt_).value()) {}

uint32_t FakeDriver::ReadRegister(uint64_t offset) {
  uint32_t value = 0;
  transport_->Read(offset, std::span(reinterpret_cast<uint8_t*>(&value), sizeof(value)));
  return value;
}

void FakeDriver::WriteRegister(uint64_t offset, uint32_t value) {
  transport_->Write(offset, std::span(reinterpret_cast<const uint8_t*>(&value), sizeof(value)));
}

uint64_t FakeDriver::OfferedFeatures() {
  WriteRegister(kMmioDeviceFeaturesSel, 1);
  const uint64_t high = ReadRegister(kMmioDeviceFeatures);
  WriteRegister(kMmioDeviceFeaturesSel, 0);
  return high << 32 | ReadRegister(kMmioDeviceFeatures);
}

uint32_t FakeDriver::TakeInterruptStatus() {
  const uint32_t status = ReadRegister(kMmioInterruptStatus);
  WriteRegister(kMmioInterruptAck, status);
  return status;
}

void FakeDriver::SetUpQueue(size_t index, const QueueConfig& config) {
  const auto write_address = [this](uint64_t low, uint64_t high, GuestAddress address) {
    WriteRegister(low, static_cast<uint32_t>(address.value));
    WriteRegister(high, static_cast<uint32_t>(address.value >> 32));
  };
  WriteRegister(kMmioQueueSel, static_cast<uint32_t>(index));
  WriteRegister(kMmioQueueNum, config.size);
  write_address(kMmioQueueDescLow, kMmioQueueDescHigh, config.descriptor_table);
  write_address(kMmioQueueDriverLow, kMmioQueueDriverHigh, config.driver_area);
  write_address(kMmioQueueDeviceLow, kMmioQueueDeviceHigh, config.device_area);
  WriteRegister(kMmioQueueReady, config.ready ? 1 : 0);
}

bool FakeDriver::Start(uint64_t wanted_features) {
  Reset();
  WriteRegister(kMmioStatus, kStatusAcknowledge);
  WriteRegister(kMmioStatus, kStatusAcknowledge | kStatusDriver);
  features_ = OfferedFeatures() & (wanted_features | kFeatureVersion1);
  for (uint32_t word = 0; word < 2; ++word) {
    WriteRegister(kMmioDriverFeaturesSel, word);
    WriteRegister(kMmioDriverFeatures, static_cast<uint32_t>(features_ >> (32 * word)));
  }
  constexpr uint32_t kNegotiated = kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk;
  WriteRegister(kMmioStatus, kNegotiated);
  if (ReadRegister(kMmioStatus) != kNegotiated) return false;

  queues_.clear();
  for (size_t i = 0; i < transport_->queue_events().size(); ++i) {
    WriteRegister(kMmioQueueSel, static_cast<uint32_t>(i));
    const auto size = static_cast<uint16_t>(ReadRegister(kMmioQueueNumMax));
    queues_.emplace_back(allocator_, size, features_,
                         [this, i] { WriteRegister(kMmioQueueNotify, static_cast<uint32_t>(i)); });
    SetUpQueue(i, queues_.back().config());
  }
  WriteRegister(kMmioStatus, kNegotiated | kStatusDriverOk);
  return ReadRegister(kMmioStatus) == (kNegotiated | kStatusDriverOk);
}

}  // namespace hull::fakes
