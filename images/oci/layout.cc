#include "images/oci/layout.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "images/bounded_json.h"
#include "images/image_config.h"
#include "images/reference.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

// An index may hold indexes, but not without end.
constexpr int kMaxIndexDepth = 4;

// The longest a layer's compression can be told from, in bytes.
constexpr size_t kMagicBytes = 4;

constexpr char kOciManifestType[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kOciConfigType[] = "application/vnd.oci.image.config.v1+json";
constexpr char kOciLayerType[] = "application/vnd.oci.image.layer.v1.tar";

// RFC 1952, 2.3.1 and RFC 8878, 3.1.1. A tar file begins with a name.
absl::string_view SuffixOfCompression(absl::string_view start) {
  if (absl::StartsWith(start, "\x1f\x8b")) return "+gzip";
  if (absl::StartsWith(start, "\x28\xb5\x2f\xfd")) return "+zstd";
  return "";
}

absl::Status FillFrom(ByteSource& source, std::span<uint8_t> buffer, size_t* filled) {
  while (*filled < buffer.size()) {
    HULL_ASSIGN_OR_RETURN(const size_t n, source.Read(buffer.subspan(*filled)));
    if (n == 0) break;
    *filled += n;
  }
  return absl::OkStatus();
}

Descriptor DescribeText(absl::string_view media_type, absl::string_view text) {
  Sha256 hash;
  // SAFETY: any object may be seen as bytes.
  hash.Update(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  return Descriptor{.media_type = std::string(media_type),
                    .digest = hash.Finish(),
                    .size = text.size(),
                    .platform = {},
                    .name = {}};
}

nlohmann::json DescriptorToJson(const Descriptor& descriptor) {
  return {{"mediaType", descriptor.media_type},
          {"digest", descriptor.digest.ToString()},
          {"size", descriptor.size}};
}

// Puts the first image for this platform below `descriptor` into `*found`; adds the platforms of
// the others to `*others`.
absl::Status FindInDescriptor(Layout& layout, const Descriptor& descriptor, int depth,
                              std::optional<Descriptor>* found, std::vector<std::string>* others) {
  if (IsManifestType(descriptor.media_type)) {
    // Without a platform the image's configuration says it, and is checked at the conversion.
    if (descriptor.platform.has_value() && !IsSupportedPlatform(*descriptor.platform)) {
      others->push_back(descriptor.platform->ToString());
      return absl::OkStatus();
    }
    *found = descriptor;
    return absl::OkStatus();
  }
  // "An encountered mediaType that is unknown to the implementation MUST NOT generate an error."
  if (!IsIndexType(descriptor.media_type)) return absl::OkStatus();
  if (depth >= kMaxIndexDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("image indexes are nested deeper than ", kMaxIndexDepth, " levels"));
  }
  HULL_ASSIGN_OR_RETURN(const std::string text, layout.ReadBlob(descriptor));
  HULL_ASSIGN_OR_RETURN(const Index index, ParseIndex(text));
  for (const Descriptor& inner : index.manifests) {
    HULL_RETURN_IF_ERROR(FindInDescriptor(layout, inner, depth + 1, found, others));
    if (found->has_value()) break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Layout>> Layout::Open(UniqueFd fd) {
  HULL_ASSIGN_OR_RETURN(std::unique_ptr<FileSet> files, FileSet::Open(std::move(fd)));
  return Open(std::move(files));
}

absl::StatusOr<std::unique_ptr<Layout>> Layout::Open(std::unique_ptr<FileSet> files) {
  std::unique_ptr<Layout> layout(new Layout(std::move(files)));
  HULL_RETURN_IF_ERROR(layout->FindForm());
  return layout;
}

absl::Status Layout::FindForm() {
  const absl::StatusOr<std::string> version = files_->ReadSmallFile("oci-layout");
  if (version.ok()) return CheckVersion(*version);
  if (!absl::IsNotFound(version.status())) return version.status();
  absl::StatusOr<std::string> manifest = files_->ReadSmallFile("manifest.json");
  if (absl::IsNotFound(manifest.status())) {
    return absl::InvalidArgumentError(
        "there are no images here: neither an OCI image layout (it would have \"oci-layout\") nor "
        "a "
        "docker-archive (\"manifest.json\")");
  }
  if (!manifest.ok()) return manifest.status();
  // Both have a file of this name: a list of images, and the manifest of one.
  const size_t start = manifest->find_first_not_of(" \t\r\n");
  if (start != std::string::npos && (*manifest)[start] == '{') {
    return ReadDirTransport(*std::move(manifest));
  }
  return ReadDockerArchive(*manifest);
}

absl::Status Layout::CheckVersion(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(text, "\"oci-layout\""));
  std::string version;
  HULL_RETURN_IF_ERROR(ReadString(object, "imageLayoutVersion", &version));
  if (version != "1.0.0") {
    return absl::InvalidArgumentError("\"oci-layout\": \"imageLayoutVersion\" is not \"1.0.0\"");
  }
  return absl::OkStatus();
}

absl::Status Layout::ReadDockerArchive(absl::string_view manifest) {
  HULL_ASSIGN_OR_RETURN(const std::vector<DockerImage> images, ParseDockerManifest(manifest));
  index_.emplace();
  for (const DockerImage& image : images) {
    absl::Status status = AddDockerImage(image);
    if (!status.ok()) {
      return Annotate(
          status, absl::StrCat("image ", index_->manifests.size() + 1, " of the docker-archive"));
    }
  }
  return absl::OkStatus();
}

absl::Status Layout::AddDockerImage(const DockerImage& image) {
  HULL_ASSIGN_OR_RETURN(std::string config_text, files_->ReadSmallFile(image.config));
  HULL_ASSIGN_OR_RETURN(const ImageConfig config, ParseImageConfig(config_text));
  if (config.diff_ids.size() != image.layers.size()) {
    return absl::InvalidArgumentError(absl::StrCat("\"manifest.json\" has ", image.layers.size(),
                                                   " layers, and the image configuration ",
                                                   config.diff_ids.size()));
  }
  const Descriptor config_descriptor = DescribeText(kOciConfigType, config_text);
  blob_paths_[config_descriptor.digest.hex()] = image.config;
  nlohmann::json manifest = {{"schemaVersion", 2},
                             {"mediaType", kOciManifestType},
                             {"config", DescriptorToJson(config_descriptor)},
                             {"layers", nlohmann::json::array()}};
  for (size_t i = 0; i < image.layers.size(); ++i) {
    absl::StatusOr<Descriptor> layer = AddDockerLayer(image.layers[i], config.diff_ids[i]);
    if (!layer.ok()) {
      return Annotate(layer.status(), absl::StrCat("layer ", i + 1, " of ", image.layers.size()));
    }
    manifest["layers"].push_back(DescriptorToJson(*layer));
  }
  std::string manifest_text = DumpJson(manifest);
  Descriptor descriptor = DescribeText(kOciManifestType, manifest_text);
  documents_[descriptor.digest.hex()] = std::move(manifest_text);
  descriptor.platform = Platform{.os = config.os, .architecture = config.architecture};
  if (image.names.empty()) index_->manifests.push_back(descriptor);
  for (const std::string& name : image.names) {
    descriptor.name = name;
    // As everywhere in this format, "busybox:latest" is Docker Hub's.
    if (const absl::StatusOr<Reference> reference = ParseReference(name); reference.ok()) {
      descriptor.name = QualifyAsDocker(*reference).FullName();
    }
    index_->manifests.push_back(descriptor);
  }
  return absl::OkStatus();
}

// A layer that is not compressed has the digest that the configuration promises; whether that is
// true is seen when the layer is read, as with every other promise.
absl::StatusOr<Descriptor> Layout::AddDockerLayer(const std::string& path, const Digest& diff_id) {
  HULL_ASSIGN_OR_RETURN(const FileSet::File file, files_->OpenFile(path));
  std::vector<uint8_t> buffer(size_t{256} << 10);
  size_t n = 0;
  HULL_RETURN_IF_ERROR(FillFrom(*file.content, std::span(buffer).first(kMagicBytes), &n));
  const absl::string_view suffix =
      SuffixOfCompression(absl::string_view(reinterpret_cast<const char*>(buffer.data()), n));
  Descriptor descriptor{.media_type = absl::StrCat(kOciLayerType, suffix),
                        .digest = diff_id,
                        .size = file.size,
                        .platform = {},
                        .name = {}};
  if (!suffix.empty()) {
    Sha256 hash;
    descriptor.size = 0;
    while (n > 0) {
      hash.Update(std::span(buffer).first(n));
      descriptor.size += n;
      HULL_ASSIGN_OR_RETURN(n, file.content->Read(buffer));
    }
    descriptor.digest = hash.Finish();
  }
  blob_paths_[descriptor.digest.hex()] = path;
  return descriptor;
}

absl::Status Layout::ReadDirTransport(std::string manifest) {
  HULL_ASSIGN_OR_RETURN(const nlohmann::json object,
                        ParseJsonObject(manifest, "\"manifest.json\""));
  std::string media_type;
  HULL_RETURN_IF_ERROR(ReadString(object, "mediaType", &media_type));
  if (media_type.empty()) media_type = kOciManifestType;
  if (!IsManifestType(media_type)) {
    return absl::UnimplementedError(absl::StrCat("\"manifest.json\" is of type \"",
                                                 absl::CHexEscape(media_type.substr(0, 100)),
                                                 "\", which is not the manifest of one image"));
  }
  HULL_ASSIGN_OR_RETURN(const Manifest parsed, ParseManifest(manifest));
  blob_paths_[parsed.config.digest.hex()] = parsed.config.digest.hex();
  for (const Descriptor& layer : parsed.layers) {
    blob_paths_[layer.digest.hex()] = layer.digest.hex();
  }
  index_.emplace();
  index_->manifests.push_back(DescribeText(media_type, manifest));
  documents_[index_->manifests.back().digest.hex()] = std::move(manifest);
  return absl::OkStatus();
}

absl::StatusOr<Index> Layout::ReadIndex() {
  if (index_.has_value()) return *index_;
  HULL_ASSIGN_OR_RETURN(const std::string text, files_->ReadSmallFile("index.json"));
  return ParseIndex(text);
}

absl::StatusOr<std::unique_ptr<ByteSource>> Layout::OpenBlob(const Digest& digest) {
  if (const auto it = documents_.find(digest.hex()); it != documents_.end()) {
    return std::make_unique<TextSource>(it->second);
  }
  std::string path = absl::StrCat("blobs/sha256/", digest.hex());
  if (index_.has_value()) {
    const auto it = blob_paths_.find(digest.hex());
    if (it == blob_paths_.end()) {
      return absl::NotFoundError(absl::StrCat("blob ", digest.ToString(), " is missing"));
    }
    path = it->second;
  }
  HULL_ASSIGN_OR_RETURN(FileSet::File file, files_->OpenFile(path));
  return std::move(file.content);
}

absl::StatusOr<std::string> Layout::ReadBlob(const Descriptor& descriptor) {
  const std::string what = absl::StrCat("blob ", descriptor.digest.ToString());
  if (descriptor.size > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is larger than the ", kMaxJsonBytes, " bytes allowed for what it is"));
  }
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, OpenBlob(descriptor.digest));
  VerifiedSource verified(*source, what, descriptor.digest, descriptor.size);
  HULL_ASSIGN_OR_RETURN(std::string content, ReadAtMost(verified, kMaxJsonBytes, what));
  HULL_RETURN_IF_ERROR(verified.Finish());
  return content;
}

absl::StatusOr<std::vector<ImageInLayout>> SelectImages(Layout& layout) {
  HULL_ASSIGN_OR_RETURN(const Index index, layout.ReadIndex());
  std::vector<ImageInLayout> images;
  std::vector<std::string> others;
  for (const Descriptor& descriptor : index.manifests) {
    std::optional<Descriptor> found;
    HULL_RETURN_IF_ERROR(FindInDescriptor(layout, descriptor, 0, &found, &others));
    if (!found.has_value()) continue;
    auto image = std::find_if(images.begin(), images.end(), [&](const ImageInLayout& other) {
      return other.manifest.digest == found->digest;
    });
    if (image == images.end()) {
      image =
          images.insert(images.end(), ImageInLayout{.manifest = *std::move(found), .names = {}});
    }
    if (!descriptor.name.empty()) image->names.push_back(descriptor.name);
  }
  if (!images.empty()) return images;
  if (others.empty()) return absl::NotFoundError("there is no image in this layout");
  std::sort(others.begin(), others.end());
  others.erase(std::unique(others.begin(), others.end()), others.end());
  return absl::NotFoundError(absl::StrCat(
      "there is no image for linux/amd64 in this layout; it has ", absl::StrJoin(others, ", ")));
}

}  // namespace hull::images
