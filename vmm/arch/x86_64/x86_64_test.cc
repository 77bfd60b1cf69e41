#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/arch/x86_64/cpu_state.h"
#include "vmm/arch/x86_64/cpuid.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/memory/guest_memory.h"

namespace hull::x86_64 {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(LayoutTest, SmallMemoryIsOneRegion) {
  const auto ranges = MemoryRanges(kGiB);
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].size, kGiB);
  const auto e820 = E820Ranges(kGiB);
  ASSERT_EQ(e820.size(), 2u);
  EXPECT_EQ(e820[0].size, 0xa0000u);
  EXPECT_EQ(e820[1].start + e820[1].size, kGiB);
}

TEST(LayoutTest, TheDeviceHoleIsLeftOut) {
  ASSERT_EQ(MemoryRanges(3 * kGiB).size(), 1u);
  const auto ranges = MemoryRanges(3 * kGiB + 4096);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].size, 3 * kGiB);
  EXPECT_EQ(ranges[1].start.value, 4 * kGiB);
  EXPECT_EQ(ranges[1].size, 4096u);
  const auto e820 = E820Ranges(3 * kGiB + 4096);
  ASSERT_EQ(e820.size(), 3u);
  EXPECT_EQ(e820[2].start, 4 * kGiB);
  EXPECT_EQ(e820[2].size, 4096u);
}

TEST(LayoutTest, DevicesLieInTheHole) {
  EXPECT_GE(kVirtioMmioStart, kHoleStart);
  EXPECT_LE(kVirtioMmioStart + kMaxVirtioDevices * 0x1000, kIoapicAddress);
  EXPECT_LT(kTssAddress + 0x3000, kHoleEnd);
}

kvm_cpuid_entry2 Leaf(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
                      uint32_t edx) {
  kvm_cpuid_entry2 entry = {};
  entry.function = function;
  entry.index = index;
  entry.eax = eax;
  entry.ebx = ebx;
  entry.ecx = ecx;
  entry.edx = edx;
  return entry;
}

const kvm_cpuid_entry2* Find(const std::vector<kvm_cpuid_entry2>& entries, uint32_t function,
                             uint32_t index = 0) {
  for (const kvm_cpuid_entry2& entry : entries) {
    if (entry.function == function && entry.index == index) return &entry;
  }
  return nullptr;
}

// A host of 64 processors, with every leaf that the patches touch.
std::vector<kvm_cpuid_entry2> Host() {
  return {
      Leaf(0, 0, 0x1f, 0, 0, 0),
      Leaf(1, 0, 0x800f12, 0x3f400800, 0x00200001, 0x178bfbff),
      Leaf(4, 0, 0xfc1f8121, 1, 2, 3),  // L1, shared by 8.
      Leaf(4, 3, 0xfc1f8163, 1, 2, 3),  // L3.
      Leaf(4, 4, 0, 0, 0, 0),
      Leaf(0xb, 0, 1, 2, 0x100, 37),
      Leaf(0xb, 1, 6, 64, 0x201, 37),
      Leaf(0xb, 2, 0, 0, 2, 37),
      Leaf(0x1f, 0, 1, 2, 0x100, 37),
      Leaf(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
      Leaf(0x40000001, 0, 0x01007efb, 0, 0, 0),
      Leaf(0x80000001, 0, 0, 0, 0x004001f3, 0),
      Leaf(0x80000008, 0, 0x3030, 0, 0x703f, 0),
      Leaf(0x8000001d, 3, 0x0003c163, 1, 2, 3),
      Leaf(0x8000001e, 0, 37, 0x112, 0x301, 0),
  };
}

TEST(GuestCpuidTest, HypervisorAndTimerBits) {
  const auto with = GuestCpuid(Host(), 1, 0, true);
  EXPECT_EQ(Find(with, 1)->ecx, 0x00200001u | (1u << 31) | (1u << 24));
  const auto without = GuestCpuid(Host(), 1, 0, false);
  EXPECT_EQ(Find(without, 1)->ecx, 0x00200001u | (1u << 31));
}

TEST(GuestCpuidTest, KvmsLeavesPass) {
  const auto guest = GuestCpuid(Host(), 1, 0, true);
  EXPECT_EQ(Find(guest, 0x40000001)->eax, 0x01007efbu);
  EXPECT_EQ(Find(guest, 0x40000000)->ebx, 0x4b4d564bu);
}

TEST(GuestCpuidTest, TopologyOfThreeCpus) {
  const auto guest = GuestCpuid(Host(), 3, 2, true);
  EXPECT_EQ(Find(guest, 1)->ebx, 0x02030800u);
  EXPECT_NE(Find(guest, 1)->edx & (1u << 28), 0u);
  for (const uint32_t leaf : {0xbu, 0x1fu}) {
    EXPECT_EQ(Find(guest, leaf, 0)->eax, 0u);
    EXPECT_EQ(Find(guest, leaf, 0)->ebx, 1u);
    EXPECT_EQ(Find(guest, leaf, 0)->ecx, 0x100u);
    EXPECT_EQ(Find(guest, leaf, 1)->eax, 2u);  // Ids 0 to 2 take two bits.
    EXPECT_EQ(Find(guest, leaf, 1)->ebx, 3u);
    EXPECT_EQ(Find(guest, leaf, 1)->ecx, 0x201u);
    EXPECT_EQ(Find(guest, leaf, 1)->edx, 2u);
    EXPECT_EQ(Find(guest, leaf, 2)->ecx, 2u);
    EXPECT_EQ(Find(guest, leaf, 2)->ebx, 0u);
    EXPECT_EQ(Find(guest, leaf, 0)->flags, uint32_t{KVM_CPUID_FLAG_SIGNIFCANT_INDEX});
  }
  EXPECT_EQ(Find(guest, 0x80000008)->ecx, 0x2002u);
  EXPECT_EQ(Find(guest, 0x8000001e)->eax, 2u);
  EXPECT_EQ(Find(guest, 0x8000001e)->ebx, 2u);
  EXPECT_EQ(Find(guest, 0x8000001e)->ecx, 0u);
  EXPECT_NE(Find(guest, 0x80000001)->ecx & 2u, 0u);
}

TEST(GuestCpuidTest, Caches) {
  const auto guest = GuestCpuid(Host(), 4, 0, true);
  // Level 1 is one core's, level 3 is shared by all four, of a socket of four cores.
  EXPECT_EQ((Find(guest, 4, 0)->eax >> 14) & 0xfff, 0u);
  EXPECT_EQ((Find(guest, 4, 3)->eax >> 14) & 0xfff, 3u);
  EXPECT_EQ(Find(guest, 4, 3)->eax >> 26, 3u);
  EXPECT_EQ(Find(guest, 4, 4)->eax, 0u);
  EXPECT_EQ((Find(guest, 0x8000001d, 3)->eax >> 14) & 0xfff, 3u);
  // The rest of a leaf stays.
  EXPECT_EQ(Find(guest, 4, 3)->eax & 0x3fff, 0x163u | 0x0u);
}

TEST(GuestCpuidTest, OneCpu) {
  const auto guest = GuestCpuid(Host(), 1, 0, true);
  EXPECT_EQ(Find(guest, 1)->edx & (1u << 28), 0u);
  EXPECT_EQ(Find(guest, 0xb, 1)->eax, 0u);
  EXPECT_EQ(Find(guest, 0x80000008)->ecx, 0u);
  EXPECT_EQ(Find(guest, 0x80000001)->ecx & 2u, 0u);
}

TEST(GuestCpuidTest, NothingOfTheHostsTopologyIsLeft) {
  const auto a = GuestCpuid(Host(), 2, 1, true);
  auto other = Host();
  other[1].ebx = 0x05100800;
  for (kvm_cpuid_entry2& entry : other) {
    if (entry.function == 0xb || entry.function == 0x1f) entry.edx = 5;
    if (entry.function == 0x8000001e) entry.eax = 5;
  }
  const auto b = GuestCpuid(other, 2, 1, true);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(std::memcmp(&a[i], &b[i], sizeof(a[i])), 0) << "leaf " << a[i].function;
  }
}

TEST(CpuStateTest, TablesMapTheFirstGiBToItself) {
  const auto memory =
      *GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 1 << 20}});
  ASSERT_TRUE(WriteBootTables(memory).ok());
  const auto entry = [&](uint64_t address) {
    return *memory.ReadObject<uint64_t>(GuestAddress{address});
  };
  const kvm_sregs sregs = LongModeSregs({});
  constexpr uint64_t kAddressMask = 0x000ffffffffff000;
  const uint64_t pdpt = entry(sregs.cr3);
  EXPECT_EQ(pdpt & 3, 3u);
  const uint64_t directory = entry(pdpt & kAddressMask);
  EXPECT_EQ(directory & 3, 3u);
  for (uint64_t i = 0; i < 512; ++i) {
    EXPECT_EQ(entry((directory & kAddressMask) + i * 8), (i << 21) | 0x83) << i;
  }
  // The segments' selectors point at what their hidden parts hold.
  const uint64_t code = entry(sregs.gdt.base + sregs.cs.selector);
  EXPECT_EQ((code >> 53) & 1, sregs.cs.l);
  EXPECT_EQ((code >> 40) & 0xf, sregs.cs.type);
  const uint64_t data = entry(sregs.gdt.base + sregs.ds.selector);
  EXPECT_EQ((data >> 40) & 0xf, sregs.ds.type);
  EXPECT_EQ(sregs.gdt.limit, 4 * 8 - 1);
}

TEST(CpuStateTest, LongMode) {
  kvm_sregs reset = {};
  reset.cr0 = 0x60000010;
  reset.apic_base = 0xfee00900;
  const kvm_sregs sregs = LongModeSregs(reset);
  EXPECT_EQ(sregs.cr0, 0x60000010u | 0x80000001u);
  EXPECT_EQ(sregs.cr4, 0x20u);
  EXPECT_EQ(sregs.efer, 0x500u);
  EXPECT_EQ(sregs.apic_base, 0xfee00900u);
  EXPECT_EQ(sregs.cs.selector, 0x10);
  EXPECT_EQ(sregs.ss.selector, 0x18);
  const kvm_regs regs = BootRegs(0x200000, 0x7000);
  EXPECT_EQ(regs.rip, 0x200000u);
  EXPECT_EQ(regs.rsi, 0x7000u);
  EXPECT_EQ(regs.rflags, 2u) << "interrupts are off";
}

}  // namespace
}  // namespace hull::x86_64
