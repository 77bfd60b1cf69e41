#include "images/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "images/bounded_json.h"
#include "images/unpack_client.h"
#include "images/unpack_protocol.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {
namespace {

// A Hull that knows version 1 only would take a disk for a root file system.
constexpr uint64_t kRecordVersion = 1;
constexpr uint64_t kDiskRecordVersion = 2;
constexpr size_t kMinIdDigits = 4;
constexpr absl::string_view kImagesDirectory = "/sha256";
constexpr absl::string_view kNamesDirectory = "/names";
constexpr absl::string_view kStagingDirectory = "/staging";
constexpr absl::string_view kNewNameFile = "/name.new";
constexpr absl::string_view kRecordFile = "/image.json";
constexpr absl::string_view kRootfsFile = "/rootfs.erofs";
constexpr absl::string_view kDiskFile = "/disk.img";
constexpr absl::string_view kConfigFile = "/config.json";
constexpr absl::string_view kManifestFile = "/manifest.json";
constexpr absl::string_view kLayersFile = "/layers.blob";

// A record holds the start-up part of a configuration of at most kMaxJsonBytes.
constexpr size_t kMaxRecordBytes = 2 * kMaxJsonBytes;

// The start of a container reads this and nothing else about an image.
struct Record {
  Digest manifest;
  Digest id;
  int64_t created = 0;
  std::vector<uint64_t> layer_bytes;
  ProcessConfig process;
  std::optional<MachineConfig> machine;
};

// Numbers that hull-unpack or this program wrote.
absl::StatusOr<std::vector<uint64_t>> ReadSizes(const nlohmann::json& object, const char* key) {
  std::vector<uint64_t> sizes;
  const nlohmann::json* list = FindMember(object, key);
  if (list == nullptr) return sizes;
  if (!list->is_array()) return absl::DataLossError(absl::StrCat("\"", key, "\" is not a list"));
  for (const nlohmann::json& item : *list) {
    if (!item.is_number_unsigned()) {
      return absl::DataLossError(absl::StrCat("\"", key, "\" has what is not a size"));
    }
    sizes.push_back(item.get<uint64_t>());
  }
  return sizes;
}

std::string EncodeRecord(const Record& record) {
  nlohmann::json object = {
      {"version", kRecordVersion},         {"manifest", record.manifest.ToString()},
      {"id", record.id.ToString()},        {"created", record.created},
      {"layer_bytes", record.layer_bytes}, {"process", ProcessConfigToJson(record.process)}};
  if (record.machine.has_value()) {
    object["version"] = kDiskRecordVersion;
    object["machine"] = MachineConfigToJson(*record.machine);
  }
  return absl::StrCat(DumpJson(object), "\n");
}

absl::StatusOr<Record> DecodeRecord(absl::string_view text) {
  const nlohmann::json object = nlohmann::json::parse(text.begin(), text.end(), nullptr,
                                                      /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::DataLossError("not a JSON object");
  uint64_t version = 0;
  HULL_RETURN_IF_ERROR(ReadSize(object, "version", &version));
  if (version != kRecordVersion && version != kDiskRecordVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("version ", version, " was written by another version of Hull"));
  }
  std::string manifest;
  std::string id;
  HULL_RETURN_IF_ERROR(ReadString(object, "manifest", &manifest));
  HULL_RETURN_IF_ERROR(ReadString(object, "id", &id));
  HULL_ASSIGN_OR_RETURN(Digest manifest_digest, Digest::Parse(manifest));
  HULL_ASSIGN_OR_RETURN(Digest id_digest, Digest::Parse(id));
  const nlohmann::json* created = FindMember(object, "created");
  const nlohmann::json* process = FindMember(object, "process");
  if (created == nullptr || !created->is_number_integer() || process == nullptr ||
      !process->is_object()) {
    return absl::DataLossError("a member is missing");
  }
  HULL_ASSIGN_OR_RETURN(ProcessConfig config, ProcessConfigFromJson(*process));
  HULL_ASSIGN_OR_RETURN(std::vector<uint64_t> layer_bytes, ReadSizes(object, "layer_bytes"));
  std::optional<MachineConfig> machine;
  if (version == kDiskRecordVersion) {
    const nlohmann::json* member = FindMember(object, "machine");
    if (member == nullptr) return absl::DataLossError("a member is missing");
    HULL_ASSIGN_OR_RETURN(machine, MachineConfigFromJson(*member));
  }
  return Record{.manifest = std::move(manifest_digest),
                .id = std::move(id_digest),
                .created = created->get<int64_t>(),
                .layer_bytes = std::move(layer_bytes),
                .process = std::move(config),
                .machine = machine};
}

// RFC 3339 to seconds; 0 for what is not such a time (the member is for display only).
int64_t ParseCreated(const std::string& text) {
  absl::Time time;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) return 0;
  return absl::ToUnixSeconds(time);
}

absl::Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  if (errno != ENOENT) return PosixError(absl::StrCat("create \"", path, "\""));
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) {
    return PosixError(absl::StrCat("create \"", path, "\""));
  }
  HULL_RETURN_IF_ERROR(MakeDirectory(path.substr(0, slash)));
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return PosixError(absl::StrCat("create \"", path, "\""));
}

absl::Status SyncDirectory(const std::string& path) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd fd, UniqueFd::Open(path, O_RDONLY | O_DIRECTORY));
  if (fsync(fd.get()) != 0) return PosixError(absl::StrCat("fsync \"", path, "\""));
  return absl::OkStatus();
}

// Best effort, as it has no good way to fail: what stays in the staging directory is removed by
// the next load.
void RemoveTree(const std::string& path) {
  constexpr int kOpenDirectories = 8;
  nftw(
      path.c_str(),
      [](const char* name, const struct stat*, int, struct FTW*) {
        remove(name);
        return 0;
      },
      kOpenDirectories, FTW_DEPTH | FTW_PHYS);
}

// The names in a directory but "." and ".."; none if it does not exist.
absl::StatusOr<std::vector<std::string>> ReadDirectory(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) {
    if (errno == ENOENT) return names;
    return PosixError(absl::StrCat("open \"", path, "\""));
  }
  while (true) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return PosixError(absl::StrCat("read \"", path, "\""));
      break;
    }
    const absl::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// Every name and image appears and goes under this lock. It is held for moments only.
absl::StatusOr<UniqueFd> LockStore(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/lock");
  HULL_ASSIGN_OR_RETURN(UniqueFd fd, UniqueFd::Open(path, O_RDWR | O_CREAT, 0600));
  while (flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return PosixError(absl::StrCat("lock \"", path, "\""));
  }
  return fd;
}

uint64_t DiskBytes(const std::string& image_directory) {
  constexpr uint64_t kStatBlock = 512;
  uint64_t bytes = 0;
  for (const absl::string_view file :
       {kRootfsFile, kDiskFile, kRecordFile, kConfigFile, kManifestFile, kLayersFile}) {
    struct stat status;
    if (stat(absl::StrCat(image_directory, file).c_str(), &status) == 0) {
      bytes += static_cast<uint64_t>(status.st_blocks) * kStatBlock;
    }
  }
  return bytes;
}

absl::Status NotFound(absl::string_view name) {
  const std::string shown = absl::CHexEscape(name.substr(0, 300));
  return absl::NotFoundError(absl::StrCat(
      "image \"", shown, "\" not found locally; try: hull pull ", shown, ", or hull load PATH"));
}

bool Contains(const std::vector<Digest>& digests, const Digest& digest) {
  return std::find(digests.begin(), digests.end(), digest) != digests.end();
}

// The full name that a new name of an image stands for.
absl::StatusOr<std::string> NewName(absl::string_view name) {
  HULL_ASSIGN_OR_RETURN(const Reference reference, ParseReference(name));
  if (reference.digest.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", name, "\": the name of a new image has no digest"));
  }
  return Qualify(reference).FullName();
}

}  // namespace

// An image that a name stands for.
struct Store::Target {
  Digest manifest;
  std::string full_name;  // empty if found by digest or id
};

std::string Store::ImagePath(const Digest& manifest) const {
  return absl::StrCat(directory_, kImagesDirectory, "/", manifest.hex());
}

std::string Store::NamePath(absl::string_view full_name) const {
  // '%' is in no name, so this can be undone.
  return absl::StrCat(directory_, kNamesDirectory, "/",
                      absl::StrReplaceAll(full_name, {{"/", "%"}}));
}

absl::StatusOr<std::string> Store::ReadRecordText(const Digest& manifest) const {
  return ReadFile(absl::StrCat(ImagePath(manifest), kRecordFile), kMaxRecordBytes);
}

absl::StatusOr<std::string> Store::ReadConfig(const Digest& manifest) const {
  return ReadFile(absl::StrCat(ImagePath(manifest), kConfigFile), kMaxJsonBytes);
}

absl::StatusOr<Digest> Store::ReadName(absl::string_view full_name) const {
  const std::string path = NamePath(full_name);
  constexpr size_t kMaxBytes = 128;
  HULL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  absl::StatusOr<Digest> digest = Digest::Parse(absl::StripSuffix(text, "\n"));
  if (!digest.ok()) {
    return absl::DataLossError(absl::StrCat("\"", path,
                                            "\" is damaged; remove it and load the "
                                            "image again"));
  }
  return digest;
}

absl::StatusOr<std::vector<std::string>> Store::ListNames() const {
  HULL_ASSIGN_OR_RETURN(std::vector<std::string> names,
                        ReadDirectory(absl::StrCat(directory_, kNamesDirectory)));
  for (std::string& name : names) std::replace(name.begin(), name.end(), '%', '/');
  return names;
}

absl::StatusOr<std::vector<Digest>> Store::ListImages() const {
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                        ReadDirectory(absl::StrCat(directory_, kImagesDirectory)));
  std::vector<Digest> images;
  for (const std::string& name : names) {
    absl::StatusOr<Digest> digest = Digest::Parse(absl::StrCat("sha256:", name));
    if (digest.ok()) images.push_back(*std::move(digest));
  }
  return images;
}

absl::StatusOr<std::vector<std::string>> Store::NamesOf(const Digest& manifest) const {
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListNames());
  std::vector<std::string> found;
  for (const std::string& name : names) {
    const absl::StatusOr<Digest> digest = ReadName(name);
    if (digest.ok() && *digest == manifest) found.push_back(name);
  }
  return found;
}

absl::StatusOr<Store::Target> Store::FindById(absl::string_view name) const {
  absl::string_view hex = name;
  absl::ConsumePrefix(&hex, "sha256:");
  HULL_ASSIGN_OR_RETURN(const std::vector<Digest> images, ListImages());
  std::vector<Digest> found;
  // An image that came compressed and uncompressed is two images with one configuration, and so
  // with one id and the same files: either will do.
  bool same_id = true;
  std::string first_id;
  for (const Digest& manifest : images) {
    std::string id;
    if (const absl::StatusOr<std::string> text = ReadRecordText(manifest); text.ok()) {
      const absl::StatusOr<Record> record = DecodeRecord(*text);
      if (record.ok()) id = record->id.hex();
    }
    const bool by_id = absl::StartsWith(id, hex);
    if (!by_id && !absl::StartsWith(manifest.hex(), hex)) continue;
    if (found.empty()) first_id = id;
    same_id = same_id && by_id && id == first_id;
    found.push_back(manifest);
  }
  if (found.empty()) return NotFound(name);
  if (found.size() > 1 && !same_id) {
    return absl::InvalidArgumentError(
        absl::StrCat("image id \"", name, "\" fits ", found.size(), " images; give more digits"));
  }
  return Target{.manifest = found.front(), .full_name = {}};
}

absl::StatusOr<Store::Target> Store::Find(absl::string_view name) const {
  const absl::StatusOr<Reference> reference = ParseReference(name);
  absl::string_view hex = name;
  absl::ConsumePrefix(&hex, "sha256:");
  const bool may_be_id =
      hex.size() >= kMinIdDigits && hex.size() <= Digest::kHexDigits && IsLowerHex(hex);
  if (!reference.ok()) return reference.status();
  if (reference->digest.has_value()) {
    // The digest says which image, whatever its names here: the name beside it says where it can be
    // fetched, and an image that was fetched so may have none.
    if (!Exists(ImagePath(*reference->digest))) return NotFound(name);
    return Target{.manifest = *reference->digest, .full_name = {}};
  }
  for (const Reference& candidate : LocalCandidates(*reference)) {
    const std::string full_name = candidate.FullName();
    absl::StatusOr<Digest> manifest = ReadName(full_name);
    if (manifest.ok()) return Target{.manifest = *std::move(manifest), .full_name = full_name};
    if (!absl::IsNotFound(manifest.status())) return manifest.status();
  }
  if (may_be_id) return FindById(name);
  return NotFound(name);
}

absl::StatusOr<ResolvedImage> Store::Resolve(absl::string_view name) const {
  HULL_ASSIGN_OR_RETURN(Target target, Find(name));
  const absl::StatusOr<std::string> text = ReadRecordText(target.manifest);
  // Removed in this moment.
  if (absl::IsNotFound(text.status())) return NotFound(name);
  if (!text.ok()) return text.status();
  absl::StatusOr<Record> record = DecodeRecord(*text);
  if (!record.ok()) {
    return Annotate(record.status(),
                    absl::StrCat("\"", ImagePath(target.manifest), kRecordFile, "\""));
  }
  std::string rootfs_path = absl::StrCat(ImagePath(target.manifest),
                                         record->machine.has_value() ? kDiskFile : kRootfsFile);
  return ResolvedImage{.manifest = std::move(target.manifest),
                       .id = std::move(record->id),
                       .name = std::move(target.full_name),
                       .rootfs_path = std::move(rootfs_path),
                       .process = std::move(record->process),
                       .machine = record->machine};
}

absl::StatusOr<std::vector<ImageInfo>> Store::List() const {
  std::map<std::string, std::vector<std::string>> names_by_image;
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListNames());
  for (const std::string& name : names) {
    const absl::StatusOr<Digest> manifest = ReadName(name);
    if (absl::IsNotFound(manifest.status())) continue;  // removed in this moment
    if (!manifest.ok()) return manifest.status();
    names_by_image[manifest->hex()].push_back(name);
  }
  HULL_ASSIGN_OR_RETURN(const std::vector<Digest> images, ListImages());
  std::vector<ImageInfo> rows;
  for (const Digest& manifest : images) {
    const absl::StatusOr<std::string> text = ReadRecordText(manifest);
    if (absl::IsNotFound(text.status())) continue;
    if (!text.ok()) return text.status();
    const absl::StatusOr<Record> record = DecodeRecord(*text);
    if (!record.ok()) {
      return Annotate(record.status(), absl::StrCat("\"", ImagePath(manifest), kRecordFile, "\""));
    }
    ImageInfo info{.repository = {}, .tag = {}, .manifest = manifest, .id = record->id};
    info.created = record->created;
    info.size = DiskBytes(ImagePath(manifest));
    const std::vector<std::string>& image_names = names_by_image[manifest.hex()];
    if (image_names.empty()) rows.push_back(info);
    for (const std::string& name : image_names) {
      const size_t colon = name.rfind(':');
      info.repository = name.substr(0, colon);
      info.tag = colon == std::string::npos ? "" : name.substr(colon + 1);
      rows.push_back(info);
    }
  }
  std::sort(rows.begin(), rows.end(), [](const ImageInfo& a, const ImageInfo& b) {
    return std::tie(a.repository, a.tag, a.manifest.hex()) <
           std::tie(b.repository, b.tag, b.manifest.hex());
  });
  return rows;
}

absl::StatusOr<RemovedImage> Store::Remove(absl::string_view name,
                                           const std::vector<Digest>& in_use, bool force) const {
  // An empty store is not created by asking for something in it.
  if (!Exists(directory_)) return NotFound(name);
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, LockStore(directory_));
  HULL_ASSIGN_OR_RETURN(const Target target, Find(name));
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(target.manifest));
  RemovedImage removed{.untagged = {}, .deleted = true, .manifest = target.manifest};
  if (target.full_name.empty()) {
    if (names.size() > 1 && !force) {
      return absl::FailedPreconditionError(
          absl::StrCat("image \"", name, "\" has several names (", absl::StrJoin(names, ", "),
                       "); remove them one by one, or all with --force"));
    }
    removed.untagged = names;
  } else {
    removed.untagged = {target.full_name};
    removed.deleted = names.size() == 1;
  }
  if (removed.deleted && Contains(in_use, target.manifest)) {
    return absl::FailedPreconditionError(
        absl::StrCat("image \"", name, "\" is in use by a container; remove the container first"));
  }
  HULL_RETURN_IF_ERROR(RemoveNames(removed.untagged));
  if (removed.deleted) HULL_RETURN_IF_ERROR(DeleteImage(target.manifest));
  return removed;
}

absl::Status Store::RemoveNames(const std::vector<std::string>& names) const {
  for (const std::string& full_name : names) {
    const std::string path = NamePath(full_name);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      return PosixError(absl::StrCat("remove \"", path, "\""));
    }
  }
  if (names.empty()) return absl::OkStatus();
  return SyncDirectory(absl::StrCat(directory_, kNamesDirectory));
}

absl::Status Store::DeleteImage(const Digest& manifest) const {
  // Gone as a whole first: an image that is half removed is never seen.
  const std::string path = ImagePath(manifest);
  const std::string staging = absl::StrCat(directory_, kStagingDirectory);
  HULL_RETURN_IF_ERROR(MakeDirectory(staging));
  const std::string removing = absl::StrCat(staging, "/removed-", manifest.hex());
  RemoveTree(removing);
  if (rename(path.c_str(), removing.c_str()) != 0 && errno != ENOENT) {
    return PosixError(absl::StrCat("remove \"", path, "\""));
  }
  HULL_RETURN_IF_ERROR(SyncDirectory(absl::StrCat(directory_, kImagesDirectory)));
  RemoveTree(removing);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RemovedImage>> Store::Prune(bool all,
                                                       const std::vector<Digest>& in_use) const {
  std::vector<RemovedImage> pruned;
  if (!Exists(directory_)) return pruned;
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, LockStore(directory_));
  HULL_ASSIGN_OR_RETURN(const std::vector<Digest> images, ListImages());
  for (const Digest& manifest : images) {
    if (Contains(in_use, manifest)) continue;
    HULL_ASSIGN_OR_RETURN(std::vector<std::string> names, NamesOf(manifest));
    if (!all && !names.empty()) continue;
    const uint64_t bytes = DiskBytes(ImagePath(manifest));
    HULL_RETURN_IF_ERROR(RemoveNames(names));
    HULL_RETURN_IF_ERROR(DeleteImage(manifest));
    pruned.push_back(
        {.untagged = std::move(names), .deleted = true, .manifest = manifest, .bytes = bytes});
  }
  return pruned;
}

absl::StatusOr<std::vector<std::string>> Store::Tag(
    absl::string_view name, const std::vector<std::string>& new_names) const {
  std::vector<std::string> full_names;
  for (const std::string& new_name : new_names) {
    HULL_ASSIGN_OR_RETURN(std::string full_name, NewName(new_name));
    full_names.push_back(std::move(full_name));
  }
  if (!Exists(directory_)) return NotFound(name);
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, LockStore(directory_));
  HULL_ASSIGN_OR_RETURN(const Target target, Find(name));
  for (const std::string& full_name : full_names) {
    HULL_RETURN_IF_ERROR(WriteName(full_name, target.manifest));
  }
  HULL_RETURN_IF_ERROR(SyncDirectory(absl::StrCat(directory_, kNamesDirectory)));
  return full_names;
}

absl::StatusOr<std::vector<std::string>> Store::Untag(absl::string_view name,
                                                      const std::vector<std::string>& names) const {
  if (!Exists(directory_)) return NotFound(name);
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, LockStore(directory_));
  HULL_ASSIGN_OR_RETURN(const Target target, Find(name));
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> has, NamesOf(target.manifest));
  std::vector<std::string> untagged;
  for (const std::string& text : names) {
    HULL_ASSIGN_OR_RETURN(const Reference reference, ParseReference(text));
    std::string found;
    for (const Reference& candidate : LocalCandidates(reference)) {
      const std::string full_name = candidate.FullName();
      if (std::find(has.begin(), has.end(), full_name) == has.end()) continue;
      found = full_name;
      break;
    }
    if (found.empty()) {
      return absl::NotFoundError(
          absl::StrCat("image \"", name, "\" has no name \"", text,
                       "\" (its names: ", has.empty() ? "none" : absl::StrJoin(has, ", "), ")"));
    }
    untagged.push_back(std::move(found));
  }
  if (names.empty()) untagged = has;
  HULL_RETURN_IF_ERROR(RemoveNames(untagged));
  return untagged;
}

absl::Status Store::WriteName(const std::string& full_name, const Digest& manifest) const {
  const std::string path = NamePath(full_name);
  // One file for all, as only one process writes names at a time; not in the staging directory,
  // which a load empties without the store's lock.
  const std::string temporary = absl::StrCat(directory_, kNewNameFile);
  {
    HULL_ASSIGN_OR_RETURN(const UniqueFd fd,
                          UniqueFd::Open(temporary, O_RDWR | O_CREAT | O_TRUNC, 0600));
    HULL_RETURN_IF_ERROR(WriteFull(fd.get(), absl::StrCat(manifest.ToString(), "\n")));
    if (fsync(fd.get()) != 0) return PosixError("fsync the image's name");
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return PosixError(absl::StrCat("rename to \"", path, "\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<ImageDetails> Store::Describe(const Digest& manifest) const {
  const std::string path = ImagePath(manifest);
  HULL_ASSIGN_OR_RETURN(const std::string text, ReadRecordText(manifest));
  absl::StatusOr<Record> record = DecodeRecord(text);
  if (!record.ok()) {
    return Annotate(record.status(), absl::StrCat("\"", path, kRecordFile, "\""));
  }
  ImageDetails details{.info = {.repository = {},
                                .tag = {},
                                .manifest = manifest,
                                .id = record->id,
                                .size = DiskBytes(path),
                                .created = record->created},
                       .names = {},
                       .config = {},
                       .manifest = {},
                       .layer_bytes = std::move(record->layer_bytes)};
  HULL_ASSIGN_OR_RETURN(details.names, NamesOf(manifest));
  HULL_ASSIGN_OR_RETURN(details.config, ReadConfig(manifest));
  HULL_ASSIGN_OR_RETURN(details.manifest,
                        ReadFile(absl::StrCat(path, kManifestFile), kMaxJsonBytes));
  return details;
}

absl::StatusOr<ImageFiles> Store::OpenFiles(const Digest& manifest) const {
  const std::string path = ImagePath(manifest);
  absl::StatusOr<UniqueFd> layers = UniqueFd::Open(absl::StrCat(path, kLayersFile), O_RDONLY);
  if (absl::IsNotFound(layers.status()) && Exists(path)) {
    return absl::FailedPreconditionError(
        absl::StrCat("image ", manifest.ToString(),
                     " was loaded by an older Hull, which did not keep the layers; remove it and "
                     "load it again"));
  }
  if (!layers.ok()) return layers.status();
  HULL_ASSIGN_OR_RETURN(std::string config, ReadConfig(manifest));
  HULL_ASSIGN_OR_RETURN(std::string manifest_text,
                        ReadFile(absl::StrCat(path, kManifestFile), kMaxJsonBytes));
  return ImageFiles{.digest = manifest,
                    .config = std::move(config),
                    .manifest = std::move(manifest_text),
                    .layers = *std::move(layers)};
}

absl::StatusOr<UniqueFd> Store::CreateScratchFile() const {
  const std::string staging = absl::StrCat(directory_, kStagingDirectory);
  HULL_RETURN_IF_ERROR(MakeDirectory(staging));
  std::string path = absl::StrCat(staging, "/scratch-XXXXXX");
  UniqueFd fd(mkostemp(path.data(), O_CLOEXEC));
  if (!fd.valid()) return PosixError(absl::StrCat("create \"", path, "\""));
  // It may be gone: a load that began in this moment removes what it finds here.
  unlink(path.c_str());
  return fd;
}

// One call of Store::Load(). The destructor takes away everything that did not become an image.
class Store::Loader {
 public:
  Loader(const Store& store, const std::string& path, const LoadOptions& options)
      : store_(store), path_(path), options_(options) {}
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  ~Loader() {
    if (!staging_.empty()) RemoveTree(staging_);
  }

  absl::StatusOr<std::vector<LoadedImage>> Run(UniqueFd input);
  absl::StatusOr<LoadedImage> Import(const ImportOptions& options);
  // Needs no Prepare(), as nothing is written.
  bool HoldsDisks();

 private:
  struct Candidate {
    Digest manifest;
    uint64_t manifest_bytes;
    std::vector<std::string> names;  // full
    bool disk = false;               // of a machine
  };

  absl::Status Prepare();
  absl::Status Lock();
  static absl::StatusOr<bool> ReadableAsItIs(const UniqueFd& input);
  static absl::StatusOr<BootDevice> GuessBootDevice(const UniqueFd& fd, uint64_t bytes);
  absl::Status Spool(UniqueFd* input);
  absl::StatusOr<std::vector<Candidate>> Inspect(const UniqueFd& input);
  absl::StatusOr<LoadedImage> LoadOne(const UniqueFd& input, const Candidate& candidate);
  absl::Status Convert(const UniqueFd& input, const Candidate& candidate,
                       const std::string& directory);
  absl::Status WriteRecord(const Candidate& candidate, std::vector<uint64_t> layer_bytes,
                           const std::string& directory);
  absl::Status Commit(const Candidate& candidate, const std::string& staged);
  absl::StatusOr<UniqueFd> CreateFile(const std::string& path);
  UnpackCommand Command(std::vector<std::string> arguments) const;
  void Report(const LoadProgress& progress) const {
    if (options_.progress) options_.progress(progress);
  }

  const Store& store_;
  const std::string path_;
  const LoadOptions& options_;
  UniqueFd lock_;
  std::string staging_;
};

absl::StatusOr<UniqueFd> Store::Loader::CreateFile(const std::string& path) {
  return UniqueFd::Open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
}

// Waits for another load to end. The wait can be cancelled, which flock(2) cannot be by a
// descriptor: so it is tried again at short intervals, only as long as somebody else is loading.
absl::Status Store::Loader::Lock() {
  const std::string path = absl::StrCat(store_.directory_, "/load.lock");
  HULL_ASSIGN_OR_RETURN(lock_, UniqueFd::Open(path, O_RDWR | O_CREAT, 0600));
  bool reported = false;
  while (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return PosixError(absl::StrCat("lock \"", path, "\""));
    if (!reported) Report(LoadProgress{.stage = LoadProgress::Stage::kWaiting, .image = {}});
    reported = true;
    constexpr int kIntervalMs = 50;
    pollfd cancel{.fd = options_.cancel_fd, .events = POLLIN, .revents = 0};
    if (poll(&cancel, 1, kIntervalMs) > 0) return absl::CancelledError("interrupted");
  }
  return absl::OkStatus();
}

absl::Status Store::Loader::Prepare() {
  const std::string staging = absl::StrCat(store_.directory_, kStagingDirectory);
  HULL_RETURN_IF_ERROR(MakeDirectory(staging));
  HULL_RETURN_IF_ERROR(MakeDirectory(absl::StrCat(store_.directory_, kImagesDirectory)));
  HULL_RETURN_IF_ERROR(MakeDirectory(absl::StrCat(store_.directory_, kNamesDirectory)));
  HULL_RETURN_IF_ERROR(Lock());
  // What is here was left by a load or a removal that was killed: nobody else is loading now, and
  // what a removal puts here is only to be removed.
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> stale, ReadDirectory(staging));
  for (const std::string& name : stale) RemoveTree(absl::StrCat(staging, "/", name));
  const std::string directory = absl::StrCat(staging, "/load");
  HULL_RETURN_IF_ERROR(MakeDirectory(directory));
  staging_ = directory;
  return absl::OkStatus();
}

UnpackCommand Store::Loader::Command(std::vector<std::string> arguments) const {
  const auto add_limit = [&arguments](absl::string_view flag, uint64_t value) {
    if (value != 0) arguments.push_back(absl::StrCat("--", flag, "=", value));
  };
  add_limit("max_expanded_bytes", options_.max_expanded_bytes);
  add_limit("free_expanded_bytes", options_.free_expanded_bytes);
  add_limit("max_entries", options_.max_entries);
  return UnpackCommand{.program = options_.unpack_program,
                       .arguments = std::move(arguments),
                       .descriptors = {},
                       .cancel_fd = options_.cancel_fd,
                       .progress = {}};
}

// Whether it is a directory, or an archive that can be read at any position as it is.
absl::StatusOr<bool> Store::Loader::ReadableAsItIs(const UniqueFd& input) {
  struct stat info;
  if (fstat(input.get(), &info) != 0) return PosixError("stat");
  if (S_ISDIR(info.st_mode)) return true;
  if (!S_ISREG(info.st_mode)) return false;
  // Where a POSIX or GNU tar header has its magic.
  constexpr off_t kMagicOffset = 257;
  constexpr absl::string_view kMagic = "ustar";
  uint8_t magic[kMagic.size()];
  HULL_ASSIGN_OR_RETURN(const size_t n, PreadFull(input.get(), magic, kMagicOffset));
  return absl::string_view(reinterpret_cast<const char*>(magic), n) == kMagic;
}

// Replaces `*input` by an uncompressed copy if it cannot be read at any position as it is.
absl::Status Store::Loader::Spool(UniqueFd* input) {
  HULL_ASSIGN_OR_RETURN(const bool ready, ReadableAsItIs(*input));
  if (ready) return absl::OkStatus();
  HULL_ASSIGN_OR_RETURN(UniqueFd copy, CreateFile(absl::StrCat(staging_, "/spool")));
  UnpackCommand command = Command({"spool"});
  command.descriptors = {{input->get(), kInputFd}, {copy.get(), kOutputFd}};
  command.progress = [this](const nlohmann::json& report) {
    LoadProgress progress{.stage = LoadProgress::Stage::kSpooling, .image = {}};
    if (ReadSize(report, "bytes", &progress.bytes).ok()) Report(progress);
  };
  HULL_RETURN_IF_ERROR(RunUnpack(command).status());
  *input = std::move(copy);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Store::Loader::Candidate>> Store::Loader::Inspect(
    const UniqueFd& input) {
  UnpackCommand command = Command({"inspect"});
  command.descriptors = {{input.get(), kInputFd}};
  HULL_ASSIGN_OR_RETURN(const nlohmann::json result, RunUnpack(command));
  const nlohmann::json* images = FindMember(result, "images");
  if (images == nullptr || !images->is_array() || images->empty()) {
    return absl::InternalError("hull-unpack listed no images");
  }
  std::vector<Candidate> candidates;
  for (const nlohmann::json& image : *images) {
    std::string manifest;
    uint64_t size = 0;
    std::vector<std::string> names;
    if (!image.is_object()) return absl::InternalError("hull-unpack listed what is no image");
    HULL_RETURN_IF_ERROR(ReadString(image, "manifest", &manifest));
    HULL_RETURN_IF_ERROR(ReadSize(image, "size", &size));
    HULL_RETURN_IF_ERROR(ReadStrings(image, "names", &names));
    HULL_ASSIGN_OR_RETURN(Digest digest, Digest::Parse(manifest));
    if (!options_.name.empty()) names = {options_.name};
    const nlohmann::json* disk = FindMember(image, "disk");
    Candidate candidate{.manifest = std::move(digest),
                        .manifest_bytes = size,
                        .names = {},
                        .disk = disk != nullptr && *disk == nlohmann::json(true)};
    for (const std::string& name : names) {
      absl::StatusOr<std::string> full_name = NewName(name);
      if (!full_name.ok() && options_.name.empty()) {
        return Annotate(full_name.status(), "the name in the layout (give another with --name)");
      }
      if (!full_name.ok()) return full_name.status();
      candidate.names.push_back(*std::move(full_name));
    }
    candidates.push_back(std::move(candidate));
  }
  if (!options_.name.empty() && candidates.size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat("--name names one image, and there are ",
                                                   candidates.size(), " in this layout"));
  }
  return candidates;
}

absl::Status Store::Loader::WriteRecord(const Candidate& candidate,
                                        std::vector<uint64_t> layer_bytes,
                                        const std::string& directory) {
  HULL_ASSIGN_OR_RETURN(const std::string config_text,
                        ReadFile(absl::StrCat(directory, kConfigFile), kMaxJsonBytes));
  HULL_ASSIGN_OR_RETURN(ImageConfig config, ParseImageConfig(config_text));
  HULL_ASSIGN_OR_RETURN(const std::string manifest_text,
                        ReadFile(absl::StrCat(directory, kManifestFile), kMaxJsonBytes));
  HULL_ASSIGN_OR_RETURN(const nlohmann::json manifest,
                        ParseJsonObject(manifest_text, "the image manifest"));
  std::string id;
  const nlohmann::json* config_descriptor = FindMember(manifest, "config");
  if (config_descriptor == nullptr || !config_descriptor->is_object()) {
    return absl::InternalError("hull-unpack accepted a manifest without a configuration");
  }
  HULL_RETURN_IF_ERROR(ReadString(*config_descriptor, "digest", &id));
  HULL_ASSIGN_OR_RETURN(Digest id_digest, Digest::Parse(id));
  const Record record{.manifest = candidate.manifest,
                      .id = std::move(id_digest),
                      .created = ParseCreated(config.created),
                      .layer_bytes = std::move(layer_bytes),
                      .process = std::move(config.process),
                      .machine = config.machine};
  HULL_ASSIGN_OR_RETURN(const UniqueFd fd, CreateFile(absl::StrCat(directory, kRecordFile)));
  HULL_RETURN_IF_ERROR(WriteFull(fd.get(), EncodeRecord(record)));
  if (fsync(fd.get()) != 0) return PosixError("fsync the image's record");
  return absl::OkStatus();
}

absl::Status Store::Loader::Convert(const UniqueFd& input, const Candidate& candidate,
                                    const std::string& directory) {
  HULL_RETURN_IF_ERROR(MakeDirectory(directory));
  const std::string scratch_path = absl::StrCat(staging_, "/scratch");
  HULL_ASSIGN_OR_RETURN(
      const UniqueFd rootfs,
      CreateFile(absl::StrCat(directory, candidate.disk ? kDiskFile : kRootfsFile)));
  HULL_ASSIGN_OR_RETURN(const UniqueFd config, CreateFile(absl::StrCat(directory, kConfigFile)));
  HULL_ASSIGN_OR_RETURN(const UniqueFd manifest,
                        CreateFile(absl::StrCat(directory, kManifestFile)));
  HULL_ASSIGN_OR_RETURN(const UniqueFd layers, CreateFile(absl::StrCat(directory, kLayersFile)));
  HULL_ASSIGN_OR_RETURN(const UniqueFd scratch, CreateFile(scratch_path));
  UnpackCommand command =
      Command({"convert", absl::StrCat("--manifest=", candidate.manifest.ToString()),
               absl::StrCat("--manifest_size=", candidate.manifest_bytes),
               absl::StrCat("--disk=", candidate.disk ? "true" : "false")});
  command.descriptors = {{input.get(), kInputFd},       {rootfs.get(), kOutputFd},
                         {scratch.get(), kScratchFd},   {config.get(), kConfigFd},
                         {manifest.get(), kManifestFd}, {layers.get(), kLayersFd}};
  LoadProgress progress{
      .stage = LoadProgress::Stage::kConverting,
      .image = candidate.names.empty() ? candidate.manifest.ToString() : candidate.names.front()};
  command.progress = [&](const nlohmann::json& report) {
    if (ReadSize(report, "layer", &progress.layer).ok() &&
        ReadSize(report, "layers", &progress.layers).ok() &&
        ReadSize(report, "bytes", &progress.bytes).ok() &&
        ReadSize(report, "total", &progress.total).ok()) {
      Report(progress);
    }
  };
  HULL_ASSIGN_OR_RETURN(const nlohmann::json result, RunUnpack(command));
  HULL_ASSIGN_OR_RETURN(std::vector<uint64_t> layer_bytes, ReadSizes(result, "layer_bytes"));
  progress.stage = LoadProgress::Stage::kFinishing;
  Report(progress);
  unlink(scratch_path.c_str());
  for (const UniqueFd* fd : {&rootfs, &config, &manifest, &layers}) {
    if (fsync(fd->get()) != 0) return PosixError("fsync the image's files");
  }
  HULL_RETURN_IF_ERROR(WriteRecord(candidate, std::move(layer_bytes), directory));
  return SyncDirectory(directory);
}

// Makes the image and its names visible. `staged` is empty if the image was there before.
absl::Status Store::Loader::Commit(const Candidate& candidate, const std::string& staged) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, LockStore(store_.directory_));
  const std::string path = store_.ImagePath(candidate.manifest);
  if (staged.empty()) {
    if (!Exists(path)) {
      return absl::AbortedError("the image was removed during the load; load it again");
    }
  } else {
    if (rename(staged.c_str(), path.c_str()) != 0) {
      return PosixError(absl::StrCat("rename to \"", path, "\""));
    }
    HULL_RETURN_IF_ERROR(SyncDirectory(absl::StrCat(store_.directory_, kImagesDirectory)));
  }
  for (const std::string& name : candidate.names) {
    HULL_RETURN_IF_ERROR(store_.WriteName(name, candidate.manifest));
  }
  return SyncDirectory(absl::StrCat(store_.directory_, kNamesDirectory));
}

absl::StatusOr<LoadedImage> Store::Loader::LoadOne(const UniqueFd& input,
                                                   const Candidate& candidate) {
  const bool was_present = Exists(store_.ImagePath(candidate.manifest));
  std::string staged;
  if (!was_present) {
    staged = absl::StrCat(staging_, "/", candidate.manifest.hex());
    HULL_RETURN_IF_ERROR(Convert(input, candidate, staged));
  }
  HULL_RETURN_IF_ERROR(Commit(candidate, staged));
  HULL_ASSIGN_OR_RETURN(const std::string text, store_.ReadRecordText(candidate.manifest));
  HULL_ASSIGN_OR_RETURN(Record record, DecodeRecord(text));
  return LoadedImage{.manifest = candidate.manifest,
                     .id = std::move(record.id),
                     .names = candidate.names,
                     .was_present = was_present};
}

absl::StatusOr<std::vector<LoadedImage>> Store::Loader::Run(UniqueFd input) {
  HULL_RETURN_IF_ERROR(Prepare());
  HULL_RETURN_IF_ERROR(Spool(&input));
  HULL_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, Inspect(input));
  std::vector<LoadedImage> loaded;
  for (const Candidate& candidate : candidates) {
    HULL_ASSIGN_OR_RETURN(LoadedImage image, LoadOne(input, candidate));
    loaded.push_back(std::move(image));
  }
  return loaded;
}

// What the disk in `fd` looks like.
absl::StatusOr<BootDevice> Store::Loader::GuessBootDevice(const UniqueFd& fd, uint64_t bytes) {
  if (IsDisketteSize(bytes)) return BootDevice::kFloppy;
  // ECMA-119, 8.1: the first volume descriptor, and its standard identifier.
  constexpr off_t kIdentifier = 16 * 2048 + 1;
  uint8_t identifier[5];
  HULL_ASSIGN_OR_RETURN(const size_t n, PreadFull(fd.get(), identifier, kIdentifier));
  // SAFETY: any object may be seen as characters.
  const absl::string_view text(reinterpret_cast<const char*>(identifier), n);
  return text == "CD001" ? BootDevice::kCdrom : BootDevice::kDisk;
}

absl::StatusOr<LoadedImage> Store::Loader::Import(const ImportOptions& options) {
  HULL_ASSIGN_OR_RETURN(std::string name, NewName(options.name));
  // A pipe is refused below, and must not be waited for.
  HULL_ASSIGN_OR_RETURN(const UniqueFd input,
                        UniqueFd::Open(path_, O_RDONLY | O_NOCTTY | O_NONBLOCK));
  struct stat info;
  if (fstat(input.get(), &info) != 0) return PosixError("stat");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("it is not a file");
  const auto bytes = static_cast<uint64_t>(info.st_size);
  BootDevice boot = BootDevice::kDisk;
  if (options.boot.has_value()) {
    boot = *options.boot;
  } else {
    HULL_ASSIGN_OR_RETURN(boot, GuessBootDevice(input, bytes));
  }
  HULL_RETURN_IF_ERROR(CheckDiskSize(boot, bytes));
  HULL_RETURN_IF_ERROR(Prepare());
  const std::string directory = absl::StrCat(staging_, "/import");
  HULL_RETURN_IF_ERROR(MakeDirectory(directory));
  HULL_ASSIGN_OR_RETURN(const UniqueFd disk, CreateFile(absl::StrCat(directory, kDiskFile)));
  HULL_ASSIGN_OR_RETURN(const UniqueFd config, CreateFile(absl::StrCat(directory, kConfigFile)));
  HULL_ASSIGN_OR_RETURN(const UniqueFd manifest,
                        CreateFile(absl::StrCat(directory, kManifestFile)));
  HULL_ASSIGN_OR_RETURN(const UniqueFd layers, CreateFile(absl::StrCat(directory, kLayersFile)));
  UnpackCommand command = Command(
      {"import", absl::StrCat("--boot=", BootDeviceName(boot)), absl::StrCat("--disk_size=", bytes),
       absl::StrCat("--created=",
                    absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(info.st_mtime),
                                     absl::UTCTimeZone()))});
  command.descriptors = {{input.get(), kInputFd},
                         {disk.get(), kOutputFd},
                         {config.get(), kConfigFd},
                         {manifest.get(), kManifestFd},
                         {layers.get(), kLayersFd}};
  LoadProgress progress{.stage = LoadProgress::Stage::kConverting, .image = name};
  progress.layer = progress.layers = 1;
  progress.total = bytes;
  command.progress = [&](const nlohmann::json& report) {
    if (ReadSize(report, "bytes", &progress.bytes).ok()) Report(progress);
  };
  HULL_ASSIGN_OR_RETURN(const nlohmann::json result, RunUnpack(command));
  std::string digest_text;
  HULL_RETURN_IF_ERROR(ReadString(result, "manifest", &digest_text));
  HULL_ASSIGN_OR_RETURN(Digest digest, Digest::Parse(digest_text));
  const Candidate candidate{
      .manifest = std::move(digest), .manifest_bytes = 0, .names = {std::move(name)}, .disk = true};
  progress.stage = LoadProgress::Stage::kFinishing;
  Report(progress);
  for (const UniqueFd* fd : {&disk, &config, &manifest, &layers}) {
    if (fsync(fd->get()) != 0) return PosixError("fsync the image's files");
  }
  HULL_RETURN_IF_ERROR(WriteRecord(candidate, {bytes}, directory));
  HULL_RETURN_IF_ERROR(SyncDirectory(directory));
  const bool was_present = Exists(store_.ImagePath(candidate.manifest));
  HULL_RETURN_IF_ERROR(Commit(candidate, was_present ? "" : directory));
  HULL_ASSIGN_OR_RETURN(const std::string text, store_.ReadRecordText(candidate.manifest));
  HULL_ASSIGN_OR_RETURN(Record record, DecodeRecord(text));
  return LoadedImage{.manifest = candidate.manifest,
                     .id = std::move(record.id),
                     .names = candidate.names,
                     .was_present = was_present};
}

bool Store::Loader::HoldsDisks() {
  const absl::StatusOr<UniqueFd> input = UniqueFd::Open(path_, O_RDONLY | O_NOCTTY | O_NONBLOCK);
  if (!input.ok()) return false;
  const absl::StatusOr<bool> ready = ReadableAsItIs(*input);
  if (!ready.ok() || !*ready) return false;
  const absl::StatusOr<std::vector<Candidate>> candidates = Inspect(*input);
  if (!candidates.ok()) return false;
  return std::all_of(candidates->begin(), candidates->end(),
                     [](const Candidate& candidate) { return candidate.disk; });
}

absl::StatusOr<LoadedImage> Store::Import(const std::string& path,
                                          const ImportOptions& options) const {
  const LoadOptions load = {.unpack_program = options.unpack_program,
                            .name = {},
                            .cancel_fd = options.cancel_fd,
                            .progress = options.progress};
  absl::StatusOr<LoadedImage> imported = Loader(*this, path, load).Import(options);
  if (!imported.ok()) return Annotate(imported.status(), absl::StrCat("import \"", path, "\""));
  return imported;
}

bool Store::HoldsDisks(const std::string& path, const images::UnpackProgram& unpack_program) const {
  const LoadOptions load = {.unpack_program = unpack_program, .name = {}, .progress = {}};
  return Loader(*this, path, load).HoldsDisks();
}

absl::StatusOr<std::vector<LoadedImage>> Store::Load(const std::string& path,
                                                     const LoadOptions& options) const {
  const std::string what = absl::StrCat("load \"", path, "\"");
  absl::StatusOr<UniqueFd> input = UniqueFd::Open(path, O_RDONLY | O_NOCTTY);
  if (!input.ok()) return Annotate(input.status(), what);
  return LoadOpened(*std::move(input), what, options);
}

absl::StatusOr<std::vector<LoadedImage>> Store::LoadOpened(UniqueFd archive,
                                                           const std::string& what,
                                                           const LoadOptions& options) const {
  absl::StatusOr<std::vector<LoadedImage>> loaded =
      Loader(*this, {}, options).Run(std::move(archive));
  if (!loaded.ok()) return Annotate(loaded.status(), what);
  return loaded;
}

absl::StatusOr<ResolvedImage> Store::ResolveOrLoadBuiltin(absl::string_view name,
                                                          const std::string& share_directory,
                                                          const LoadOptions& options) const {
  absl::StatusOr<ResolvedImage> image = Resolve(name);
  if (image.ok() || !absl::IsNotFound(image.status())) return image;
  const absl::StatusOr<Reference> reference = ParseReference(name);
  // Only a short name with no tag, or the tag that it stands for, means a built-in image.
  if (!reference.ok() || !reference->domain.empty() || reference->digest.has_value() ||
      reference->tag != "latest" || reference->path.find('/') != std::string::npos) {
    return image;
  }
  const std::string path = absl::StrCat(share_directory, "/", reference->path, ".tar");
  if (!Exists(path)) return image;
  LoadOptions builtin = options;
  builtin.name = reference->path;
  HULL_RETURN_IF_ERROR(Load(path, builtin).status());
  return Resolve(name);
}

}  // namespace hull::images
