// The version of this Hull.

#ifndef VMM_CLI_VERSION_H_
#define VMM_CLI_VERSION_H_

namespace hull::cli {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace hull::cli

#endif  // VMM_CLI_VERSION_H_
