// New images of the store: another one's layers, and one above them.
//
// Source: OCI image specification 1.1, "Image Configuration" and "Image Manifest".

#ifndef IMAGES_IMAGE_COMMIT_H_
#define IMAGES_IMAGE_COMMIT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "images/config_changes.h"
#include "images/store.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {

struct CommitOptions {
  // The unpack program, the new image's name (may be empty), and whom to tell.
  LoadOptions load;
  std::vector<ConfigChange> changes = {};  // in their order
  std::string created = {};                // RFC 3339
  // For the image's history; empty: not said.
  std::string created_by = {};
  std::string author = {};
  std::string comment = {};
};

// One commit: the layer is given in pieces, then it is an image. What it needs on the store's disk
// meanwhile has no name, and goes with the process. Not thread-safe.
class ImageCommit {
 public:
  // As much as all layers of an image may expand to.
  static constexpr uint64_t kMaxLayerBytes = uint64_t{64} << 30;

  // An image of the manifest `parent`. kFailedPrecondition for a disk of a machine, and for one of
  // which the store has no layers.
  static absl::StatusOr<ImageCommit> Begin(const Store& store, const Digest& parent);

  // The next bytes of the new layer, a tar file as the container's guest wrote it: nothing here
  // reads what they are. kResourceExhausted beyond kMaxLayerBytes.
  absl::Status AddLayerBytes(absl::string_view bytes);

  // Makes the image, which is converted as any that is loaded: an error leaves nothing.
  absl::StatusOr<LoadedImage> Finish(const CommitOptions& options);

 private:
  ImageCommit(const Store& store, ImageFiles parent) : store_(store), parent_(std::move(parent)) {}

  absl::StatusOr<Digest> DigestOf(const UniqueFd& file, uint64_t offset, uint64_t size,
                                  const CommitOptions& options) const;
  absl::StatusOr<Digest> DigestOf(const std::string& text, const CommitOptions& options) const;
  absl::StatusOr<std::string> MakeConfig(const Digest& layer, const CommitOptions& options) const;
  absl::StatusOr<std::string> MakeManifest(const std::string& config, const Digest& config_digest,
                                           const Digest& layer) const;

  const Store& store_;
  ImageFiles parent_;
  UniqueFd layers_;  // the parent's, and behind them the new one
  uint64_t layer_offset_ = 0;
  uint64_t layer_bytes_ = 0;
};

}  // namespace hull::images

#endif  // IMAGES_IMAGE_COMMIT_H_
