// Everything that a machine needs of the host, open: the last things that are done with a path.

#ifndef VMM_MACHINE_HOST_FILES_H_
#define VMM_MACHINE_HOST_FILES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/kvm/system.h"
#include "vmm/machine/spec.h"

namespace hull::machine {

struct HostFiles {
  kvm::System kvm;
  UniqueFd kernel = {};
  UniqueFd initramfs = {};
  UniqueFd firmware = {};
  UniqueFd console_output = {};
  UniqueFd console_input = {};
  std::vector<UniqueFd> disks = {};  // in the specification's order
  // Where host processes connect to the guest; none where the specification names no host_socket.
  UniqueFd vsock_listener = {};
  // Where the guest's connections to the host come from (sandbox/broker.h).
  UniqueFd vsock_connector = {};
  UniqueFd pause = {};  // where the machine is paused

  // Of a pc machine.
  UniqueFd video_firmware = {};
  std::vector<UniqueFd> diskettes = {};
  std::vector<UniqueFd> pc_disks = {};
  UniqueFd cdrom = {};
  UniqueFd control = {};

  // Opens what the specification names, and takes over the descriptors in it, but for the listener
  // and a connector that it does not hold (see host_sockets.h). The errors name the part of the
  // specification; kInvalidArgument is its fault. `kvm_device` is kKvmDevice where the caller was
  // given it open.
  static absl::StatusOr<HostFiles> Open(const MachineSpec& spec, UniqueFd kvm_device = UniqueFd());

  // All of them, for the jail's list.
  std::vector<int> Descriptors() const;
  // The most bytes that any file that may be written to may come to hold.
  absl::StatusOr<uint64_t> LargestFile(const MachineSpec& spec) const;
};

}  // namespace hull::machine

#endif  // VMM_MACHINE_HOST_FILES_H_
