// One KVM virtual CPU.

#ifndef VMM_KVM_VCPU_H_
#define VMM_KVM_VCPU_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/scoped_mmap.h"
#include "vmm/base/unique_fd.h"
#include "vmm/kvm/abi.h"
#include "vmm/kvm/vcpu_exit.h"

namespace hull::kvm {

// Linux kernel documentation, virt/kvm/api.rst, "vcpu ioctls". To be used by one thread at a time
// (the kernel serialises ioctls of a vCPU, and all but the first would wait for a Run to end);
// RequestImmediateExit may be called from any thread.
class Vcpu {
 public:
  Vcpu(Vcpu&&) = default;
  Vcpu& operator=(Vcpu&&) = default;

  absl::Status SetCpuid(std::span<const kvm_cpuid_entry2> entries);
  absl::StatusOr<std::vector<kvm_cpuid_entry2>> GetCpuid() const;

  // Fails with kUnimplemented, naming the first register that KVM does not take.
  absl::Status SetMsrs(std::span<const kvm_msr_entry> msrs);
  // Fills in `data` of each; the same error.
  absl::Status GetMsrs(std::span<kvm_msr_entry> msrs) const;

  absl::StatusOr<kvm_regs> GetRegs() const;
  absl::Status SetRegs(const kvm_regs& regs);
  absl::StatusOr<kvm_sregs> GetSregs() const;
  absl::Status SetSregs(const kvm_sregs& sregs);
  absl::StatusOr<kvm_fpu> GetFpu() const;
  absl::Status SetFpu(const kvm_fpu& fpu);
  absl::StatusOr<kvm_lapic_state> GetLapic() const;
  absl::Status SetLapic(const kvm_lapic_state& lapic);

  // Runs the guest until it leaves. A read that the exit asks for must be filled in before the next
  // Run, which completes the instruction. A status is an error of the host.
  absl::StatusOr<VcpuExit> Run();

  // While on, Run returns with an InterruptedExit after each instruction. The guest may see its
  // trap flag set meanwhile.
  absl::Status SetSingleStep(bool on);

  // While set, Run completes a pending access and returns without running the guest. To get a vCPU
  // out of Run, set it and then send the running thread a signal that it handles.
  void RequestImmediateExit(bool requested);

 private:
  friend class Vm;
  static absl::StatusOr<Vcpu> Create(UniqueFd fd, size_t run_size);
  Vcpu(UniqueFd fd, ScopedMmap run) : fd_(std::move(fd)), run_map_(std::move(run)) {}

  // SAFETY: the mapping is page-aligned and System checked that it is at least a kvm_run long.
  kvm_run* run() const { return reinterpret_cast<kvm_run*>(run_map_.data()); }

  UniqueFd fd_;
  ScopedMmap run_map_;
};

}  // namespace hull::kvm

#endif  // VMM_KVM_VCPU_H_
