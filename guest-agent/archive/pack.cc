#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "guest-agent/archive/directory.h"
#include "guest-agent/archive/tree.h"
#include "guest-agent/fd.h"

namespace hull::archive {
namespace {

using agent::Fd;

// A longer attribute does not exist (Linux, XATTR_SIZE_MAX and XATTR_LIST_MAX).
constexpr size_t kMaxAttribute = size_t{64} << 10;
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

bool Explain(Why* why, int error, std::string_view what, std::string_view path) {
  why->Assign({what, " ", path, ": ", std::string_view(strerrordesc_np(error))});
  return false;
}

bool IsOverlayAttribute(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}

bool IsOpaque(int fd) {
  char value[2];
  return fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value)) == 1 && value[0] == 'y';
}

// Whether it shows what a directory of the lower layer with another name has in it.
bool IsRedirected(int fd) { return fgetxattr(fd, "trusted.overlay.redirect", nullptr, 0) > 0; }

// The directory at `path`, from the root of the mounted overlay `merged`, as the container sees it.
Fd OpenMerged(int merged, const char* path) {
  open_how how = {};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(syscall(SYS_openat2, merged, path, &how, sizeof(how))));
}

bool IsWhiteout(const struct stat& info) {
  return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
}

// The names under which files with several links were written. Beyond its room the files are
// written again, each for itself.
class LinkTable {
 public:
  LinkTable() {
    void* const memory = mmap(nullptr, kRoom, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) memory_ = static_cast<char*>(memory);
  }
  LinkTable(const LinkTable&) = delete;
  LinkTable& operator=(const LinkTable&) = delete;
  ~LinkTable() {
    if (memory_ != nullptr) munmap(memory_, kRoom);
  }

  // The name of that file; where it has none yet, it gets this one, and the result is null.
  const char* FindOrAdd(const struct stat& info, std::string_view name) {
    if (memory_ == nullptr) return nullptr;
    for (size_t at = 0; at < used_;) {
      Header header;
      std::memcpy(&header, memory_ + at, sizeof(header));
      const char* const known = memory_ + at + sizeof(header);
      if (header.device == info.st_dev && header.inode == info.st_ino) return known;
      at += sizeof(header) + header.name_size + 1;
    }
    const Header header = {info.st_dev, info.st_ino, name.size()};
    if (kRoom - used_ < sizeof(header) + name.size() + 1 || count_ == kMaxLinks) return nullptr;
    std::memcpy(memory_ + used_, &header, sizeof(header));
    std::memcpy(memory_ + used_ + sizeof(header), name.data(), name.size());
    memory_[used_ + sizeof(header) + name.size()] = '\0';
    used_ += sizeof(header) + name.size() + 1;
    ++count_;
    return nullptr;
  }

 private:
  struct Header {
    dev_t device;
    ino_t inode;
    size_t name_size;
  };
  static constexpr size_t kRoom = size_t{16} << 20;
  // They are looked through one by one.
  static constexpr size_t kMaxLinks = 16384;

  char* memory_ = nullptr;
  size_t used_ = 0;
  size_t count_ = 0;
};

class Packer {
 public:
  Packer(const PackOptions& options, TarWriter* writer, Why* why)
      : options_(options), upper_layer_(options.upper_layer), writer_(writer), why_(why) {}

  bool Run(int at, const char* path, std::string_view prefix) {
    const Fd top(open_following(at, path));
    struct stat info;
    if (!top.valid() || fstat(top.get(), &info) != 0)
      return Explain(why_, errno, "cannot read", path);
    if (options_.one_mount && !MountOf(top.get(), "", &mount_)) {
      return Explain(why_, errno, "cannot read", path);
    }
    name_.Assign({prefix});
    root_size_ = name_.view().size();
    if (S_ISDIR(info.st_mode)) {
      if (!FillEntry(top.get(), info)) return false;
      entry_.type = EntryType::kDirectory;
      if (!Write() || !PackDirectory(top.get(), 1)) return false;
    } else if (S_ISREG(info.st_mode)) {
      if (!PackFile(top.get(), info)) return false;
    } else {
      why_->Assign({path, " is neither a file nor a directory"});
      return false;
    }
    return writer_->End() || Explain(why_, errno, "cannot write", "the archive");
  }

 private:
  static int open_following(int at, const char* path) {
    return openat(at, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  }

  static bool MountOf(int at, const char* name, uint64_t* mount) {
    struct statx info;
    if (statx(at, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID,
              &info) != 0) {
      return false;
    }
    *mount = info.stx_mnt_id;
    return true;
  }

  // As the archive's reader will call it from the tree's root.
  bool LeftOut() const {
    const std::string_view path = agent::WithoutPrefix(name_.view(), root_size_);
    for (size_t i = 0; i < options_.left_out_count; ++i) {
      if (options_.left_out[i] == path) return true;
    }
    return false;
  }

  bool Write() {
    if (writer_->WriteEntry(entry_)) return true;
    return Explain(why_, errno, "cannot write", entry_.name.view());
  }

  // `fd` negative: of what cannot be opened, whose attributes are left out.
  bool FillEntry(int fd, const struct stat& info) {
    entry_.Clear();
    entry_.name = name_;
    entry_.mode = info.st_mode & 07777;
    entry_.uid = info.st_uid;
    entry_.gid = info.st_gid;
    entry_.mtime = info.st_mtim.tv_sec;
    if (fd < 0) return true;
    const ssize_t size = flistxattr(fd, names_, sizeof(names_));
    // A file system without any.
    if (size <= 0) return true;
    for (std::string_view rest(names_, static_cast<size_t>(size)); !rest.empty();) {
      const std::string_view attribute(rest.data());
      rest = agent::WithoutPrefix(rest, attribute.size() + 1);
      if (IsOverlayAttribute(attribute)) continue;
      const ssize_t n = fgetxattr(fd, attribute.data(), value_, sizeof(value_));
      if (n < 0) continue;  // gone, or not for this process
      if (!entry_.AddAttribute(attribute, {value_, static_cast<size_t>(n)})) {
        return Explain(why_, E2BIG, "the attributes of", name_.view());
      }
    }
    return true;
  }

  bool PackFile(int fd, const struct stat& info) {
    if (!FillEntry(fd, info)) return false;
    if (info.st_nlink > 1) {
      if (const char* const first = links_.FindOrAdd(info, name_.view())) {
        entry_.type = EntryType::kHardLink;
        entry_.link.Assign({first});
        return Write();
      }
    }
    const auto size = static_cast<uint64_t>(info.st_size);
    entry_.size = size;
    if (!Write()) return false;
    uint64_t left = size;
    while (left != 0) {
      const size_t part = static_cast<size_t>(std::min<uint64_t>(left, sizeof(content_)));
      const ssize_t n = read(fd, content_, part);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Explain(why_, errno, "cannot read", name_.view());
      size_t have = static_cast<size_t>(n);
      if (n == 0) {
        std::memset(content_, 0, part);
        have = part;
      }
      if (!writer_->WriteContent(content_, have)) {
        return Explain(why_, errno, "cannot write", name_.view());
      }
      left -= have;
    }
    return writer_->EndContent(size) || Explain(why_, errno, "cannot write", name_.view());
  }

  // A whiteout of that name in the directory of name_.
  bool WriteWhiteout(std::string_view directory, std::string_view mark, std::string_view name) {
    entry_.Clear();
    entry_.name.Assign({directory, "/", mark, name});
    if (entry_.name.truncated()) return Explain(why_, ENAMETOOLONG, "cannot write", directory);
    return Write();
  }

  bool PackDirectory(int fd, size_t depth) {
    if (depth > kMaxDepth) return Explain(why_, ELOOP, "too deep:", name_.view());
    const size_t size = name_.view().size();
    const bool redirected = upper_layer_ && depth > 1 && IsRedirected(fd);
    if (upper_layer_ && depth > 1 && (redirected || IsOpaque(fd)) &&
        !WriteWhiteout(name_.view(), kOpaque, "")) {
      return false;
    }
    if (redirected && options_.merged >= 0) return PackMerged(depth);
    DirectoryReader reader(fd);
    while (const char* const base = reader.Next()) {
      const bool packed = PackNamed(fd, base, depth);
      Name parent;
      parent.Assign({agent::Prefix(name_.view(), size)});
      name_ = parent;
      if (!packed) return false;
    }
    return reader.error() == 0 || Explain(why_, reader.error(), "cannot read", name_.view());
  }

  // The directory name_ as the container sees it.
  bool PackMerged(size_t depth) {
    const std::string_view path = agent::WithoutPrefix(name_.view(), root_size_ + 1);
    const Fd fd = OpenMerged(options_.merged, path.data());
    if (!fd.valid()) return errno == ENOENT || Explain(why_, errno, "cannot read", name_.view());
    upper_layer_ = false;
    const bool packed = PackDirectory(fd.get(), depth);
    upper_layer_ = true;
    return packed;
  }

  bool PackNamed(int directory, const char* base, size_t depth) {
    struct stat info;
    if (fstatat(directory, base, &info, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
      // It was removed meanwhile.
      return errno == ENOENT || Explain(why_, errno, "cannot read", base);
    }
    if (upper_layer_ && IsWhiteout(info)) {
      Name parent = name_;
      return WriteWhiteout(parent.view(), kWhiteout, base);
    }
    name_.Append("/");
    name_.Append(base);
    if (name_.truncated()) return Explain(why_, ENAMETOOLONG, "cannot read", name_.view());
    const bool left_out = LeftOut();
    if (left_out && !S_ISDIR(info.st_mode)) return true;
    if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) {
      // What it has become meanwhile, it is not followed.
      const Fd fd(
          openat(directory, base, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
      if (!fd.valid() || fstat(fd.get(), &info) != 0) {
        return errno == ENOENT || Explain(why_, errno, "cannot read", name_.view());
      }
      if (S_ISREG(info.st_mode)) return PackFile(fd.get(), info);
      if (!S_ISDIR(info.st_mode)) return true;
      uint64_t mount = mount_;
      if (options_.one_mount && !MountOf(fd.get(), "", &mount)) {
        return Explain(why_, errno, "cannot read", name_.view());
      }
      if (!FillEntry(fd.get(), info)) return false;
      entry_.type = EntryType::kDirectory;
      if (left_out && IsEmpty(fd.get())) return true;
      return Write() && (mount != mount_ || PackDirectory(fd.get(), depth + 1));
    }
    if (!FillEntry(-1, info)) return false;
    if (S_ISLNK(info.st_mode)) {
      const ssize_t n =
          readlinkat(directory, base, reinterpret_cast<char*>(content_), kMaxName + 1);
      if (n < 0 || static_cast<size_t>(n) > kMaxName) {
        return Explain(why_, n < 0 ? errno : ENAMETOOLONG, "cannot read", name_.view());
      }
      entry_.type = EntryType::kSymlink;
      entry_.link.Assign({{reinterpret_cast<const char*>(content_), static_cast<size_t>(n)}});
      return Write();
    }
    if (S_ISFIFO(info.st_mode)) {
      entry_.type = EntryType::kFifo;
      return Write();
    }
    if (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode)) return true;  // a socket
    entry_.type = S_ISCHR(info.st_mode) ? EntryType::kCharacter : EntryType::kBlock;
    entry_.device_major = major(info.st_rdev);
    entry_.device_minor = minor(info.st_rdev);
    return Write();
  }

  static bool IsEmpty(int fd) {
    DirectoryReader reader(fd);
    const bool empty = reader.Next() == nullptr;
    lseek(fd, 0, SEEK_SET);
    return empty;
  }

  const PackOptions& options_;
  bool upper_layer_;  // not in a directory that was renamed
  TarWriter* const writer_;
  Why* const why_;
  uint64_t mount_ = 0;
  Name name_;
  size_t root_size_ = 0;
  Entry entry_;
  LinkTable links_;
  char names_[kMaxAttribute];
  uint8_t value_[kMaxAttribute];
  uint8_t content_[64 << 10];
};

class ChangeLister {
 public:
  ChangeLister(int merged, ChangeSink* sink, Why* why) : merged_(merged), sink_(sink), why_(why) {}

  // `whole`: nothing of the lower directory shows through, and `upper` is no directory of the upper
  // layer but what the container sees.
  bool ListDirectory(int upper, int lower, size_t depth, bool whole) {
    if (depth > kMaxDepth) return Explain(why_, ELOOP, "too deep:", path_.view());
    const size_t size = path_.view().size();
    DirectoryReader reader(upper);
    while (const char* const base = reader.Next()) {
      const bool listed = ListNamed(upper, lower, base, depth, whole);
      Cut(size);
      if (!listed) return false;
    }
    if (reader.error() != 0) return Explain(why_, reader.error(), "cannot read", path_.view());
    // What an opaque directory does not show any more.
    if (lower < 0 || !(whole || IsOpaque(upper))) return true;
    DirectoryReader hidden(lower);
    while (const char* const base = hidden.Next()) {
      struct stat info;
      if (fstatat(upper, base, &info, AT_SYMLINK_NOFOLLOW) == 0) continue;
      Append(base);
      const bool told = Tell('D');
      Cut(size);
      if (!told) return false;
    }
    return true;
  }

 private:
  void Append(const char* base) {
    path_.Append("/");
    path_.Append(base);
  }
  void Cut(size_t size) {
    Name parent;
    parent.Assign({agent::Prefix(path_.view(), size)});
    path_ = parent;
  }
  bool Tell(char kind) {
    if (path_.truncated()) return Explain(why_, ENAMETOOLONG, "cannot read", path_.view());
    return sink_->OnChange(kind, path_.view()) ||
           Explain(why_, EPIPE, "cannot tell of", path_.view());
  }

  bool ListNamed(int upper, int lower, const char* base, size_t depth, bool whole) {
    Append(base);
    struct stat info, below;
    if (fstatat(upper, base, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno == ENOENT || Explain(why_, errno, "cannot read", path_.view());
    }
    const bool existed = lower >= 0 && fstatat(lower, base, &below, AT_SYMLINK_NOFOLLOW) == 0;
    if (IsWhiteout(info)) return !existed || Tell('D');
    if (!Tell(existed ? 'C' : 'A')) return false;
    if (!S_ISDIR(info.st_mode)) return true;
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    Fd directory(openat(upper, base, kFlags));
    if (directory.valid() && !whole && merged_ >= 0 && IsRedirected(directory.get())) {
      directory = OpenMerged(merged_, path_.c_str() + 1);
      whole = true;
    }
    if (!directory.valid())
      return errno == ENOENT || Explain(why_, errno, "cannot read", path_.view());
    const Fd directory_below(existed && S_ISDIR(below.st_mode) ? openat(lower, base, kFlags) : -1);
    return ListDirectory(directory.get(), directory_below.get(), depth + 1, whole);
  }

  const int merged_;
  ChangeSink* const sink_;
  Why* const why_;
  Name path_;
};

}  // namespace

bool Pack(int at, const char* path, std::string_view prefix, const PackOptions& options,
          TarWriter* writer, Why* why) {
  // Too large for the stack, and one at a time is what there is.
  alignas(Packer) static char storage[sizeof(Packer)];
  Packer* const packer = new (storage) Packer(options, writer, why);
  const bool packed = packer->Run(at, path, prefix);
  packer->~Packer();
  return packed;
}

bool ListChanges(int upper, int lower, int merged, ChangeSink* sink, Why* why) {
  return ChangeLister(merged, sink, why).ListDirectory(upper, lower, 1, /*whole=*/false);
}

}  // namespace hull::archive
