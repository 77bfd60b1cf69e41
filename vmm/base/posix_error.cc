#include "vmm/base/posix_error.h"

#include "absl/strings/str_cat.h"

namespace hull {

absl::Status PosixError(int error, absl::string_view what) {
  return absl::ErrnoToStatus(error, what);
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace hull
