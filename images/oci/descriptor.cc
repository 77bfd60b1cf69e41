#include "images/oci/descriptor.h"

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "images/bounded_json.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr char kRefNameAnnotation[] = "org.opencontainers.image.ref.name";
constexpr char kContainerdNameAnnotation[] = "io.containerd.image.name";

absl::StatusOr<Descriptor> ReadDescriptor(const nlohmann::json& object) {
  if (!object.is_object()) return absl::InvalidArgumentError("a descriptor is not an object");
  std::string digest_text;
  HULL_RETURN_IF_ERROR(ReadString(object, "digest", &digest_text));
  HULL_ASSIGN_OR_RETURN(Digest digest, Digest::Parse(digest_text));
  Descriptor descriptor{.media_type = {}, .digest = std::move(digest), .platform = {}, .name = {}};
  HULL_RETURN_IF_ERROR(ReadString(object, "mediaType", &descriptor.media_type));
  if (descriptor.media_type.empty()) {
    return absl::InvalidArgumentError("a descriptor has no \"mediaType\"");
  }
  if (FindMember(object, "size") == nullptr) {
    return absl::InvalidArgumentError("a descriptor has no \"size\"");
  }
  HULL_RETURN_IF_ERROR(ReadSize(object, "size", &descriptor.size));
  if (const nlohmann::json* platform = FindMember(object, "platform"); platform != nullptr) {
    if (!platform->is_object()) {
      return absl::InvalidArgumentError("\"platform\" is not an object");
    }
    descriptor.platform.emplace();
    HULL_RETURN_IF_ERROR(ReadString(*platform, "os", &descriptor.platform->os));
    HULL_RETURN_IF_ERROR(ReadString(*platform, "architecture", &descriptor.platform->architecture));
  }
  std::map<std::string, std::string> annotations;
  HULL_RETURN_IF_ERROR(ReadStringMap(object, "annotations", &annotations));
  for (const char* key : {kContainerdNameAnnotation, kRefNameAnnotation}) {
    if (const auto it = annotations.find(key); it != annotations.end() && !it->second.empty()) {
      descriptor.name = it->second;
      break;
    }
  }
  return descriptor;
}

absl::StatusOr<std::vector<Descriptor>> ReadDescriptors(const nlohmann::json& object,
                                                        const char* key) {
  const nlohmann::json* list = FindMember(object, key);
  if (list == nullptr || !list->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not a list"));
  }
  std::vector<Descriptor> descriptors;
  for (const nlohmann::json& item : *list) {
    absl::StatusOr<Descriptor> descriptor = ReadDescriptor(item);
    if (!descriptor.ok()) {
      return Annotate(descriptor.status(), absl::StrCat(key, "[", descriptors.size(), "]"));
    }
    descriptors.push_back(*std::move(descriptor));
  }
  return descriptors;
}

// The document itself may say what it is. One that says something else than the descriptor that
// led to it is an attempt to have the same bytes read in two ways.
absl::Status CheckHeader(const nlohmann::json& object, bool (*is_type)(absl::string_view)) {
  uint64_t version = 0;
  HULL_RETURN_IF_ERROR(ReadSize(object, "schemaVersion", &version));
  if (version != 2) return absl::InvalidArgumentError("\"schemaVersion\" is not 2");
  std::string media_type;
  HULL_RETURN_IF_ERROR(ReadString(object, "mediaType", &media_type));
  if (!media_type.empty() && !is_type(media_type)) {
    return absl::InvalidArgumentError(
        absl::StrCat("its \"mediaType\" is \"", absl::CHexEscape(media_type.substr(0, 100)), "\""));
  }
  return absl::OkStatus();
}

}  // namespace

std::string Platform::ToString() const { return absl::StrCat(os, "/", architecture); }

bool IsIndexType(absl::string_view media_type) {
  return media_type == "application/vnd.oci.image.index.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

bool IsManifestType(absl::string_view media_type) {
  return media_type == "application/vnd.oci.image.manifest.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.v2+json";
}

bool IsConfigType(absl::string_view media_type) {
  return media_type == "application/vnd.oci.image.config.v1+json" ||
         media_type == "application/vnd.docker.container.image.v1+json";
}

absl::StatusOr<LayerCompression> LayerCompressionOf(absl::string_view media_type) {
  for (const absl::string_view prefix : {"application/vnd.oci.image.layer.v1.tar",
                                         "application/vnd.oci.image.layer.nondistributable.v1.tar",
                                         "application/vnd.docker.image.rootfs.diff.tar",
                                         "application/vnd.docker.image.rootfs.foreign.diff.tar"}) {
    if (!absl::StartsWith(media_type, prefix)) continue;
    absl::string_view suffix = media_type.substr(prefix.size());
    if (suffix.empty()) return LayerCompression::kNone;
    // OCI writes "+gzip" and Docker ".gzip".
    suffix.remove_prefix(1);
    if (suffix == "gzip") return LayerCompression::kGzip;
    if (suffix == "zstd") return LayerCompression::kZstd;
  }
  return absl::UnimplementedError(
      absl::StrCat("layers of type \"", absl::CHexEscape(media_type.substr(0, 100)),
                   "\" are not supported (tar, and tar with gzip or zstd, are)"));
}

bool IsSupportedPlatform(const Platform& platform) {
  return platform.os == "linux" && platform.architecture == "amd64";
}

absl::StatusOr<Index> ParseIndex(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(text, "the image index"));
  Index index;
  absl::Status header = CheckHeader(object, IsIndexType);
  if (!header.ok()) return Annotate(header, "the image index");
  absl::StatusOr<std::vector<Descriptor>> manifests = ReadDescriptors(object, "manifests");
  if (!manifests.ok()) return Annotate(manifests.status(), "the image index");
  index.manifests = *std::move(manifests);
  return index;
}

absl::StatusOr<Manifest> ParseManifest(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(text, "the image manifest"));
  absl::Status header = CheckHeader(object, IsManifestType);
  if (!header.ok()) return Annotate(header, "the image manifest");
  const nlohmann::json* config_object = FindMember(object, "config");
  if (config_object == nullptr) {
    return absl::InvalidArgumentError("the image manifest: it has no \"config\"");
  }
  absl::StatusOr<Descriptor> config = ReadDescriptor(*config_object);
  if (!config.ok()) return Annotate(config.status(), "the image manifest: config");
  absl::StatusOr<std::vector<Descriptor>> layers = ReadDescriptors(object, "layers");
  if (!layers.ok()) return Annotate(layers.status(), "the image manifest");
  if (layers->size() > kMaxLayers) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image manifest: more than ", kMaxLayers, " layers"));
  }
  return Manifest{.config = *std::move(config), .layers = *std::move(layers)};
}

}  // namespace hull::images
