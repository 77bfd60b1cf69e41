// The container's environment variables: -e and --env-file, with podman's rules.

#ifndef VMM_CONTAINER_ENVIRONMENT_H_
#define VMM_CONTAINER_ENVIRONMENT_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// The agent's bound (guest-agent/protocol): more would be refused there.
inline constexpr size_t kMaxVariables = 16384;
// The longest --env-file that is read, in bytes.
inline constexpr size_t kMaxEnvFileBytes = size_t{1} << 20;

// An ordered set of "NAME=VALUE": a later Set replaces the value and keeps the place.
// Not thread-safe.
class Environment {
 public:
  // What the invoking process has; each element is "NAME=VALUE".
  explicit Environment(std::vector<std::string> host) : host_(std::move(host)) {}

  // One -e option or line of an env file:
  //   NAME=VALUE   the value is taken as it is, quotes included
  //   NAME         the host's value; nothing if the host has none
  //   PREFIX*      every variable of the host whose name starts so
  // White space before NAME is dropped. kInvalidArgument for an empty name, for white space in a
  // name, for a NUL byte, and beyond kMaxVariables.
  absl::Status Add(absl::string_view entry);

  // The content of an env file: one entry a line, as Add(); blank lines and those that start with
  // '#' do not count. `name` is the file's, for messages, which also tell the line.
  absl::Status AddFile(absl::string_view name, absl::string_view content);

  // Sets a variable whatever its name.
  void Set(absl::string_view name, absl::string_view value);
  bool Has(absl::string_view name) const;

  std::vector<std::string> Take() && { return std::move(variables_); }
  const std::vector<std::string>& variables() const { return variables_; }

 private:
  std::vector<std::string> host_;
  std::vector<std::string> variables_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_ENVIRONMENT_H_
