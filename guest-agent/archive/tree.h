// Directory trees to archives and back, and what an overlay's upper layer says about its lower one.
// System calls, no allocation.

#ifndef GUEST_AGENT_ARCHIVE_TREE_H_
#define GUEST_AGENT_ARCHIVE_TREE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "guest-agent/archive/tar_format.h"

namespace hull::archive {

// Deeper directories are refused.
inline constexpr size_t kMaxDepth = 256;

struct PackOptions {
  // Leaves out what is below other mounts; the directories that they are on stay, empty.
  bool one_mount = false;
  // The tree is an overlay's upper layer (Linux, Documentation/filesystems/overlayfs.rst): what it
  // hides is written as OCI whiteouts (image-spec, layer.md, "Whiteouts").
  bool upper_layer = false;
  // With `upper_layer`: the root of the mounted overlay, or -1. What is in a directory that was
  // renamed ("redirect_dir") is in no layer under its new name, and is read from here.
  int merged = -1;
  // Paths from the tree's root, each beginning with a slash, that are left out where they are no
  // directories, or empty ones.
  const std::string_view* left_out = nullptr;
  size_t left_out_count = 0;
};

// Writes the tree at `path`, from the directory `at`, with entries called `prefix` and
// `prefix`/...; a last symbolic link is followed. `prefix` "." stands for what is in the directory.
// A file that changes meanwhile has the size that it had, with zeros for what is gone. Sockets are
// left out. False: see `why`.
bool Pack(int at, const char* path, std::string_view prefix, const PackOptions& options,
          TarWriter* writer, Why* why);

struct UnpackOptions {
  // Every entry has to be called so or lie below; "." allows all.
  std::string_view prefix = ".";
  // As openat2(2) has them, for all paths of entries: what their symbolic links may lead to.
  uint64_t resolve = 0;
  // Each entry is its owner's; nullopt: as the archive says. Not with `keep_own`.
  struct Owner {
    uint32_t uid;
    uint32_t gid;
  };
  std::optional<Owner> owner = std::nullopt;
  // Everything stays with whoever unpacks, without set-user-id and the like, and with attributes of
  // users only. Devices and fifos are left out.
  bool plain = false;
};

// Unpacks into the directory `root`. What is there and is no directory is replaced, never written
// to; a directory is not replaced by anything else, and nothing else by a directory. False: see
// `why`; what was unpacked until then stays.
bool Unpack(int root, const UnpackOptions& options, TarReader* reader, Why* why);

// Told of each difference: 'A', 'C' or 'D', and the path from the root, with its slash. False
// stops.
class ChangeSink {
 public:
  virtual bool OnChange(char kind, std::string_view path) = 0;

 protected:
  ~ChangeSink() = default;
};

// What the upper layer at `upper` adds to, changes in and deletes from the tree at `lower`, both
// directories. Parents of what differs are changed, too. `merged` is as PackOptions has it.
bool ListChanges(int upper, int lower, int merged, ChangeSink* sink, Why* why);

}  // namespace hull::archive

#endif  // GUEST_AGENT_ARCHIVE_TREE_H_
