// The images on this machine: names, and for each image a read-only root file system and its
// configuration. The format on disk is described in README.md.

#ifndef IMAGES_STORE_H_
#define IMAGES_STORE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/digest.h"
#include "images/image_config.h"
#include "images/machine_config.h"
#include "images/reference.h"
#include "images/unpack_program.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {

// What a container needs of an image.
struct ResolvedImage {
  Digest manifest;   // names the image for ever; what a container records as in use
  Digest id;         // of the image configuration, as podman and docker show it
  std::string name;  // the stored name that it was found by; empty if by digest or id
  // Never changed once it exists: an EROFS image, or with `machine` a disk.
  std::string rootfs_path;
  ProcessConfig process;
  // Of an image that is a disk of a machine.
  std::optional<MachineConfig> machine;
};

// A row of `hull images`: one for each name, and one for each image without a name.
struct ImageInfo {
  std::string repository;  // "docker.io/library/busybox"; empty without a name
  std::string tag;         // "latest"; empty without a name
  Digest manifest;
  Digest id;
  uint64_t size = 0;    // bytes on disk
  int64_t created = 0;  // seconds since 1970; 0 if the image does not say
};

// Everything about one image.
struct ImageDetails {
  ImageInfo info;                     // `repository` and `tag` are empty
  std::vector<std::string> names;     // full, sorted
  std::string config;                 // the configuration file, as its author wrote it
  std::string manifest;               // the manifest, likewise
  std::vector<uint64_t> layer_bytes;  // of each uncompressed layer; empty if not known
};

// What an image is made of, to write it elsewhere.
struct ImageFiles {
  Digest digest;         // of the manifest
  std::string config;    // as its author wrote it
  std::string manifest;  // likewise
  UniqueFd layers;       // the blobs as they came, one after another in the manifest's order
};

struct LoadProgress {
  enum class Stage {
    kWaiting,     // for another load to end
    kSpooling,    // copying a compressed file, or what comes through a pipe
    kConverting,  // layers
    kFinishing,   // waiting for the disk
  };
  Stage stage = Stage::kWaiting;
  std::string image;   // the name or digest that is converted
  uint64_t layer = 0;  // from 1
  uint64_t layers = 0;
  uint64_t bytes = 0;  // read so far
  uint64_t total = 0;  // 0 if not known
};

struct LoadOptions {
  // The program hull-unpack.
  UnpackProgram unpack_program;
  // Names the image instead of the layout's own annotations. The layout must hold one image.
  std::string name;
  // The load is given up, and leaves nothing, when this becomes readable. -1: never.
  int cancel_fd = -1;
  std::function<void(const LoadProgress&)> progress;
  // Overrides of hull-unpack's limits, 0 for its own (see README.md).
  uint64_t max_expanded_bytes = 0;
  uint64_t free_expanded_bytes = 0;
  uint64_t max_entries = 0;
};

struct ImportOptions {
  UnpackProgram unpack_program;
  std::string name;
  // Nothing: what the disk looks like, a diskette by its size, a CD-ROM by its volume descriptor.
  std::optional<BootDevice> boot;
  int cancel_fd = -1;  // as LoadOptions has it
  std::function<void(const LoadProgress&)> progress;
};

struct LoadedImage {
  Digest manifest;
  Digest id;
  std::vector<std::string> names;  // full; may be empty
  bool was_present = false;        // only the names are new, if anything
};

struct RemovedImage {
  std::vector<std::string> untagged;  // full names
  bool deleted = false;               // the image itself, as its last name went
  Digest manifest;
  uint64_t bytes = 0;  // on disk, of one that was pruned
};

// Several processes may use one store at once. Const, and safe to use from several threads: it
// holds nothing but the path.
class Store {
 public:
  // `directory` is $HULL_ROOT/images; it is created by the first load.
  explicit Store(std::string directory) : directory_(std::move(directory)) {}

  // Finds an image by name ("busybox", "localhost/app:v1"), name with digest, manifest digest, or
  // id (at least 4 hexadecimal digits that fit one image). Takes no lock and reads two small files
  // for a name. kNotFound, with what to do; kInvalidArgument for what is not a name.
  absl::StatusOr<ResolvedImage> Resolve(absl::string_view name) const;

  // All images, sorted by name. An entry that is damaged is an error that names it.
  absl::StatusOr<std::vector<ImageInfo>> List() const;

  // Takes every image for this platform in the OCI layout (a directory, or a tar file of one,
  // compressed or not, or a pipe) at `path` into the store. Two loads at once wait for each other.
  // On any error the images that were already complete stay, and nothing else does.
  absl::StatusOr<std::vector<LoadedImage>> Load(const std::string& path,
                                                const LoadOptions& options) const;

  // The same of an archive that is open for reading; `what` names it in errors.
  absl::StatusOr<std::vector<LoadedImage>> LoadOpened(UniqueFd archive, const std::string& what,
                                                      const LoadOptions& options) const;

  // Makes an image of the disk of a pc machine that the regular file at `path` holds. The same file
  // of the same time of modification, which becomes the image's, gives the same image.
  // kInvalidArgument, fit for the user, for what is no file or cannot be such a disk.
  absl::StatusOr<LoadedImage> Import(const std::string& path, const ImportOptions& options) const;

  // Whether every image that Load(path) would take is a disk of a machine. Only looked at where
  // that takes no copy: false for a pipe or a compressed archive, and for what cannot be read.
  bool HoldsDisks(const std::string& path, const UnpackProgram& unpack_program) const;

  // Resolve(); an image that comes with Hull is loaded first if `name` is the name of a file
  // `share_directory`/NAME.tar and no such image is in the store.
  absl::StatusOr<ResolvedImage> ResolveOrLoadBuiltin(absl::string_view name,
                                                     const std::string& share_directory,
                                                     const LoadOptions& options) const;

  // Removes a name; or, given a digest or id, an image with its only name (kFailedPrecondition if
  // it has several, unless `force`). The image itself goes with its last name, unless it is among
  // `in_use` (manifest digests): then kFailedPrecondition, and nothing changes.
  absl::StatusOr<RemovedImage> Remove(absl::string_view name, const std::vector<Digest>& in_use,
                                      bool force) const;

  // Removes every image that has no name, or with `all` every image, but those `in_use`.
  absl::StatusOr<std::vector<RemovedImage>> Prune(bool all,
                                                  const std::vector<Digest>& in_use) const;

  // Gives the image that `name` stands for further names, which are taken from the images that have
  // them. Returns the names in full. kInvalidArgument, and nothing changes, if one is not a name.
  absl::StatusOr<std::vector<std::string>> Tag(absl::string_view name,
                                               const std::vector<std::string>& new_names) const;
  // Takes these names from the image that `name` stands for, or all of them if there are none. The
  // image itself stays. kNotFound, and nothing changes, if it has not one of them.
  absl::StatusOr<std::vector<std::string>> Untag(absl::string_view name,
                                                 const std::vector<std::string>& names) const;

  // The full configuration file of an image, as its author wrote it.
  absl::StatusOr<std::string> ReadConfig(const Digest& manifest) const;
  absl::StatusOr<ImageDetails> Describe(const Digest& manifest) const;
  // kFailedPrecondition, with what to do, for an image that was loaded by a Hull that did not keep
  // the layers. What was opened stays readable if the image is removed.
  absl::StatusOr<ImageFiles> OpenFiles(const Digest& manifest) const;
  // A file without a name on the store's disk.
  absl::StatusOr<UniqueFd> CreateScratchFile() const;

 private:
  class Loader;
  struct Target;

  std::string ImagePath(const Digest& manifest) const;
  std::string NamePath(absl::string_view full_name) const;
  absl::StatusOr<std::string> ReadRecordText(const Digest& manifest) const;
  absl::StatusOr<Digest> ReadName(absl::string_view full_name) const;
  absl::StatusOr<std::vector<std::string>> ListNames() const;
  absl::StatusOr<std::vector<Digest>> ListImages() const;
  absl::StatusOr<std::vector<std::string>> NamesOf(const Digest& manifest) const;
  absl::StatusOr<Target> Find(absl::string_view name) const;
  absl::StatusOr<Target> FindById(absl::string_view name) const;
  // The others are called with the store's lock held.
  absl::Status WriteName(const std::string& full_name, const Digest& manifest) const;
  absl::Status RemoveNames(const std::vector<std::string>& names) const;
  absl::Status DeleteImage(const Digest& manifest) const;

  const std::string directory_;
};

}  // namespace hull::images

#endif  // IMAGES_STORE_H_
