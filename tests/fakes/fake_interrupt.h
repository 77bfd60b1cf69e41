// An interrupt line that counts.

#ifndef TESTS_FAKES_FAKE_INTERRUPT_H_
#define TESTS_FAKES_FAKE_INTERRUPT_H_

#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "vmm/bus/interrupt.h"

namespace hull::fakes {

// Thread-safe.
class FakeInterrupt : public Interrupt {
 public:
  void Raise() override {
    absl::MutexLock lock(&mutex_);
    ++count_;
  }

  uint64_t count() const {
    absl::MutexLock lock(&mutex_);
    return count_;
  }

  // Waits for the `count`-th interrupt since construction; false if it did not come in time.
  bool WaitFor(uint64_t count, absl::Duration timeout = absl::Seconds(20)) const {
    const auto reached = [this, count] { return count_ >= count; };
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
  }

 private:
  mutable absl::Mutex mutex_;
  uint64_t count_ = 0;
};

}  // namespace hull::fakes

#endif  // TESTS_FAKES_FAKE_INTERRUPT_H_
