// What a vCPU's exit means.

#ifndef VMM_VCPU_EXIT_HANDLER_H_
#define VMM_VCPU_EXIT_HANDLER_H_

#include <optional>

#include "vmm/bus/bus.h"
#include "vmm/kvm/vcpu_exit.h"
#include "vmm/vcpu/ending.h"

namespace hull {

// Carries out an access on its bus (a read's answer goes into the exit's data), or says how the
// machine ended. Thread-safe as the buses are; never blocks.
std::optional<Ending> HandleExit(const kvm::VcpuExit& exit, const Bus& ports, const Bus& mmio);

}  // namespace hull

#endif  // VMM_VCPU_EXIT_HANDLER_H_
