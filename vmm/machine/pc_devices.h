// The devices of the pc machine (PC.md), plugged into its buses.

#ifndef VMM_MACHINE_PC_DEVICES_H_
#define VMM_MACHINE_PC_DEVICES_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/bus/bus.h"
#include "vmm/devices/ata/device.h"
#include "vmm/devices/floppy/device.h"
#include "vmm/devices/i8042/device.h"
#include "vmm/devices/power/power.h"
#include "vmm/devices/rtc/device.h"
#include "vmm/devices/vga/device.h"
#include "vmm/event/event_loop.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/control.h"
#include "vmm/machine/host_files.h"
#include "vmm/machine/spec.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/sandbox/seccomp.h"

namespace hull::machine {

// Belongs to the loop's thread. To be destroyed once no vCPU runs and the buses are cleared.
class PcDevices {
 public:
  struct Parts {
    EventLoop& loop;
    const GuestMemory& memory;
    kvm::Vm& vm;
    Bus& ports;
    Bus& mmio;
    std::function<void(sandbox::ThreadKind)> thread_start;
    power::Handler power;
    // Takes the vCPU out of the guest and lets it enter again; called on the loop's thread.
    std::function<void()> nudge;
  };

  // Takes its files out of `files`. All of `parts` must outlive it. kInvalidArgument where the
  // specification, or a file that it names, is at fault.
  static absl::StatusOr<std::unique_ptr<PcDevices>> Create(const MachineSpec& spec,
                                                           HostFiles& files, const Parts& parts);

 private:
  PcDevices() = default;
  absl::Status AddFirmwareConfig(const MachineSpec& spec, const HostFiles& files,
                                 const Parts& parts);
  absl::Status AddClock(const MachineSpec& spec, const Parts& parts);
  absl::Status AddKeyboard(const Parts& parts);
  absl::Status AddScreen(const Parts& parts);
  absl::Status AddDiskettes(const PcSpec& spec, HostFiles& files, const Parts& parts);
  absl::Status AddDisks(const PcSpec& spec, HostFiles& files, const Parts& parts);
  absl::Status AddCdrom(const PcSpec& spec, HostFiles& files, const Parts& parts);

  // Since about the machine's start.
  std::function<absl::Duration()> now_;
  std::shared_ptr<i8042::Device> keyboard_;
  std::shared_ptr<vga::Device> screen_;
  std::shared_ptr<floppy::Device> diskettes_;
  std::shared_ptr<ata::Device> disks_;
  std::unique_ptr<Control> control_;
};

}  // namespace hull::machine

#endif  // VMM_MACHINE_PC_DEVICES_H_
