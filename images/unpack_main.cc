// hull-unpack: reads OCI layouts and layers on behalf of the image store (see unpack_protocol.h).
//
// A program of its own, so that everything that parses an image's content is in a process that has
// nothing but the descriptors it needs. That process is a child of the one that was started, which
// reads nothing of an image.

#include "images/unpack_main.h"

#include <fcntl.h>
#include <gflags/gflags.h>
#include <glog/logging.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
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
#include "images/layers/disk_layer.h"
#include "images/layers/rootfs_builder.h"
#include "images/machine_config.h"
#include "images/oci/archive.h"
#include "images/oci/byte_source.h"
#include "images/oci/descriptor.h"
#include "images/oci/file_broker.h"
#include "images/oci/layout.h"
#include "images/unpack_protocol.h"
#include "vmm/base/file_io.h"
#include "vmm/base/out_of_memory.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/sandbox/namespaces.h"
#include "vmm/sandbox/seccomp.h"
#include "vmm/sandbox/user_range.h"

DEFINE_string(manifest, "", "convert: the digest of the image manifest");
DEFINE_uint64(manifest_size, 0, "convert: its size in bytes");
DEFINE_bool(disk, false, "convert: the image is a disk of a machine");
DEFINE_string(boot, "", "import: floppy, disk or cdrom");
DEFINE_uint64(disk_size, 0, "import: the input's size in bytes");
DEFINE_string(created, "", "import: the time of the image, RFC 3339");
DEFINE_string(layer, "", "expand: the digest of the uncompressed layer");
DEFINE_uint64(layer_offset, 0, "expand, digest: where its blob begins in the input");
DEFINE_uint64(layer_size, 0, "expand, digest: the blob's size in bytes");
DEFINE_uint64(max_expanded_bytes, hull::images::UnpackLimits().max_expanded_bytes,
              "the most that an image, or a spooled file, may expand to");
DEFINE_uint64(free_expanded_bytes, hull::images::UnpackLimits().free_expanded_bytes,
              "what a layer may expand to whatever its compressed size");
DEFINE_uint64(max_entries, hull::images::TreeLimits().max_entries,
              "the most entries that the layers of an image may have together");
DEFINE_string(users, "", "run by root: the user ids of jailed processes, FIRST:COUNT");
DEFINE_string(user_claims, "", "run by root: the file in which they are claimed");

namespace hull::images {
namespace {

constexpr char kOutOfMemory[] = "hull-unpack: out of memory: the image is too large to unpack\n";

// What the process that reads an image may use. The files and the tree are bounded more closely by
// UnpackLimits; these hold where that fails.
constexpr uint64_t kMaxDescriptors = 64;
constexpr uint64_t kMaxAddressSpace = uint64_t{4} << 30;
// For metadata, and the blocks of which files fill only a part.
constexpr uint64_t kFileSizeBeyondContents = uint64_t{16} << 30;
constexpr rlim_t kMaxProcessorSeconds = 6 * 3600;

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

absl::Status ReportDigest() {
  RangeSource blob(FLAGS_layer_offset, FLAGS_layer_size);
  Sha256 hash;
  std::vector<uint8_t> buffer(size_t{1} << 20);
  for (uint64_t rest = FLAGS_layer_size; rest > 0;) {
    HULL_ASSIGN_OR_RETURN(const size_t n, blob.Read(buffer));
    if (n == 0) return absl::DataLossError("the input is shorter than it was");
    hash.Update(std::span(buffer).first(n));
    rest -= n;
  }
  ReportResult({{"digest", hash.Finish().ToString()}});
  return absl::OkStatus();
}

nlohmann::json DescriptorToJson(const Descriptor& descriptor) {
  return {{"mediaType", descriptor.media_type},
          {"digest", descriptor.digest.ToString()},
          {"size", descriptor.size}};
}

Descriptor DescribeText(absl::string_view media_type, absl::string_view text) {
  Sha256 hash;
  // SAFETY: any object may be seen as bytes.
  hash.Update(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  return {.media_type = std::string(media_type),
          .digest = hash.Finish(),
          .size = text.size(),
          .platform = {},
          .name = {}};
}

absl::Status Import() {
  HULL_ASSIGN_OR_RETURN(const BootDevice boot, ParseBootDevice(FLAGS_boot));
  HULL_RETURN_IF_ERROR(CheckDiskSize(boot, FLAGS_disk_size));
  RangeSource input(0, FLAGS_disk_size);
  HULL_ASSIGN_OR_RETURN(
      const PackedDisk packed,
      PackDisk(input, FLAGS_disk_size, kOutputFd, kLayersFd, [](uint64_t bytes) {
        ReportProgress({{"layer", 1}, {"layers", 1}, {"bytes", bytes}, {"total", FLAGS_disk_size}});
      }));
  const std::string command = absl::StrCat("hull import --machine pc --boot ", FLAGS_boot);
  const nlohmann::json config = {
      {"architecture", "amd64"},
      {"os", kPcOs},
      {"created", FLAGS_created},
      {"config", nlohmann::json::object()},
      {"machine", MachineConfigToJson({.boot = boot})},
      {"rootfs", {{"type", "layers"}, {"diff_ids", {packed.diff_id.ToString()}}}},
      {"history", {{{"created", FLAGS_created}, {"created_by", command}}}}};
  const std::string config_text = DumpJson(config);
  const nlohmann::json manifest = {
      {"schemaVersion", 2},
      {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
      {"config", DescriptorToJson(DescribeText(kMachineConfigType, config_text))},
      {"layers", {DescriptorToJson(packed.layer)}},
      {"annotations", {{kMachineAnnotation, kPcMachine}, {kBootAnnotation, FLAGS_boot}}}};
  const std::string manifest_text = DumpJson(manifest);
  HULL_RETURN_IF_ERROR(WriteFull(kConfigFd, config_text));
  HULL_RETURN_IF_ERROR(WriteFull(kManifestFd, manifest_text));
  ReportResult({{"manifest", DescribeText("", manifest_text).digest.ToString()}});
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Layout>> OpenLayout() {
  struct stat info;
  if (fstat(kInputFd, &info) != 0) return PosixError("stat the image layout");
  if (!S_ISSOCK(info.st_mode)) return Layout::Open(UniqueFd(kInputFd));
  return Layout::Open(
      FileSet::OpenThrough([](const std::string& path) { return RequestFile(kInputFd, path); }));
}

absl::Status Inspect() {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<Layout> layout, OpenLayout());
  HULL_ASSIGN_OR_RETURN(const std::vector<ImageInLayout> images, SelectImages(*layout));
  nlohmann::json list = nlohmann::json::array();
  for (const ImageInLayout& image : images) {
    // What is wrong with a manifest is for the conversion to say.
    const absl::StatusOr<std::string> text = layout->ReadBlob(image.manifest);
    const absl::StatusOr<Manifest> manifest =
        text.ok() ? ParseManifest(*text) : absl::StatusOr<Manifest>(text.status());
    list.push_back({{"manifest", image.manifest.digest.ToString()},
                    {"size", image.manifest.size},
                    {"names", image.names},
                    {"disk", manifest.ok() && manifest->config.media_type == kMachineConfigType}});
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

// The image's one layer, as a disk.
absl::Status ConvertDisk(Layout& layout, const Manifest& manifest, const ImageConfig& config) {
  if (!config.machine.has_value()) {
    return absl::InvalidArgumentError("the image configuration: it has no \"machine\"");
  }
  if (manifest.layers.size() != 1 || config.diff_ids.size() != 1 ||
      manifest.layers[0].media_type != kDiskLayerType) {
    return absl::UnimplementedError(
        absl::StrCat("a machine's image that is not one layer of type \"", kDiskLayerType, "\""));
  }
  const Descriptor& layer = manifest.layers[0];
  if (layer.size > FLAGS_max_expanded_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the disk takes more than the ", FLAGS_max_expanded_bytes, " bytes allowed"));
  }
  absl::StatusOr<std::unique_ptr<ByteSource>> blob = layout.OpenBlob(layer.digest);
  if (!blob.ok()) return Annotate(blob.status(), "the disk");
  KeptSource kept(**blob);
  HULL_ASSIGN_OR_RETURN(
      const uint64_t bytes,
      UnpackDisk(
          kept, layer, config.diff_ids[0], config.machine->boot, FLAGS_max_expanded_bytes,
          kOutputFd, [&](uint64_t done) {
            ReportProgress({{"layer", 1}, {"layers", 1}, {"bytes", done}, {"total", layer.size}});
          }));
  ReportResult({{"layer_bytes", {bytes}}});
  return absl::OkStatus();
}

absl::Status Convert() {
  HULL_ASSIGN_OR_RETURN(const Digest digest, Digest::Parse(FLAGS_manifest));
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<Layout> layout, OpenLayout());
  HULL_ASSIGN_OR_RETURN(const std::string manifest_text,
                        layout->ReadBlob(Descriptor{.media_type = {},
                                                    .digest = digest,
                                                    .size = FLAGS_manifest_size,
                                                    .platform = {},
                                                    .name = {}}));
  HULL_ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(manifest_text));
  const bool disk = manifest.config.media_type == kMachineConfigType;
  if (disk != FLAGS_disk) return absl::InternalError("the image is of another kind than was said");
  if (!disk && !IsConfigType(manifest.config.media_type)) {
    return absl::UnimplementedError(
        absl::StrCat("\"", absl::CHexEscape(manifest.config.media_type.substr(0, 100)),
                     "\" is not a container image"));
  }
  HULL_ASSIGN_OR_RETURN(const std::string config_text, layout->ReadBlob(manifest.config));
  HULL_ASSIGN_OR_RETURN(const ImageConfig config, ParseImageConfig(config_text));
  if (!disk) HULL_RETURN_IF_ERROR(CheckImage(manifest, config));
  HULL_RETURN_IF_ERROR(WriteFull(kManifestFd, manifest_text));
  HULL_RETURN_IF_ERROR(WriteFull(kConfigFd, config_text));
  if (disk) return ConvertDisk(*layout, manifest, config);

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

absl::Status RunVerb(absl::string_view verb) {
  if (verb == "spool") return Spool();
  if (verb == "inspect") return Inspect();
  if (verb == "convert") return Convert();
  if (verb == "expand") return Expand();
  if (verb == "import") return Import();
  if (verb == "digest") return ReportDigest();
  return absl::InvalidArgumentError(
      "usage: hull-unpack spool|inspect|convert|expand|import|digest (run by hull)");
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  WriteLine(
      {{"error",
        {{"code", static_cast<int>(status.code())}, {"message", std::string(status.message())}}}});
  return 1;
}

// A user that nothing else runs as, where this process may become another user.
absl::StatusOr<sandbox::ClaimedUser> ClaimUser() {
  if (geteuid() != 0) return sandbox::ClaimedUser();
  sandbox::UserRange range = sandbox::kDefaultUserRange;
  if (!FLAGS_users.empty()) {
    HULL_ASSIGN_OR_RETURN(range, sandbox::ParseUserRange(FLAGS_users));
  }
  if (FLAGS_user_claims.empty() || FLAGS_user_claims[0] != '/') {
    return absl::InvalidArgumentError("hull-unpack: --user_claims is no path of a file");
  }
  for (size_t end = 1; (end = FLAGS_user_claims.find('/', end)) != std::string::npos; ++end) {
    const std::string directory = FLAGS_user_claims.substr(0, end);
    if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
      return PosixError(absl::StrCat("create directory \"", directory, "\""));
    }
  }
  return sandbox::ClaimUser(range, FLAGS_user_claims);
}

// Takes the place of kInputFd where that is a directory, which a sandboxed process cannot use: a
// socket on which its files are asked for. Our end of it, and the directory.
struct OpenedFiles {
  UniqueFd directory;
  UniqueFd requests;
};
absl::StatusOr<OpenedFiles> ReplaceDirectory() {
  OpenedFiles files;
  struct stat info;
  if (fstat(kInputFd, &info) != 0 || !S_ISDIR(info.st_mode)) return files;
  files.directory.Reset(fcntl(kInputFd, F_DUPFD_CLOEXEC, kLayersFd + 1));
  if (!files.directory.valid()) return PosixError("duplicate a descriptor");
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return PosixError("create a socket");
  }
  const UniqueFd reader(ends[0]);
  files.requests.Reset(ends[1]);
  if (dup2(reader.get(), kInputFd) < 0) return PosixError("duplicate a descriptor");
  return files;
}

// What the store gave this program, of which a verb has some.
std::vector<int> GivenDescriptors() {
  std::vector<int> given;
  for (int fd = kInputFd; fd <= kLayersFd; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) given.push_back(fd);
  }
  return given;
}

sandbox::JailOptions JailOf(std::vector<int> descriptors, const sandbox::ClaimedUser& user,
                            int parent) {
  sandbox::JailOptions options;
  options.descriptors = std::move(descriptors);
  if (user.claim.valid()) options.user = user.user;
  options.parent = parent;
  options.max_descriptors = kMaxDescriptors;
  options.max_threads = 1;
  options.max_address_space = kMaxAddressSpace;
  // A disk may have holes of any size.
  const bool disk = FLAGS_disk || FLAGS_disk_size > 0;
  options.max_file_size =
      std::min<uint64_t>(
          disk ? std::max(FLAGS_max_expanded_bytes, kMaxDiskBytes) : FLAGS_max_expanded_bytes,
          INT64_MAX / 2) +
      kFileSizeBeyondContents;
  return options;
}

// What libraries do only once, and with calls that are not on the list.
void PrepareLibraries() {
  Sha256 hash;
  hash.Finish();
}

// In the child: does the work, and ends.
[[noreturn]] void RunConfined(absl::string_view verb, const sandbox::JailOptions& options,
                              const Confinement& confine) {
  absl::Status status;
  const rlimit processor = {kMaxProcessorSeconds, kMaxProcessorSeconds};
  if (setrlimit(RLIMIT_CPU, &processor) != 0) status = PosixError("limit the processor time");
  if (status.ok()) status = confine(options);
  if (status.ok()) status = RunVerb(verb);
  _exit(Report(status));
}

int WaitFor(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Ends this process as the child ended, or returns the status to exit with.
int PassOn(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  signal(WTERMSIG(status), SIG_DFL);
  raise(WTERMSIG(status));
  return 1;
}

absl::StatusOr<int> RunChild(absl::string_view verb, const Confinement& confine) {
  // Before this process opens anything of its own.
  std::vector<int> descriptors = GivenDescriptors();
  // Held until the child has ended.
  HULL_ASSIGN_OR_RETURN(const sandbox::ClaimedUser user, ClaimUser());
  HULL_ASSIGN_OR_RETURN(OpenedFiles files, ReplaceDirectory());
  // What the child is to die with.
  const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!self.valid()) return PosixError("watch this process");
  PrepareLibraries();
  const sandbox::JailOptions options = JailOf(std::move(descriptors), user, self.get());
  HULL_ASSIGN_OR_RETURN(const pid_t child, sandbox::ForkIntoNamespace());
  if (child == 0) RunConfined(verb, options, confine);
  // The child alone is to have them, so that their ends are seen.
  close(kInputFd);
  if (files.requests.valid()) {
    const absl::Status served = ServeFiles(files.requests.get(), files.directory.get());
    if (!served.ok()) {
      // It is not the program any more that it was.
      kill(child, SIGKILL);
      WaitFor(child);
      return served;
    }
  }
  return PassOn(WaitFor(child));
}

}  // namespace

absl::Status ConfineUnpacker(const sandbox::JailOptions& options) {
  HULL_RETURN_IF_ERROR(sandbox::EnterJail(options));
  HULL_RETURN_IF_ERROR(sandbox::InstallViolationHandler("hull-unpack"));
  return sandbox::EnterFilter(sandbox::ThreadKind::kUnpack);
}

int UnpackMain(int argc, char** argv, const Confinement& confine) {
  ExitWhenOutOfMemory(kOutOfMemory, 1);
  FLAGS_logtostderr = true;
  // glog tells the time of day, for which it would read the time zone's file.
  setenv("TZ", "UTC0", 1);
  tzset();
  google::InitGoogleLogging(argv[0]);
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  const absl::string_view verb = argc == 2 ? argv[1] : "";
  const absl::Status ready = SetUp();
  if (!ready.ok()) return Report(ready);
  if (!confine) return Report(RunVerb(verb));
  const absl::StatusOr<int> status = RunChild(verb, confine);
  return status.ok() ? *status : Report(status.status());
}

}  // namespace hull::images
