#include "vmm/cli/copy_plan.h"

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"

namespace hull::cli {
namespace {

// Without slashes at its end; the root stays.
std::string Trimmed(const std::string& path) {
  const size_t last = path.find_last_not_of('/');
  return last == std::string::npos ? path.substr(0, 1) : path.substr(0, last + 1);
}

std::string BaseOf(const std::string& path) {
  const std::string trimmed = Trimmed(path);
  const size_t slash = trimmed.rfind('/');
  return slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
}

}  // namespace

absl::StatusOr<CopyPlace> ParseCopyPlace(absl::string_view argument) {
  if (argument.empty()) return absl::InvalidArgumentError("an empty path");
  if (argument == "-") return CopyPlace{.stream = true};
  const size_t colon = argument.find(':');
  if (argument[0] == '.' || argument[0] == '/' || colon == absl::string_view::npos) {
    return CopyPlace{.path = std::string(argument)};
  }
  const std::string path(argument.substr(colon + 1));
  if (colon == 0 || path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", argument, "\" is not of the form CONTAINER:PATH"));
  }
  // As podman: from the root, whatever the container's working directory.
  return CopyPlace{.container = std::string(argument.substr(0, colon)),
                   .path = path[0] == '/' ? path : absl::StrCat("/", path)};
}

std::string ParentOf(const std::string& path) {
  const std::string trimmed = Trimmed(path);
  const size_t slash = trimmed.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : trimmed.substr(0, slash);
}

std::string CopyName(const std::string& path) {
  const std::string base = BaseOf(path);
  // ".." has no name of its own either.
  return base.empty() || base == "/" || base == "." || base == ".." ? "." : base;
}

absl::StatusOr<CopyPlan> PlanCopy(const std::string& source, FileKind source_kind,
                                  const std::string& target, const CopyTarget& found,
                                  absl::string_view where) {
  const bool directory = source_kind == FileKind::kDirectory;
  if (found.kind == FileKind::kDirectory) {
    return CopyPlan{.directory = target, .prefix = CopyName(source)};
  }
  if (found.kind != FileKind::kMissing && directory) {
    return absl::FailedPreconditionError(
        "destination must be a directory when copying a directory");
  }
  const bool named_as_directory =
      absl::EndsWith(target, "/") || BaseOf(target) == "." || BaseOf(target) == "..";
  if (found.parent != FileKind::kDirectory || (named_as_directory && !directory)) {
    return absl::NotFoundError(absl::StrCat("\"", target, "\" could not be found on ", where));
  }
  return CopyPlan{.directory = ParentOf(target), .prefix = BaseOf(target)};
}

}  // namespace hull::cli
