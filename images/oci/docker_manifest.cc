#include "images/oci/docker_manifest.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "images/bounded_json.h"
#include "images/oci/descriptor.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr size_t kMaxPathBytes = 255;

// The path becomes the name of a file to open, in a directory or an archive.
absl::Status CheckPath(const char* key, const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError(absl::StrCat("no \"", key, "\""));
  if (path.size() > kMaxPathBytes || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" has what is not a path"));
  }
  for (const absl::string_view component : absl::StrSplit(path, '/')) {
    if (component.empty() || component == "." || component == "..") {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", key,
                       "\" has a path that is absolute or has an empty, \".\" or \"..\" "
                       "component"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<DockerImage> ReadImage(const nlohmann::json& object) {
  if (!object.is_object()) return absl::InvalidArgumentError("not an object");
  DockerImage image;
  HULL_RETURN_IF_ERROR(ReadString(object, "Config", &image.config));
  HULL_RETURN_IF_ERROR(ReadStrings(object, "Layers", &image.layers));
  HULL_RETURN_IF_ERROR(ReadStrings(object, "RepoTags", &image.names));
  HULL_RETURN_IF_ERROR(CheckPath("Config", image.config));
  if (image.layers.size() > kMaxLayers) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxLayers, " layers"));
  }
  for (const std::string& layer : image.layers) HULL_RETURN_IF_ERROR(CheckPath("Layers", layer));
  return image;
}

}  // namespace

absl::StatusOr<std::vector<DockerImage>> ParseDockerManifest(absl::string_view text) {
  constexpr absl::string_view kWhat = "\"manifest.json\"";
  HULL_ASSIGN_OR_RETURN(const nlohmann::json list, ParseJsonArray(text, kWhat));
  if (list.size() > kMaxDockerImages) {
    return absl::InvalidArgumentError(
        absl::StrCat(kWhat, " has more than ", kMaxDockerImages, " images"));
  }
  std::vector<DockerImage> images;
  for (const nlohmann::json& item : list) {
    absl::StatusOr<DockerImage> image = ReadImage(item);
    if (!image.ok()) {
      return Annotate(image.status(), absl::StrCat(kWhat, ": image ", images.size() + 1));
    }
    images.push_back(*std::move(image));
  }
  return images;
}

}  // namespace hull::images
