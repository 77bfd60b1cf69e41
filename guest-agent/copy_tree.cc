#include "guest-agent/copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "guest-agent/fd.h"

namespace hull::agent {
namespace {

bool Wrong(Failure* failure, const char* name, std::string_view what) {
  return Fail(failure, StartFailure::kInternal, errno,
              {"cannot fill a volume with what the image has: ", what, " ", name});
}

bool CopyAttributes(int from, int to, const struct stat& info, const char* name, Failure* failure) {
  // The owner first, as a change of it takes away set-user-ID bits and capabilities.
  if (fchown(to, info.st_uid, info.st_gid) != 0 || fchmod(to, info.st_mode & 07777) != 0) {
    return Wrong(failure, name, "set the owner and mode of");
  }
  static char names[XATTR_LIST_MAX];
  static char value[XATTR_SIZE_MAX];
  const ssize_t size = flistxattr(from, names, sizeof(names));
  if (size < 0 && errno != ENOTSUP) return Wrong(failure, name, "list the attributes of");
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(strlen(names + at)) + 1) {
    const ssize_t n = fgetxattr(from, names + at, value, sizeof(value));
    if (n < 0 || fsetxattr(to, names + at, value, static_cast<size_t>(n), 0) != 0) {
      return Wrong(failure, name, "copy the attributes of");
    }
  }
  const timespec times[2] = {info.st_atim, info.st_mtim};
  return futimens(to, times) == 0 || Wrong(failure, name, "set the times of");
}

bool CopyFile(int from_directory, int to_directory, const char* name, const struct stat& info,
              Failure* failure) {
  const Fd from(openat(from_directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY));
  if (!from.valid()) return Wrong(failure, name, "open");
  const Fd to(
      openat(to_directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!to.valid()) return Wrong(failure, name, "create");
  ssize_t n;
  while ((n = sendfile(to.get(), from.get(), nullptr, size_t{1} << 20)) > 0) {
  }
  if (n < 0) return Wrong(failure, name, "copy");
  return CopyAttributes(from.get(), to.get(), info, name, failure);
}

bool CopyOther(int from_directory, int to_directory, const char* name, const struct stat& info,
               Failure* failure) {
  if (S_ISLNK(info.st_mode)) {
    char target[PATH_MAX];
    const ssize_t n = readlinkat(from_directory, name, target, sizeof(target) - 1);
    if (n < 0) return Wrong(failure, name, "read");
    target[n] = '\0';
    if (symlinkat(target, to_directory, name) != 0 && errno != EEXIST) {
      return Wrong(failure, name, "create");
    }
  } else if (mknodat(to_directory, name, info.st_mode, info.st_rdev) != 0 && errno != EEXIST) {
    return Wrong(failure, name, "create");
  }
  const timespec times[2] = {info.st_atim, info.st_mtim};
  return (fchownat(to_directory, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) == 0 &&
          utimensat(to_directory, name, times, AT_SYMLINK_NOFOLLOW) == 0) ||
         Wrong(failure, name, "set the owner and times of");
}

bool CopyDirectory(int from, int to, unsigned depth, Failure* failure);

bool CopyEntry(int from, int to, const char* name, unsigned depth, Failure* failure) {
  struct stat info;
  if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return Wrong(failure, name, "look at");
  if (S_ISREG(info.st_mode)) return CopyFile(from, to, name, info, failure);
  if (!S_ISDIR(info.st_mode)) return CopyOther(from, to, name, info, failure);
  if (depth == kMaxTreeDepth) {
    errno = ELOOP;
    return Wrong(failure, name, "too many directories are below one another above");
  }
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const Fd from_below(openat(from, name, kFlags));
  if (!from_below.valid()) return Wrong(failure, name, "open");
  if (mkdirat(to, name, 0700) != 0 && errno != EEXIST) return Wrong(failure, name, "create");
  const Fd to_below(openat(to, name, kFlags));
  if (!to_below.valid()) return Wrong(failure, name, "open");
  return CopyDirectory(from_below.get(), to_below.get(), depth + 1, failure);
}

// On a small stack: a buffer holds at least one entry with the longest name.
bool CopyDirectory(int from, int to, unsigned depth, Failure* failure) {
  alignas(dirent64) char buffer[512];
  ssize_t size;
  while ((size = syscall(SYS_getdents64, from, buffer, sizeof(buffer))) > 0) {
    for (ssize_t at = 0; at < size;) {
      // SAFETY: the kernel puts whole, aligned entries there.
      const auto* const entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      const char* const name = entry->d_name;
      if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
      if (!CopyEntry(from, to, name, depth, failure)) return false;
    }
  }
  if (size < 0) return Wrong(failure, "", "read a directory");
  struct stat info;
  if (fstat(from, &info) != 0) return Wrong(failure, "", "look at a directory");
  return CopyAttributes(from, to, info, "a directory", failure);
}

}  // namespace

bool CopyTree(int from, int to, Failure* failure) { return CopyDirectory(from, to, 0, failure); }

}  // namespace hull::agent
