#include "vmm/cli/container_changes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace hull::cli {
namespace {

// podman's list, of the paths that it mounts something on.
constexpr absl::string_view kNotTheContainers[] = {
    "/dev", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/run", "/sys",
};

std::string ForTerminal(const std::string& path) {
  const bool plain = std::none_of(path.begin(), path.end(),
                                  [](unsigned char c) { return absl::ascii_iscntrl(c); });
  return plain ? path : absl::CHexEscape(path);
}

}  // namespace

absl::StatusOr<std::vector<ContainerChange>> ParseContainerChanges(absl::string_view answer) {
  std::vector<ContainerChange> changes;
  while (!answer.empty()) {
    const size_t end = answer.find('\0');
    const char kind = answer[0];
    if (end == absl::string_view::npos || end < 2 || answer[1] != '/' ||
        (kind != 'A' && kind != 'C' && kind != 'D')) {
      return absl::InvalidArgumentError("the guest's list of changes is none");
    }
    const absl::string_view path = answer.substr(1, end - 1);
    if (std::find(std::begin(kNotTheContainers), std::end(kNotTheContainers), path) ==
        std::end(kNotTheContainers)) {
      changes.push_back({.kind = kind, .path = std::string(path)});
    }
    answer.remove_prefix(end + 1);
  }
  std::sort(changes.begin(), changes.end(),
            [](const ContainerChange& a, const ContainerChange& b) { return a.path < b.path; });
  return changes;
}

std::string RenderChanges(const std::vector<ContainerChange>& changes) {
  std::string text;
  for (const ContainerChange& change : changes) {
    absl::StrAppend(&text, std::string(1, change.kind), " ", ForTerminal(change.path), "\n");
  }
  return text;
}

std::string RenderChangesAsJson(const std::vector<ContainerChange>& changes) {
  nlohmann::ordered_json lists = {{"changed", nlohmann::json::array()},
                                  {"added", nlohmann::json::array()},
                                  {"deleted", nlohmann::json::array()}};
  for (const ContainerChange& change : changes) {
    lists[change.kind == 'A'   ? "added"
          : change.kind == 'D' ? "deleted"
                               : "changed"]
        .push_back(change.path);
  }
  return lists.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace hull::cli
