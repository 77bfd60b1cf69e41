// Where `hull cp` puts what it copies. Pure.

#ifndef VMM_CLI_COPY_PLAN_H_
#define VMM_CLI_COPY_PLAN_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::cli {

// One of the two arguments of `hull cp`.
struct CopyPlace {
  std::optional<std::string> container = {};  // none: this machine
  std::string path = {};                      // in a container: absolute
  bool stream = false;                        // "-": standard input or output
};

// podman's rule: what begins with a dot or a slash is a path of this machine, as is what has no
// colon. kInvalidArgument for an empty path or name.
absl::StatusOr<CopyPlace> ParseCopyPlace(absl::string_view argument);

enum class FileKind { kMissing, kFile, kDirectory, kOther };

// What is at a path, and at its parent directory.
struct CopyTarget {
  FileKind kind = FileKind::kMissing;
  FileKind parent = FileKind::kMissing;
};

struct CopyPlan {
  std::string directory;  // that is unpacked into, and exists
  // What the copy is called in it; ".": its contents go right into it.
  std::string prefix;
};

// The name that an archive of `path` has for its root; "." if the path ends with "/." or is the
// root.
std::string CopyName(const std::string& path);

// podman-cp(1): into a directory that exists under the source's own name; else under the target's,
// in a directory that has to exist. kNotFound, or kFailedPrecondition for a directory over a file.
// `where` is for the errors: "the host", "the container".
absl::StatusOr<CopyPlan> PlanCopy(const std::string& source, FileKind source_kind,
                                  const std::string& target, const CopyTarget& found,
                                  absl::string_view where);

// The path of the directory that holds `path`.
std::string ParentOf(const std::string& path);

}  // namespace hull::cli

#endif  // VMM_CLI_COPY_PLAN_H_
