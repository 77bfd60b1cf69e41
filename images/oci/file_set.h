// The files of a directory or of a tar file, found by name: what image layouts and archives are.

#ifndef IMAGES_OCI_FILE_SET_H_
#define IMAGES_OCI_FILE_SET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "images/oci/byte_source.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {

// Not thread-safe. Nothing that comes out of it is trusted.
class FileSet {
 public:
  struct File {
    std::unique_ptr<ByteSource> content;
    uint64_t size = 0;  // bytes, as the directory or the archive says
  };

  // `fd` is a directory, or an uncompressed tar file that can be read at any position.
  static absl::StatusOr<std::unique_ptr<FileSet>> Open(UniqueFd fd);
  // A directory whose files `open` opens for reading, by their paths in it (file_broker.h).
  using Opener = std::function<absl::StatusOr<UniqueFd>(const std::string& path)>;
  static std::unique_ptr<FileSet> OpenThrough(Opener open);
  virtual ~FileSet() = default;

  // `path` is relative and has no "." or ".." components. kNotFound if it is missing,
  // kInvalidArgument if it is not a regular file (a symbolic or hard link of a tar file is followed
  // within it).
  virtual absl::StatusOr<File> OpenFile(const std::string& path) = 0;
  // The whole content of a file of at most kMaxJsonBytes.
  absl::StatusOr<std::string> ReadSmallFile(const std::string& path);
};

// All that `source` still has; kInvalidArgument, naming `what`, if that is more than `limit` bytes.
absl::StatusOr<std::string> ReadAtMost(ByteSource& source, size_t limit, absl::string_view what);

}  // namespace hull::images

#endif  // IMAGES_OCI_FILE_SET_H_
