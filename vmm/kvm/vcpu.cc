#include "vmm/kvm/vcpu.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"
#include "vmm/kvm/flexible_array.h"
#include "vmm/kvm/kvm_error.h"
#include "vmm/kvm/system.h"

namespace hull::kvm {

namespace {

using MsrArray = FlexibleArray<kvm_msrs, kvm_msr_entry>;
using CpuidArray = FlexibleArray<kvm_cpuid2, kvm_cpuid_entry2>;

template <typename T>
absl::StatusOr<T> Get(int fd, unsigned long request, const char* name) {
  T value;
  if (ioctl(fd, request, &value) < 0) return KvmError(name);
  return value;
}

template <typename T>
absl::Status Set(int fd, unsigned long request, const T& value, const char* name) {
  if (ioctl(fd, request, &value) < 0) return KvmError(name);
  return absl::OkStatus();
}

// KVM answers with the number of registers that it did before one that it does not take.
absl::Status CheckMsrCount(int done, std::span<const kvm_msr_entry> msrs, const char* name) {
  if (done < 0) return KvmError(name);
  if (static_cast<size_t>(done) < msrs.size()) {
    return absl::UnimplementedError(
        absl::StrCat(name, ": KVM does not take register 0x", absl::Hex(msrs[done].index)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Vcpu> Vcpu::Create(UniqueFd fd, size_t run_size) {
  HULL_ASSIGN_OR_RETURN(ScopedMmap run,
                        ScopedMmap::Map(run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get()));
  return Vcpu(std::move(fd), std::move(run));
}

absl::Status Vcpu::SetCpuid(std::span<const kvm_cpuid_entry2> entries) {
  CpuidArray table(entries.size());
  table.header()->nent = static_cast<uint32_t>(entries.size());
  std::copy(entries.begin(), entries.end(), table.entries().begin());
  if (ioctl(fd_.get(), KVM_SET_CPUID2, table.header()) < 0) return KvmError("KVM_SET_CPUID2");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<kvm_cpuid_entry2>> Vcpu::GetCpuid() const {
  CpuidArray table(kMaxCpuidEntries);
  table.header()->nent = kMaxCpuidEntries;
  if (ioctl(fd_.get(), KVM_GET_CPUID2, table.header()) < 0) return KvmError("KVM_GET_CPUID2");
  auto entries = table.entries().first(table.header()->nent);
  // Before Linux 6.3, KVM does not say how many entries it filled in. Those that it did not touch
  // are zero, which no entry of its own is: only leaf 0 has that number, and it is never empty.
  while (!entries.empty() && entries.back().function == 0 && entries.back().eax == 0) {
    entries = entries.first(entries.size() - 1);
  }
  return std::vector<kvm_cpuid_entry2>(entries.begin(), entries.end());
}

absl::Status Vcpu::SetMsrs(std::span<const kvm_msr_entry> msrs) {
  MsrArray array(msrs.size());
  array.header()->nmsrs = static_cast<uint32_t>(msrs.size());
  std::copy(msrs.begin(), msrs.end(), array.entries().begin());
  return CheckMsrCount(ioctl(fd_.get(), KVM_SET_MSRS, array.header()), msrs, "KVM_SET_MSRS");
}

absl::Status Vcpu::GetMsrs(std::span<kvm_msr_entry> msrs) const {
  MsrArray array(msrs.size());
  array.header()->nmsrs = static_cast<uint32_t>(msrs.size());
  std::copy(msrs.begin(), msrs.end(), array.entries().begin());
  HULL_RETURN_IF_ERROR(
      CheckMsrCount(ioctl(fd_.get(), KVM_GET_MSRS, array.header()), msrs, "KVM_GET_MSRS"));
  std::copy(array.entries().begin(), array.entries().end(), msrs.begin());
  return absl::OkStatus();
}

absl::StatusOr<kvm_regs> Vcpu::GetRegs() const {
  return Get<kvm_regs>(fd_.get(), KVM_GET_REGS, "KVM_GET_REGS");
}
absl::Status Vcpu::SetRegs(const kvm_regs& regs) {
  return Set(fd_.get(), KVM_SET_REGS, regs, "KVM_SET_REGS");
}
absl::StatusOr<kvm_sregs> Vcpu::GetSregs() const {
  return Get<kvm_sregs>(fd_.get(), KVM_GET_SREGS, "KVM_GET_SREGS");
}
absl::Status Vcpu::SetSregs(const kvm_sregs& sregs) {
  return Set(fd_.get(), KVM_SET_SREGS, sregs, "KVM_SET_SREGS");
}
absl::StatusOr<kvm_fpu> Vcpu::GetFpu() const {
  return Get<kvm_fpu>(fd_.get(), KVM_GET_FPU, "KVM_GET_FPU");
}
absl::Status Vcpu::SetFpu(const kvm_fpu& fpu) {
  return Set(fd_.get(), KVM_SET_FPU, fpu, "KVM_SET_FPU");
}
absl::StatusOr<kvm_lapic_state> Vcpu::GetLapic() const {
  return Get<kvm_lapic_state>(fd_.get(), KVM_GET_LAPIC, "KVM_GET_LAPIC");
}
absl::Status Vcpu::SetLapic(const kvm_lapic_state& lapic) {
  return Set(fd_.get(), KVM_SET_LAPIC, lapic, "KVM_SET_LAPIC");
}

absl::StatusOr<VcpuExit> Vcpu::Run() {
  if (ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    // EAGAIN: a vCPU that waits for its INIT was woken without one.
    if (errno == EINTR || errno == EAGAIN) return InterruptedExit{};
    return KvmError("KVM_RUN");
  }
  return DecodeExit(run(), run_map_.size());
}

absl::Status Vcpu::SetSingleStep(bool on) {
  kvm_guest_debug debug = {};
  if (on) debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
  if (ioctl(fd_.get(), KVM_SET_GUEST_DEBUG, &debug) < 0) return KvmError("KVM_SET_GUEST_DEBUG");
  return absl::OkStatus();
}

void Vcpu::RequestImmediateExit(bool requested) {
  // SAFETY: KVM reads this byte once on each entry; everyone else goes through this function.
  std::atomic_ref<uint8_t>(run()->immediate_exit).store(requested ? 1 : 0);
}

}  // namespace hull::kvm
