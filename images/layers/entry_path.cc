#include "images/layers/entry_path.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr absl::string_view kWhiteoutPrefix = ".wh.";
constexpr absl::string_view kWhiteoutMetaPrefix = ".wh..wh.";
constexpr absl::string_view kOpaqueName = ".wh..wh..opq";

}  // namespace

std::string Quote(absl::string_view name) {
  constexpr size_t kShown = 120;
  if (name.size() <= kShown) return absl::StrCat("\"", absl::CHexEscape(name), "\"");
  return absl::StrCat("\"", absl::CHexEscape(name.substr(0, kShown)), "\"... (", name.size(),
                      " bytes)");
}

absl::StatusOr<std::vector<std::string>> SplitPath(absl::string_view path) {
  if (path.empty()) return absl::InvalidArgumentError("the name is empty");
  if (path.front() == '/') return absl::InvalidArgumentError("the name is absolute");
  if (path.size() > kMaxPathBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the name has ", path.size(), " bytes; at most ",
                                                   kMaxPathBytes, " are allowed"));
  }
  std::vector<std::string> components;
  for (const absl::string_view component : absl::StrSplit(path, '/')) {
    if (component.empty() || component == ".") continue;
    if (component == "..") {
      return absl::InvalidArgumentError("the name has a \"..\", which may lead out of the root");
    }
    if (component.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(absl::StrCat("a component of the name has ",
                                                     component.size(), " bytes; at most ",
                                                     kMaxNameBytes, " are allowed"));
    }
    if (component.find('\0') != absl::string_view::npos) {
      return absl::InvalidArgumentError("the name has a NUL byte");
    }
    components.emplace_back(component);
  }
  return components;
}

absl::StatusOr<EntryPath> ParseEntryPath(absl::string_view path) {
  EntryPath entry;
  HULL_ASSIGN_OR_RETURN(entry.components, SplitPath(path));
  if (entry.components.empty()) return entry;
  const std::string& last = entry.components.back();
  if (!absl::StartsWith(last, kWhiteoutPrefix)) return entry;
  if (absl::StartsWith(last, kWhiteoutMetaPrefix)) {
    entry.kind = last == kOpaqueName ? EntryKind::kOpaque : EntryKind::kIgnored;
    entry.components.pop_back();
    return entry;
  }
  std::string removed = last.substr(kWhiteoutPrefix.size());
  if (removed.empty() || removed == "." || removed == "..") {
    return absl::InvalidArgumentError("a whiteout names no file");
  }
  entry.kind = EntryKind::kWhiteout;
  entry.components.back() = std::move(removed);
  return entry;
}

}  // namespace hull::images
