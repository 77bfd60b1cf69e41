#include "vmm/cli/message.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/container/outcome.h"

namespace hull::cli {

void PrintError(absl::string_view text) {
  // Nowhere to tell a failure to.
  WriteFull(STDERR_FILENO, absl::StrCat("hull: ", text, "\n")).IgnoreError();
}

int ReportFailure(const absl::Status& status) {
  PrintError(status.message());
  return container::kHullFailed;
}

int PrintOutput(absl::string_view text) {
  const absl::Status written = WriteFull(STDOUT_FILENO, text);
  if (written.ok()) return 0;
  return ReportFailure(
      absl::Status(written.code(), absl::StrCat("standard output: ", written.message())));
}

}  // namespace hull::cli
