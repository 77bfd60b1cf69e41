// The virtio entropy device (VIRTIO 1.2, 5.4).

#ifndef VMM_DEVICES_RNG_DEVICE_H_
#define VMM_DEVICES_RNG_DEVICE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "vmm/base/log_throttle.h"
#include "vmm/event/event_loop.h"
#include "vmm/virtio/device.h"

namespace hull::rng {

// Fills the guest's buffers from the host's generator, on the event loop.
//
// At most kMaxRequest bytes of a chain are filled (the driver is told how many). After every
// kBudget bytes the device pauses for kPause, so that a guest which asks without end gets 640 KiB a
// second and leaves the loop to the other devices. Methods of virtio::Device: as there.
class Device : public virtio::Device {
 public:
  static constexpr uint32_t kMaxRequest = 64 << 10;
  static constexpr uint32_t kBudget = 64 << 10;
  static constexpr absl::Duration kPause = absl::Milliseconds(100);
  // What a chain costs at least, as even an empty one takes time.
  static constexpr uint32_t kMinCost = 256;

  // Where the random bytes come from: fills all of its argument.
  using Source = std::function<absl::Status(std::span<uint8_t>)>;

  // `loop` must outlive the device. Without a source: getrandom(2).
  static std::shared_ptr<Device> Create(EventLoop* loop);
  static std::shared_ptr<Device> Create(EventLoop* loop, Source source);
  ~Device() override;

  uint32_t type() const override { return 4; }
  absl::string_view name() const override { return "rng"; }
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  // 5.4.4: there is no configuration space.
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) const override {
    virtio::CopyConfig({}, offset, data);
  }
  absl::Status Activate(virtio::Activation activation) override;
  void Reset() override;

 private:
  // Linux has one request under way at a time.
  static constexpr std::array<uint16_t, 1> kQueueSizes = {8};

  // Belongs to the loop's thread.
  struct Active {
    virtio::Activation activation;
    std::optional<EventLoop::Id> watch;
    std::optional<EventLoop::Id> timer;  // Set while the budget is used up.
    uint32_t budget = kBudget;           // Bytes left until the next pause.
  };

  Device(EventLoop* loop, Source source) : loop_(loop), source_(std::move(source)) {}
  // On the loop's thread:
  void Start(virtio::Activation activation);
  void Stop();
  void StopWatching();
  void Process();
  // Until the queue is empty or the budget is used up.
  absl::Status FillChains(virtio::Queue& queue);

  EventLoop* const loop_;
  const Source source_;
  std::unique_ptr<Active> active_;
  LogThrottle throttle_;
};

}  // namespace hull::rng

#endif  // VMM_DEVICES_RNG_DEVICE_H_
