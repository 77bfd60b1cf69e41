#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "guest-agent/archive/tree.h"
#include "guest-agent/fd.h"

namespace hull::archive {
namespace {

using agent::Fd;

// What a directory is to become once all that is in it is there.
struct OpenDirectory {
  size_t name_size;  // of its name, a beginning of the name of all below
  uint32_t mode;
  timespec times[2];
};

class Unpacker {
 public:
  Unpacker(int root, const UnpackOptions& options, TarReader* reader, Why* why)
      : root_(root), options_(options), reader_(reader), why_(why) {}

  bool Run() {
    while (true) {
      switch (reader_->Next(&entry_)) {
        case TarReader::Result::kEntry:
          if (!Take()) return false;
          break;
        case TarReader::Result::kEnd:
          return CloseDirectories("");
        case TarReader::Result::kError:
          why_->Assign({reader_->why().view()});
          return false;
      }
    }
  }

 private:
  bool Fail(int error, std::string_view what) {
    why_->Assign({what, " ", name_.view(), ": ", std::string_view(strerrordesc_np(error))});
    return false;
  }
  bool Refuse(std::string_view what) {
    why_->Assign({"not a usable archive: ", what, ": ", entry_.name.view()});
    return false;
  }

  // The name without slashes at its ends and ".", which have no meaning; empty is the root.
  bool Normalise(std::string_view from, Name* to) {
    to->Assign({});
    while (!from.empty()) {
      const size_t slash = from.find('/');
      const std::string_view part = agent::Prefix(from, slash);
      from = slash == std::string_view::npos ? std::string_view()
                                             : agent::WithoutPrefix(from, slash + 1);
      if (part.empty() || part == ".") continue;
      if (part == "..") return Refuse("a name with \"..\" in it");
      if (part.size() > 255) return Refuse("a name is too long");
      if (!to->view().empty()) to->Append("/");
      to->Append(part);
    }
    if (to->truncated()) return Refuse("a name is too long");
    if (options_.prefix == "." || to->view() == options_.prefix) return true;
    if (to->view().starts_with(options_.prefix) && to->view()[options_.prefix.size()] == '/') {
      return true;
    }
    return Refuse("an entry that is not below what was asked for");
  }

  int OpenAt(const char* path, uint64_t flags) {
    open_how how = {};
    how.flags = flags | O_CLOEXEC;
    how.resolve = options_.resolve;
    return static_cast<int>(syscall(SYS_openat2, root_, path, &how, sizeof(how)));
  }

  // The directory that `name` is in, made where it is missing; and the last part of the name.
  bool OpenParent(const Name& name, Fd* parent, const char** base) {
    const std::string_view all = name.view();
    const size_t slash = all.rfind('/');
    *base = name.c_str() + (slash == std::string_view::npos ? 0 : slash + 1);
    Name path;
    path.Assign({slash == std::string_view::npos ? "." : agent::Prefix(all, slash)});
    *parent = Fd(OpenAt(path.c_str(), O_PATH | O_DIRECTORY));
    if (parent->valid()) return true;
    if (errno != ENOENT) return Fail(errno, "cannot enter the directory of");
    for (size_t end = 0; end != std::string_view::npos;) {
      end = path.view().find('/', end + 1);
      Name part;
      part.Assign({agent::Prefix(path.view(), end)});
      Fd above;
      const char* last = nullptr;
      if (!OpenExistingParent(part, &above, &last)) return false;
      if (mkdirat(above.get(), last, 0755) != 0 && errno != EEXIST) {
        return Fail(errno, "cannot make the directory of");
      }
    }
    *parent = Fd(OpenAt(path.c_str(), O_PATH | O_DIRECTORY));
    return parent->valid() || Fail(errno, "cannot enter the directory of");
  }

  bool OpenExistingParent(const Name& name, Fd* parent, const char** base) {
    const size_t slash = name.view().rfind('/');
    *base = name.c_str() + (slash == std::string_view::npos ? 0 : slash + 1);
    Name path;
    path.Assign({slash == std::string_view::npos ? "." : agent::Prefix(name.view(), slash)});
    *parent = Fd(OpenAt(path.c_str(), O_PATH | O_DIRECTORY));
    return parent->valid() || Fail(errno, "cannot enter the directory of");
  }

  bool Take() {
    if (!Normalise(entry_.name.view(), &name_)) return false;
    if (!CloseDirectories(name_.view())) return false;
    const bool special = entry_.type == EntryType::kCharacter || entry_.type == EntryType::kBlock ||
                         entry_.type == EntryType::kFifo;
    if (special && options_.plain) return true;
    if (name_.view().empty()) {
      // The root itself, which is somebody else's already.
      return entry_.type == EntryType::kDirectory || Refuse("a root that is no directory");
    }
    Fd parent;
    const char* base;
    if (!OpenParent(name_, &parent, &base)) return false;
    if (entry_.type == EntryType::kDirectory) return TakeDirectory(parent.get(), base);
    struct stat existing;
    if (fstatat(parent.get(), base, &existing, AT_SYMLINK_NOFOLLOW) == 0) {
      if (S_ISDIR(existing.st_mode)) return Fail(EISDIR, "cannot replace");
      if (unlinkat(parent.get(), base, 0) != 0) return Fail(errno, "cannot replace");
    }
    switch (entry_.type) {
      case EntryType::kFile:
        return TakeFile(parent.get(), base);
      case EntryType::kHardLink:
        return TakeHardLink(parent.get(), base);
      case EntryType::kSymlink:
        if (entry_.link.view().empty()) return Refuse("a link to nothing");
        if (symlinkat(entry_.link.c_str(), parent.get(), base) != 0) break;
        return SetOwner(parent.get(), base, AT_SYMLINK_NOFOLLOW);
      default: {
        const mode_t kind = entry_.type == EntryType::kFifo        ? S_IFIFO
                            : entry_.type == EntryType::kCharacter ? S_IFCHR
                                                                   : S_IFBLK;
        if (mknodat(parent.get(), base, kind | 0600,
                    makedev(entry_.device_major, entry_.device_minor)) != 0) {
          break;
        }
        if (!SetOwner(parent.get(), base, AT_SYMLINK_NOFOLLOW)) return false;
        if (fchmodat(parent.get(), base, entry_.mode, 0) != 0) return Fail(errno, "cannot set up");
        return true;
      }
    }
    return Fail(errno, "cannot make");
  }

  uint32_t ModeOfEntry() const { return entry_.mode & (options_.plain ? 0777 : 07777); }

  // `base` empty: `at` itself.
  bool SetOwner(int at, const char* base, int flags) {
    if (options_.plain) return true;
    const uint64_t uid = options_.owner ? options_.owner->uid : entry_.uid;
    const uint64_t gid = options_.owner ? options_.owner->gid : entry_.gid;
    if (uid >= UINT32_MAX || gid >= UINT32_MAX) return Refuse("an owner that is none");
    if (fchownat(at, base, static_cast<uid_t>(uid), static_cast<gid_t>(gid),
                 flags | AT_EMPTY_PATH) != 0) {
      return Fail(errno, "cannot set the owner of");
    }
    return true;
  }

  bool SetAttributes(int fd) {
    bool ok = true;
    ForEachAttribute(entry_, [&](std::string_view name, std::span<const uint8_t> value) {
      if (options_.plain && !name.starts_with("user.")) return true;
      // A file system without any keeps the rest.
      ok = fsetxattr(fd, name.data(), value.data(), value.size(), 0) == 0 || errno == EOPNOTSUPP ||
           errno == EPERM;
      return ok;
    });
    return ok || Fail(errno, "cannot set an attribute of");
  }

  bool TakeDirectory(int parent, const char* base) {
    bool made = mkdirat(parent, base, 0700) == 0;
    if (!made && errno != EEXIST) return Fail(errno, "cannot make");
    const Fd fd(openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) {
      // A link to a directory may stand for one where links are followed.
      struct stat info;
      if (options_.resolve == 0 && fstatat(parent, base, &info, 0) == 0 && S_ISDIR(info.st_mode)) {
        return true;
      }
      return Fail(errno == ELOOP ? ENOTDIR : errno, "cannot make the directory");
    }
    if (!SetOwner(fd.get(), "", 0) || !SetAttributes(fd.get())) return false;
    if (open_count_ == kMaxDepth) return Fail(ELOOP, "too deep:");
    // Nobody has to be able to write into it at the end, but here.
    const uint32_t mode = ModeOfEntry();
    if (fchmod(fd.get(), mode | 0700) != 0) return Fail(errno, "cannot set up");
    open_[open_count_++] = {
        name_.view().size(),
        mode,
        {{.tv_sec = entry_.mtime, .tv_nsec = 0}, {.tv_sec = entry_.mtime, .tv_nsec = 0}}};
    open_name_ = name_;
    return true;
  }

  // Those that `next` is not below get their mode and time.
  bool CloseDirectories(std::string_view next) {
    while (open_count_ != 0) {
      const OpenDirectory& directory = open_[open_count_ - 1];
      const std::string_view name = agent::Prefix(open_name_.view(), directory.name_size);
      if (next.size() > name.size() && next.starts_with(name) && next[name.size()] == '/') break;
      Name path;
      path.Assign({name});
      const Fd fd(OpenAt(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      // One that somebody has taken away meanwhile needs none.
      if (fd.valid()) {
        if (fchmod(fd.get(), directory.mode) != 0 || futimens(fd.get(), directory.times) != 0) {
          name_ = path;
          return Fail(errno, "cannot set up");
        }
      }
      --open_count_;
    }
    return true;
  }

  bool TakeFile(int parent, const char* base) {
    // A new file: nothing that was there is written to, under whatever other name it is.
    const Fd fd(openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd.valid()) return Fail(errno, "cannot make");
    long n;
    while ((n = reader_->ReadContent(content_, sizeof(content_))) > 0) {
      DescriptorSink sink(fd.get());
      if (!sink.Write(content_, static_cast<size_t>(n))) return Fail(errno, "cannot write");
    }
    if (n < 0) {
      why_->Assign({reader_->why().view()});
      return false;
    }
    // In this order: a change of owner takes rights away, and attributes with them.
    if (!SetOwner(fd.get(), "", 0)) return false;
    if (fchmod(fd.get(), ModeOfEntry()) != 0) return Fail(errno, "cannot set up");
    if (!SetAttributes(fd.get())) return false;
    const timespec times[2] = {{.tv_sec = entry_.mtime, .tv_nsec = 0},
                               {.tv_sec = entry_.mtime, .tv_nsec = 0}};
    return futimens(fd.get(), times) == 0 || Fail(errno, "cannot set up");
  }

  bool TakeHardLink(int parent, const char* base) {
    Name target;
    if (!Normalise(entry_.link.view(), &target)) return false;
    if (target.view().empty()) return Refuse("a link to nothing");
    Fd directory;
    const char* target_base;
    if (!OpenExistingParent(target, &directory, &target_base)) return false;
    if (linkat(directory.get(), target_base, parent, base, 0) != 0) {
      return Fail(errno, "cannot link");
    }
    return true;
  }

  const int root_;
  const UnpackOptions& options_;
  TarReader* const reader_;
  Why* const why_;
  Entry entry_;
  Name name_;  // of the entry, normalised
  Name open_name_;
  OpenDirectory open_[kMaxDepth];
  size_t open_count_ = 0;
  uint8_t content_[64 << 10];
};

}  // namespace

bool Unpack(int root, const UnpackOptions& options, TarReader* reader, Why* why) {
  // Too large for the stack, and one at a time is what there is.
  alignas(Unpacker) static char storage[sizeof(Unpacker)];
  Unpacker* const unpacker = new (storage) Unpacker(root, options, reader, why);
  const bool unpacked = unpacker->Run();
  unpacker->~Unpacker();
  return unpacked;
}

}  // namespace hull::archive
