#include "vmm/container/machine_builder.h"

#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/machine/spec.h"

namespace hull::container {
namespace {

absl::StatusOr<std::string> BuildPcSpec(const Config& config,
                                        const MachineDescriptors& descriptors) {
  machine::MachineSpec spec;
  spec.vcpus = config.cpus;
  spec.memory_bytes = config.memory_bytes;
  spec.firmware.emplace().source = descriptors.kernel;
  spec.console.emplace().output.source = descriptors.console;
  machine::PcSpec& pc = spec.pc.emplace();
  pc.video_firmware.emplace().source = descriptors.video_firmware;
  pc.control = descriptors.control;
  if (descriptors.pause >= 0) spec.pause = descriptors.pause;
  const machine::FileRef disk = {.source = descriptors.root};
  if (config.pc->boot == "floppy") {
    pc.diskettes.push_back({.file = disk, .read_only = config.read_only});
    pc.boot = {machine::BootDevice::kDiskette};
  } else if (config.pc->boot == "cdrom") {
    pc.cdrom = disk;
    pc.boot = {machine::BootDevice::kCdrom};
  } else {
    pc.disks.push_back({.file = disk, .read_only = config.read_only});
    pc.boot = {machine::BootDevice::kDisk};
  }
  HULL_RETURN_IF_ERROR(Annotate(machine::ValidateSpec(spec), "machine"));
  return machine::SerializeSpec(spec);
}

}  // namespace

absl::StatusOr<std::string> BuildMachineSpec(const Config& config,
                                             const MachineDescriptors& descriptors) {
  if (config.pc.has_value()) return BuildPcSpec(config, descriptors);
  machine::MachineSpec spec;
  spec.vcpus = config.cpus;
  spec.memory_bytes = config.memory_bytes;
  spec.kernel.source = descriptors.kernel;
  spec.initramfs.emplace().source = descriptors.initramfs;
  if (descriptors.console >= 0) {
    spec.console.emplace().output.source = descriptors.console;
    // Somebody who asks for the console wants to see the boot, not only what went wrong.
    spec.cmdline = "loglevel=7";
  }
  // The agent finds the root image on /dev/vda, the first block device, the layer on the second if
  // there is one, and the volumes behind.
  machine::BlockSpec& root = spec.block.emplace_back();
  root.id = "root";
  root.file.source = descriptors.root;
  root.read_only = true;
  if (descriptors.layer >= 0) {
    machine::BlockSpec& layer = spec.block.emplace_back();
    layer.id = "layer";
    layer.file.source = descriptors.layer;
  }
  for (const MachineDescriptors::Volume& volume : descriptors.volumes) {
    machine::BlockSpec& disk = spec.block.emplace_back();
    disk.id = absl::StrCat("volume", spec.block.size());
    disk.file.source = volume.fd;
    disk.read_only = volume.read_only;
  }
  // Guest CIDs are the VMM's own, not shared on the host, so every machine can have the same.
  machine::VsockSpec& sockets = spec.vsock.emplace();
  sockets.guest_cid = machine::kMinGuestCid;
  sockets.connector = descriptors.connector;
  spec.rng = true;
  if (descriptors.pause >= 0) spec.pause = descriptors.pause;
  HULL_RETURN_IF_ERROR(Annotate(machine::ValidateSpec(spec), "machine"));
  return machine::SerializeSpec(spec);
}

}  // namespace hull::container
