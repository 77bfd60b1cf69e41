// Bounds the log lines that a guest can cause.

#ifndef VMM_BASE_LOG_THROTTLE_H_
#define VMM_BASE_LOG_THROTTLE_H_

#include <atomic>
#include <cstdint>

namespace hull {

// Allows the first `limit` events and counts the rest:
//   if (throttle_.Allow()) LOG(WARNING) << …;
// Thread-safe.
class LogThrottle {
 public:
  explicit LogThrottle(uint64_t limit = 10) : limit_(limit) {}

  bool Allow() { return seen_.fetch_add(1, std::memory_order_relaxed) < limit_; }
  // How many events were not allowed.
  uint64_t suppressed() const {
    const uint64_t seen = seen_.load(std::memory_order_relaxed);
    return seen > limit_ ? seen - limit_ : 0;
  }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> seen_{0};
};

}  // namespace hull

#endif  // VMM_BASE_LOG_THROTTLE_H_
