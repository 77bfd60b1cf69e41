#include "vmm/machine/machine.h"

#include <glog/logging.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/arch/x86_64/cpu_state.h"
#include "vmm/arch/x86_64/cpuid.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/random.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/worker_thread.h"
#include "vmm/devices/block/device.h"
#include "vmm/devices/block/file_backend.h"
#include "vmm/devices/power/power.h"
#include "vmm/devices/rng/device.h"
#include "vmm/devices/serial/wire.h"
#include "vmm/devices/vsock/device.h"
#include "vmm/machine/broker_connector.h"
#include "vmm/virtio/mmio_registers.h"

namespace hull::machine {

namespace {

constexpr uint64_t kHugePageSize = uint64_t{2} << 20;
// What of a guest's memory is backed by huge pages: its lowest 2 MiB and 4 MiB from the huge page
// on in which the kernel ends, of which more than half is taken at once, in one fault of the host's
// instead of hundreds. Of the rest, up to kThinlyTouched, an idle container touches a page here and
// there. Of what a guest has beyond that, the host's policy decides.
constexpr uint64_t kTakenBehindKernel = 2 * kHugePageSize;
constexpr uint64_t kThinlyTouched = uint64_t{128} << 20;

// How long a reader of the console may hold up the end of the machine.
constexpr absl::Duration kConsoleDrain = absl::Seconds(1);
// The same for readers of guest sockets: when the machine ended by itself, and when it was told to
// stop.
constexpr absl::Duration kSocketDrain = absl::Seconds(5);
constexpr absl::Duration kStoppedDrain = absl::Milliseconds(100);
// How much of the firmware's end is below 1 MiB as well: a PC's segments 0xe000 and 0xf000.
constexpr uint64_t kLowFirmwareSize = uint64_t{128} << 10;
// IO-APIC pins above the serial port's are the virtio devices'.
static_assert(kMaxBlockDevices + 2 == x86_64::kMaxVirtioDevices);

uint64_t HostMemory() {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return 0;
  return uint64_t{info.totalram} * info.mem_unit;
}

absl::Status CheckHostMemory(uint64_t wanted) {
  const uint64_t available = HostMemory();
  if (wanted <= available) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "memory_bytes: ", wanted, " is more than this host's ", available >> 20, " MiB of memory"));
}

// What the kernel must be told about devices that the device tree cannot describe.
std::string CommandLine(const MachineSpec& spec) {
  std::string line = spec.cmdline;
  const auto add = [&line](absl::string_view word) {
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  };
  if (!spec.console.has_value()) {
    add("8250.nr_uarts=0");  // There is no serial port to look for.
  } else if (!absl::StrContains(spec.cmdline, "console=")) {
    add("console=ttyS0");
  }
  return line;
}

boot::HardwareDescription::VirtioMmio VirtioSlot(size_t index) {
  return {.address = x86_64::kVirtioMmioStart + index * virtio::kMmioSize,
          .size = virtio::kMmioSize,
          .irq = x86_64::kFirstVirtioPin + static_cast<uint32_t>(index),
          // No device of a micro machine changes its configuration.
          .used_buffers_only = true};
}

// What the kernel is told is there.
boot::HardwareDescription Hardware(const MachineSpec& spec) {
  boot::HardwareDescription hardware;
  hardware.vcpus = spec.vcpus;
  hardware.lapic_address = x86_64::kLapicAddress;
  hardware.ioapic_address = x86_64::kIoapicAddress;
  hardware.exit_port = power::kExitPort;
  if (spec.console.has_value()) {
    hardware.serial = {.port = x86_64::kSerialPort, .irq = x86_64::kSerialPin};
  }
  const size_t devices =
      spec.block.size() + (spec.vsock.has_value() ? 1u : 0u) + (spec.rng ? 1u : 0u);
  for (size_t i = 0; i < devices; ++i) hardware.virtio.push_back(VirtioSlot(i));
  return hardware;
}

// Before anything touches the memory.
absl::Status AdviseOnPages(GuestMemory& memory) {
  const uint64_t size = std::min(memory.regions().front().size, kThinlyTouched);
  HULL_RETURN_IF_ERROR(memory.AvoidHugePages(GuestAddress{0}, size));
  return memory.PreferHugePages(GuestAddress{0}, std::min(size, kHugePageSize));
}

absl::StatusOr<kvm::Vm> CreateVm(const kvm::System& system, const GuestMemory& memory) {
  HULL_ASSIGN_OR_RETURN(kvm::Vm vm, system.CreateVm());
  HULL_RETURN_IF_ERROR(vm.SetTssAddress(x86_64::kTssAddress));
  HULL_RETURN_IF_ERROR(vm.CreateIrqChip());
  HULL_RETURN_IF_ERROR(vm.MapMemory(memory));
  return vm;
}

absl::StatusOr<std::array<uint8_t, 32>> RandomSeed() {
  std::array<uint8_t, 32> seed;
  HULL_RETURN_IF_ERROR(FillRandom(seed));
  return seed;
}

Ending EndingOf(power::Request request) {
  switch (request) {
    case power::Request::kPowerOff:
      return {Ending::Kind::kPowerOff, ""};
    case power::Request::kReboot:
      return {Ending::Kind::kReboot, ""};
    case power::Request::kPanic:
      return {Ending::Kind::kPanic, ""};
  }
  return {Ending::Kind::kInternalError, "unknown power request"};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Machine>> Machine::Create(const MachineSpec& spec, HostFiles files,
                                                         ThreadStart thread_start) {
  HULL_RETURN_IF_ERROR(ValidateSpec(spec));
  HULL_RETURN_IF_ERROR(CheckHostMemory(spec.memory_bytes));
  std::unique_ptr<Machine> machine(new Machine(std::move(thread_start)));
  HULL_ASSIGN_OR_RETURN(machine->loop_, EventLoop::Create());
  // Before anything exists that a signal would leave behind.
  HULL_RETURN_IF_ERROR(machine->TakeSignals());
  HULL_ASSIGN_OR_RETURN(
      machine->memory_,
      GuestMemory::Create(spec.pc.has_value() ? x86_64::PcMemoryRanges(spec.memory_bytes)
                                              : x86_64::MemoryRanges(spec.memory_bytes)));
  absl::StatusOr<kvm::Vm> vm = absl::UnknownError("no VM yet");
  std::optional<uint64_t> entry;
  std::vector<kvm_cpuid_entry2> cpuid;
  {
    // KVM sleeps for milliseconds while it makes a VM and its memory (for grace periods of RCU and
    // SRCU). Meanwhile this thread does what needs no VM.
    HULL_ASSIGN_OR_RETURN(const std::unique_ptr<WorkerThread> creation,
                          WorkerThread::Start("vm", [&](const EventFd&) {
                            vm = CreateVm(files.kvm, *machine->memory_);
                          }));
    HULL_ASSIGN_OR_RETURN(cpuid, files.kvm.SupportedCpuid());
    if (!spec.firmware.has_value()) {
      HULL_ASSIGN_OR_RETURN(entry, machine->LoadGuest(spec, files));
    }
  }
  HULL_ASSIGN_OR_RETURN(machine->vm_, std::move(vm));
  HULL_RETURN_IF_ERROR(machine->AddPowerPorts(spec));
  if (spec.pc.has_value()) HULL_RETURN_IF_ERROR(machine->AddPcDevices(spec, files));
  if (spec.console.has_value()) HULL_RETURN_IF_ERROR(machine->AddConsole(files));
  HULL_RETURN_IF_ERROR(machine->AddDevices(spec, files));
  if (files.pause.valid()) {
    HULL_ASSIGN_OR_RETURN(
        machine->pause_,
        PauseControl::Create(*machine->loop_, std::move(files.pause),
                             [raw = machine.get()](bool paused) { raw->SetPaused(paused); }));
  }
  if (spec.firmware.has_value()) {
    const absl::Status loaded = machine->LoadFirmware(files.firmware);
    if (!loaded.ok()) {
      return Annotate(loaded, absl::StrCat("firmware ", Describe(*spec.firmware)));
    }
  }
  const bool tsc_deadline = files.kvm.CheckExtension(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
  HULL_RETURN_IF_ERROR(machine->CreateVcpus(cpuid, tsc_deadline, spec.vcpus, entry));
  return machine;
}

Machine::~Machine() {
  // The threads must be gone before what they use.
  vcpus_.clear();
  if (signal_watch_.has_value()) loop_->RemoveFd(*signal_watch_);
}

absl::Status Machine::TakeSignals() {
  sigset_t taken;
  sigemptyset(&taken);
  sigaddset(&taken, SIGTERM);
  sigaddset(&taken, SIGINT);
  if (pthread_sigmask(SIG_BLOCK, &taken, nullptr) != 0) return PosixError("block signals");
  // A reader of the console or a peer of a socket that went away is an error where it is written
  // to, not the end of the machine.
  signal(SIGPIPE, SIG_IGN);
  signals_ = UniqueFd(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return PosixError("signalfd");
  HULL_ASSIGN_OR_RETURN(signal_watch_,
                        loop_->AddFd(signals_.get(), EPOLLIN, [this](uint32_t) { OnSignal(); }));
  return absl::OkStatus();
}

void Machine::OnSignal() {
  signalfd_siginfo info;
  if (read(signals_.get(), &info, sizeof(info)) != sizeof(info)) return;
  stop_signal_ = static_cast<int>(info.ssi_signo);
  End({Ending::Kind::kStopped, ""});
}

absl::Status Machine::AddPowerPorts(const MachineSpec& spec) {
  const auto end = [this](power::Request request) { End(EndingOf(request)); };
  HULL_RETURN_IF_ERROR(ports_.Insert(power::kExitPort, power::kExitPortSize,
                                     std::make_shared<power::ExitPort>(end)));
  // A pc machine has a keyboard controller of its own.
  if (spec.pc.has_value()) return absl::OkStatus();
  return ports_.Insert(power::kKeyboardControllerPort, power::kKeyboardControllerSize,
                       std::make_shared<power::KeyboardReset>(end));
}

absl::Status Machine::AddPcDevices(const MachineSpec& spec, HostFiles& files) {
  const PcDevices::Parts parts = {
      .loop = *loop_,
      .memory = *memory_,
      .vm = *vm_,
      .ports = ports_,
      .mmio = mmio_,
      .thread_start = thread_start_,
      .power = [this](power::Request request) { End(EndingOf(request)); },
      .nudge =
          [this] {
            for (const std::unique_ptr<VcpuThread>& vcpu : vcpus_) vcpu->Nudge();
          },
  };
  HULL_ASSIGN_OR_RETURN(pc_, PcDevices::Create(spec, files, parts));
  return absl::OkStatus();
}

absl::Status Machine::AddConsole(HostFiles& files) {
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<Interrupt> line, vm_->CreateIrqLine(x86_64::kSerialPin));
  absl::StatusOr<std::unique_ptr<serial::Console>> console = serial::Console::Create(
      *loop_, std::move(line), std::move(files.console_output), std::move(files.console_input));
  if (!console.ok()) return Annotate(console.status(), "console");
  console_ = *std::move(console);
  return ports_.Insert(x86_64::kSerialPort, serial::kRegisterCount, console_->uart());
}

absl::Status Machine::AttachVirtio(std::shared_ptr<virtio::Device> device) {
  const boot::HardwareDescription::VirtioMmio slot = VirtioSlot(transports_.size());
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<Interrupt> line, vm_->CreateIrqLine(slot.irq));
  HULL_ASSIGN_OR_RETURN(
      std::shared_ptr<virtio::MmioTransport> transport,
      virtio::MmioTransport::Create(*memory_, std::move(device), std::move(line)));
  uint64_t queue = 0;
  for (const std::shared_ptr<const EventFd>& event : transport->queue_events()) {
    HULL_RETURN_IF_ERROR(vm_->AddIoEvent(kvm::Vm::Space::kMmio,
                                         slot.address + virtio::kMmioQueueNotify, sizeof(uint32_t),
                                         queue++, *event));
  }
  HULL_RETURN_IF_ERROR(mmio_.Insert(slot.address, slot.size, transport));
  transports_.push_back(std::move(transport));
  return absl::OkStatus();
}

absl::Status Machine::AddDisk(const BlockSpec& spec, UniqueFd file) {
  HULL_ASSIGN_OR_RETURN(
      std::unique_ptr<block::FileBackend> backend,
      block::FileBackend::Create(std::move(file), Describe(spec.file),
                                 {.read_only = spec.read_only, .direct = spec.direct}));
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<block::Device> device,
                        block::Device::Create(spec.id, std::move(backend), [start = thread_start_] {
                          start(sandbox::ThreadKind::kBlockWorker);
                        }));
  return AttachVirtio(std::move(device));
}

absl::Status Machine::AddVsock(const VsockSpec& spec, HostFiles& files) {
  vsock::Config config;
  config.guest_cid = spec.guest_cid;
  config.listener = std::move(files.vsock_listener);
  HULL_ASSIGN_OR_RETURN(config.connector,
                        BrokerConnector::Create(std::move(files.vsock_connector), loop_.get()));
  HULL_ASSIGN_OR_RETURN(vsock_, vsock::Device::Create(std::move(config), loop_.get()));
  return AttachVirtio(vsock_);
}

absl::Status Machine::AddDevices(const MachineSpec& spec, HostFiles& files) {
  // In this order, so that the first disk is the first device that the guest probes.
  for (size_t i = 0; i < spec.block.size(); ++i) {
    const absl::Status added = AddDisk(spec.block[i], std::move(files.disks[i]));
    if (!added.ok()) return Annotate(added, absl::StrCat("disk \"", spec.block[i].id, "\""));
  }
  if (spec.vsock.has_value()) {
    const absl::Status added = AddVsock(*spec.vsock, files);
    if (!added.ok()) return Annotate(added, "vsock");
  }
  if (spec.rng) HULL_RETURN_IF_ERROR(AttachVirtio(rng::Device::Create(loop_.get())));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Machine::LoadGuest(const MachineSpec& spec, const HostFiles& files) {
  HULL_RETURN_IF_ERROR(AdviseOnPages(*memory_));
  absl::StatusOr<boot::LoadedKernel> kernel =
      boot::LoadKernel(*memory_, x86_64::kHighMemoryStart, files.kernel.get());
  if (!kernel.ok()) {
    return Annotate(kernel.status(), absl::StrCat("kernel ", Describe(spec.kernel)));
  }
  if (kernel->end > x86_64::kIdentityMapSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("kernel ", Describe(spec.kernel), ": it does not lie within the first GiB"));
  }
  const GuestAddress taken{kernel->end & ~(kHugePageSize - 1)};
  if (memory_->Contains(taken, kTakenBehindKernel)) {
    HULL_RETURN_IF_ERROR(memory_->PreferHugePages(taken, kTakenBehindKernel));
  }

  const std::vector<boot::MemoryRange> ram = x86_64::E820Ranges(spec.memory_bytes);
  boot::BootParamsConfig config = {.ram = ram,
                                   .command_line_address = x86_64::kCommandLineAddress,
                                   .setup_data_address = x86_64::kSetupDataAddress,
                                   .initramfs = {},
                                   .header = kernel->header};
  if (spec.initramfs.has_value()) {
    const uint64_t limit =
        std::min({spec.memory_bytes, x86_64::kHoleStart, kernel->initramfs_limit});
    absl::StatusOr<boot::MemoryRange> loaded =
        boot::LoadInitramfs(*memory_, kernel->end, limit, files.initramfs.get());
    if (!loaded.ok()) {
      return Annotate(loaded.status(), absl::StrCat("initramfs ", Describe(*spec.initramfs)));
    }
    config.initramfs = *loaded;
  }

  absl::Status written = boot::WriteCommandLine(*memory_, GuestAddress{x86_64::kCommandLineAddress},
                                                CommandLine(spec));
  if (!written.ok()) return Annotate(written, "cmdline");
  HULL_ASSIGN_OR_RETURN(const std::vector<uint8_t> tree, boot::BuildDeviceTree(Hardware(spec)));
  HULL_ASSIGN_OR_RETURN(const auto seed, RandomSeed());
  const boot::SetupDataItem items[] = {{SETUP_DTB, tree}, {SETUP_RNG_SEED, seed}};
  HULL_RETURN_IF_ERROR(boot::WriteSetupData(*memory_, GuestAddress{x86_64::kSetupDataAddress},
                                            x86_64::kSetupDataLimit, items));
  HULL_ASSIGN_OR_RETURN(const boot_params params, boot::BuildBootParams(config));
  HULL_RETURN_IF_ERROR(memory_->WriteObject(GuestAddress{x86_64::kZeroPageAddress}, params));
  HULL_RETURN_IF_ERROR(x86_64::WriteBootTables(*memory_));
  return kernel->entry;
}

absl::Status Machine::LoadFirmware(const UniqueFd& file) {
  struct stat info;
  if (fstat(file.get(), &info) != 0) return PosixError("fstat");
  const auto size = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size == 0 || size > kMaxFirmwareSize ||
      size % kMemoryGranularity != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a file of whole pages and of at most ", kMaxFirmwareSize, " bytes"));
  }
  HULL_ASSIGN_OR_RETURN(firmware_, ScopedMmap::Map(size, PROT_READ, MAP_PRIVATE, file.get()));
  HULL_RETURN_IF_ERROR(vm_->MapReadOnly(static_cast<uint32_t>(memory_->regions().size()),
                                        x86_64::kHoleEnd - size,
                                        std::span<const uint8_t>(firmware_.data(), size)));
  // Real mode reaches the first MiB only, and there is RAM below its end here. Through the file, as
  // reading a mapping of one that was truncated is a SIGBUS.
  const uint64_t copied = std::min(size, kLowFirmwareSize);
  HULL_ASSIGN_OR_RETURN(const iovec low,
                        memory_->Slice(GuestAddress{x86_64::kHighMemoryStart - copied}, copied));
  // SAFETY: a slice of guest memory that no vCPU runs on yet.
  const std::span<uint8_t> bytes(static_cast<uint8_t*>(low.iov_base), low.iov_len);
  if (pread(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(size - copied)) !=
      static_cast<ssize_t>(copied)) {
    return PosixError("read");
  }
  return absl::OkStatus();
}

absl::Status Machine::CreateVcpus(const std::vector<kvm_cpuid_entry2>& supported, bool tsc_deadline,
                                  uint32_t count, std::optional<uint64_t> entry) {
  for (uint32_t id = 0; id < count; ++id) {
    HULL_ASSIGN_OR_RETURN(kvm::Vcpu vcpu, vm_->CreateVcpu(id));
    HULL_RETURN_IF_ERROR(vcpu.SetCpuid(x86_64::GuestCpuid(supported, count, id, tsc_deadline)));
    HULL_RETURN_IF_ERROR(vcpu.SetMsrs(x86_64::BootMsrs()));
    if (id == 0 && entry.has_value()) {
      HULL_RETURN_IF_ERROR(x86_64::SetUpBootCpu(vcpu, *entry, x86_64::kZeroPageAddress));
    }
    VcpuThread::Callbacks callbacks = {
        .on_start = [this] { thread_start_(sandbox::ThreadKind::kVcpu); },
        .on_paused = [this] { loop_->Post([this] { OnVcpuPaused(); }); },
        .on_ending = [this](Ending ending) { End(std::move(ending)); },
        .on_stopped =
            [this] {
              // After the last vCPU, nothing of the guest moves any more.
              loop_->Post([this] {
                if (++vcpus_stopped_ == vcpus_.size()) loop_->Stop();
              });
            },
    };
    HULL_ASSIGN_OR_RETURN(
        std::unique_ptr<VcpuThread> thread,
        VcpuThread::Start(std::move(vcpu), id, ports_, mmio_, std::move(callbacks)));
    vcpus_.push_back(std::move(thread));
  }
  return absl::OkStatus();
}

void Machine::SetPaused(bool paused) {
  paused_ = paused;
  for (const std::unique_ptr<VcpuThread>& vcpu : vcpus_) {
    if (paused) {
      vcpu->Pause();
    } else {
      vcpu->Resume();
    }
  }
  if (paused) return OnVcpuPaused();
  pause_->Tell(false);
}

void Machine::OnVcpuPaused() {
  // It may have been told to go on meanwhile.
  if (!paused_ || !pause_->awaited()) return;
  for (const std::unique_ptr<VcpuThread>& vcpu : vcpus_) {
    if (vcpu->state() != VcpuThread::State::kPaused) return;
  }
  pause_->Tell(true);
}

void Machine::End(Ending ending) {
  {
    absl::MutexLock lock(&mutex_);
    if (ending_.has_value()) return;
    ending_ = std::move(ending);
  }
  // From the loop's thread, as sending signals is not on a vCPU's list of system calls.
  loop_->Post([this] {
    for (const std::unique_ptr<VcpuThread>& vcpu : vcpus_) vcpu->RequestStop();
  });
}

Ending Machine::Run() {
  thread_start_(sandbox::ThreadKind::kEventLoop);
  for (const std::unique_ptr<VcpuThread>& vcpu : vcpus_) vcpu->Resume();
  // The loop goes on while the vCPUs stop, since their last accesses may need it; the last of them
  // stops it.
  const absl::Status status = loop_->Run();
  if (!status.ok()) End({Ending::Kind::kHostError, std::string(status.message())});
  vcpus_.clear();
  FinishDevices();
  absl::MutexLock lock(&mutex_);
  return *ending_;
}

void Machine::FinishDevices() {
  // What the guest sent last belongs to whoever reads at the other end, at that reader's pace: wait
  // for it, but not for ever, and for a signal too.
  if (vsock_ != nullptr) {
    const absl::Duration limit = stop_signal_ != 0 ? kStoppedDrain : kSocketDrain;
    if (!vsock_->Drain(limit, signals_.get())) {
      LOG(WARNING) << "vsock: what the guest sent last is lost: its readers did not take it";
    }
  }
  for (const auto& transport : transports_) transport->ResetDevice();
  if (console_ != nullptr) console_->Drain(kConsoleDrain);
  // With the devices their sockets and files are closed, from which the other ends learn that there
  // is no more.
  mmio_.Clear();
  ports_.Clear();
  transports_.clear();
  vsock_.reset();
  pc_.reset();
  pause_.reset();
  console_.reset();
}

}  // namespace hull::machine
