#include "vmm/kvm/vm.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <span>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"
#include "vmm/kvm/abi.h"
#include "vmm/kvm/kvm_error.h"

namespace hull::kvm {

absl::Status Vm::SetTssAddress(uint64_t address) {
  if (ioctl(fd_.get(), KVM_SET_TSS_ADDR, address) < 0) return KvmError("KVM_SET_TSS_ADDR");
  return absl::OkStatus();
}

absl::Status Vm::CreateIrqChip() {
  if (ioctl(fd_.get(), KVM_CREATE_IRQCHIP, 0) < 0) return KvmError("KVM_CREATE_IRQCHIP");
  return absl::OkStatus();
}

absl::Status Vm::MapMemory(const GuestMemory& memory) {
  uint32_t slot = 0;
  for (const GuestMemory::Region& region : memory.regions()) {
    kvm_userspace_memory_region slot_region = {};
    slot_region.slot = slot++;
    slot_region.guest_phys_addr = region.start.value;
    slot_region.memory_size = region.size;
    slot_region.userspace_addr = reinterpret_cast<uintptr_t>(region.host);
    if (ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &slot_region) < 0) {
      return KvmError(absl::StrCat("give the guest ", region.size, " bytes of memory at 0x",
                                   absl::Hex(region.start.value)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Vcpu> Vm::CreateVcpu(uint32_t id) {
  UniqueFd fd(ioctl(fd_.get(), KVM_CREATE_VCPU, id));
  if (!fd) return KvmError(absl::StrCat("create vCPU ", id));
  return Vcpu::Create(std::move(fd), run_size_);
}

absl::StatusOr<std::shared_ptr<IrqLine>> Vm::CreateIrqLine(uint32_t pin) {
  HULL_ASSIGN_OR_RETURN(EventFd event, EventFd::Create());
  kvm_irqfd binding = {};
  binding.fd = static_cast<uint32_t>(event.fd());
  binding.gsi = pin;
  if (ioctl(fd_.get(), KVM_IRQFD, &binding) < 0) {
    return KvmError(absl::StrCat("bind interrupt line ", pin));
  }
  return std::make_shared<IrqLine>(std::move(event));
}

absl::Status Vm::AddIoEvent(Space space, uint64_t address, uint32_t size, uint64_t match,
                            const EventFd& event) {
  kvm_ioeventfd binding = {};
  binding.datamatch = match;
  binding.addr = address;
  binding.len = size;
  binding.fd = event.fd();
  binding.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  if (space == Space::kPort) binding.flags |= KVM_IOEVENTFD_FLAG_PIO;
  if (ioctl(fd_.get(), KVM_IOEVENTFD, &binding) < 0) {
    return KvmError(absl::StrCat("bind an event to writes at 0x", absl::Hex(address)));
  }
  return absl::OkStatus();
}

}  // namespace hull::kvm
