#include "vmm/arch/x86_64/cpu_state.h"

#include "vmm/arch/x86_64/layout.h"
#include "vmm/base/status_macros.h"

namespace hull::x86_64 {

namespace {

constexpr uint64_t kPdptAddress = kPml4Address + 0x1000;
constexpr uint64_t kPageDirectoryAddress = kPml4Address + 0x2000;
constexpr uint64_t kEntriesPerTable = 512;
constexpr uint64_t kLargePage = uint64_t{2} << 20;
static_assert(kIdentityMapSize == kEntriesPerTable * kLargePage);

constexpr uint64_t kPresent = 1 << 0;
constexpr uint64_t kWritable = 1 << 1;
constexpr uint64_t kPageSizeBit = 1 << 7;

constexpr uint64_t kCr0Pe = 1 << 0;
constexpr uint64_t kCr0Pg = uint64_t{1} << 31;
constexpr uint64_t kCr4Pae = 1 << 5;
constexpr uint64_t kEferLme = 1 << 8;
constexpr uint64_t kEferLma = 1 << 10;

// Descriptors (SDM volume 3, 3.4.5): flat, present, ring 0.
constexpr uint64_t kCode64 = 0x00af9b000000ffff;
constexpr uint64_t kData = 0x00cf93000000ffff;
constexpr uint64_t kGdt[] = {0, 0, kCode64, kData};
constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;

constexpr uint32_t kMsrMiscEnable = 0x1a0;
constexpr uint64_t kMiscEnableFastString = 1 << 0;
constexpr uint32_t kMsrMtrrDefType = 0x2ff;
constexpr uint64_t kMtrrEnable = 1 << 11;
constexpr uint64_t kMtrrWriteBack = 6;

kvm_segment Segment(uint16_t selector, uint8_t type, bool is_code) {
  kvm_segment segment = {};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.db = is_code ? 0 : 1;
  segment.s = 1;
  segment.l = is_code ? 1 : 0;
  segment.g = 1;
  return segment;
}

}  // namespace

absl::Status WriteBootTables(const GuestMemory& memory) {
  HULL_RETURN_IF_ERROR(memory.WriteObject(GuestAddress{kGdtAddress}, kGdt));
  HULL_RETURN_IF_ERROR(memory.WriteObject<uint64_t>(GuestAddress{kPml4Address},
                                                    kPdptAddress | kPresent | kWritable));
  HULL_RETURN_IF_ERROR(memory.WriteObject<uint64_t>(GuestAddress{kPdptAddress},
                                                    kPageDirectoryAddress | kPresent | kWritable));
  std::array<uint64_t, kEntriesPerTable> directory;
  for (uint64_t i = 0; i < kEntriesPerTable; ++i) {
    directory[i] = (i * kLargePage) | kPresent | kWritable | kPageSizeBit;
  }
  return memory.WriteObject(GuestAddress{kPageDirectoryAddress}, directory);
}

kvm_sregs LongModeSregs(kvm_sregs sregs) {
  constexpr uint8_t kExecuteReadAccessed = 0xb;
  constexpr uint8_t kReadWriteAccessed = 0x3;
  sregs.cs = Segment(kCodeSelector, kExecuteReadAccessed, /*is_code=*/true);
  const kvm_segment data = Segment(kDataSelector, kReadWriteAccessed, /*is_code=*/false);
  sregs.ds = data;
  sregs.es = data;
  sregs.fs = data;
  sregs.gs = data;
  sregs.ss = data;
  sregs.gdt.base = kGdtAddress;
  sregs.gdt.limit = sizeof(kGdt) - 1;
  // No fault can be handled before the kernel has an IDT of its own.
  sregs.idt.base = 0;
  sregs.idt.limit = 0;
  sregs.cr3 = kPml4Address;
  sregs.cr4 |= kCr4Pae;
  sregs.cr0 |= kCr0Pe | kCr0Pg;
  sregs.efer |= kEferLme | kEferLma;
  return sregs;
}

kvm_regs BootRegs(uint64_t entry, uint64_t boot_params) {
  kvm_regs regs = {};
  regs.rip = entry;
  regs.rsi = boot_params;
  regs.rflags = 2;  // The bit that is always set.
  return regs;
}

std::array<kvm_msr_entry, 2> BootMsrs() {
  return {{
      // Linux on Intel otherwise takes string instructions for slow.
      {.index = kMsrMiscEnable, .reserved = 0, .data = kMiscEnableFastString},
      // RAM is write-back; without it a kernel with MTRR support finds all memory uncached.
      {.index = kMsrMtrrDefType, .reserved = 0, .data = kMtrrEnable | kMtrrWriteBack},
  }};
}

absl::Status SetUpBootCpu(kvm::Vcpu& vcpu, uint64_t entry, uint64_t boot_params) {
  HULL_ASSIGN_OR_RETURN(const kvm_sregs sregs, vcpu.GetSregs());
  HULL_RETURN_IF_ERROR(vcpu.SetSregs(LongModeSregs(sregs)));
  return vcpu.SetRegs(BootRegs(entry, boot_params));
}

}  // namespace hull::x86_64
