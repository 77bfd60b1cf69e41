#include "vmm/arch/x86_64/cpuid.h"

#include <cpuid.h>

#include <algorithm>
#include <bit>

namespace hull::x86_64 {

namespace {

// Replaces bits [low, high] of `reg`.
void SetBits(uint32_t& reg, int high, int low, uint32_t value) {
  const uint32_t mask = ((high - low == 31) ? ~0u : ((1u << (high - low + 1)) - 1)) << low;
  reg = (reg & ~mask) | ((value << low) & mask);
}

void SetBit(uint32_t& reg, int bit, bool value) { SetBits(reg, bit, bit, value ? 1 : 0); }

struct Topology {
  uint32_t vcpus;
  uint32_t id;
  // How many low bits of an APIC id number the cores of the (one) socket.
  uint32_t core_bits;
};

bool IsTopologyLeaf(uint32_t function) { return function == 0xb || function == 0x1f; }

// Leaves 0xb and 0x1f: one thread a core, `vcpus` cores a socket, then the level that ends the
// list.
void AppendTopologyLeaf(uint32_t function, const Topology& topology,
                        std::vector<kvm_cpuid_entry2>& entries) {
  constexpr uint32_t kThreadLevel = 1;
  constexpr uint32_t kCoreLevel = 2;
  const struct {
    uint32_t shift;
    uint32_t processors;
    uint32_t level;
  } levels[] = {{0, 1, kThreadLevel}, {topology.core_bits, topology.vcpus, kCoreLevel}, {0, 0, 0}};
  for (uint32_t index = 0; index < std::size(levels); ++index) {
    kvm_cpuid_entry2 entry = {};
    entry.function = function;
    entry.index = index;
    entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    entry.eax = levels[index].shift;
    entry.ebx = levels[index].processors;
    entry.ecx = (levels[index].level << 8) | index;
    entry.edx = topology.id;
    entries.push_back(entry);
  }
}

void Patch(const Topology& topology, bool tsc_deadline, kvm_cpuid_entry2& entry) {
  switch (entry.function) {
    case 1:
      SetBits(entry.ebx, 31, 24, topology.id);
      SetBits(entry.ebx, 23, 16, topology.vcpus);
      SetBit(entry.ecx, 24, tsc_deadline);
      SetBit(entry.ecx, 31, true);                // There is a hypervisor.
      SetBit(entry.edx, 28, topology.vcpus > 1);  // The count in EBX is valid.
      break;
    case 4:           // Intel's caches,
    case 0x8000001d:  // and AMD's, in the same format.
    {
      const uint32_t type = entry.eax & 0x1f;
      if (type == 0) break;  // The end of the list.
      const uint32_t level = (entry.eax >> 5) & 7;
      // Levels 1 and 2 are a core's own; level 3 is the socket's.
      SetBits(entry.eax, 25, 14, level >= 3 ? topology.vcpus - 1 : 0);
      if (entry.function == 4) SetBits(entry.eax, 31, 26, topology.vcpus - 1);
      break;
    }
    case 0x80000001:
      SetBit(entry.ecx, 1, topology.vcpus > 1);  // AMD: cores, not threads, in leaf 1.
      break;
    case 0x80000008:  // AMD: number of cores. Reserved on Intel, where it is 0.
      if (entry.ecx != 0 || topology.vcpus > 1) {
        SetBits(entry.ecx, 7, 0, topology.vcpus - 1);
        SetBits(entry.ecx, 15, 12, topology.core_bits);
      }
      break;
    case 0x8000001e:  // AMD: which core and node.
      entry.eax = topology.id;
      SetBits(entry.ebx, 7, 0, topology.id);
      SetBits(entry.ebx, 15, 8, 0);  // One thread a core.
      SetBits(entry.ecx, 10, 0, 0);  // One node, number 0.
      break;
    default:
      break;
  }
}

}  // namespace

std::vector<kvm_cpuid_entry2> GuestCpuid(std::span<const kvm_cpuid_entry2> supported,
                                         uint32_t vcpus, uint32_t id, bool tsc_deadline) {
  const Topology topology = {
      .vcpus = vcpus, .id = id, .core_bits = static_cast<uint32_t>(std::bit_width(vcpus - 1))};
  std::vector<kvm_cpuid_entry2> entries;
  entries.reserve(supported.size() + 4);
  for (kvm_cpuid_entry2 entry : supported) {
    if (IsTopologyLeaf(entry.function)) {
      // Written anew, whatever subleaves the host has; once, where its first one stood.
      if (entry.index == 0) AppendTopologyLeaf(entry.function, topology, entries);
      continue;
    }
    Patch(topology, tsc_deadline, entry);
    entries.push_back(entry);
  }
  return entries;
}

bool HostHasVirtualization() {
  constexpr unsigned kVmx = 1 << 5;  // Leaf 1, ECX.
  constexpr unsigned kSvm = 1 << 2;  // Leaf 0x80000001, ECX.
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kVmx) != 0) return true;
  return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kSvm) != 0;
}

}  // namespace hull::x86_64
