// One KVM virtual machine: its memory, its interrupt controller, its event bindings.

#ifndef VMM_KVM_VM_H_
#define VMM_KVM_VM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/unique_fd.h"
#include "vmm/bus/interrupt.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory/guest_memory.h"

namespace hull::kvm {

// An interrupt line of the in-kernel controller: one edge a call, delivered when the call returns.
// Any thread.
//
// Not an irqfd: the IO-APIC cannot be raised from an eventfd's wake-up, so that KVM hands each
// write to a kernel thread (two context switches an interrupt), and a VM that has one waits for an
// SRCU grace period when it ends.
class IrqLine : public Interrupt {
 public:
  // `pin` of the VM `vm`, which exists as long as one of its lines does.
  IrqLine(std::shared_ptr<const UniqueFd> vm, uint32_t pin) : vm_(std::move(vm)), pin_(pin) {}
  void Raise() override;

 private:
  const std::shared_ptr<const UniqueFd> vm_;
  const uint32_t pin_;
  absl::Mutex mutex_;
};

// The time of a VM: what its paravirtual clock shows. Any thread, also one that may not ask the
// host for the time.
class VmClock {
 public:
  explicit VmClock(std::shared_ptr<const UniqueFd> vm) : vm_(std::move(vm)) {}
  // Since about the VM's creation.
  uint64_t Nanoseconds() const;

 private:
  const std::shared_ptr<const UniqueFd> vm_;
};

// Linux kernel documentation, virt/kvm/api.rst, "VM ioctls". All ioctls are made by the process
// that created the VM; the kernel serialises them, so any thread may call.
class Vm {
 public:
  Vm(Vm&&) = default;
  Vm& operator=(Vm&&) = default;

  // Three pages that Intel CPUs without unrestricted guest mode need for real mode. `address` is
  // below 4 GiB, page-aligned, outside guest RAM. Before the first vCPU.
  absl::Status SetTssAddress(uint64_t address);

  // PIC, IO-APIC and local APICs in the kernel, with the default routing: line n is IO-APIC pin n
  // (0 to 23), and PIC input n below 16. Before the first vCPU.
  absl::Status CreateIrqChip();

  // The PC's interval timer, at ports 0x40 to 0x43 and interrupt line 0, and the port of its
  // speaker (0x61). After CreateIrqChip.
  absl::Status CreatePit();

  // Makes each region of `memory` guest RAM, one slot a region. `memory` must outlive the VM.
  absl::Status MapMemory(const GuestMemory& memory);

  // Shows the guest `memory` (whole pages, which must outlive the VM) at `address`. Its writes
  // there leave to the VMM. `slot` is one that MapMemory did not use, which takes one a region from
  // 0 on.
  absl::Status MapReadOnly(uint32_t slot, uint64_t address, std::span<const uint8_t> memory);

  // The same with writes, which the VMM sees in `memory` without an exit.
  absl::Status MapDeviceMemory(uint32_t slot, uint64_t address, std::span<uint8_t> memory);

  // `id` is the vCPU's APIC id. vCPU 0 starts running, the others wait for INIT and SIPI.
  absl::StatusOr<Vcpu> CreateVcpu(uint32_t id);

  // A new edge-triggered line on IO-APIC pin `pin` (0 to 23). After CreateIrqChip.
  absl::StatusOr<std::shared_ptr<IrqLine>> CreateIrqLine(uint32_t pin);

  // kUnimplemented if KVM does not tell the time.
  absl::StatusOr<std::shared_ptr<VmClock>> CreateClock();

  // Where a guest's write wakes an event instead of leaving to the VMM.
  enum class Space { kMmio, kPort };
  // From now on a write of `size` bytes (1, 2, 4 or 8) with the value `match` at `address` signals
  // `event`; the kernel keeps its own reference to it. Another value or size still leaves to the
  // VMM.
  absl::Status AddIoEvent(Space space, uint64_t address, uint32_t size, uint64_t match,
                          const EventFd& event);

 private:
  friend class System;
  Vm(UniqueFd fd, size_t run_size)
      : fd_(std::make_shared<const UniqueFd>(std::move(fd))), run_size_(run_size) {}

  std::shared_ptr<const UniqueFd> fd_;
  size_t run_size_;
};

}  // namespace hull::kvm

#endif  // VMM_KVM_VM_H_
