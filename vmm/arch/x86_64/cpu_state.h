// The state in which a vCPU enters the guest.
//
// Linux kernel documentation, arch/x86/boot.rst, "64-bit Boot Protocol": long mode, flat segments
// __BOOT_CS (0x10) and __BOOT_DS (0x18), interrupts off, memory identity-mapped, RSI pointing at
// the boot parameters.

#ifndef VMM_ARCH_X86_64_CPU_STATE_H_
#define VMM_ARCH_X86_64_CPU_STATE_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "vmm/kvm/abi.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory/guest_memory.h"

namespace hull::x86_64 {

// The size of what WriteBootTables maps: everything that the kernel touches before it has page
// tables of its own must end below it.
inline constexpr uint64_t kIdentityMapSize = uint64_t{1} << 30;

// Writes the GDT, and page tables that map [0, kIdentityMapSize) to itself in 2 MiB pages (which
// every CPU with long mode has).
absl::Status WriteBootTables(const GuestMemory& memory);

// `sregs` (as KVM reset them) turned to long mode on the tables of WriteBootTables. Pure.
kvm_sregs LongModeSregs(kvm_sregs sregs);

// Pure.
kvm_regs BootRegs(uint64_t entry, uint64_t boot_params);

// Registers that firmware would have set on every vCPU. Pure.
std::array<kvm_msr_entry, 2> BootMsrs();

// All of it on the vCPU that starts Linux. The others wait for INIT and SIPI, which reset them.
absl::Status SetUpBootCpu(kvm::Vcpu& vcpu, uint64_t entry, uint64_t boot_params);

}  // namespace hull::x86_64

#endif  // VMM_ARCH_X86_64_CPU_STATE_H_
