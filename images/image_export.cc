#include "images/image_export.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "images/bounded_json.h"
#include "images/image_config.h"
#include "images/oci/descriptor.h"
#include "images/unpack_client.h"
#include "images/unpack_protocol.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr size_t kTarBlock = 512;
constexpr size_t kCopyBytes = size_t{1} << 20;

// Bytes of a descriptor, or of a text.
struct Content {
  absl::string_view text;
  int fd = -1;  // if not -1, the `size` bytes from `offset` on
  uint64_t offset = 0;
  uint64_t size = 0;

  static Content Of(absl::string_view text) { return {.text = text, .size = text.size()}; }
};

// Where the files of an export go.
class FileSink {
 public:
  explicit FileSink(int cancel_fd) : cancel_fd_(cancel_fd) {}
  virtual ~FileSink() = default;
  // `path` is relative, at most 100 bytes.
  virtual absl::Status Add(const std::string& path, const Content& content) = 0;
  virtual absl::Status Finish() = 0;

 protected:
  absl::Status Copy(const Content& content, int to) const {
    if (content.fd < 0) return WriteFull(to, content.text);
    std::vector<uint8_t> buffer(kCopyBytes);
    uint64_t offset = content.offset;
    for (uint64_t rest = content.size; rest > 0;) {
      pollfd cancel{.fd = cancel_fd_, .events = POLLIN, .revents = 0};
      if (poll(&cancel, 1, 0) > 0) return absl::CancelledError("interrupted");
      const std::span<uint8_t> part(buffer.data(), std::min<uint64_t>(rest, buffer.size()));
      HULL_ASSIGN_OR_RETURN(const size_t n,
                            PreadFull(content.fd, part, static_cast<off_t>(offset)));
      if (n != part.size()) {
        return absl::DataLossError(
            "the image's layers are truncated in the store; remove it and load it again");
      }
      HULL_RETURN_IF_ERROR(
          WriteFull(to, absl::string_view(reinterpret_cast<const char*>(buffer.data()), n)));
      offset += n;
      rest -= n;
    }
    return absl::OkStatus();
  }

 private:
  const int cancel_fd_;
};

class TarSink : public FileSink {
 public:
  TarSink(int fd, int cancel_fd) : FileSink(cancel_fd), fd_(fd) {}

  absl::Status Add(const std::string& path, const Content& content) override {
    std::array<char, kTarBlock> header{};
    const auto put = [&header](size_t offset, absl::string_view text) {
      std::copy(text.begin(), text.end(), header.begin() + static_cast<ptrdiff_t>(offset));
    };
    constexpr size_t kPathBytes = 100;
    if (path.size() > kPathBytes) return absl::InternalError("a path is too long for its header");
    put(0, path);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, SizeField(content.size));
    put(136, "00000000000");
    put(148, "        ");
    header[156] = '0';
    put(257, absl::string_view("ustar\00000", 8));
    unsigned int sum = 0;
    for (const char c : header) sum += static_cast<uint8_t>(c);
    put(148, absl::StrFormat("%06o", sum));
    header[154] = '\0';
    HULL_RETURN_IF_ERROR(WriteFull(fd_, absl::string_view(header.data(), header.size())));
    HULL_RETURN_IF_ERROR(Copy(content, fd_));
    const size_t past = content.size % kTarBlock;
    return past == 0 ? absl::OkStatus() : WriteFull(fd_, std::string(kTarBlock - past, '\0'));
  }

  absl::Status Finish() override { return WriteFull(fd_, std::string(2 * kTarBlock, '\0')); }

 private:
  // Eleven octal digits; from 8 GiB on GNU's base-256 form, which every reader of images takes.
  static std::string SizeField(uint64_t size) {
    if (size < uint64_t{1} << 33) return absl::StrFormat("%011o", size);
    std::string field(12, '\0');
    field[0] = '\x80';
    for (size_t i = 0; i < sizeof(size); ++i) {
      field[field.size() - 1 - i] = static_cast<char>(size >> (8 * i));
    }
    return field;
  }

  const int fd_;
};

class DirectorySink : public FileSink {
 public:
  DirectorySink(int fd, int cancel_fd) : FileSink(cancel_fd), fd_(fd) {}

  absl::Status Add(const std::string& path, const Content& content) override {
    for (size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const std::string directory = path.substr(0, slash);
      if (mkdirat(fd_, directory.c_str(), 0755) != 0 && errno != EEXIST) {
        return PosixError(absl::StrCat("create \"", directory, "\""));
      }
    }
    const UniqueFd file(
        openat(fd_, path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file.valid()) return PosixError(absl::StrCat("create \"", path, "\""));
    return Copy(content, file.get());
  }

  absl::Status Finish() override { return absl::OkStatus(); }

 private:
  const int fd_;
};

std::string BlobPath(const Digest& digest) { return absl::StrCat("blobs/sha256/", digest.hex()); }

// An image as its two documents describe it. They were checked when it was loaded.
struct Parsed {
  Manifest manifest;
  ImageConfig config;
  std::string manifest_type;
};

absl::StatusOr<Parsed> Parse(const ImageFiles& files) {
  HULL_ASSIGN_OR_RETURN(Manifest manifest, ParseManifest(files.manifest));
  HULL_ASSIGN_OR_RETURN(ImageConfig config, ParseImageConfig(files.config));
  HULL_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(files.manifest, "manifest"));
  if (config.diff_ids.size() != manifest.layers.size()) {
    return absl::DataLossError("the image in the store is damaged; remove it and load it again");
  }
  Parsed parsed{.manifest = std::move(manifest),
                .config = std::move(config),
                .manifest_type = "application/vnd.oci.image.manifest.v1+json"};
  HULL_RETURN_IF_ERROR(ReadString(object, "mediaType", &parsed.manifest_type));
  return parsed;
}

class Exporter {
 public:
  Exporter(const Store& store, const ExportOptions& options, FileSink& sink)
      : store_(store), options_(options), sink_(sink) {}

  absl::Status WriteOci(const std::vector<ExportedImage>& images) {
    nlohmann::json index = {{"schemaVersion", 2},
                            {"mediaType", "application/vnd.oci.image.index.v1+json"},
                            {"manifests", nlohmann::json::array()}};
    for (const ExportedImage& image : images) {
      HULL_ASSIGN_OR_RETURN(const Parsed parsed, Parse(image.files));
      HULL_RETURN_IF_ERROR(AddBlobs(image.files, parsed.manifest, BlobPath));
      HULL_RETURN_IF_ERROR(
          AddOnce(BlobPath(image.files.digest), Content::Of(image.files.manifest)));
      nlohmann::json descriptor = {{"mediaType", parsed.manifest_type},
                                   {"digest", image.files.digest.ToString()},
                                   {"size", image.files.manifest.size()}};
      if (image.names.empty()) index["manifests"].push_back(descriptor);
      for (const std::string& name : image.names) {
        descriptor["annotations"] = {{"org.opencontainers.image.ref.name", name}};
        index["manifests"].push_back(descriptor);
      }
    }
    const std::string text = DumpJson(index);
    HULL_RETURN_IF_ERROR(sink_.Add("index.json", Content::Of(text)));
    HULL_RETURN_IF_ERROR(sink_.Add("oci-layout", Content::Of(R"({"imageLayoutVersion":"1.0.0"})")));
    return sink_.Finish();
  }

  absl::Status WriteDir(const ExportedImage& image) {
    HULL_ASSIGN_OR_RETURN(const Parsed parsed, Parse(image.files));
    HULL_RETURN_IF_ERROR(
        AddBlobs(image.files, parsed.manifest, [](const Digest& digest) { return digest.hex(); }));
    HULL_RETURN_IF_ERROR(sink_.Add("manifest.json", Content::Of(image.files.manifest)));
    HULL_RETURN_IF_ERROR(sink_.Add("version", Content::Of("Directory Transport Version: 1.1\n")));
    return sink_.Finish();
  }

  absl::Status WriteDocker(const std::vector<ExportedImage>& images) {
    nlohmann::json list = nlohmann::json::array();
    for (const ExportedImage& image : images) {
      HULL_ASSIGN_OR_RETURN(const Parsed parsed, Parse(image.files));
      if (parsed.config.machine.has_value()) {
        return absl::InvalidArgumentError(
            "a docker-archive has no place for the disk of a machine; use --format oci-archive");
      }
      const std::string config_path = absl::StrCat(parsed.manifest.config.digest.hex(), ".json");
      nlohmann::json item = {
          {"Config", config_path}, {"RepoTags", image.names}, {"Layers", nlohmann::json::array()}};
      uint64_t offset = 0;
      for (size_t i = 0; i < parsed.manifest.layers.size(); ++i) {
        const Descriptor& layer = parsed.manifest.layers[i];
        const std::string path = absl::StrCat(parsed.config.diff_ids[i].hex(), ".tar");
        item["Layers"].push_back(path);
        if (written_.insert(path).second) {
          absl::Status added =
              AddPlainLayer(image.files, layer, offset, parsed.config.diff_ids[i], path);
          if (!added.ok()) {
            return Annotate(added,
                            absl::StrCat("layer ", i + 1, " of ", parsed.manifest.layers.size()));
          }
        }
        offset += layer.size;
      }
      HULL_RETURN_IF_ERROR(AddOnce(config_path, Content::Of(image.files.config)));
      list.push_back(std::move(item));
    }
    const std::string text = DumpJson(list);
    HULL_RETURN_IF_ERROR(sink_.Add("manifest.json", Content::Of(text)));
    return sink_.Finish();
  }

 private:
  absl::Status AddOnce(const std::string& path, const Content& content) {
    return written_.insert(path).second ? sink_.Add(path, content) : absl::OkStatus();
  }

  absl::Status AddBlobs(const ImageFiles& files, const Manifest& manifest,
                        const std::function<std::string(const Digest&)>& path) {
    HULL_RETURN_IF_ERROR(AddOnce(path(manifest.config.digest), Content::Of(files.config)));
    uint64_t offset = 0;
    for (const Descriptor& layer : manifest.layers) {
      const Content blob{
          .text = {}, .fd = files.layers.get(), .offset = offset, .size = layer.size};
      HULL_RETURN_IF_ERROR(AddOnce(path(layer.digest), blob));
      offset += layer.size;
    }
    return absl::OkStatus();
  }

  // The size of an entry comes before its content: a compressed layer goes through a file.
  absl::Status AddPlainLayer(const ImageFiles& files, const Descriptor& layer, uint64_t offset,
                             const Digest& diff_id, const std::string& path) {
    HULL_ASSIGN_OR_RETURN(const LayerCompression compression, LayerCompressionOf(layer.media_type));
    if (compression == LayerCompression::kNone) {
      return sink_.Add(
          path, {.text = {}, .fd = files.layers.get(), .offset = offset, .size = layer.size});
    }
    HULL_ASSIGN_OR_RETURN(const UniqueFd plain, store_.CreateScratchFile());
    HULL_RETURN_IF_ERROR(
        RunUnpack({.program = options_.unpack_program,
                   .arguments = {"expand", absl::StrCat("--layer=", diff_id.ToString()),
                                 absl::StrCat("--layer_offset=", offset),
                                 absl::StrCat("--layer_size=", layer.size)},
                   .descriptors = {{files.layers.get(), kInputFd}, {plain.get(), kOutputFd}},
                   .cancel_fd = options_.cancel_fd,
                   .progress = {}})
            .status());
    struct stat info;
    if (fstat(plain.get(), &info) != 0) return PosixError("stat the layer");
    return sink_.Add(
        path,
        {.text = {}, .fd = plain.get(), .offset = 0, .size = static_cast<uint64_t>(info.st_size)});
  }

  const Store& store_;
  const ExportOptions& options_;
  FileSink& sink_;
  std::set<std::string> written_;
};

}  // namespace

ExportFormat DefaultExportFormat(const std::vector<ExportedImage>& images) {
  for (const ExportedImage& image : images) {
    const absl::StatusOr<ImageConfig> config = ParseImageConfig(image.files.config);
    if (config.ok() && config->machine.has_value()) return ExportFormat::kOciArchive;
  }
  return ExportFormat::kDockerArchive;
}

std::optional<ExportFormat> ParseExportFormat(absl::string_view name) {
  if (name == "oci-archive") return ExportFormat::kOciArchive;
  if (name == "oci-dir") return ExportFormat::kOciDirectory;
  if (name == "docker-archive") return ExportFormat::kDockerArchive;
  if (name == "docker-dir") return ExportFormat::kDirTransport;
  return std::nullopt;
}

bool IsDirectory(ExportFormat format) {
  return format == ExportFormat::kOciDirectory || format == ExportFormat::kDirTransport;
}

absl::Status ExportImages(const Store& store, const std::vector<ExportedImage>& images,
                          const ExportOptions& options, int output) {
  std::unique_ptr<FileSink> sink;
  if (IsDirectory(options.format)) {
    sink = std::make_unique<DirectorySink>(output, options.cancel_fd);
  } else {
    sink = std::make_unique<TarSink>(output, options.cancel_fd);
  }
  Exporter exporter(store, options, *sink);
  switch (options.format) {
    case ExportFormat::kOciArchive:
    case ExportFormat::kOciDirectory:
      return exporter.WriteOci(images);
    case ExportFormat::kDockerArchive:
      return exporter.WriteDocker(images);
    case ExportFormat::kDirTransport:
      if (images.size() != 1) {
        return absl::InvalidArgumentError("docker-dir takes one image at a time");
      }
      return exporter.WriteDir(images.front());
  }
  return absl::OkStatus();
}

}  // namespace hull::images
