// Execution of a queue's requests, without a thread of its own.

#ifndef VMM_DEVICES_BLOCK_REQUEST_QUEUE_H_
#define VMM_DEVICES_BLOCK_REQUEST_QUEUE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/log_throttle.h"
#include "vmm/bus/interrupt.h"
#include "vmm/devices/block/backend.h"
#include "vmm/devices/block/request.h"
#include "vmm/virtio/queue.h"

namespace hull::block {

// How much may still be said about a disk's requests. It outlives the queues: a driver that resets
// the device again and again gets no more lines than another.
struct RequestLog {
  LogThrottle malformed;  // The driver's fault.
  LogThrottle failed;     // The host's, which the former must not use up.
};

// Used on one thread. All that is referred to outlives it.
class RequestQueue {
 public:
  // `features` are the negotiated ones, `id` the answer to GET_ID.
  RequestQueue(virtio::Queue queue, uint64_t features, std::shared_ptr<Interrupt> interrupt,
               absl::string_view id, Backend& backend, RequestLog& log);

  // Executes requests until the queue is empty, and asks the driver to notify again; or until
  // `stop` is seen set after a request. kDataLoss when the driver broke the queue: the device then
  // needs a reset, and this must not be called again.
  absl::Status Process(const std::atomic<bool>& stop);
  // How many requests the last Process has executed.
  uint32_t executed() const { return executed_; }

 private:
  struct Outcome {
    RequestStatus status;
    uint32_t written;  // Bytes of data, from the start of the writable part.
  };
  absl::Status Execute(virtio::DescriptorChain chain);
  Outcome Do(const virtio::DescriptorChain& chain, const Request& request);
  // Returns how many bytes of data it wrote to the chain.
  absl::StatusOr<uint32_t> Perform(const virtio::DescriptorChain& chain, const Request& request);
  absl::Status FlushIfWriteThrough();
  void InterruptIfWanted();

  virtio::Queue queue_;
  const std::shared_ptr<Interrupt> interrupt_;
  const absl::string_view id_;
  Backend& backend_;
  const DiskShape disk_;
  // 5.2.6.2: a driver without VIRTIO_BLK_F_FLUSH cannot ask for it, and takes every completed write
  // for stable.
  const bool write_through_;
  std::vector<iovec> slices_;  // Of the request under way; kept for its capacity.
  uint32_t executed_ = 0;
  // Since the last decision whether to interrupt.
  uint32_t completed_ = 0;
  uint64_t completed_bytes_ = 0;
  RequestLog& log_;
};

}  // namespace hull::block

#endif  // VMM_DEVICES_BLOCK_REQUEST_QUEUE_H_
