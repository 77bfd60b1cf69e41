// What a running machine costs the host's memory.

#ifndef VMM_CLI_VMM_MEMORY_H_
#define VMM_CLI_VMM_MEMORY_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::cli {

struct VmmMemory {
  // Proportional set sizes: what several machines share is divided among them.
  uint64_t guest_bytes = 0;  // the guest's memory that the host has given it
  uint64_t own_bytes = 0;    // all the rest
};

// From the text of /proc/PID/smaps. The guest's memory is the mappings that follow each other
// without a gap and are together as long as it; a process without such a run has none of it.
VmmMemory SplitMappings(absl::string_view smaps, uint64_t guest_memory_bytes);

// Of the VMM and its child processes. kNotFound if there is no such process, kPermissionDenied if
// its memory may not be looked at.
absl::StatusOr<VmmMemory> MeasureVmm(pid_t vmm, uint64_t guest_memory_bytes);

}  // namespace hull::cli

#endif  // VMM_CLI_VMM_MEMORY_H_
