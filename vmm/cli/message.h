// What a person reads.

#ifndef VMM_CLI_MESSAGE_H_
#define VMM_CLI_MESSAGE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hull::cli {

// Writes "hull: <text>\n" to standard error in one piece.
void PrintError(absl::string_view text);
// The same with a status's message; returns 125, the exit status of Hull's own failures.
int ReportFailure(const absl::Status& status);

// Writes to standard output. Returns 0, or the exit status if it cannot be written.
int PrintOutput(absl::string_view text);

}  // namespace hull::cli

#endif  // VMM_CLI_MESSAGE_H_
