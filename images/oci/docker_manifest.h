// The manifest.json of a docker-archive. Pure functions over hostile text.
//
// Source: Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format".

#ifndef IMAGES_OCI_DOCKER_MANIFEST_H_
#define IMAGES_OCI_DOCKER_MANIFEST_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::images {

// One image of the archive. Paths are relative, at most 255 bytes, without "." and "..".
struct DockerImage {
  std::string config;
  std::vector<std::string> layers;  // the bottom one first
  std::vector<std::string> names;   // "RepoTags", not checked
};

// No honest archive has more images.
inline constexpr size_t kMaxDockerImages = 256;

// kInvalidArgument, with what is wrong, for text that is not such a manifest.
absl::StatusOr<std::vector<DockerImage>> ParseDockerManifest(absl::string_view text);

}  // namespace hull::images

#endif  // IMAGES_OCI_DOCKER_MANIFEST_H_
