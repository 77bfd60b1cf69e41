// What a container's writable layer changes in its image, as its guest tells it.

#ifndef VMM_CLI_CONTAINER_CHANGES_H_
#define VMM_CLI_CONTAINER_CHANGES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::cli {

struct ContainerChange {
  char kind = 'C';  // 'A', 'C' or 'D'
  std::string path = {};

  friend bool operator==(const ContainerChange&, const ContainerChange&) = default;
};

// Of the archiver's answer (guest-agent/archiver.h), which is the guest's word: kInvalidArgument if
// it is none. Sorted by path, without what no container's own change is: its mount points and the
// files that the host writes.
absl::StatusOr<std::vector<ContainerChange>> ParseContainerChanges(absl::string_view answer);

// "C /etc\nA /etc/new\n", fit for a terminal; and podman's JSON.
std::string RenderChanges(const std::vector<ContainerChange>& changes);
std::string RenderChangesAsJson(const std::vector<ContainerChange>& changes);

}  // namespace hull::cli

#endif  // VMM_CLI_CONTAINER_CHANGES_H_
