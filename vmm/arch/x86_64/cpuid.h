// What CPUID shows to the guest.
//
// Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; Linux, virt/kvm/x86/cpuid.rst.

#ifndef VMM_ARCH_X86_64_CPUID_H_
#define VMM_ARCH_X86_64_CPUID_H_

#include <cstdint>
#include <span>
#include <vector>

#include "vmm/kvm/abi.h"

namespace hull::x86_64 {

// Describes one socket of `vcpus` single-threaded cores to the vCPU with APIC id `id`, starting
// from what KVM supports (System::SupportedCpuid): the host's own topology must not show through,
// and the hypervisor bit and the TSC-deadline timer, which KVM leaves to the VMM, are added. KVM's
// own leaves (0x40000000 …) pass as they are.
//
// `tsc_deadline`: KVM_CAP_TSC_DEADLINE_TIMER. `vcpus` is 1 to 255, `id` below it. Pure.
std::vector<kvm_cpuid_entry2> GuestCpuid(std::span<const kvm_cpuid_entry2> supported,
                                         uint32_t vcpus, uint32_t id, bool tsc_deadline);

// Whether this CPU shows virtualisation of its own (VT-x or SVM). Where it does not and there is
// KVM nevertheless, KVM executes the guest's instructions one by one.
bool HostHasVirtualization();

}  // namespace hull::x86_64

#endif  // VMM_ARCH_X86_64_CPUID_H_
