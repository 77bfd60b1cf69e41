// When the worker of a disk lets the guest finish asking before it takes the CPU.

#ifndef VMM_DEVICES_BLOCK_PATIENCE_H_
#define VMM_DEVICES_BLOCK_PATIENCE_H_

#include <algorithm>
#include <cstdint>

namespace hull::block {

// Where worker and vCPU share a CPU, each notification takes the CPU from a guest that is about to
// ask for more. A patient worker does not do that, and then finds a batch, which shares one
// notification and one interrupt. But a guest that waits for each request gains nothing, and pays
// for going idle; and one that also computes keeps a patient worker waiting. So patience is tried,
// kept while it pays, and tried ever more rarely while it does not. Not thread-safe.
class Patience {
 public:
  // After each notification: `executed` requests were found. Returns whether to be patient from now
  // on.
  bool Next(uint32_t executed) {
    if (patient_) {
      patient_ = executed > 1;
      interval_ = patient_ ? 1 : std::min(interval_ * 2, kMaxInterval);
      left_ = interval_;
    } else {
      patient_ = --left_ == 0;
    }
    return patient_;
  }

 private:
  static constexpr uint32_t kMaxInterval = 64;
  // The few requests of a container's start come one by one.
  static constexpr uint32_t kFirstInterval = 16;

  bool patient_ = false;
  uint32_t interval_ = kFirstInterval;  // Of attempts, in notifications.
  uint32_t left_ = kFirstInterval;      // Notifications until the next.
};

}  // namespace hull::block

#endif  // VMM_DEVICES_BLOCK_PATIENCE_H_
