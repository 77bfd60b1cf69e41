// The virtio block device (VIRTIO 1.2, 5.2).

#ifndef VMM_DEVICES_BLOCK_DEVICE_H_
#define VMM_DEVICES_BLOCK_DEVICE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/log_throttle.h"
#include "vmm/base/unique_fd.h"
#include "vmm/base/worker_thread.h"
#include "vmm/devices/block/backend.h"
#include "vmm/devices/block/patience.h"
#include "vmm/devices/block/request_queue.h"
#include "vmm/virtio/device.h"

namespace hull::block {

// One disk, with one queue and one thread: the worker waits for the queue's notification itself,
// executes the requests one by one and raises the interrupt, so that neither a vCPU nor the event
// loop ever does I/O or hands a request on. See README.md for why.
//
// The thread starts in Create: create devices after the process has entered its jail (a process
// with threads cannot unshare its user namespace) and before its main thread narrows its system
// calls. Methods of virtio::Device: as there.
class Device : public virtio::Device {
 public:
  // `id` names the disk in log lines, and is its serial number in the guest
  // (/sys/block/vda/serial): kInvalidArgument if it is empty or longer than the 20 bytes there are.
  // `thread_start` is the first thing that the worker's thread does.
  static absl::StatusOr<std::shared_ptr<Device>> Create(std::string id,
                                                        std::unique_ptr<Backend> backend,
                                                        std::function<void()> thread_start = {});
  ~Device() override;

  uint32_t type() const override { return 2; }
  absl::string_view name() const override { return name_; }
  uint64_t features() const override { return features_; }
  std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) const override;
  absl::Status Activate(virtio::Activation activation) override;
  void Reset() override;

 private:
  // Half of Firecracker's: a Linux guest allocates a request structure for each entry at boot.
  static constexpr std::array<uint16_t, 1> kQueueSizes = {128};

  Device(std::string id, std::unique_ptr<Backend> backend, UniqueFd epoll, EventFd control);

  // The worker's body.
  void Work();
  // Takes a new activation, or lets go of the queue. Returns whether there is a queue now.
  bool HandleControl();
  void ProcessQueue();
  // For the scheduler: whether a notification may take the CPU from the vCPU that sent it.
  void SetPatient(bool patient);
  // Gives up a queue that cannot be used, and asks the driver for a reset.
  void GiveUpUnlessOk(const absl::Status& status);

  const std::string id_;
  const std::string name_;
  const std::unique_ptr<Backend> backend_;  // The worker's.
  const uint64_t features_;
  const UniqueFd epoll_;
  const EventFd control_;  // Something below changed.
  LogThrottle throttle_;
  RequestLog request_log_;

  absl::Mutex mutex_;
  // Handed to the worker and not yet taken.
  std::optional<virtio::Activation> pending_ ABSL_GUARDED_BY(mutex_);
  // The worker took a queue; true until it has seen release_.
  bool worker_has_queue_ ABSL_GUARDED_BY(mutex_) = false;
  // The worker is to let go of its queue; also looked at between two requests.
  std::atomic<bool> release_{false};

  // The worker's. Null also after it gave up a queue that the driver broke.
  class Active;
  std::unique_ptr<Active> active_;
  Patience patience_;     // The worker's.
  bool patient_ = false;  // The worker's: how it is scheduled.

  std::atomic<bool> stopping_{false};
  std::unique_ptr<WorkerThread> worker_;  // Last: it uses all of the above.
};

}  // namespace hull::block

#endif  // VMM_DEVICES_BLOCK_DEVICE_H_
