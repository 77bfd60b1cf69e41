// A virtio driver, for tests of devices: everything goes through the registers of a real
// MmioTransport and through guest memory, as with a guest.

#ifndef TESTS_FAKES_FAKE_DRIVER_H_
#define TESTS_FAKES_FAKE_DRIVER_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_queue.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/mmio_transport.h"

namespace hull::fakes {

//   FakeDriver driver(device);
//   ASSERT_TRUE(driver.Start());
//   const SentChain chain = driver.Queue(0).Chain().Readable(bytes).Writable(size).Send();
//   loop->RunOnce(…);
//   EXPECT_EQ(driver.Queue(0).PopUsed()->length, size);
//
// Not thread-safe; FakeInterrupt is what a device's thread may touch meanwhile.
class FakeDriver {
 public:
  static constexpr uint64_t kDefaultMemory = 64 << 20;

  explicit FakeDriver(std::shared_ptr<virtio::Device> device,
                      uint64_t memory_size = kDefaultMemory);

  // Resets the device and sets it up (3.1.1) with those of `wanted_features` that it offers, and
  // VERSION_1. Returns whether it went well: FEATURES_OK stuck and the device needs no reset.
  // Queues get the device's sizes.
  bool Start(uint64_t wanted_features = ~0ull);
  void Reset() { WriteRegister(virtio::kMmioStatus, 0); }

  // Valid after Start and until the next one.
  FakeQueue& Queue(size_t index) { return queues_.at(index); }

  uint64_t OfferedFeatures();
  uint64_t features() const { return features_; }
  bool NeedsReset() { return (ReadRegister(virtio::kMmioStatus) & virtio::kStatusNeedsReset) != 0; }
  // InterruptStatus, acknowledged.
  uint32_t TakeInterruptStatus();

  uint32_t ReadRegister(uint64_t offset);
  void WriteRegister(uint64_t offset, uint32_t value);
  template <typename T>
  T ReadConfig(uint32_t offset) {
    T value;
    transport_->Read(virtio::kMmioConfig + offset,
                     std::span(reinterpret_cast<uint8_t*>(&value), sizeof(value)));
    return value;
  }
  // Tells the transport where queue `index` is.
  void SetUpQueue(size_t index, const virtio::QueueConfig& config);

  const GuestMemory& memory() const { return memory_; }
  GuestAllocator& allocator() { return allocator_; }
  FakeInterrupt& interrupt() { return *interrupt_; }
  virtio::MmioTransport& transport() { return *transport_; }

 private:
  const GuestMemory memory_;
  GuestAllocator allocator_;
  const std::shared_ptr<virtio::Device> device_;
  const std::shared_ptr<FakeInterrupt> interrupt_;
  // Declared after the memory, so gone before it.
  const std::shared_ptr<virtio::MmioTransport> transport_;
  uint64_t features_ = 0;
  std::vector<FakeQueue> queues_;
};

}  // namespace hull::fakes

#endif  // TESTS_FAKES_FAKE_DRIVER_H_
