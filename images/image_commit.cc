#include "images/image_commit.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "images/bounded_json.h"
#include "images/image_config.h"
#include "images/image_export.h"
#include "images/oci/descriptor.h"
#include "images/unpack_client.h"
#include "images/unpack_protocol.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kConfigType[] = "application/vnd.oci.image.config.v1+json";
constexpr char kLayerType[] = "application/vnd.oci.image.layer.v1.tar";

// The whole of `from` to the empty file `to`, without moving a byte where the file system can share
// them.
absl::StatusOr<uint64_t> CopyFile(int from, int to) {
  struct stat info;
  if (fstat(from, &info) != 0) return PosixError("stat the image's layers");
  const auto size = static_cast<uint64_t>(info.st_size);
  for (uint64_t rest = size; rest > 0;) {
    const ssize_t n = copy_file_range(from, nullptr, to, nullptr, rest, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("copy the image's layers");
    if (n == 0) return absl::DataLossError("the image's layers became shorter");
    rest -= static_cast<uint64_t>(n);
  }
  return size;
}

nlohmann::json DescriptorOf(const char* type, const Digest& digest, uint64_t size) {
  return {{"mediaType", type}, {"digest", digest.ToString()}, {"size", size}};
}

// The same layer under OCI's name for its kind: Docker's do not belong into an OCI manifest.
absl::StatusOr<std::string> OciLayerType(const std::string& type) {
  HULL_ASSIGN_OR_RETURN(const LayerCompression compression, LayerCompressionOf(type));
  switch (compression) {
    case LayerCompression::kNone:
      break;
    case LayerCompression::kGzip:
      return absl::StrCat(kLayerType, "+gzip");
    case LayerCompression::kZstd:
      return absl::StrCat(kLayerType, "+zstd");
  }
  return kLayerType;
}

}  // namespace

absl::StatusOr<ImageCommit> ImageCommit::Begin(const Store& store, const Digest& parent) {
  HULL_ASSIGN_OR_RETURN(ImageFiles files, store.OpenFiles(parent));
  HULL_ASSIGN_OR_RETURN(const ImageConfig config, ParseImageConfig(files.config));
  if (config.machine.has_value()) {
    return absl::FailedPreconditionError("a disk of a machine takes no layers");
  }
  ImageCommit commit(store, std::move(files));
  HULL_ASSIGN_OR_RETURN(commit.layers_, store.CreateScratchFile());
  HULL_ASSIGN_OR_RETURN(commit.layer_offset_,
                        CopyFile(commit.parent_.layers.get(), commit.layers_.get()));
  return commit;
}

absl::Status ImageCommit::AddLayerBytes(absl::string_view bytes) {
  if (bytes.size() > kMaxLayerBytes - layer_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the layer is larger than the ", kMaxLayerBytes, " bytes allowed"));
  }
  absl::Status written = WriteFull(layers_.get(), bytes);
  if (!written.ok()) return Annotate(written, "keep the layer");
  layer_bytes_ += bytes.size();
  return absl::OkStatus();
}

absl::StatusOr<Digest> ImageCommit::DigestOf(const UniqueFd& file, uint64_t offset, uint64_t size,
                                             const CommitOptions& options) const {
  HULL_ASSIGN_OR_RETURN(const nlohmann::json result,
                        RunUnpack({.program = options.load.unpack_program,
                                   .arguments = {"digest", absl::StrCat("--layer_offset=", offset),
                                                 absl::StrCat("--layer_size=", size)},
                                   .descriptors = {{file.get(), kInputFd}},
                                   .cancel_fd = options.load.cancel_fd,
                                   .progress = {}}));
  std::string digest;
  HULL_RETURN_IF_ERROR(ReadString(result, "digest", &digest));
  return Digest::Parse(digest);
}

absl::StatusOr<Digest> ImageCommit::DigestOf(const std::string& text,
                                             const CommitOptions& options) const {
  const UniqueFd file(memfd_create("image-document", MFD_CLOEXEC));
  if (!file.valid()) return PosixError("create a file in memory");
  HULL_RETURN_IF_ERROR(WriteFull(file.get(), text));
  return DigestOf(file, 0, text.size(), options);
}

absl::StatusOr<std::string> ImageCommit::MakeConfig(const Digest& layer,
                                                    const CommitOptions& options) const {
  HULL_ASSIGN_OR_RETURN(nlohmann::json object,
                        ParseJsonObject(parent_.config, "the image configuration"));
  nlohmann::json& process = object["config"];
  if (process.is_null()) process = nlohmann::json::object();
  for (const ConfigChange& change : options.changes) {
    HULL_RETURN_IF_ERROR(ApplyConfigChange(change, &process));
  }
  object["created"] = options.created;
  if (!options.author.empty()) object["author"] = options.author;
  // They are in every image of the store: ParseImageConfig() asks for them.
  object["rootfs"]["diff_ids"].push_back(layer.ToString());
  nlohmann::json step = {{"created", options.created}};
  if (!options.created_by.empty()) step["created_by"] = options.created_by;
  if (!options.author.empty()) step["author"] = options.author;
  if (!options.comment.empty()) step["comment"] = options.comment;
  nlohmann::json& history = object["history"];
  if (!history.is_array()) history = nlohmann::json::array();
  history.push_back(std::move(step));
  std::string text = DumpJson(object);
  HULL_RETURN_IF_ERROR(ParseImageConfig(text).status());
  return text;
}

absl::StatusOr<std::string> ImageCommit::MakeManifest(const std::string& config,
                                                      const Digest& config_digest,
                                                      const Digest& layer) const {
  HULL_ASSIGN_OR_RETURN(const Manifest parent, ParseManifest(parent_.manifest));
  nlohmann::json layers = nlohmann::json::array();
  for (const Descriptor& one : parent.layers) {
    HULL_ASSIGN_OR_RETURN(const std::string type, OciLayerType(one.media_type));
    layers.push_back(DescriptorOf(type.c_str(), one.digest, one.size));
  }
  layers.push_back(DescriptorOf(kLayerType, layer, layer_bytes_));
  return DumpJson({{"schemaVersion", 2},
                   {"mediaType", kManifestType},
                   {"config", DescriptorOf(kConfigType, config_digest, config.size())},
                   {"layers", std::move(layers)}});
}

absl::StatusOr<LoadedImage> ImageCommit::Finish(const CommitOptions& options) {
  HULL_ASSIGN_OR_RETURN(const Digest layer,
                        DigestOf(layers_, layer_offset_, layer_bytes_, options));
  HULL_ASSIGN_OR_RETURN(std::string config, MakeConfig(layer, options));
  HULL_ASSIGN_OR_RETURN(const Digest config_digest, DigestOf(config, options));
  HULL_ASSIGN_OR_RETURN(std::string manifest, MakeManifest(config, config_digest, layer));
  HULL_ASSIGN_OR_RETURN(Digest digest, DigestOf(manifest, options));
  std::vector<ExportedImage> image;
  image.push_back({.files = {.digest = std::move(digest),
                             .config = std::move(config),
                             .manifest = std::move(manifest),
                             .layers = std::move(layers_)},
                   .names = {}});
  HULL_ASSIGN_OR_RETURN(UniqueFd archive, store_.CreateScratchFile());
  HULL_RETURN_IF_ERROR(ExportImages(store_, image,
                                    {.format = ExportFormat::kOciArchive,
                                     .unpack_program = options.load.unpack_program,
                                     .cancel_fd = options.load.cancel_fd},
                                    archive.get()));
  if (lseek(archive.get(), 0, SEEK_SET) != 0) return PosixError("read the archive again");
  // The archive has its own copy: the store's disk need not hold this one as well.
  image.clear();
  HULL_ASSIGN_OR_RETURN(std::vector<LoadedImage> loaded,
                        store_.LoadOpened(std::move(archive), "make the image", options.load));
  if (loaded.size() != 1) return absl::InternalError("the new image is not one image");
  return std::move(loaded.front());
}

}  // namespace hull::images
