// What stays outside the jail when hull-vmm is started by hand: the parent of the jailed VMM.

#ifndef VMM_CLI_VMM_SUPERVISOR_H_
#define VMM_CLI_VMM_SUPERVISOR_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/machine/host_files.h"
#include "vmm/machine/spec.h"

namespace hull::cli {

// Stands in for a monitor: passes SIGTERM and SIGINT on, connects the guest to host sockets by
// their paths, removes its own socket at the end, holds the claim of the VMM's user id, and ends as
// the VMM does: when that says that its machine is over, or else with its process. What the kernel
// then still dissolves (the VM, the namespaces) runs nothing, and nobody waits for it.
class VmmSupervisor {
 public:
  // Makes the host's side of the machine's sockets; the VMM's side goes into `files`. Blocks the
  // two signals. Before the fork. `spec` outlives the process.
  static absl::StatusOr<VmmSupervisor> Create(const machine::MachineSpec& spec,
                                              machine::HostFiles& files);
  VmmSupervisor(VmmSupervisor&&) = default;
  VmmSupervisor& operator=(VmmSupervisor&&) = default;

  // Where the VMM says with which status it is about to exit, in decimal. The VMM's to write to.
  int report() const { return report_write_.get(); }

  // In the parent: until the VMM, its child, is over; then ends this process in the same way.
  [[noreturn]] void Supervise(pid_t vmm);

  // Removes the socket: for a start that failed.
  void RemoveSocket() const;

 private:
  VmmSupervisor() = default;
  absl::Status Serve(pid_t vmm);
  void ReadReport();

  std::string socket_path_;  // empty: none
  UniqueFd broker_;
  UniqueFd signals_;
  UniqueFd report_read_;
  UniqueFd report_write_;
  std::optional<int> reported_;
};

}  // namespace hull::cli

#endif  // VMM_CLI_VMM_SUPERVISOR_H_
