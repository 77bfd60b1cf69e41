#include "vmm/kvm/vcpu_exit.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/checked.h"

namespace hull::kvm {

namespace {

VcpuExit DecodePort(kvm_run* run, uint64_t run_size) {
  const auto& io = run->io;
  // The product cannot overflow: 8 times 32 bits.
  const uint64_t bytes = uint64_t{io.size} * io.count;
  if ((io.size != 1 && io.size != 2 && io.size != 4) || bytes == 0 ||
      !RangeFits<uint64_t>(io.data_offset, bytes, run_size)) {
    return InternalErrorExit{absl::StrCat("KVM reported a port access of ", io.count, " times ",
                                          io.size, " bytes at offset ", io.data_offset)};
  }
  return PortExit{
      .is_write = io.direction == KVM_EXIT_IO_OUT,
      .port = io.port,
      .size = io.size,
      .data = {reinterpret_cast<uint8_t*>(run) + io.data_offset, static_cast<size_t>(bytes)},
  };
}

VcpuExit DecodeMmio(kvm_run* run) {
  auto& mmio = run->mmio;
  if (mmio.len == 0 || mmio.len > sizeof(mmio.data)) {
    return InternalErrorExit{absl::StrCat("KVM reported a memory access of ", mmio.len, " bytes")};
  }
  return MmioExit{
      .is_write = mmio.is_write != 0, .address = mmio.phys_addr, .data = {mmio.data, mmio.len}};
}

VcpuExit DecodeInternal(const kvm_run* run) {
  const auto& internal = run->internal;
  std::string detail = absl::StrCat("KVM internal error ", internal.suberror);
  if (internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
    absl::StrAppend(&detail, " (an instruction that it cannot emulate");
    const auto& failure = run->emulation_failure;
    if (failure.ndata >= 3 &&
        (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
      const size_t size = std::min<size_t>(failure.insn_size, sizeof(failure.insn_bytes));
      absl::StrAppend(&detail, ": ",
                      absl::BytesToHexString(absl::string_view(
                          reinterpret_cast<const char*>(failure.insn_bytes), size)));
    }
    absl::StrAppend(&detail, ")");
  }
  return InternalErrorExit{std::move(detail)};
}

}  // namespace

VcpuExit DecodeExit(kvm_run* run, uint64_t run_size) {
  switch (run->exit_reason) {
    case KVM_EXIT_IO:
      return DecodePort(run, run_size);
    case KVM_EXIT_MMIO:
      return DecodeMmio(run);
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_DEBUG:
      return InterruptedExit{};
    case KVM_EXIT_SHUTDOWN:
      return ShutdownExit{};
    case KVM_EXIT_SYSTEM_EVENT:
      return SystemEventExit{run->system_event.type};
    case KVM_EXIT_FAIL_ENTRY:
      return InternalErrorExit{
          absl::StrCat("the CPU refused to enter the guest: reason 0x",
                       absl::Hex(run->fail_entry.hardware_entry_failure_reason))};
    case KVM_EXIT_INTERNAL_ERROR:
      return DecodeInternal(run);
    default:
      return InternalErrorExit{absl::StrCat("unexpected KVM exit ", run->exit_reason)};
  }
}

}  // namespace hull::kvm
