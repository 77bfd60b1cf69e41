// Feeds arbitrary text to the parser of a docker-archive's manifest.json.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>

#include "images/oci/descriptor.h"
#include "images/oci/docker_manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::images;  // NOLINT(google-build-using-namespace)
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<std::vector<DockerImage>> images = ParseDockerManifest(text);
  if (!images.ok()) return 0;
  CHECK(images->size() <= kMaxDockerImages);
  for (const DockerImage& image : *images) {
    CHECK(image.layers.size() <= kMaxLayers);
    // Nothing that leads out of the directory may have come through.
    CHECK(!image.config.empty() && image.config.front() != '/');
    for (const std::string& layer : image.layers) {
      CHECK(!layer.empty() && layer.front() != '/' && layer.substr(0, 3) != "../");
      CHECK(layer.find("/../") == std::string::npos && layer.find('\0') == std::string::npos);
    }
  }
  return 0;
}
