#include "vmm/kvm/system.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/kvm/flexible_array.h"
#include "vmm/kvm/kvm_error.h"

namespace hull::kvm {

namespace {

struct Requirement {
  int capability;
  const char* name;
};

// What the machines are built on. All are in Linux 4.12 and later.
constexpr Requirement kRequired[] = {
    {KVM_CAP_IRQCHIP, "an in-kernel interrupt controller"},
    {KVM_CAP_USER_MEMORY, "user memory regions"},
    {KVM_CAP_READONLY_MEM, "read-only memory"},
    {KVM_CAP_SET_TSS_ADDR, "a settable TSS address"},
    {KVM_CAP_EXT_CPUID, "extended CPUID"},
    {KVM_CAP_IOEVENTFD, "ioeventfd"},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
};

absl::Status OpenError(int error, const std::string& device) {
  const std::string what = absl::StrCat("open \"", device, "\"");
  switch (error) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
      return PosixError(error, absl::StrCat(what,
                                            " (this host has no KVM: load kvm-intel or kvm-amd, or "
                                            "enable virtualisation in the firmware)"));
    case EACCES:
    case EPERM:
      return PosixError(error, absl::StrCat(what,
                                            " (not permitted: add yourself to the group kvm with "
                                            "\"usermod -aG kvm $USER\" and log in again)"));
    default:
      return PosixError(error, what);
  }
}

}  // namespace

absl::StatusOr<System> System::Open(const std::string& device) {
  UniqueFd fd(open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return OpenError(errno, device);
  absl::StatusOr<System> system = FromFd(std::move(fd));
  if (!system.ok()) return Annotate(system.status(), absl::StrCat("\"", device, "\""));
  return system;
}

absl::StatusOr<System> System::FromFd(UniqueFd fd) {
  const int version = ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (version < 0) {
    return absl::UnimplementedError("not a KVM device (it does not answer KVM_GET_API_VERSION)");
  }
  if (version != kApiVersion) {
    return absl::UnimplementedError(absl::StrCat("KVM API version ", version, " where Hull needs ",
                                                 kApiVersion, ": the host's kernel is too old"));
  }
  for (const Requirement& required : kRequired) {
    if (ioctl(fd.get(), KVM_CHECK_EXTENSION, required.capability) <= 0) {
      return absl::UnimplementedError(absl::StrCat("the host's KVM lacks ", required.name,
                                                   " (capability ", required.capability,
                                                   "): Hull needs Linux 4.12 or later"));
    }
  }
  const int run_size = ioctl(fd.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < 0) return KvmError("KVM_GET_VCPU_MMAP_SIZE");
  if (static_cast<size_t>(run_size) < sizeof(kvm_run)) {
    return absl::UnimplementedError(absl::StrCat(
        "KVM offers ", run_size, " bytes of vCPU state, fewer than ", sizeof(kvm_run)));
  }
  return System(std::move(fd), static_cast<size_t>(run_size));
}

int System::CheckExtension(int capability) const {
  const int answer = ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  return answer < 0 ? 0 : answer;
}

absl::StatusOr<Vm> System::CreateVm() const {
  int fd;
  // Interrupted when a signal arrives while the kernel sets up its MMU notifier.
  do {
    fd = ioctl(fd_.get(), KVM_CREATE_VM, 0);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return KvmError("KVM_CREATE_VM");
  return Vm(UniqueFd(fd), run_size_);
}

absl::StatusOr<std::vector<kvm_cpuid_entry2>> System::SupportedCpuid() const {
  FlexibleArray<kvm_cpuid2, kvm_cpuid_entry2> table(kMaxCpuidEntries);
  table.header()->nent = kMaxCpuidEntries;
  if (ioctl(fd_.get(), KVM_GET_SUPPORTED_CPUID, table.header()) < 0) {
    return KvmError("KVM_GET_SUPPORTED_CPUID");
  }
  const auto entries = table.entries().first(table.header()->nent);
  return std::vector<kvm_cpuid_entry2>(entries.begin(), entries.end());
}

}  // namespace hull::kvm
