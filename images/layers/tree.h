// The root file system of an image, as layer after layer is applied to it: names and metadata in
// memory, file contents elsewhere. Nothing here touches the host's file system, so no name, link
// or device in a layer can reach it, and no privilege is needed to own a file as any user.

#ifndef IMAGES_LAYERS_TREE_H_
#define IMAGES_LAYERS_TREE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/entry_type.h"
#include "images/layers/entry_path.h"

namespace hull::images {

enum class FileType { kRegular, kDirectory, kSymlink, kCharDevice, kBlockDevice, kFifo };

// Where the content of a regular file lies in the image that is being written (see
// erofs/content_writer.h).
struct FileContent {
  uint64_t first_block = 0;
  // Bytes after the last whole block that go into the inode's own block; they wait in the scratch
  // file until then.
  uint32_t inline_bytes = 0;
  uint64_t scratch_offset = 0;
};

struct Metadata {
  uint32_t permissions = 0;  // the 12 low bits of the mode
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 0;  // seconds since 1970
  uint32_t mtime_nsec = 0;
  std::map<std::string, std::string> xattrs;
};

struct Inode {
  struct Link {
    Inode* inode = nullptr;
    // The layer that put it there last, from 0: whiteouts remove only what lies below them.
    int layer = 0;
  };

  FileType type = FileType::kRegular;
  Metadata metadata;
  uint32_t links = 0;   // names of it; a directory has one, the root none
  uint32_t depth = 0;   // of a directory, the root is 0
  uint64_t size = 0;    // of a regular file
  FileContent content;  // of a regular file
  std::string target;   // of a symlink
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  Inode* parent = nullptr;               // of a directory; the root's is itself
  std::map<std::string, Link> children;  // of a directory, in byte order
};

// One entry of a layer, as its archive says it. Nothing in it is trusted.
struct LayerEntry {
  EntryType type = EntryType::kRegular;
  absl::string_view path = {};
  absl::string_view link_target = {};
  uint32_t permissions = 0;
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t size = 0;
  int64_t mtime = 0;
  uint32_t mtime_nsec = 0;
  uint64_t device_major = 0;
  uint64_t device_minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs = {};
};

// Told when no name leads to a regular file any more, so that its content can be given up.
class ContentOwner {
 public:
  virtual ~ContentOwner() = default;
  virtual void Release(const Inode& inode) = 0;
};

struct TreeLimits {
  uint64_t max_entries = 2'000'000;
  // All names, link targets and extended attributes together: what the tree holds in memory.
  uint64_t max_metadata_bytes = uint64_t{512} << 20;
};

// Not thread-safe.
class Tree {
 public:
  // `owner` must outlive the tree.
  Tree(ContentOwner& owner, const TreeLimits& limits);
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  // The entries that follow belong to the next layer.
  void BeginLayer() { ++layer_; }

  // Applies one entry. For a regular file, returns its new inode, whose content the caller fills
  // in; else nullptr. kInvalidArgument for an entry that must not be (without its name: the
  // caller knows it), kResourceExhausted at a limit. After an error the tree is of no use.
  absl::StatusOr<Inode*> Apply(const LayerEntry& entry);

  Inode& root() { return *root_; }

 private:
  enum class IfMissing { kCreate, kFail };

  Inode* NewInode(FileType type);
  absl::Status TooManyEntries() const;
  absl::Status Count(const LayerEntry& entry);
  absl::StatusOr<Metadata> ReadMetadata(const LayerEntry& entry) const;
  absl::StatusOr<Inode*> ResolveDirectory(const std::vector<std::string>& components, size_t count,
                                          IfMissing if_missing);
  absl::StatusOr<Inode*> Step(Inode* directory, const std::string& name, IfMissing if_missing,
                              int* symlinks_left);
  absl::StatusOr<Inode*> FollowSymlink(Inode* directory, const std::string& target,
                                       int* symlinks_left);
  absl::StatusOr<Inode*> MakeDirectory(Inode* parent, const std::string& name);
  absl::Status ApplyWhiteout(const EntryPath& path);
  absl::StatusOr<Inode*> FindLinkTarget(const LayerEntry& entry);
  absl::StatusOr<Inode*> Create(const LayerEntry& entry, Metadata metadata);
  void Put(Inode* directory, const std::string& name, Inode* inode);
  void Drop(Inode* inode);
  bool DropLower(Inode::Link* link);
  void DropLowerChildren(Inode* directory);

  ContentOwner& owner_;
  const TreeLimits limits_;
  // Inodes are not freed before the tree is; there are at most max_entries and the root.
  std::deque<Inode> inodes_;
  Inode* root_;
  int layer_ = -1;
  uint64_t entries_ = 0;
  uint64_t metadata_bytes_ = 0;
};

}  // namespace hull::images

#endif  // IMAGES_LAYERS_TREE_H_
