#include "images/layers/tree.h"

#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "images/erofs/format.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

// The kernel follows as many before ELOOP.
constexpr int kMaxSymlinks = 40;
// Deeper directories could only be reached by tools that change directory step by step. It bounds
// every recursion over the tree.
constexpr uint32_t kMaxDepth = 2048;

}  // namespace

Tree::Tree(ContentOwner& owner, const TreeLimits& limits) : owner_(owner), limits_(limits) {
  root_ = NewInode(FileType::kDirectory);
  root_->metadata.permissions = 0755;
  root_->parent = root_;
}

Inode* Tree::NewInode(FileType type) {
  Inode& inode = inodes_.emplace_back();
  inode.type = type;
  return &inode;
}

absl::Status Tree::TooManyEntries() const {
  return absl::ResourceExhaustedError(
      absl::StrCat("the image has more than ", limits_.max_entries, " entries"));
}

absl::Status Tree::Count(const LayerEntry& entry) {
  ++entries_;
  metadata_bytes_ += entry.path.size() + entry.link_target.size();
  for (const auto& [name, value] : entry.xattrs) metadata_bytes_ += name.size() + value.size();
  if (entries_ > limits_.max_entries) return TooManyEntries();
  if (metadata_bytes_ > limits_.max_metadata_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the image's names and attributes take more than ", limits_.max_metadata_bytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Metadata> Tree::ReadMetadata(const LayerEntry& entry) const {
  // The largest value means "none" to the kernel.
  constexpr int64_t kMaxId = std::numeric_limits<uint32_t>::max() - 1;
  if (entry.uid < 0 || entry.uid > kMaxId) {
    return absl::InvalidArgumentError(absl::StrCat("its user number ", entry.uid, " is not valid"));
  }
  if (entry.gid < 0 || entry.gid > kMaxId) {
    return absl::InvalidArgumentError(
        absl::StrCat("its group number ", entry.gid, " is not valid"));
  }
  Metadata metadata{.permissions = entry.permissions & 07777,
                    .uid = static_cast<uint32_t>(entry.uid),
                    .gid = static_cast<uint32_t>(entry.gid),
                    .mtime = entry.mtime,
                    .mtime_nsec = entry.mtime_nsec,
                    .xattrs = {}};
  uint64_t xattr_bytes = 0;
  for (const auto& [name, value] : entry.xattrs) {
    // overlayfs keeps its own notes in these; an image that brings some could have the guest's
    // overlay show other files than the layers hold.
    if (absl::StartsWith(name, "trusted.overlay.")) continue;
    const auto split = erofs::SplitXattrName(name);
    // A name space that Linux file systems do not have (another system's attributes).
    if (!split.has_value()) continue;
    if (name.size() > kMaxNameBytes || name.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("the name of its extended attribute ",
                                                     Quote(name), " is longer than ", kMaxNameBytes,
                                                     " bytes or not a name"));
    }
    if (value.size() > erofs::kMaxXattrValueBytes) {
      return absl::InvalidArgumentError(absl::StrCat("its extended attribute ", Quote(name),
                                                     " has ", value.size(), " bytes; at most ",
                                                     erofs::kMaxXattrValueBytes, " are allowed"));
    }
    xattr_bytes += name.size() + value.size() + erofs::kXattrEntryOverhead;
    metadata.xattrs.insert_or_assign(name, value);
  }
  if (xattr_bytes > erofs::kMaxXattrBytes) {
    return absl::InvalidArgumentError(absl::StrCat("its extended attributes take ", xattr_bytes,
                                                   " bytes; at most ", erofs::kMaxXattrBytes,
                                                   " are allowed"));
  }
  return metadata;
}

absl::StatusOr<Inode*> Tree::MakeDirectory(Inode* parent, const std::string& name) {
  if (parent->depth + 1 > kMaxDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("directories are nested deeper than ", kMaxDepth, " levels"));
  }
  // One entry may imply thousands of directories.
  if (inodes_.size() > limits_.max_entries) return TooManyEntries();
  Inode* const directory = NewInode(FileType::kDirectory);
  // What an entry does not say is the same on every conversion.
  directory->metadata.permissions = 0755;
  directory->depth = parent->depth + 1;
  directory->parent = parent;
  Put(parent, name, directory);
  return directory;
}

// A symlink's target in place of a directory, as the running container would resolve it: "/" is
// the image's root. A climb above the root, which the kernel would clamp, is refused: only an
// attempt to get out looks like that. The target must exist.
absl::StatusOr<Inode*> Tree::FollowSymlink(Inode* directory, const std::string& target,
                                           int* symlinks_left) {
  if (--*symlinks_left < 0) {
    return absl::InvalidArgumentError("the name goes through too many symbolic links");
  }
  Inode* current = absl::StartsWith(target, "/") ? root_ : directory;
  for (const absl::string_view component : absl::StrSplit(target, '/')) {
    if (component.empty() || component == ".") continue;
    if (component == "..") {
      if (current == root_) {
        return absl::InvalidArgumentError(absl::StrCat("the name goes through a symbolic link to ",
                                                       Quote(target), ", outside the root"));
      }
      current = current->parent;
      continue;
    }
    HULL_ASSIGN_OR_RETURN(current,
                          Step(current, std::string(component), IfMissing::kFail, symlinks_left));
  }
  return current;
}

absl::StatusOr<Inode*> Tree::Step(Inode* directory, const std::string& name, IfMissing if_missing,
                                  int* symlinks_left) {
  const auto child = directory->children.find(name);
  if (child == directory->children.end()) {
    if (if_missing == IfMissing::kCreate) return MakeDirectory(directory, name);
    return absl::NotFoundError(absl::StrCat(Quote(name), " is not in the image"));
  }
  Inode* const inode = child->second.inode;
  if (inode->type == FileType::kDirectory) return inode;
  if (inode->type != FileType::kSymlink) {
    return absl::InvalidArgumentError(
        absl::StrCat("the name goes through ", Quote(name), ", which is not a directory"));
  }
  absl::StatusOr<Inode*> target = FollowSymlink(directory, inode->target, symlinks_left);
  if (absl::IsNotFound(target.status())) {
    return absl::InvalidArgumentError(absl::StrCat("the name goes through the symbolic link ",
                                                   Quote(name), " to ", Quote(inode->target),
                                                   ", which is not a directory in the image"));
  }
  return target;
}

absl::StatusOr<Inode*> Tree::ResolveDirectory(const std::vector<std::string>& components,
                                              size_t count, IfMissing if_missing) {
  Inode* current = root_;
  int symlinks_left = kMaxSymlinks;
  for (size_t i = 0; i < count; ++i) {
    HULL_ASSIGN_OR_RETURN(current, Step(current, components[i], if_missing, &symlinks_left));
  }
  return current;
}

void Tree::Drop(Inode* inode) {
  if (inode->type == FileType::kDirectory) {
    for (auto& [name, link] : inode->children) Drop(link.inode);
    inode->children.clear();
    return;
  }
  if (--inode->links == 0 && inode->type == FileType::kRegular) owner_.Release(*inode);
}

// Removes what is below the current layer at and under `link`; whether anything is left of it.
bool Tree::DropLower(Inode::Link* link) {
  if (link->inode->type != FileType::kDirectory) {
    if (link->layer == layer_) return true;
    Drop(link->inode);
    return false;
  }
  DropLowerChildren(link->inode);
  return link->layer == layer_ || !link->inode->children.empty();
}

void Tree::DropLowerChildren(Inode* directory) {
  for (auto it = directory->children.begin(); it != directory->children.end();) {
    it = DropLower(&it->second) ? std::next(it) : directory->children.erase(it);
  }
}

absl::Status Tree::ApplyWhiteout(const EntryPath& path) {
  const size_t parents =
      path.components.size() - (path.kind == EntryKind::kWhiteout ? size_t{1} : size_t{0});
  const absl::StatusOr<Inode*> directory =
      ResolveDirectory(path.components, parents, IfMissing::kFail);
  // Nothing is there to be removed.
  if (absl::IsNotFound(directory.status())) return absl::OkStatus();
  if (!directory.ok()) return directory.status();
  if (path.kind == EntryKind::kOpaque) {
    DropLowerChildren(*directory);
    return absl::OkStatus();
  }
  const auto child = (*directory)->children.find(path.components.back());
  if (child != (*directory)->children.end() && !DropLower(&child->second)) {
    (*directory)->children.erase(child);
  }
  return absl::OkStatus();
}

void Tree::Put(Inode* directory, const std::string& name, Inode* inode) {
  Inode::Link& link = directory->children[name];
  // Taken up first: the old and the new inode are one when a layer links a name to itself.
  ++inode->links;
  if (link.inode != nullptr) Drop(link.inode);
  link = Inode::Link{.inode = inode, .layer = layer_};
}

absl::StatusOr<Inode*> Tree::FindLinkTarget(const LayerEntry& entry) {
  const auto in_target = [&](const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat(
        "its hard link target ", Quote(entry.link_target), " is refused: ", status.message()));
  };
  const absl::StatusOr<std::vector<std::string>> target = SplitPath(entry.link_target);
  if (!target.ok()) return in_target(target.status());
  if (target->empty()) return in_target(absl::InvalidArgumentError("it is the root"));
  const absl::StatusOr<Inode*> directory =
      ResolveDirectory(*target, target->size() - 1, IfMissing::kFail);
  if (!directory.ok()) return in_target(directory.status());
  const auto child = (*directory)->children.find(target->back());
  if (child == (*directory)->children.end()) {
    return in_target(absl::NotFoundError("it is not in the image"));
  }
  if (child->second.inode->type == FileType::kDirectory) {
    return in_target(absl::InvalidArgumentError("it is a directory"));
  }
  return child->second.inode;
}

absl::StatusOr<Inode*> Tree::Create(const LayerEntry& entry, Metadata metadata) {
  Inode* inode = nullptr;
  switch (entry.type) {
    case EntryType::kRegular:
      if (entry.size < 0) return absl::InvalidArgumentError("its size is negative");
      inode = NewInode(FileType::kRegular);
      inode->size = static_cast<uint64_t>(entry.size);
      break;
    case EntryType::kSymlink:
      if (entry.link_target.empty() || entry.link_target.size() > kMaxPathBytes) {
        return absl::InvalidArgumentError(absl::StrCat("its symbolic link target has ",
                                                       entry.link_target.size(), " bytes; 1 to ",
                                                       kMaxPathBytes, " are allowed"));
      }
      inode = NewInode(FileType::kSymlink);
      inode->target = std::string(entry.link_target);
      break;
    case EntryType::kCharDevice:
    case EntryType::kBlockDevice:
      if (entry.device_major > erofs::kMaxDeviceMajor ||
          entry.device_minor > erofs::kMaxDeviceMinor) {
        return absl::InvalidArgumentError(absl::StrCat("its device number ", entry.device_major,
                                                       ":", entry.device_minor, " is not valid"));
      }
      inode = NewInode(entry.type == EntryType::kCharDevice ? FileType::kCharDevice
                                                            : FileType::kBlockDevice);
      inode->device_major = static_cast<uint32_t>(entry.device_major);
      inode->device_minor = static_cast<uint32_t>(entry.device_minor);
      break;
    default:
      inode = NewInode(FileType::kFifo);
      break;
  }
  inode->metadata = std::move(metadata);
  return inode;
}

absl::StatusOr<Inode*> Tree::Apply(const LayerEntry& entry) {
  HULL_RETURN_IF_ERROR(Count(entry));
  HULL_ASSIGN_OR_RETURN(const EntryPath path, ParseEntryPath(entry.path));
  if (path.kind == EntryKind::kIgnored) return nullptr;
  if (path.kind != EntryKind::kNormal) {
    HULL_RETURN_IF_ERROR(ApplyWhiteout(path));
    return nullptr;
  }
  if (entry.type == EntryType::kOther) {
    return absl::InvalidArgumentError("it is of a type that a file system does not have");
  }
  HULL_ASSIGN_OR_RETURN(Metadata metadata, ReadMetadata(entry));
  if (path.components.empty()) {
    if (entry.type != EntryType::kDirectory) {
      return absl::InvalidArgumentError("it would replace the root directory");
    }
    root_->metadata = std::move(metadata);
    return nullptr;
  }
  HULL_ASSIGN_OR_RETURN(
      Inode* const parent,
      ResolveDirectory(path.components, path.components.size() - 1, IfMissing::kCreate));
  const std::string& name = path.components.back();

  if (entry.type == EntryType::kHardLink) {
    HULL_ASSIGN_OR_RETURN(Inode* const target, FindLinkTarget(entry));
    const auto existing = parent->children.find(name);
    // A directory that holds the target would take it with it.
    if (existing != parent->children.end() &&
        existing->second.inode->type == FileType::kDirectory) {
      return absl::InvalidArgumentError("a hard link would replace a directory");
    }
    Put(parent, name, target);
    return nullptr;
  }
  if (entry.type == EntryType::kDirectory) {
    const auto existing = parent->children.find(name);
    Inode* directory = nullptr;
    if (existing != parent->children.end() &&
        existing->second.inode->type == FileType::kDirectory) {
      directory = existing->second.inode;
      existing->second.layer = layer_;
    } else {
      HULL_ASSIGN_OR_RETURN(directory, MakeDirectory(parent, name));
    }
    directory->metadata = std::move(metadata);
    return nullptr;
  }
  HULL_ASSIGN_OR_RETURN(Inode* const inode, Create(entry, std::move(metadata)));
  Put(parent, name, inode);
  return inode->type == FileType::kRegular ? inode : nullptr;
}

}  // namespace hull::images
