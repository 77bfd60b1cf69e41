// Pictures as PNG files (ISO/IEC 15948), by libpng.

#ifndef VMM_CLI_PNG_H_
#define VMM_CLI_PNG_H_

#include <string>

#include "absl/status/statusor.h"
#include "vmm/container/pc_question.h"

namespace hull::cli {

// The bytes of the file.
absl::StatusOr<std::string> EncodePng(const container::Picture& picture);

}  // namespace hull::cli

#endif  // VMM_CLI_PNG_H_
