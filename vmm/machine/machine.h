// A running machine, composed from its specification.

#ifndef VMM_MACHINE_MACHINE_H_
#define VMM_MACHINE_MACHINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/scoped_mmap.h"
#include "vmm/base/unique_fd.h"
#include "vmm/boot/device_tree.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/bus/bus.h"
#include "vmm/devices/serial/console.h"
#include "vmm/devices/vsock/device.h"
#include "vmm/event/event_loop.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/host_files.h"
#include "vmm/machine/pause_control.h"
#include "vmm/machine/pc_devices.h"
#include "vmm/machine/spec.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/sandbox/seccomp.h"
#include "vmm/vcpu/ending.h"
#include "vmm/vcpu/vcpu_thread.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/mmio_transport.h"

namespace hull::machine {

// The micro and the pc machine of DESIGN.md, section 5. One per process: it takes the process's
// SIGTERM and SIGINT. Threads: the caller's, which runs the event loop and owns all devices, one a
// vCPU, and what a device starts for itself.
class Machine {
 public:
  // The first thing that a thread of the machine does, and for kEventLoop the last thing that Run
  // does before the guest runs: what confines it.
  using ThreadStart = std::function<void(sandbox::ThreadKind)>;

  // Builds the machine out of `files` (HostFiles::Open of the same specification) without running
  // any of it, or opening anything. kInvalidArgument where the specification, or a file that it
  // names, is at fault; anything else is the host's.
  static absl::StatusOr<std::unique_ptr<Machine>> Create(const MachineSpec& spec, HostFiles files,
                                                         ThreadStart thread_start);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  // Runs it to its end, once. When it returns, no vCPU runs, everything that the guest had handed
  // over has reached the host (but what readers of its sockets did not take within 5 s), and all
  // that others can see of the devices is closed or removed: what is left is memory and the VM,
  // which need nobody. A kStopped ending is SIGTERM's or SIGINT's; see stop_signal().
  Ending Run();

  // Which signal stopped it, or 0.
  int stop_signal() const { return stop_signal_; }

 private:
  explicit Machine(ThreadStart thread_start) : thread_start_(std::move(thread_start)) {}

  absl::Status TakeSignals();
  absl::Status AddPowerPorts(const MachineSpec& spec);
  absl::Status AddPcDevices(const MachineSpec& spec, HostFiles& files);
  absl::Status AddConsole(HostFiles& files);
  absl::Status AddDisk(const BlockSpec& spec, UniqueFd file);
  absl::Status AddVsock(const VsockSpec& spec, HostFiles& files);
  absl::Status AddDevices(const MachineSpec& spec, HostFiles& files);
  absl::Status AttachVirtio(std::shared_ptr<virtio::Device> device);
  // The address at which the first vCPU enters the kernel.
  absl::StatusOr<uint64_t> LoadGuest(const MachineSpec& spec, const HostFiles& files);
  absl::Status LoadFirmware(const UniqueFd& file);
  // Without an entry, the first vCPU starts as the CPU does after a reset.
  absl::Status CreateVcpus(const std::vector<kvm_cpuid_entry2>& supported, bool tsc_deadline,
                           uint32_t count, std::optional<uint64_t> entry);

  // On the loop's thread.
  void SetPaused(bool paused);
  void OnVcpuPaused();

  // The first ending counts. Any thread; the loop's stops the vCPUs.
  void End(Ending ending);
  void OnSignal();
  // Once no vCPU runs: lets the devices finish what the guest left them, and ends them.
  void FinishDevices();

  // Members are destroyed from the last to the first: the vCPUs, then the devices, then what both
  // stand on.
  const ThreadStart thread_start_;
  std::unique_ptr<EventLoop> loop_;
  UniqueFd signals_;
  std::optional<EventLoop::Id> signal_watch_;
  int stop_signal_ = 0;
  std::optional<GuestMemory> memory_;
  ScopedMmap firmware_;
  std::optional<kvm::Vm> vm_;

  Bus ports_;
  Bus mmio_;
  std::unique_ptr<PcDevices> pc_;
  std::unique_ptr<PauseControl> pause_;
  std::unique_ptr<serial::Console> console_;
  std::shared_ptr<vsock::Device> vsock_;
  std::vector<std::shared_ptr<virtio::MmioTransport>> transports_;

  absl::Mutex mutex_;
  std::optional<Ending> ending_ ABSL_GUARDED_BY(mutex_);
  size_t vcpus_stopped_ = 0;  // Counted on the loop's thread.
  bool paused_ = false;       // What was asked for last; the loop's thread's.
  // Complete before the first of them runs.
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
};

}  // namespace hull::machine

#endif  // VMM_MACHINE_MACHINE_H_
