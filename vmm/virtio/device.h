// What a virtio device is to its transport.
//
// VIRTIO 1.2: feature bits and status (2.1, 2.2), configuration space (2.5), reset (2.4).

#ifndef VMM_VIRTIO_DEVICE_H_
#define VMM_VIRTIO_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "vmm/base/event_fd.h"
#include "vmm/bus/interrupt.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/queue.h"

namespace hull::virtio {

// Feature bits common to all devices (section 6).
inline constexpr uint64_t kFeatureIndirectDesc = 1ull << 28;
inline constexpr uint64_t kFeatureEventIdx = 1ull << 29;
inline constexpr uint64_t kFeatureVersion1 = 1ull << 32;

// A queue that the driver set up, and the event its notifications arrive on (an ioeventfd).
struct ActiveQueue {
  Queue queue;
  // The transport has it as well; a vCPU's thread that ends a session thus closes nothing.
  std::shared_ptr<const EventFd> kick;
};

// Everything a device needs to work, moved into it when the driver sets DRIVER_OK.
struct Activation {
  const GuestMemory* memory = nullptr;  // Outlives the device.
  uint64_t features = 0;                // Negotiated.
  // By queue index; empty where the driver left a queue unused.
  std::vector<std::optional<ActiveQueue>> queues;
  // Used-buffer notification: raise when Queue::NeedsInterrupt says so.
  std::shared_ptr<Interrupt> interrupt;
  // Configuration change notification.
  std::shared_ptr<Interrupt> config_interrupt;
  // The device found its queues malformed: sets DEVICE_NEEDS_RESET and notifies the driver (2.1.2).
  // Any thread.
  std::function<void()> needs_reset;
};

// Reads a configuration space held as bytes; what lies beyond it is zeroes.
inline void CopyConfig(std::span<const uint8_t> space, uint32_t offset, std::span<uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = uint64_t{offset} + i;
    data[i] = at < space.size() ? space[at] : 0;
  }
}

// A device behind any transport. The transport calls all of these under its own lock, on vCPU
// threads: none may block, and Activate and Reset hand their work to the device's own thread (the
// event loop: EventLoop::Post and RunAndWait), Reset returning only when that thread has let go of
// the queues. The device's thread may raise interrupts and ask for a reset meanwhile: those take no
// lock of the transport's.
class Device {
 public:
  virtual ~Device() = default;

  // Section 5: 2 block, 4 entropy source, 19 socket …
  virtual uint32_t type() const = 0;
  // For log lines: "block:root".
  virtual absl::string_view name() const = 0;
  // Offered feature bits, without those of the transport and the queue (VERSION_1, INDIRECT_DESC
  // and EVENT_IDX are added by the transport).
  virtual uint64_t features() const = 0;
  // The largest size of each queue; the length is the number of queues. Powers of two, at most
  // kMaxQueueSize.
  virtual std::span<const uint16_t> queue_sizes() const = 0;

  // The device-specific configuration space. Offset and size are guest-controlled; what lies beyond
  // the space reads as zeroes.
  virtual void ReadConfig(uint32_t offset, std::span<uint8_t> data) const = 0;
  // Most devices have nothing writable.
  virtual void WriteConfig(uint32_t offset, std::span<const uint8_t> data) {
    (void)offset;
    (void)data;
  }

  // Called at most once after each reset. An error sets DEVICE_NEEDS_RESET.
  virtual absl::Status Activate(Activation activation) = 0;
  // Stops and forgets the queues: requests under way finish or are dropped before it returns.
  // Called once after each Activate, also after one that failed.
  virtual void Reset() = 0;
};

}  // namespace hull::virtio

#endif  // VMM_VIRTIO_DEVICE_H_
