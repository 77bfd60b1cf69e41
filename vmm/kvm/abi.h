// The kernel's KVM interface: the only inclusion of <linux/kvm.h> in Hull.
//
// Debian 12's <linux/kvm.h> (6.1) declares flexible arrays through an empty struct, which has size
// 1 in C++ and 0 in C. Included as it is, sizeof(kvm_cpuid2) and its like are wrong in C++, the
// ioctl numbers derived from them are unknown to the kernel (EINVAL), and the arrays start 4 bytes
// late. So the macro is replaced by a zero-length array, which has C's layout in both compilers,
// and every number and offset that depended on it is pinned below.

#ifndef VMM_KVM_ABI_H_
#define VMM_KVM_ABI_H_

#include <linux/stddef.h>
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[0]
#include <linux/kvm.h>
#undef __DECLARE_FLEX_ARRAY

#include <cstddef>

namespace hull::kvm {

// The only version there ever was since Linux 2.6.22; the interface grows by capabilities.
inline constexpr int kApiVersion = KVM_API_VERSION;
static_assert(KVM_API_VERSION == 12);

static_assert(KVM_GET_SUPPORTED_CPUID == 0xc008ae05);
static_assert(KVM_GET_EMULATED_CPUID == 0xc008ae09);
static_assert(KVM_SET_CPUID2 == 0x4008ae90);
static_assert(KVM_GET_CPUID2 == 0xc008ae91);
static_assert(KVM_GET_MSRS == 0xc008ae88);
static_assert(KVM_SET_MSRS == 0x4008ae89);
static_assert(KVM_GET_MSR_INDEX_LIST == 0xc004ae02);
static_assert(KVM_SET_GSI_ROUTING == 0x4008ae6a);
static_assert(KVM_SET_SIGNAL_MASK == 0x4004ae8b);
static_assert(KVM_GET_REG_LIST == 0xc008aeb0);
static_assert(KVM_SET_PMU_EVENT_FILTER == 0x4020aeb2);

static_assert(sizeof(kvm_cpuid2) == 8 && offsetof(kvm_cpuid2, entries) == 8);
static_assert(sizeof(kvm_cpuid_entry2) == 40);
static_assert(sizeof(kvm_msrs) == 8 && offsetof(kvm_msrs, entries) == 8);
static_assert(sizeof(kvm_msr_entry) == 16);
static_assert(sizeof(kvm_msr_list) == 4 && offsetof(kvm_msr_list, indices) == 4);
static_assert(sizeof(kvm_irq_routing) == 8 && offsetof(kvm_irq_routing, entries) == 8);
static_assert(sizeof(kvm_signal_mask) == 4 && offsetof(kvm_signal_mask, sigset) == 4);
static_assert(sizeof(kvm_reg_list) == 8 && offsetof(kvm_reg_list, reg) == 8);
static_assert(sizeof(kvm_pmu_event_filter) == 32 && offsetof(kvm_pmu_event_filter, events) == 32);
static_assert(sizeof(kvm_coalesced_mmio_ring) == 8 &&
              offsetof(kvm_coalesced_mmio_ring, coalesced_mmio) == 8);
static_assert(sizeof(kvm_xsave) == 4096 && offsetof(kvm_xsave, extra) == 4096);
static_assert(sizeof(kvm_stats_desc) == 16 && offsetof(kvm_stats_desc, name) == 16);

// Structures whose ioctl numbers were never affected, but which the run loop reads in place.
static_assert(offsetof(kvm_run, immediate_exit) == 1);
static_assert(offsetof(kvm_run, exit_reason) == 8);
static_assert(offsetof(kvm_run, io) == 32);
static_assert(offsetof(kvm_run, mmio) == 32);

}  // namespace hull::kvm

#endif  // VMM_KVM_ABI_H_
