// Why a vCPU left the guest, decoded from KVM's run page.

#ifndef VMM_KVM_VCPU_EXIT_H_
#define VMM_KVM_VCPU_EXIT_H_

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "vmm/kvm/abi.h"

namespace hull::kvm {

// A port access. `data` holds `count` accesses of `size` bytes each (a string instruction makes
// more than one); a read fills it. It lies in the run page and is valid until the next Run.
struct PortExit {
  bool is_write = false;
  uint16_t port = 0;
  uint8_t size = 0;  // 1, 2 or 4.
  std::span<uint8_t> data;
};

// A memory-mapped access, 1 to 8 bytes. A read fills `data`, in the run page as above.
struct MmioExit {
  bool is_write = false;
  uint64_t address = 0;
  std::span<uint8_t> data;
};

// A signal, immediate exit, a single step, or something that KVM handled itself: run again.
struct InterruptedExit {};

// The CPU shut down: in practice a triple fault.
struct ShutdownExit {};

// A paravirtual request of the guest: KVM_SYSTEM_EVENT_*.
struct SystemEventExit {
  uint32_t type = 0;
};

// The guest cannot go on, and it is not a fault it asked for: entry refused by the hardware, an
// instruction that KVM cannot emulate, a reason unknown to Hull.
struct InternalErrorExit {
  std::string detail;
};

using VcpuExit = std::variant<InterruptedExit, PortExit, MmioExit, ShutdownExit, SystemEventExit,
                              InternalErrorExit>;

// Decodes the first `run_size` bytes at `run`, which KVM wrote. Sizes and offsets in it are
// checked against run_size: a page that does not hold together is an InternalErrorExit.
VcpuExit DecodeExit(kvm_run* run, uint64_t run_size);

}  // namespace hull::kvm

#endif  // VMM_KVM_VCPU_EXIT_H_
