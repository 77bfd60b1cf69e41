// How a machine's life ended.

#ifndef VMM_VCPU_ENDING_H_
#define VMM_VCPU_ENDING_H_

#include <string>

namespace hull {

struct Ending {
  enum class Kind {
    kPowerOff,       // The guest asked for it.
    kReboot,         // The guest asked for it.
    kPanic,          // The guest's kernel said so.
    kTripleFault,    // A fault while delivering a fault while delivering a fault.
    kInternalError,  // The guest did what KVM or the CPU cannot go on from.
    kHostError,      // The host failed; not the guest's doing.
    kStopped,        // Asked from outside, by a signal.
  };

  Kind kind = Kind::kPowerOff;
  std::string detail;  // For kInternalError and kHostError: what happened.
};

}  // namespace hull

#endif  // VMM_VCPU_ENDING_H_
