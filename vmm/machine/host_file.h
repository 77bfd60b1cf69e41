// Opens what a specification refers to.

#ifndef VMM_MACHINE_HOST_FILE_H_
#define VMM_MACHINE_HOST_FILE_H_

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/machine/spec.h"

namespace hull::machine {

// Opens a path with `flags` (and `mode` if it is created), or takes over an inherited descriptor,
// which must be open: 3 and up are owned from then on (and close-on-exec), the three standard ones
// are duplicated, as others use them too.
absl::StatusOr<UniqueFd> OpenFileRef(const FileRef& file, int flags, mode_t mode = 0);

}  // namespace hull::machine

#endif  // VMM_MACHINE_HOST_FILE_H_
