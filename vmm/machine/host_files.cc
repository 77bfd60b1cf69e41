#include "vmm/machine/host_files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::machine {
namespace {

// Room for messages where standard error is a file.
constexpr uint64_t kLogRoom = uint64_t{16} << 20;

// Opens a path, or takes over an inherited descriptor: 3 and up are owned from then on, the three
// standard ones are duplicated, as others use them too.
absl::StatusOr<UniqueFd> OpenFileRef(const FileRef& file, int flags, mode_t mode = 0) {
  if (const std::string* path = std::get_if<std::string>(&file.source)) {
    return UniqueFd::Open(*path, flags, mode);
  }
  const int fd = std::get<int>(file.source);
  if (fd <= STDERR_FILENO) {
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!copy) return PosixError(absl::StrCat("inherited descriptor ", fd));
    return copy;
  }
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return PosixError(absl::StrCat("inherited descriptor ", fd));
  }
  return UniqueFd(fd);
}

absl::Status OpenConsole(const ConsoleSpec& spec, HostFiles& files) {
  // Not blocking matters for a named pipe alone: without a reader, opening it is an error then.
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK;
  absl::StatusOr<UniqueFd> output = OpenFileRef(spec.output, kFlags, 0640);
  if (!output.ok()) return Annotate(output.status(), "console");
  files.console_output = *std::move(output);
  if (!spec.input.has_value()) return absl::OkStatus();
  // A terminal is one descriptor for both, but the two sides are watched separately.
  absl::StatusOr<UniqueFd> input = *spec.input == spec.output
                                       ? files.console_output.Duplicate()
                                       : OpenFileRef(*spec.input, O_RDONLY | O_NOCTTY);
  if (!input.ok()) return Annotate(input.status(), "console.input");
  files.console_input = *std::move(input);
  return absl::OkStatus();
}

// Non-blocking for the sake of what is no disk: opening a FIFO would wait for its other end.
constexpr int kMediumFlags = O_NONBLOCK | O_NOCTTY;

template <typename Drive>
absl::Status OpenDrives(const std::vector<Drive>& drives, const char* name,
                        std::vector<UniqueFd>& files) {
  for (size_t i = 0; i < drives.size(); ++i) {
    absl::StatusOr<UniqueFd> file =
        OpenFileRef(drives[i].file, kMediumFlags | (drives[i].read_only ? O_RDONLY : O_RDWR));
    if (!file.ok()) return Annotate(file.status(), absl::StrCat(name, "[", i, "]"));
    files.push_back(*std::move(file));
  }
  return absl::OkStatus();
}

absl::Status OpenPc(const PcSpec& spec, HostFiles& files) {
  if (spec.video_firmware.has_value()) {
    absl::StatusOr<UniqueFd> firmware = OpenFileRef(*spec.video_firmware, O_RDONLY);
    if (!firmware.ok()) return Annotate(firmware.status(), "video_firmware");
    files.video_firmware = *std::move(firmware);
  }
  HULL_RETURN_IF_ERROR(OpenDrives(spec.diskettes, "diskettes", files.diskettes));
  HULL_RETURN_IF_ERROR(OpenDrives(spec.disks, "disks", files.pc_disks));
  if (spec.cdrom.has_value()) {
    absl::StatusOr<UniqueFd> file = OpenFileRef(*spec.cdrom, kMediumFlags | O_RDONLY);
    if (!file.ok()) return Annotate(file.status(), "cdrom");
    files.cdrom = *std::move(file);
  }
  if (spec.control.has_value()) {
    absl::StatusOr<UniqueFd> control = OpenFileRef(FileRef{*spec.control}, 0);
    if (!control.ok()) return Annotate(control.status(), "control");
    files.control = *std::move(control);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<HostFiles> HostFiles::Open(const MachineSpec& spec, UniqueFd kvm_device) {
  absl::StatusOr<kvm::System> kvm = kvm_device.valid() ? kvm::System::FromFd(std::move(kvm_device))
                                                       : kvm::System::Open(kKvmDevice);
  if (!kvm.ok()) return kvm.status();
  HostFiles files = {.kvm = *std::move(kvm)};
  if (spec.console.has_value()) HULL_RETURN_IF_ERROR(OpenConsole(*spec.console, files));
  for (const BlockSpec& disk : spec.block) {
    absl::StatusOr<UniqueFd> file =
        OpenFileRef(disk.file, kMediumFlags | (disk.read_only ? O_RDONLY : O_RDWR));
    if (!file.ok()) return Annotate(file.status(), absl::StrCat("disk \"", disk.id, "\""));
    files.disks.push_back(*std::move(file));
  }
  if (spec.firmware.has_value()) {
    absl::StatusOr<UniqueFd> firmware = OpenFileRef(*spec.firmware, O_RDONLY);
    if (!firmware.ok()) {
      return Annotate(firmware.status(), absl::StrCat("firmware ", Describe(*spec.firmware)));
    }
    files.firmware = *std::move(firmware);
  } else {
    absl::StatusOr<UniqueFd> kernel = OpenFileRef(spec.kernel, O_RDONLY);
    if (!kernel.ok()) return Annotate(kernel.status(), "kernel");
    files.kernel = *std::move(kernel);
  }
  if (spec.initramfs.has_value()) {
    absl::StatusOr<UniqueFd> initramfs = OpenFileRef(*spec.initramfs, O_RDONLY);
    if (!initramfs.ok()) return Annotate(initramfs.status(), "initramfs");
    files.initramfs = *std::move(initramfs);
  }
  if (spec.vsock.has_value() && spec.vsock->connector.has_value()) {
    absl::StatusOr<UniqueFd> connector = OpenFileRef(FileRef{*spec.vsock->connector}, 0);
    if (!connector.ok()) return Annotate(connector.status(), "vsock.connector");
    files.vsock_connector = *std::move(connector);
  }
  if (spec.pause.has_value()) {
    absl::StatusOr<UniqueFd> pause = OpenFileRef(FileRef{*spec.pause}, 0);
    if (!pause.ok()) return Annotate(pause.status(), "pause");
    files.pause = *std::move(pause);
  }
  if (spec.pc.has_value()) HULL_RETURN_IF_ERROR(OpenPc(*spec.pc, files));
  return files;
}

std::vector<int> HostFiles::Descriptors() const {
  std::vector<int> descriptors = {kvm.fd()};
  const auto add = [&descriptors](const UniqueFd& fd) {
    if (fd.valid()) descriptors.push_back(fd.get());
  };
  for (const UniqueFd* fd :
       {&kernel, &initramfs, &firmware, &console_output, &console_input, &vsock_listener,
        &vsock_connector, &pause, &video_firmware, &cdrom, &control}) {
    add(*fd);
  }
  for (const UniqueFd& diskette : diskettes) add(diskette);
  for (const UniqueFd& disk : pc_disks) add(disk);
  for (const UniqueFd& disk : disks) add(disk);
  return descriptors;
}

absl::StatusOr<uint64_t> HostFiles::LargestFile(const MachineSpec& spec) const {
  uint64_t largest = 0;
  const auto look = [&largest](int fd, uint64_t room) -> absl::Status {
    struct stat info;
    if (fstat(fd, &info) != 0) return PosixError("fstat");
    if (S_ISREG(info.st_mode)) {
      largest = std::max(largest, static_cast<uint64_t>(info.st_size) + room);
    }
    return absl::OkStatus();
  };
  HULL_RETURN_IF_ERROR(look(STDERR_FILENO, kLogRoom));
  for (size_t i = 0; i < disks.size(); ++i) {
    // A disk does not grow.
    if (!spec.block[i].read_only) HULL_RETURN_IF_ERROR(look(disks[i].get(), 0));
  }
  for (size_t i = 0; i < diskettes.size(); ++i) {
    if (!spec.pc->diskettes[i].read_only) HULL_RETURN_IF_ERROR(look(diskettes[i].get(), 0));
  }
  for (size_t i = 0; i < pc_disks.size(); ++i) {
    if (!spec.pc->disks[i].read_only) HULL_RETURN_IF_ERROR(look(pc_disks[i].get(), 0));
  }
  if (console_output.valid()) {
    struct stat info;
    if (fstat(console_output.get(), &info) != 0) return PosixError("fstat the console");
    // How much a console may write to a file is for whoever asked for that file.
    if (S_ISREG(info.st_mode)) return RLIM_INFINITY;
  }
  return largest;
}

}  // namespace hull::machine
