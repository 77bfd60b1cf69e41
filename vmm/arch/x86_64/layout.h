// Where things are in a Hull machine's physical address space on x86-64.

#ifndef VMM_ARCH_X86_64_LAYOUT_H_
#define VMM_ARCH_X86_64_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "vmm/boot/boot_params.h"
#include "vmm/memory/guest_memory.h"

namespace hull::x86_64 {

// RAM is [0, 3 GiB) and, for what does not fit there, from 4 GiB up. Between the two lie the
// devices.
inline constexpr uint64_t kHoleStart = 0xc0000000;
inline constexpr uint64_t kHoleEnd = 0x100000000;

// virtio-mmio windows, one page each, from here on.
inline constexpr uint64_t kVirtioMmioStart = 0xd0000000;
inline constexpr uint64_t kIoapicAddress = 0xfec00000;
inline constexpr uint64_t kLapicAddress = 0xfee00000;
// Three pages of KVM's own (KVM_SET_TSS_ADDR), behind its default identity-map page.
inline constexpr uint64_t kTssAddress = 0xfffbd000;

// Low memory, in which the kernel finds the boot parameters. It reclaims all of it.
inline constexpr uint64_t kGdtAddress = 0x500;
inline constexpr uint64_t kZeroPageAddress = 0x7000;
inline constexpr uint64_t kPml4Address = 0x9000;  // And two more pages behind it.
inline constexpr uint64_t kCommandLineAddress = 0xc000;
inline constexpr uint64_t kSetupDataAddress = 0xd000;
inline constexpr uint64_t kSetupDataLimit = 0x20000;
// The PC's hole for video memory and firmware: RAM here, but not described as such.
inline constexpr uint64_t kLegacyHoleStart = 0xa0000;
// Where in that hole video memory ends and that of firmware begins.
inline constexpr uint64_t kVideoMemoryEnd = 0xc0000;
// No kernel starts below 1 MiB.
inline constexpr uint64_t kHighMemoryStart = 0x100000;

// IO-APIC pins of virtio devices; edge-triggered. Below are the serial port (4) and what firmware
// expects on a PC.
inline constexpr uint32_t kFirstVirtioPin = 5;
inline constexpr uint32_t kLastVirtioPin = 23;
inline constexpr uint32_t kMaxVirtioDevices = kLastVirtioPin - kFirstVirtioPin + 1;
inline constexpr uint32_t kSerialPin = 4;
inline constexpr uint32_t kKeyboardPin = 1;
inline constexpr uint32_t kFloppyPin = 6;
inline constexpr uint32_t kRtcPin = 8;
inline constexpr uint32_t kMousePin = 12;
inline constexpr uint32_t kPrimaryAtaPin = 14;
inline constexpr uint32_t kSecondaryAtaPin = 15;
inline constexpr uint16_t kSerialPort = 0x3f8;

// The regions of `size` bytes of guest RAM (page-aligned), for GuestMemory::Create.
std::vector<GuestMemory::Range> MemoryRanges(uint64_t size);

// The same for a pc machine, which has its video memory in the legacy hole: two regions. `size` is
// at most kHoleStart.
std::vector<GuestMemory::Range> PcMemoryRanges(uint64_t size);

// The same RAM as the kernel is told of it: without the legacy hole.
std::vector<boot::MemoryRange> E820Ranges(uint64_t size);

}  // namespace hull::x86_64

#endif  // VMM_ARCH_X86_64_LAYOUT_H_
