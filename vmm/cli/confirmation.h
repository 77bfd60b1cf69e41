// A question before what cannot be undone.

#ifndef VMM_CLI_CONFIRMATION_H_
#define VMM_CLI_CONFIRMATION_H_

#include "absl/strings/string_view.h"

namespace hull::cli {

// Asks on standard error and reads a line of standard input: whether it is yes.
bool Confirmed(absl::string_view question);

}  // namespace hull::cli

#endif  // VMM_CLI_CONFIRMATION_H_
