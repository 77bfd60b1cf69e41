// The one place where an errno becomes an absl::Status.

#ifndef VMM_BASE_POSIX_ERROR_H_
#define VMM_BASE_POSIX_ERROR_H_

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hull {

// "<what>: <strerror(error)>" with the canonical code of `error` (ENOENT → kNotFound, EACCES →
// kPermissionDenied, ENOSPC → kResourceExhausted …). `what` names the operation and its object:
// `open "/dev/kvm"`.
absl::Status PosixError(int error, absl::string_view what);

// The same for the current errno. Call it at once after the failing system call.
inline absl::Status PosixError(absl::string_view what) { return PosixError(errno, what); }

// The same code, with `context` and ": " before the message: says what was being done.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace hull

#endif  // VMM_BASE_POSIX_ERROR_H_
