#include "vmm/vcpu/vcpu_thread.h"

#include <signal.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/thread.h"
#include "vmm/vcpu/exit_handler.h"

namespace hull {

namespace {

// Longer than a loop in which firmware waits for an interrupt.
constexpr int kNudgeSteps = 400;

int KickSignal() { return SIGRTMIN; }

// The signal only has to interrupt KVM_RUN, so its handler is empty, but it must be there:
// an ignored signal would not interrupt. Doing this again changes nothing.
absl::Status InstallKickHandler() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  if (sigaction(KickSignal(), &action, nullptr) != 0) return PosixError("sigaction");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<VcpuThread>> VcpuThread::Start(kvm::Vcpu vcpu, uint32_t id,
                                                              const Bus& ports, const Bus& mmio,
                                                              Callbacks callbacks) {
  HULL_RETURN_IF_ERROR(InstallKickHandler());
  std::unique_ptr<VcpuThread> self(
      new VcpuThread(std::move(vcpu), id, ports, mmio, std::move(callbacks)));

  HULL_ASSIGN_OR_RETURN(self->thread_, StartThread(absl::StrCat("vcpu", id), &VcpuThread::Entry,
                                                   self.get(), KickSignal()));
  return self;
}

VcpuThread::~VcpuThread() {
  if (!thread_.has_value()) return;
  RequestStop();
  pthread_join(*thread_, nullptr);
}

void* VcpuThread::Entry(void* self) {
  static_cast<VcpuThread*>(self)->Body();
  return nullptr;
}

void VcpuThread::Resume() { Request(State::kRunning); }
void VcpuThread::Pause() { Request(State::kPaused); }
void VcpuThread::RequestStop() { Request(State::kStopped); }

void VcpuThread::Request(State wanted) {
  absl::MutexLock lock(&mutex_);
  if (wanted_ == State::kStopped) return;
  wanted_ = wanted;
  if (wanted == State::kRunning) return;
  // In this order: the flag stops a KVM_RUN that is about to start, the signal one that did. The
  // thread clears the flag under the same lock, and only when it is to run.
  vcpu_.RequestImmediateExit(true);
  pthread_kill(*thread_, KickSignal());
}

void VcpuThread::Nudge() {
  absl::MutexLock lock(&mutex_);
  if (state_ != State::kRunning) return;
  nudged_ = true;
  pthread_kill(*thread_, KickSignal());
}

void VcpuThread::Step() {
  if (steps_left_ > 0) {
    if (--steps_left_ == 0) (void)vcpu_.SetSingleStep(false);
  } else if (nudged_.exchange(false) && vcpu_.SetSingleStep(true).ok()) {
    steps_left_ = kNudgeSteps;
  }
}

VcpuThread::State VcpuThread::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

bool VcpuThread::AwaitState(State state, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto reached = [this, state] {
    mutex_.AssertReaderHeld();
    return state_ == state;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
}

bool VcpuThread::TakePause() {
  absl::MutexLock lock(&mutex_);
  if (wanted_ != State::kPaused || state_ == State::kPaused) return false;
  state_ = State::kPaused;
  return true;
}

bool VcpuThread::EnterRunning() {
  while (true) {
    if (TakePause() && callbacks_.on_paused) callbacks_.on_paused();
    absl::MutexLock lock(&mutex_);
    // A pause that was asked for since is told of, too.
    if (wanted_ == State::kPaused && state_ != State::kPaused) continue;
    auto wanted = [this] {
      mutex_.AssertReaderHeld();
      return wanted_ != State::kPaused;
    };
    mutex_.Await(absl::Condition(&wanted));
    if (wanted_ == State::kStopped) return false;
    vcpu_.RequestImmediateExit(false);
    state_ = State::kRunning;
    return true;
  }
}

void VcpuThread::Body() {
  pthread_setname_np(pthread_self(), absl::StrCat("vcpu", id_).c_str());
  if (callbacks_.on_start) callbacks_.on_start();
  std::optional<Ending> ending;
  while (!ending.has_value() && EnterRunning()) {
    bool interrupted = false;
    while (!interrupted && !ending.has_value()) {
      const absl::StatusOr<kvm::VcpuExit> exit = vcpu_.Run();
      if (exit.ok()) {
        interrupted = std::holds_alternative<kvm::InterruptedExit>(*exit);
        if (interrupted) Step();
        ending = HandleExit(*exit, ports_, mmio_);
      } else {
        ending = Ending{Ending::Kind::kHostError, std::string(exit.status().message())};
      }
    }
  }
  if (ending.has_value()) callbacks_.on_ending(*std::move(ending));
  {
    absl::MutexLock lock(&mutex_);
    wanted_ = State::kStopped;
    state_ = State::kStopped;
  }
  callbacks_.on_stopped();
}

}  // namespace hull
