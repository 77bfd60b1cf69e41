// The thread that runs one vCPU.

#ifndef VMM_VCPU_VCPU_THREAD_H_
#define VMM_VCPU_VCPU_THREAD_H_

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "vmm/bus/bus.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/vcpu/ending.h"

namespace hull {

// A state machine: paused -> running -> paused … -> stopped. It starts paused; stopped is final.
// The thread only dispatches exits to the buses; it is taken out of the guest by a signal
// (SIGRTMIN, whose handler does nothing).
//
// All methods may be called from any thread. None of those but AwaitState and the destructor waits
// for the vCPU. Do not wait for it on a thread that its bus devices wait for (the event loop):
// let on_stopped tell instead.
class VcpuThread {
 public:
  enum class State { kPaused, kRunning, kStopped };

  struct Callbacks {
    // The first thing that the thread does. May be empty.
    std::function<void()> on_start = {};
    // The vCPU ran and is paused now. On its thread. May be empty.
    std::function<void()> on_paused = {};
    // The guest or the host ended the machine. On the vCPU's thread, at most once, before
    // on_stopped.
    std::function<void(Ending)> on_ending;
    // The thread is about to end: joining it will not wait for anything. Exactly once.
    std::function<void()> on_stopped;
  };

  // `ports` and `mmio` must outlive the thread.
  static absl::StatusOr<std::unique_ptr<VcpuThread>> Start(kvm::Vcpu vcpu, uint32_t id,
                                                           const Bus& ports, const Bus& mmio,
                                                           Callbacks callbacks);
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;
  // Stops and joins.
  ~VcpuThread();

  // Requests; nothing happens if the vCPU is stopped. A paused vCPU has completed its last access,
  // so its state can be saved.
  void Resume();
  void Pause();
  void RequestStop();
  // Takes a running vCPU out of the guest after each of its next instructions, some hundreds of
  // them: wherever among these the guest takes interrupts, KVM then gives it those that it has. For
  // a KVM that looks for such a place between two batches of instructions only.
  void Nudge();

  State state() const;
  // Whether the vCPU reached `state` within `timeout`.
  bool AwaitState(State state, absl::Duration timeout) const;

 private:
  VcpuThread(kvm::Vcpu vcpu, uint32_t id, const Bus& ports, const Bus& mmio, Callbacks callbacks)
      : vcpu_(std::move(vcpu)),
        id_(id),
        ports_(ports),
        mmio_(mmio),
        callbacks_(std::move(callbacks)) {}

  static void* Entry(void* self);
  void Body();
  // After an interrupted Run: begins or goes on with what Nudge asked for.
  void Step();
  // Blocks while paused. False when it is time to stop.
  bool EnterRunning();
  // Whether the vCPU has come to be paused now.
  bool TakePause();
  void Request(State wanted);

  kvm::Vcpu vcpu_;  // The thread's own, but for RequestImmediateExit.
  const uint32_t id_;
  const Bus& ports_;
  const Bus& mmio_;
  const Callbacks callbacks_;
  int steps_left_ = 0;  // The thread's own.
  std::atomic<bool> nudged_ = false;
  std::optional<pthread_t> thread_;  // Set before Start returns, and not again.

  mutable absl::Mutex mutex_;
  State wanted_ ABSL_GUARDED_BY(mutex_) = State::kPaused;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kPaused;
};

}  // namespace hull

#endif  // VMM_VCPU_VCPU_THREAD_H_
