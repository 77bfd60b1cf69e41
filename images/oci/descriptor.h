// OCI image indexes and manifests as data. Pure functions over hostile text.
//
// Source: OCI image specification 1.1, "Content Descriptors", "Image Index", "Image Manifest";
// and Docker's "Image Manifest Version 2, Schema 2", which has the same shape.

#ifndef IMAGES_OCI_DESCRIPTOR_H_
#define IMAGES_OCI_DESCRIPTOR_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/digest.h"

namespace hull::images {

struct Platform {
  std::string os;
  std::string architecture;
  // "os/architecture".
  std::string ToString() const;
};

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;  // bytes
  std::optional<Platform> platform;
  // The image's name by its annotations, empty if it has none: containerd's full name if present,
  // else org.opencontainers.image.ref.name. Not checked.
  std::string name;
};

struct Index {
  std::vector<Descriptor> manifests;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // the bottom one first
};

enum class LayerCompression { kNone, kGzip, kZstd };

// No image has more: the limit of overlay mounts that other engines build on is 128.
inline constexpr size_t kMaxLayers = 1024;

// Each returns kInvalidArgument, with what is wrong, for text that is not such a document.
absl::StatusOr<Index> ParseIndex(absl::string_view text);
absl::StatusOr<Manifest> ParseManifest(absl::string_view text);

bool IsIndexType(absl::string_view media_type);
bool IsManifestType(absl::string_view media_type);
bool IsConfigType(absl::string_view media_type);
// kUnimplemented for a media type that is not a file-system layer that Hull reads.
absl::StatusOr<LayerCompression> LayerCompressionOf(absl::string_view media_type);

// Whether an image for `platform` can run here: linux on x86-64.
bool IsSupportedPlatform(const Platform& platform);

}  // namespace hull::images

#endif  // IMAGES_OCI_DESCRIPTOR_H_
