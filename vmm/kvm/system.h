// /dev/kvm: what the host's KVM is and can do.

#ifndef VMM_KVM_SYSTEM_H_
#define VMM_KVM_SYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/kvm/abi.h"
#include "vmm/kvm/vm.h"

namespace hull::kvm {

inline constexpr char kDefaultDevice[] = "/dev/kvm";

// The largest CPUID table that KVM takes (KVM_MAX_CPUID_ENTRIES).
inline constexpr size_t kMaxCpuidEntries = 256;

// Linux kernel documentation, virt/kvm/api.rst, "system ioctls". Thread-safe: it has no state but
// the descriptor.
class System {
 public:
  // Opens `device` and checks that it speaks API version 12 and has every capability that Hull
  // needs. The message says what to do about it: kNotFound (no such device), kPermissionDenied,
  // kUnimplemented (version or capability).
  static absl::StatusOr<System> Open(const std::string& device = kDefaultDevice);
  // The same on a descriptor that the caller opened.
  static absl::StatusOr<System> FromFd(UniqueFd fd);

  System(System&&) = default;
  System& operator=(System&&) = default;

  // A new, empty virtual machine.
  absl::StatusOr<Vm> CreateVm() const;

  // CPUID leaves that the host's CPU and KVM can both provide to a guest. Neither the hypervisor
  // bit (leaf 1 ECX 31) nor TSC-deadline (leaf 1 ECX 24) is set in it.
  absl::StatusOr<std::vector<kvm_cpuid_entry2>> SupportedCpuid() const;

  // KVM_CHECK_EXTENSION: 0 when absent.
  int CheckExtension(int capability) const;

  int fd() const { return fd_.get(); }

 private:
  System(UniqueFd fd, size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}

  UniqueFd fd_;
  size_t run_size_;  // Bytes of each vCPU's kvm_run mapping.
};

}  // namespace hull::kvm

#endif  // VMM_KVM_SYSTEM_H_
