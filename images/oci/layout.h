// Images in a directory or a tar file: an OCI image layout, or one of two older forms, which are
// read as if somebody had made an OCI layout of them.
//
// Sources: OCI image specification 1.1, "Image Layout"; Docker image specification 1.2 (what
// `docker save` and `podman save` write); containers-transports(5), "dir" (what skopeo writes).

#ifndef IMAGES_OCI_LAYOUT_H_
#define IMAGES_OCI_LAYOUT_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "images/digest.h"
#include "images/oci/byte_source.h"
#include "images/oci/descriptor.h"
#include "images/oci/docker_manifest.h"
#include "images/oci/file_set.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {

// Not thread-safe. Everything read through it is bounded and checked against its descriptor.
class Layout {
 public:
  // `fd` is a directory, or an uncompressed tar file that can be read at any position. kDataLoss
  // or kInvalidArgument if there are no images in one of the three forms in it. Of a docker-archive
  // every configuration is read, and every layer that is compressed, as it says no digest of those.
  static absl::StatusOr<std::unique_ptr<Layout>> Open(UniqueFd fd);
  static absl::StatusOr<std::unique_ptr<Layout>> Open(std::unique_ptr<FileSet> files);

  absl::StatusOr<Index> ReadIndex();
  // A whole blob of JSON size, verified. kNotFound, kDataLoss.
  absl::StatusOr<std::string> ReadBlob(const Descriptor& descriptor);
  // The unverified bytes of a blob of any size. kNotFound if it is missing.
  absl::StatusOr<std::unique_ptr<ByteSource>> OpenBlob(const Digest& digest);

 private:
  explicit Layout(std::unique_ptr<FileSet> files) : files_(std::move(files)) {}

  absl::Status FindForm();
  absl::Status CheckVersion(absl::string_view text);
  absl::Status ReadDockerArchive(absl::string_view manifest);
  absl::Status AddDockerImage(const DockerImage& image);
  absl::StatusOr<Descriptor> AddDockerLayer(const std::string& path, const Digest& diff_id);
  absl::Status ReadDirTransport(std::string manifest);

  const std::unique_ptr<FileSet> files_;
  // What an OCI layout has in its own files, of the other two forms.
  std::optional<Index> index_;
  std::map<std::string, std::string> blob_paths_;  // digest in hexadecimal to the file's path
  std::map<std::string, std::string> documents_;   // digest in hexadecimal to content
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
