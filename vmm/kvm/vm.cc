#include "vmm/kvm/vm.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <span>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"
#include "vmm/kvm/abi.h"
#include "vmm/kvm/kvm_error.h"

namespace hull::kvm {

namespace {

constexpr uint32_t kPins = KVM_IOAPIC_NUM_PINS;

bool SetLevel(const UniqueFd& vm, uint32_t pin, uint32_t level) {
  kvm_irq_level line = {};
  line.irq = pin;
  line.level = level;
  return ioctl(vm.get(), KVM_IRQ_LINE, &line) == 0;
}

}  // namespace

absl::Status Vm::SetTssAddress(uint64_t address) {
  if (ioctl(fd_->get(), KVM_SET_TSS_ADDR, address) < 0) return KvmError("KVM_SET_TSS_ADDR");
  return absl::OkStatus();
}

absl::Status Vm::CreateIrqChip() {
  if (ioctl(fd_->get(), KVM_CREATE_IRQCHIP, 0) < 0) return KvmError("KVM_CREATE_IRQCHIP");
  return absl::OkStatus();
}

absl::Status Vm::CreatePit() {
  kvm_pit_config config = {};
  config.flags = KVM_PIT_SPEAKER_DUMMY;
  if (ioctl(fd_->get(), KVM_CREATE_PIT2, &config) < 0) return KvmError("KVM_CREATE_PIT2");
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
    if (ioctl(fd_->get(), KVM_SET_USER_MEMORY_REGION, &slot_region) < 0) {
      return KvmError(absl::StrCat("give the guest ", region.size, " bytes of memory at 0x",
                                   absl::Hex(region.start.value)));
    }
  }
  return absl::OkStatus();
}

absl::Status Vm::MapReadOnly(uint32_t slot, uint64_t address, std::span<const uint8_t> memory) {
  kvm_userspace_memory_region region = {};
  region.slot = slot;
  region.flags = KVM_MEM_READONLY;
  region.guest_phys_addr = address;
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<uintptr_t>(memory.data());
  if (ioctl(fd_->get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
    return KvmError(absl::StrCat("show the guest ", memory.size(), " bytes of firmware at 0x",
                                 absl::Hex(address)));
  }
  return absl::OkStatus();
}

absl::Status Vm::MapDeviceMemory(uint32_t slot, uint64_t address, std::span<uint8_t> memory) {
  kvm_userspace_memory_region region = {};
  region.slot = slot;
  region.guest_phys_addr = address;
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<uintptr_t>(memory.data());
  if (ioctl(fd_->get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
    return KvmError(absl::StrCat("show the guest ", memory.size(), " bytes of device memory at 0x",
                                 absl::Hex(address)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Vcpu> Vm::CreateVcpu(uint32_t id) {
  UniqueFd fd(ioctl(fd_->get(), KVM_CREATE_VCPU, id));
  if (!fd) return KvmError(absl::StrCat("create vCPU ", id));
  return Vcpu::Create(std::move(fd), run_size_);
}

absl::StatusOr<std::shared_ptr<IrqLine>> Vm::CreateIrqLine(uint32_t pin) {
  if (pin >= kPins) {
    return absl::InvalidArgumentError(absl::StrCat("there is no interrupt line ", pin));
  }
  // Low is what it is already: this finds out whether there is a controller.
  if (!SetLevel(*fd_, pin, 0)) return KvmError(absl::StrCat("set interrupt line ", pin));
  return std::make_shared<IrqLine>(fd_, pin);
}

void IrqLine::Raise() {
  // A pin that stays high makes no further edge, also not for another thread. Neither call can fail
  // on a line that was created.
  absl::MutexLock lock(&mutex_);
  SetLevel(*vm_, pin_, 1);
  SetLevel(*vm_, pin_, 0);
}

absl::StatusOr<std::shared_ptr<VmClock>> Vm::CreateClock() {
  kvm_clock_data data = {};
  if (ioctl(fd_->get(), KVM_GET_CLOCK, &data) < 0) return KvmError("KVM_GET_CLOCK");
  return std::make_shared<VmClock>(fd_);
}

uint64_t VmClock::Nanoseconds() const {
  kvm_clock_data data = {};
  // It does not fail where it worked before.
  (void)ioctl(vm_->get(), KVM_GET_CLOCK, &data);
  return data.clock;
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
  if (ioctl(fd_->get(), KVM_IOEVENTFD, &binding) < 0) {
    return KvmError(absl::StrCat("bind an event to writes at 0x", absl::Hex(address)));
  }
  return absl::OkStatus();
}

}  // namespace hull::kvm
