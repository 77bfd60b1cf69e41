// The names of layer entries, checked before anything is done with them. Pure functions.

#ifndef IMAGES_LAYERS_ENTRY_PATH_H_
#define IMAGES_LAYERS_ENTRY_PATH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::images {

// Linux's own bounds: PATH_MAX with its terminator, and NAME_MAX.
inline constexpr size_t kMaxPathBytes = 4095;
inline constexpr size_t kMaxNameBytes = 255;

// What the last component of an entry's name says (OCI image specification, "Image Layer
// Filesystem Changeset", "Whiteouts").
enum class EntryKind {
  kNormal,
  kWhiteout,  // ".wh.NAME": NAME of the layers below is gone
  kOpaque,    // ".wh..wh..opq": everything of the layers below is gone from this directory
  kIgnored,   // other ".wh..wh.*": aufs's own bookkeeping, never part of an image
};

struct EntryPath {
  // Neither empty, "." nor ".."; any bytes but '/' and NUL. No components: the root itself.
  std::vector<std::string> components;
  EntryKind kind = EntryKind::kNormal;  // kWhiteout: the last component is the name to remove
};

// Splits a relative path below the root; "./" and doubled or trailing slashes mean nothing.
// kInvalidArgument, without the name, if it is empty, absolute, too long, or has a "..".
absl::StatusOr<std::vector<std::string>> SplitPath(absl::string_view path);

// The same for an entry's name, with whiteouts told apart.
absl::StatusOr<EntryPath> ParseEntryPath(absl::string_view path);

// `name` for a message: escaped, and cut to a length that fits a line.
std::string Quote(absl::string_view name);

}  // namespace hull::images

#endif  // IMAGES_LAYERS_ENTRY_PATH_H_
