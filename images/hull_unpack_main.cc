// hull-unpack: reads OCI layouts and layers on behalf of the image store (see unpack_protocol.h).
//
// A program of its own, so that everything that parses an image's content is in a process that has
// nothing but the descriptors it needs.

#include <fcntl.h>
#include <gflags/gflags.h>
#include <glog/logging.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "images/bounded_json.h"
#include "images/digest.h"
#include "images/image_config.h"
#include "images/layers/rootfs_builder.h"
#include "images/oci/archive.h"
#include "images/oci/byte_source.h"
#include "images/oci/descriptor.h"
#include "images/oci/layout.h"
#include "images/unpack_protocol.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"

DEFINE_string(manifest, "", "convert: the digest of the image manifest");
DEFINE_uint64(manifest_size, 0, "convert: its size in bytes");
DEFINE_string(layer, "", "expand: the digest of the uncompressed layer");
DEFINE_uint64(layer_offset, 0, "expand: where its blob begins in the input");
DEFINE_uint64(layer_size, 0, "expand: the blob's size in bytes");
DEFINE_uint64(max_expanded_bytes, hull::images::UnpackLimits().max_expanded_bytes,
              "the most that an image, or a spooled file, may expand to");
DEFINE_uint64(free_expanded_bytes, hull::images::UnpackLimits().free_expanded_bytes,
              "what a layer may expand to whatever its compressed size");
DEFINE_uint64(max_entries, hull::images::TreeLimits().max_entries,
              "the most entries that the layers of an image may have together");

namespace hull::images {
namespace {

void WriteLine(const nlohmann::json& object) {
  // When nobody reads any more, SIGPIPE ends this program.
  if (!WriteFull(STDOUT_FILENO, absl::StrCat(DumpJson(object), "\n")).ok()) _exit(1);
}

void ReportResult(nlohmann::json result) {
  nlohmann::json line = nlohmann::json::object();
  line["result"] = std::move(result);
  WriteLine(line);
}

void ReportProgress(nlohmann::json progress) {
  nlohmann::json line = nlohmann::json::object();
  line["progress"] = std::move(progress);
  WriteLine(line);
}

// A range of the input.
class RangeSource : public ByteSource {
 public:
  RangeSource(uint64_t offset, uint64_t size) : offset_(offset), rest_(size) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override {
    const std::span<uint8_t> part = buffer.first(std::min<uint64_t>(buffer.size(), rest_));
    HULL_ASSIGN_OR_RETURN(const size_t n, PreadFull(kInputFd, part, static_cast<off_t>(offset_)));
    offset_ += n;
    rest_ -= n;
    return n;
  }

 private:
  uint64_t offset_;
  uint64_t rest_;
};

// Passes a blob on and keeps a copy of it in kLayersFd.
class KeptSource : public ByteSource {
 public:
  explicit KeptSource(ByteSource& source) : source_(source) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override {
    HULL_ASSIGN_OR_RETURN(const size_t n, source_.Read(buffer));
    absl::Status written =
        WriteFull(kLayersFd, absl::string_view(reinterpret_cast<const char*>(buffer.data()), n));
    if (!written.ok()) return Annotate(written, "keep the layer");
    return n;
  }

 private:
  ByteSource& source_;
};

absl::Status CopyToOutput(ByteSource& plain) {
  std::vector<uint8_t> buffer(size_t{1} << 20);
  uint64_t total = 0;
  while (true) {
    HULL_ASSIGN_OR_RETURN(const size_t n, plain.Read(buffer));
    if (n == 0) break;
    total += n;
    if (total > FLAGS_max_expanded_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat("the file expands to more than the ",
                                                       FLAGS_max_expanded_bytes, " bytes allowed"));
    }
    HULL_RETURN_IF_ERROR(
        WriteFull(kOutputFd, absl::string_view(reinterpret_cast<const char*>(buffer.data()), n)));
    ReportProgress({{"bytes", total}, {"total", 0}});
  }
  return absl::OkStatus();
}

absl::Status Spool() {
  FileSource input{UniqueFd(kInputFd)};
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<Decompressor> plain,
                        Decompressor::Create(input, Compression::kAny));
  HULL_RETURN_IF_ERROR(CopyToOutput(*plain));
  ReportResult(nlohmann::json::object());
  return absl::OkStatus();
}

absl::Status Expand() {
  HULL_ASSIGN_OR_RETURN(const Digest digest, Digest::Parse(FLAGS_layer));
  RangeSource blob(FLAGS_layer_offset, FLAGS_layer_size);
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<Decompressor> plain,
                        Decompressor::Create(blob, Compression::kAny));
  VerifiedSource tar(*plain, "the layer's uncompressed content", digest, VerifiedSource::kAnySize);
  HULL_RETURN_IF_ERROR(CopyToOutput(tar));
  HULL_RETURN_IF_ERROR(tar.Finish());
  ReportResult(nlohmann::json::object());
  return absl::OkStatus();
}

absl::Status Inspect() {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<Layout> layout, Layout::Open(UniqueFd(kInputFd)));
  HULL_ASSIGN_OR_RETURN(const std::vector<ImageInLayout> images, SelectImages(*layout));
  nlohmann::json list = nlohmann::json::array();
  for (const ImageInLayout& image : images) {
    list.push_back({{"manifest", image.manifest.digest.ToString()},
                    {"size", image.manifest.size},
                    {"names", image.names}});
  }
  ReportResult({{"images", std::move(list)}});
  return absl::OkStatus();
}

absl::Status CheckImage(const Manifest& manifest, const ImageConfig& config) {
  if (!IsSupportedPlatform({.os = config.os, .architecture = config.architecture})) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the image is for ", absl::CHexEscape(config.os.substr(0, 30)), "/",
        absl::CHexEscape(config.architecture.substr(0, 30)), "; only linux/amd64 can run here"));
  }
  if (config.diff_ids.size() != manifest.layers.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image manifest has ", manifest.layers.size(),
                     " layers, and its configuration ", config.diff_ids.size()));
  }
  return absl::OkStatus();
}

absl::Status Convert() {
  HULL_ASSIGN_OR_RETURN(const Digest digest, Digest::Parse(FLAGS_manifest));
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<Layout> layout, Layout::Open(UniqueFd(kInputFd)));
  HULL_ASSIGN_OR_RETURN(const std::string manifest_text,
                        layout->ReadBlob(Descriptor{.media_type = {},
                                                    .digest = digest,
                                                    .size = FLAGS_manifest_size,
                                                    .platform = {},
                                                    .name = {}}));
  HULL_ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(manifest_text));
  if (!IsConfigType(manifest.config.media_type)) {
    return absl::UnimplementedError(
        absl::StrCat("\"", absl::CHexEscape(manifest.config.media_type.substr(0, 100)),
                     "\" is not a container image"));
  }
  HULL_ASSIGN_OR_RETURN(const std::string config_text, layout->ReadBlob(manifest.config));
  HULL_ASSIGN_OR_RETURN(const ImageConfig config, ParseImageConfig(config_text));
  HULL_RETURN_IF_ERROR(CheckImage(manifest, config));
  HULL_RETURN_IF_ERROR(WriteFull(kManifestFd, manifest_text));
  HULL_RETURN_IF_ERROR(WriteFull(kConfigFd, config_text));

  UnpackLimits limits;
  limits.max_expanded_bytes = FLAGS_max_expanded_bytes;
  limits.free_expanded_bytes = FLAGS_free_expanded_bytes;
  limits.tree.max_entries = FLAGS_max_entries;
  RootfsBuilder builder(kOutputFd, kScratchFd, limits);
  uint64_t total_bytes = 0;
  for (const Descriptor& layer : manifest.layers) {
    // The blobs are kept, and a sparse file of any size takes a few bytes in an archive.
    if (layer.size > FLAGS_max_expanded_bytes - total_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat("the layers take more than the ",
                                                       FLAGS_max_expanded_bytes, " bytes allowed"));
    }
    total_bytes += layer.size;
  }
  nlohmann::json layer_bytes = nlohmann::json::array();
  uint64_t done_bytes = 0;
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const Descriptor& layer = manifest.layers[i];
    const std::string what = absl::StrCat("layer ", i + 1, " of ", manifest.layers.size(), " (",
                                          layer.digest.ToString(), ")");
    absl::StatusOr<std::unique_ptr<ByteSource>> blob = layout->OpenBlob(layer.digest);
    if (!blob.ok()) return Annotate(blob.status(), what);
    KeptSource kept(**blob);
    const uint64_t expanded_before = builder.expanded_bytes();
    absl::Status added =
        builder.AddLayer(kept, layer, config.diff_ids[i], [&](uint64_t blob_bytes) {
          ReportProgress({{"layer", i + 1},
                          {"layers", manifest.layers.size()},
                          {"bytes", done_bytes + blob_bytes},
                          {"total", total_bytes}});
        });
    if (!added.ok()) return Annotate(added, what);
    done_bytes += layer.size;
    layer_bytes.push_back(builder.expanded_bytes() - expanded_before);
  }
  // The file system is the same whenever the same image is converted: its identity is the image's.
  std::array<uint8_t, 16> uuid;
  const std::string bytes = absl::HexStringToBytes(digest.hex());
  std::copy_n(bytes.begin(), uuid.size(), uuid.begin());
  HULL_RETURN_IF_ERROR(builder.Finish(uuid));
  ReportResult({{"layer_bytes", std::move(layer_bytes)}});
  return absl::OkStatus();
}

absl::Status SetUp() {
  // The load that asked for this ends with its process, however that ends.
  const pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return PosixError("prctl");
  if (parent == 1 || getppid() != parent) {
    return absl::AbortedError("the program that asked for this has ended");
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return PosixError("prctl");
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) return PosixError("setrlimit");
  // A file size limit of the caller's is an error to report, not a signal to die of.
  if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR) return PosixError("signal");
  return absl::OkStatus();
}

absl::Status Run(int argc, char** argv) {
  HULL_RETURN_IF_ERROR(SetUp());
  const absl::string_view verb = argc == 2 ? argv[1] : "";
  if (verb == "spool") return Spool();
  if (verb == "inspect") return Inspect();
  if (verb == "convert") return Convert();
  if (verb == "expand") return Expand();
  return absl::InvalidArgumentError(
      "usage: hull-unpack spool|inspect|convert|expand (run by hull)");
}

}  // namespace
}  // namespace hull::images

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  const absl::Status status = hull::images::Run(argc, argv);
  if (status.ok()) return 0;
  hull::images::WriteLine(
      {{"error",
        {{"code", static_cast<int>(status.code())}, {"message", std::string(status.message())}}}});
  return 1;
}
