// virtio over MMIO, version 2 (VIRTIO 1.2, section 4.2).

#ifndef VMM_VIRTIO_MMIO_TRANSPORT_H_
#define VMM_VIRTIO_MMIO_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/base/event_fd.h"
#include "vmm/bus/bus_device.h"
#include "vmm/bus/interrupt.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/mmio_registers.h"

namespace hull::virtio {

// The register window of one device.
inline constexpr uint64_t kMmioSize = 0x1000;

// Registers of one device. Thread-safe: vCPU threads call Read and Write, the device's thread
// raises interrupts.
class MmioTransport : public BusDevice {
 public:
  // `interrupt` is the device's line. `memory` must outlive the transport. kInvalidArgument if a
  // queue size of the device is not a power of two in [1, kMaxQueueSize].
  static absl::StatusOr<std::shared_ptr<MmioTransport>> Create(
      const GuestMemory& memory, std::shared_ptr<Device> device,
      std::shared_ptr<Interrupt> interrupt);

  // One event per queue, by index, to be bound to kMmioQueueNotify as an ioeventfd (4 bytes wide,
  // datamatch = the index), so that no vCPU does I/O. The transport owns them; a notification write
  // that reaches Write() anyway (no ioeventfd) signals the same event.
  virtual std::span<const std::shared_ptr<const EventFd>> queue_events() const = 0;

  // Stops the device as the driver's reset does: for the machine's shutdown, while the event loop
  // still exists. Not from a callback of the loop while vCPUs run: a vCPU in a reset holds the
  // transport's lock and waits for the loop. After EventLoop::Run returned, any thread may call it.
  // The destructor does the same.
  virtual void ResetDevice() = 0;
};

}  // namespace hull::virtio

#endif  // VMM_VIRTIO_MMIO_TRANSPORT_H_
