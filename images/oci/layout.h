// An OCI image layout: a directory, or a tar file of one.
//
// Source: OCI image specification 1.1, "Image Layout".

#ifndef IMAGES_OCI_LAYOUT_H_
#define IMAGES_OCI_LAYOUT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "images/digest.h"
#include "images/oci/byte_source.h"
#include "images/oci/descriptor.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {

// Not thread-safe. Everything read through it is bounded and checked against its descriptor.
class Layout {
 public:
  // `fd` is a directory, or an uncompressed tar file that can be read at any position. kDataLoss
  // or kInvalidArgument if there is no layout of version 1 in it.
  static absl::StatusOr<std::unique_ptr<Layout>> Open(UniqueFd fd);
  // The same for a directory whose files `open` opens for reading, by their paths in it.
  using FileOpener = std::function<absl::StatusOr<UniqueFd>(const std::string& path)>;
  static absl::StatusOr<std::unique_ptr<Layout>> OpenThrough(FileOpener open);
  virtual ~Layout() = default;

  absl::StatusOr<Index> ReadIndex();
  // A whole blob of JSON size, verified. kNotFound, kDataLoss.
  absl::StatusOr<std::string> ReadBlob(const Descriptor& descriptor);
  // The unverified bytes of a blob of any size. kNotFound if it is missing.
  absl::StatusOr<std::unique_ptr<ByteSource>> OpenBlob(const Digest& digest);

 protected:
  // `path` has no "." or ".." components. kNotFound if it is not a regular file.
  virtual absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path) = 0;

 private:
  absl::StatusOr<std::string> ReadSmallFile(const std::string& path);
  absl::Status CheckVersion();
};

// An image in a layout that can run here.
struct ImageInLayout {
  Descriptor manifest;
  std::vector<std::string> names;  // as annotated, not checked; may be empty
};

// The images for this platform that `layout` holds, in the order of its index, each once. An index
// within the index stands for its first image for this platform. kNotFound, with the platforms
// that there are, if there is none.
absl::StatusOr<std::vector<ImageInLayout>> SelectImages(Layout& layout);

}  // namespace hull::images

#endif  // IMAGES_OCI_LAYOUT_H_
