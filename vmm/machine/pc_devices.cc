#include "vmm/machine/pc_devices.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "vmm/arch/x86_64/cpuid.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/devices/block/file_backend.h"
#include "vmm/devices/dma/device.h"
#include "vmm/devices/fw_cfg/device.h"

namespace hull::machine {

namespace {

// The name under which SeaBIOS looks for a video BIOS that belongs to no PCI device.
constexpr char kVideoFirmwareFile[] = "vgaroms/vgabios.bin";
// What fits between video memory and the BIOS's own segments is less than this.
constexpr uint64_t kMaxVideoFirmwareSize = uint64_t{128} << 10;
// Pages that KVM takes below the firmware: the identity map and the TSS.
constexpr uint64_t kKvmPages = x86_64::kTssAddress - 0x1000;
constexpr uint64_t kKvmPagesSize = 0x4000;

// Bytes of the CMOS memory that SeaBIOS reads.
constexpr uint8_t kCmosDisketteTypes = 0x10;
constexpr uint8_t kCmosEquipment = 0x14;
constexpr uint8_t kCmosBaseMemory = 0x15;      // KiB below 640 KiB, 16 bits.
constexpr uint8_t kCmosExtendedMemory = 0x17;  // KiB above 1 MiB, 16 bits, and again:
constexpr uint8_t kCmosExtendedMemory2 = 0x30;
constexpr uint8_t kCmosHighMemory = 0x34;       // 64 KiB units above 16 MiB, 16 bits.
constexpr uint8_t kCmosBootDevices = 0x3d;      // Four bits each, the first one lowest.
constexpr uint8_t kCmosThirdBootDevice = 0x38;  // In the high four bits.
constexpr uint8_t kCmosDiskTranslation = 0x39;  // Two bits a disk.
constexpr uint8_t kTranslateByLba = 1;
constexpr uint8_t kEquipmentCoprocessor = 1 << 1;
constexpr uint8_t kEquipmentMouse = 1 << 2;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

// A diskette, a disk or a disc in a file.
template <typename Backend>
class MediumFile : public Backend {
 public:
  explicit MediumFile(std::unique_ptr<block::FileBackend> file) : file_(std::move(file)) {}
  uint64_t size() const override { return file_->size(); }
  bool read_only() const override { return file_->read_only(); }
  absl::Status Read(uint64_t offset, std::span<uint8_t> to) override {
    iovec slice = {to.data(), to.size()};
    return file_->Read(offset, std::span(&slice, 1));
  }
  absl::Status Write(uint64_t offset, std::span<const uint8_t> from) override {
    // SAFETY: what a write is given is only read.
    iovec slice = {const_cast<uint8_t*>(from.data()), from.size()};
    return file_->Write(offset, std::span(&slice, 1));
  }

 protected:
  block::FileBackend& file() { return *file_; }

 private:
  const std::unique_ptr<block::FileBackend> file_;
};

using DisketteFile = MediumFile<floppy::Backend>;

class DiskFile : public MediumFile<ata::Backend> {
 public:
  using MediumFile::MediumFile;
  absl::Status Flush() override { return file().Flush(); }
};

absl::StatusOr<ata::Unit> OpenUnit(UniqueFd fd, const FileRef& name, bool read_only, bool cdrom,
                                   std::string serial) {
  HULL_ASSIGN_OR_RETURN(
      std::unique_ptr<block::FileBackend> file,
      block::FileBackend::Create(std::move(fd), Describe(name), {.read_only = read_only}));
  return ata::Unit{.backend = std::make_unique<DiskFile>(std::move(file)),
                   .cdrom = cdrom,
                   .serial = std::move(serial)};
}

// Where `device` comes in the order of the CMOS memory's boot devices.
uint8_t CmosBootDevice(BootDevice device) {
  switch (device) {
    case BootDevice::kDiskette:
      return 1;
    case BootDevice::kDisk:
      return 2;
    case BootDevice::kCdrom:
      return 3;
  }
  return 0;
}

// An interrupt line that sees to it that the guest is given its interrupt.
//
// KVM on a CPU without virtualisation executes the guest in batches of instructions, and gives it
// interrupts between two batches only. A BIOS that waits for one lets interrupts in for two
// instructions at a time (sti; nop; pause; cli), which no batch happens to end at for seconds. So
// while the guest has not served its interrupt, the vCPU now and then goes step by step.
class UrgentLine : public Interrupt, public std::enable_shared_from_this<UrgentLine> {
 public:
  UrgentLine(std::shared_ptr<Interrupt> line, EventLoop& loop, std::function<void()> nudge)
      : line_(std::move(line)), loop_(loop), nudge_(std::move(nudge)) {}
  ~UrgentLine() override {
    if (timer_.has_value()) loop_.CancelTimer(*timer_);
  }

  // Whether the guest has yet to serve it. On the loop's thread, before the guest runs.
  void SetPending(std::function<bool()> pending) { pending_ = std::move(pending); }

  void Raise() override {
    line_->Raise();
    loop_.Post([weak = weak_from_this()] {
      if (const std::shared_ptr<UrgentLine> self = weak.lock()) self->Watch();
    });
  }

 private:
  static constexpr absl::Duration kPeriod = absl::Milliseconds(1);
  // A guest that never serves it is let alone after some seconds.
  static constexpr int kMaxNudges = 8000;

  void Watch() {
    left_ = kMaxNudges;
    if (!timer_.has_value()) timer_ = loop_.AddTimer(kPeriod, [this] { OnTimer(); });
  }
  void OnTimer() {
    timer_.reset();
    if (--left_ == 0 || !pending_()) return;
    nudge_();
    timer_ = loop_.AddTimer(kPeriod, [this] { OnTimer(); });
  }

  const std::shared_ptr<Interrupt> line_;
  EventLoop& loop_;
  const std::function<void()> nudge_;
  // The loop's thread's.
  std::function<bool()> pending_;
  std::optional<EventLoop::Id> timer_;
  int left_ = 0;
};

// A channel of ATA drives at its ports.
absl::StatusOr<std::shared_ptr<ata::Device>> AddChannel(const PcDevices::Parts& parts,
                                                        ata::Device::Units units,
                                                        const ata::ChannelPorts& ports,
                                                        uint32_t pin) {
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<Interrupt> line, parts.vm.CreateIrqLine(pin));
  HULL_ASSIGN_OR_RETURN(
      std::shared_ptr<ata::Device> device,
      ata::Device::Create(std::move(units), std::move(line), [start = parts.thread_start] {
        start(sandbox::ThreadKind::kBlockWorker);
      }));
  HULL_RETURN_IF_ERROR(parts.ports.Insert(ports.command, ata::kCommandPortCount,
                                          std::make_shared<ata::CommandPorts>(device)));
  HULL_RETURN_IF_ERROR(
      parts.ports.Insert(ports.control, 1, std::make_shared<ata::ControlPort>(device)));
  return device;
}

absl::StatusOr<std::vector<uint8_t>> ReadVideoFirmware(const UniqueFd& file) {
  struct stat info;
  if (fstat(file.get(), &info) != 0) return PosixError("fstat");
  const auto size = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size == 0 || size > kMaxVideoFirmwareSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a file of 1 to ", kMaxVideoFirmwareSize, " bytes"));
  }
  std::vector<uint8_t> content(size);
  HULL_ASSIGN_OR_RETURN(const size_t read, PreadFull(file.get(), content, 0));
  if (read < size) return absl::DataLossError("the file is shorter than it was");
  return content;
}

void PresetWord(rtc::Clock& clock, uint8_t index, uint64_t value) {
  const uint64_t word = std::min<uint64_t>(value, 0xffff);
  clock.Preset(index, static_cast<uint8_t>(word));
  clock.Preset(index + 1, static_cast<uint8_t>(word >> 8));
}

}  // namespace

absl::StatusOr<std::unique_ptr<PcDevices>> PcDevices::Create(const MachineSpec& spec,
                                                             HostFiles& files, const Parts& parts) {
  std::unique_ptr<PcDevices> devices(new PcDevices());
  HULL_RETURN_IF_ERROR(parts.vm.CreatePit());
  HULL_ASSIGN_OR_RETURN(const std::shared_ptr<kvm::VmClock> clock, parts.vm.CreateClock());
  devices->now_ = [clock] { return absl::Nanoseconds(clock->Nanoseconds()); };
  HULL_RETURN_IF_ERROR(devices->AddFirmwareConfig(spec, files, parts));
  HULL_RETURN_IF_ERROR(devices->AddKeyboard(parts));
  HULL_RETURN_IF_ERROR(devices->AddScreen(parts));
  HULL_RETURN_IF_ERROR(devices->AddDiskettes(*spec.pc, files, parts));
  HULL_RETURN_IF_ERROR(devices->AddDisks(*spec.pc, files, parts));
  HULL_RETURN_IF_ERROR(devices->AddCdrom(*spec.pc, files, parts));
  HULL_RETURN_IF_ERROR(devices->AddClock(spec, parts));
  if (files.control.valid()) {
    HULL_ASSIGN_OR_RETURN(devices->control_, Control::Create(parts.loop, std::move(files.control),
                                                             devices->screen_, devices->keyboard_));
  }
  return devices;
}

absl::Status PcDevices::AddFirmwareConfig(const MachineSpec& spec, const HostFiles& files,
                                          const Parts& parts) {
  fw_cfg::Items items;
  items.SetInteger16(fw_cfg::kCpuCount, 1);
  items.SetInteger16(fw_cfg::kMaxCpuCount, 1);
  // No menu, for which SeaBIOS would wait.
  items.SetInteger16(fw_cfg::kBootMenu, 0);
  const std::array<fw_cfg::E820Range, 2> ranges = {{
      {.address = 0, .size = spec.memory_bytes, .type = fw_cfg::E820Range::kRam},
      {.address = kKvmPages, .size = kKvmPagesSize, .type = fw_cfg::E820Range::kReserved},
  }};
  HULL_RETURN_IF_ERROR(items.AddFile("etc/e820", fw_cfg::EncodeE820(ranges)));
  if (files.video_firmware.valid()) {
    absl::StatusOr<std::vector<uint8_t>> content = ReadVideoFirmware(files.video_firmware);
    if (!content.ok()) {
      return Annotate(content.status(),
                      absl::StrCat("video_firmware ", Describe(*spec.pc->video_firmware)));
    }
    HULL_RETURN_IF_ERROR(items.AddFile(kVideoFirmwareFile, *std::move(content)));
  }
  return parts.ports.Insert(fw_cfg::kPort, fw_cfg::kPortCount,
                            std::make_shared<fw_cfg::Device>(std::move(items), parts.memory));
}

absl::Status PcDevices::AddClock(const MachineSpec& spec, const Parts& parts) {
  rtc::Clock clock(absl::Now());
  PresetWord(clock, kCmosBaseMemory, x86_64::kLegacyHoleStart / kKiB);
  PresetWord(clock, kCmosExtendedMemory, (spec.memory_bytes - kMiB) / kKiB);
  PresetWord(clock, kCmosExtendedMemory2, (spec.memory_bytes - kMiB) / kKiB);
  PresetWord(clock, kCmosHighMemory, (spec.memory_bytes - 16 * kMiB) / (64 * kKiB));
  uint8_t types = 0;
  uint8_t equipment = kEquipmentCoprocessor | kEquipmentMouse;
  for (size_t i = 0; i < spec.pc->diskettes.size(); ++i) {
    const uint8_t type = diskettes_->DriveType(i);
    types |= static_cast<uint8_t>(i == 0 ? type << 4 : type);
    // That there are drives, and how many more than one.
    equipment = static_cast<uint8_t>((equipment & 0x3f) | 1 | i << 6);
  }
  clock.Preset(kCmosDisketteTypes, types);
  clock.Preset(kCmosEquipment, equipment);
  std::vector<BootDevice> boot = spec.pc->boot;
  if (boot.empty()) boot = {BootDevice::kDiskette, BootDevice::kDisk, BootDevice::kCdrom};
  uint32_t order = 0;
  for (size_t i = 0; i < boot.size(); ++i) order |= uint32_t{CmosBootDevice(boot[i])} << (4 * i);
  clock.Preset(kCmosBootDevices, static_cast<uint8_t>(order));
  clock.Preset(kCmosThirdBootDevice, static_cast<uint8_t>(order >> 8 << 4));
  uint8_t translation = 0;
  for (size_t i = 0; i < spec.pc->disks.size(); ++i) {
    const std::optional<ata::Layout> layout = disks_->LayoutOfDisk(i);
    if (layout.has_value() && layout->translate) {
      translation |= static_cast<uint8_t>(kTranslateByLba << (2 * i));
    }
  }
  clock.Preset(kCmosDiskTranslation, translation);
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<Interrupt> line, parts.vm.CreateIrqLine(x86_64::kRtcPin));
  // The vCPU's thread may not ask the host for the time of day.
  return parts.ports.Insert(
      rtc::kPort, rtc::kPortCount,
      rtc::Device::Create(
          clock, [now = now_, start = absl::Now() - now_()] { return start + now(); },
          std::move(line), parts.loop));
}

absl::Status PcDevices::AddKeyboard(const Parts& parts) {
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<Interrupt> keyboard,
                        parts.vm.CreateIrqLine(x86_64::kKeyboardPin));
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<Interrupt> mouse,
                        parts.vm.CreateIrqLine(x86_64::kMousePin));
  keyboard_ =
      std::make_shared<i8042::Device>(std::move(keyboard), std::move(mouse),
                                      [power = parts.power] { power(power::Request::kReboot); });
  HULL_RETURN_IF_ERROR(parts.ports.Insert(i8042::kPort, i8042::kPortCount, keyboard_));
  HULL_RETURN_IF_ERROR(parts.ports.Insert(power::kSystemControlPort, power::kSystemControlSize,
                                          std::make_shared<power::SystemControl>(parts.power)));
  return parts.ports.Insert(power::kResetControlPort, power::kResetControlSize,
                            std::make_shared<power::ResetControl>(parts.power));
}

absl::Status PcDevices::AddScreen(const Parts& parts) {
  HULL_ASSIGN_OR_RETURN(ScopedMmap frame_buffer,
                        ScopedMmap::Map(vga::kFrameBufferSize, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE));
  // One slot behind the firmware's.
  HULL_RETURN_IF_ERROR(parts.vm.MapDeviceMemory(
      static_cast<uint32_t>(parts.memory.regions().size()) + 1, vga::kFrameBufferAddress,
      std::span<uint8_t>(frame_buffer.data(), frame_buffer.size())));
  screen_ = std::make_shared<vga::Device>(now_, std::move(frame_buffer));
  HULL_RETURN_IF_ERROR(parts.ports.Insert(vga::kVbeFirstPort, vga::kVbePortCount,
                                          std::make_shared<vga::VbePorts>(screen_)));
  HULL_RETURN_IF_ERROR(
      parts.ports.Insert(vga::kFirstPort, vga::kPortCount, std::make_shared<vga::Ports>(screen_)));
  return parts.mmio.Insert(vga::kWindowStart, vga::kWindowSize,
                           std::make_shared<vga::Window>(screen_));
}

absl::Status PcDevices::AddDiskettes(const PcSpec& spec, HostFiles& files, const Parts& parts) {
  const auto dma = std::make_shared<dma::Device>(parts.memory);
  for (const auto& range : dma::kPortRanges) {
    HULL_RETURN_IF_ERROR(
        parts.ports.Insert(range.port, range.count, std::make_shared<dma::Ports>(dma, range.port)));
  }
  floppy::Device::Drives drives;
  for (size_t i = 0; i < spec.diskettes.size(); ++i) {
    absl::StatusOr<std::unique_ptr<block::FileBackend>> file =
        block::FileBackend::Create(std::move(files.diskettes[i]), Describe(spec.diskettes[i].file),
                                   {.read_only = spec.diskettes[i].read_only});
    if (!file.ok()) return Annotate(file.status(), absl::StrCat("diskettes[", i, "]"));
    drives[i] = std::make_unique<DisketteFile>(*std::move(file));
  }
  HULL_ASSIGN_OR_RETURN(std::shared_ptr<Interrupt> line,
                        parts.vm.CreateIrqLine(x86_64::kFloppyPin));
  std::shared_ptr<UrgentLine> urgent;
  if (!x86_64::HostHasVirtualization()) {
    urgent = std::make_shared<UrgentLine>(std::move(line), parts.loop, parts.nudge);
    line = urgent;
  }
  absl::StatusOr<std::shared_ptr<floppy::Device>> device = floppy::Device::Create(
      std::move(drives), dma::CreateChannel(dma, floppy::kDmaChannel), std::move(line),
      [start = parts.thread_start] { start(sandbox::ThreadKind::kBlockWorker); });
  if (!device.ok()) return Annotate(device.status(), "diskettes");
  diskettes_ = *std::move(device);
  if (urgent != nullptr) {
    // Weak, as the device owns the line.
    urgent->SetPending([weak = std::weak_ptr<floppy::Device>(diskettes_)] {
      const std::shared_ptr<floppy::Device> diskettes = weak.lock();
      return diskettes != nullptr && diskettes->InterruptPending();
    });
  }
  HULL_RETURN_IF_ERROR(parts.ports.Insert(floppy::kPort, floppy::kPortCount,
                                          std::make_shared<floppy::Ports>(diskettes_, 0)));
  return parts.ports.Insert(
      floppy::kLastPort, 1,
      std::make_shared<floppy::Ports>(diskettes_, floppy::kLastPort - floppy::kPort));
}

absl::Status PcDevices::AddDisks(const PcSpec& spec, HostFiles& files, const Parts& parts) {
  // Without a drive nobody answers at the channel's ports.
  if (spec.disks.empty()) return absl::OkStatus();
  ata::Device::Units units;
  for (size_t i = 0; i < spec.disks.size(); ++i) {
    absl::StatusOr<ata::Unit> unit =
        OpenUnit(std::move(files.pc_disks[i]), spec.disks[i].file, spec.disks[i].read_only,
                 /*cdrom=*/false, absl::StrCat("DISK", i));
    if (!unit.ok()) return Annotate(unit.status(), absl::StrCat("disks[", i, "]"));
    units[i] = *std::move(unit);
  }
  absl::StatusOr<std::shared_ptr<ata::Device>> device =
      AddChannel(parts, std::move(units), ata::kPrimary, x86_64::kPrimaryAtaPin);
  if (!device.ok()) return Annotate(device.status(), "disks");
  disks_ = *std::move(device);
  return absl::OkStatus();
}

absl::Status PcDevices::AddCdrom(const PcSpec& spec, HostFiles& files, const Parts& parts) {
  if (!spec.cdrom.has_value()) return absl::OkStatus();
  absl::StatusOr<ata::Unit> unit =
      OpenUnit(std::move(files.cdrom), *spec.cdrom, /*read_only=*/true, /*cdrom=*/true, "CDROM0");
  if (!unit.ok()) return Annotate(unit.status(), "cdrom");
  ata::Device::Units units;
  units[0] = *std::move(unit);
  return Annotate(
      AddChannel(parts, std::move(units), ata::kSecondary, x86_64::kSecondaryAtaPin).status(),
      "cdrom");
}

}  // namespace hull::machine
