// From a container to the machine that it runs in.

#ifndef VMM_CONTAINER_MACHINE_BUILDER_H_
#define VMM_CONTAINER_MACHINE_BUILDER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/container/config.h"

namespace hull::container {

// The numbers under which hull-vmm inherits its files; -1: not there.
struct MachineDescriptors {
  int kernel = -1;
  int initramfs = -1;
  int root = -1;
  int connector = -1;  // where connections for the guest come from (vmm/sandbox/broker.h)
  int pause = -1;      // where the machine is paused (vmm/machine/pause_protocol.h)
  int console = -1;
  int layer = -1;  // the disk that takes the container's writes
  // Of a pc machine only, which has no initramfs, and its firmware in place of a kernel.
  int video_firmware = -1;
  int control = -1;  // vmm/machine/control_protocol.h
  struct Volume {
    int fd = -1;
    bool read_only = false;
  };
  std::vector<Volume> volumes = {};  // in the order of Config::mounts
};

// The machine spec (vmm/machine) as JSON.
absl::StatusOr<std::string> BuildMachineSpec(const Config& config,
                                             const MachineDescriptors& descriptors);

}  // namespace hull::container

#endif  // VMM_CONTAINER_MACHINE_BUILDER_H_
