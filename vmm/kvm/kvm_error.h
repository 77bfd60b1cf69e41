// Errors of KVM's ioctls.

#ifndef VMM_KVM_KVM_ERROR_H_
#define VMM_KVM_KVM_ERROR_H_

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "vmm/base/posix_error.h"

namespace hull::kvm {

// The current errno after an ioctl that does `what`. Like PosixError, but never kInvalidArgument:
// that code means a mistake in the machine's specification, while an EINVAL of KVM is the host's
// lack of something or Hull's own mistake.
inline absl::Status KvmError(absl::string_view what) {
  const absl::Status status = PosixError(errno, what);
  if (!absl::IsInvalidArgument(status)) return status;
  return absl::InternalError(status.message());
}

}  // namespace hull::kvm

#endif  // VMM_KVM_KVM_ERROR_H_
