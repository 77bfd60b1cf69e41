#include "vmm/emulated_host/hostd_prefix_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::emulated_host {
namespace {

// A directory with more than that is somebody's /usr, not Hull's own.
constexpr size_t kMaxFiles = 64;
constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
// What makes a <prefix>/share Hull's.
constexpr char kMarker[] = "vmlinux";

struct CachedFile {
  std::string directory;  // "bin" or "share"
  std::string name;
  struct stat stat = {};
};

// openat2 below the host's root: absolute links in the path stay below it too.
absl::StatusOr<UniqueFd> OpenInHost(const UniqueFd& root, const std::string& path, int flags) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT;
  const long fd = syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof(how));
  if (fd < 0) return PosixError(absl::StrCat("open \"", path, "\""));
  return UniqueFd(static_cast<int>(fd));
}

// The regular files of a directory (links to them followed), or more than kMaxFiles of them.
absl::StatusOr<std::vector<CachedFile>> ListFiles(const UniqueFd& root, const std::string& path,
                                                  const std::string& as) {
  HULL_ASSIGN_OR_RETURN(UniqueFd fd, OpenInHost(root, path, O_RDONLY | O_DIRECTORY));
  const int dir_fd = fd.Release();
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(dir_fd), closedir);
  if (dir == nullptr) {
    close(dir_fd);
    return PosixError("fdopendir");
  }
  std::vector<CachedFile> files;
  while (const dirent* entry = readdir(dir.get())) {
    CachedFile file{as, entry->d_name, {}};
    if (file.name == "." || file.name == "..") continue;
    const absl::StatusOr<UniqueFd> target =
        OpenInHost(root, absl::StrCat(path, "/", file.name), O_PATH);
    if (absl::IsNotFound(target.status())) continue;  // a broken link, or just removed
    if (!target.ok()) return target.status();
    if (fstat(target->get(), &file.stat) != 0) return PosixError("fstat");
    if (!S_ISREG(file.stat.st_mode)) continue;
    files.push_back(std::move(file));
    if (files.size() > kMaxFiles) break;
  }
  return files;
}

// Identifies the content of a file without reading it.
std::string Fingerprint(const CachedFile& file) {
  return absl::StrCat(file.directory, "/", file.name, " ", file.stat.st_size, " ",
                      file.stat.st_mtim.tv_sec, ".", file.stat.st_mtim.tv_nsec, " ",
                      file.stat.st_ctim.tv_sec, ".", file.stat.st_ctim.tv_nsec, " ",
                      file.stat.st_ino, " ", file.stat.st_mode, "\n");
}

// FNV-1a. A name for a directory, nothing more: the files in it are the user's own.
uint64_t Hash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::string HexName(const std::string& text) {
  return absl::StrCat(absl::Hex(Hash(text), absl::kZeroPad16));
}

absl::Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("mkdir \"", path, "\""));
  }
  return absl::OkStatus();
}

bool SameVersion(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_ino == b.st_ino && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

// Copies a host's file to `to`, unless it changes meanwhile.
absl::Status CopyFile(const UniqueFd& root, const std::string& from, const CachedFile& file,
                      const std::string& to) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd in, OpenInHost(root, from, O_RDONLY));
  HULL_ASSIGN_OR_RETURN(const UniqueFd out, UniqueFd::Open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700));
  constexpr size_t kChunk = size_t{1} << 20;
  while (true) {
    const ssize_t n = sendfile(out.get(), in.get(), nullptr, kChunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError(absl::StrCat("copy \"", from, "\""));
    if (n == 0) break;
  }
  struct stat now;
  if (fstat(in.get(), &now) != 0) return PosixError(absl::StrCat("stat \"", from, "\""));
  if (!SameVersion(now, file.stat)) {
    return absl::AbortedError(absl::StrCat("\"", from, "\" changes while it is used"));
  }
  if (fchmod(out.get(), file.stat.st_mode & 0777) != 0) return PosixError("fchmod");
  return absl::OkStatus();
}

// Removes one copy of a prefix (two levels) or a part of one.
void RemoveCopy(const std::string& path) {
  for (const char* part : {"bin", "share"}) {
    const std::string directory = absl::StrCat(path, "/", part);
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
    if (dir == nullptr) continue;
    while (const dirent* entry = readdir(dir.get())) {
      unlinkat(dirfd(dir.get()), entry->d_name, 0);
    }
    rmdir(directory.c_str());
  }
  rmdir(path.c_str());
}

}  // namespace

absl::StatusOr<PrefixCache> PrefixCache::Create(UniqueFd host_root, std::string directory) {
  HULL_RETURN_IF_ERROR(MakeDirectory(directory));
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr) return PosixError(absl::StrCat("open \"", directory, "\""));
  // Copies may be in use while the emulated host is up, so this is the time to remove old ones.
  std::vector<std::pair<int64_t, std::string>> copies;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string path = absl::StrCat(directory, "/", entry->d_name);
    struct stat stat;
    if (entry->d_name[0] == '.' || lstat(path.c_str(), &stat) != 0) continue;
    if (S_ISDIR(stat.st_mode)) copies.emplace_back(stat.st_mtim.tv_sec, path);
  }
  std::sort(copies.begin(), copies.end());
  if (!copies.empty()) copies.pop_back();
  for (const auto& [time, path] : copies) RemoveCopy(path);
  return PrefixCache(std::move(host_root), std::move(directory));
}

absl::StatusOr<std::string> PrefixCache::Resolve(const std::string& program) const {
  const size_t name_at = program.rfind('/') + 1;
  if (name_at < 5 || program.compare(name_at - 5, 5, "/bin/") != 0) return program;
  const std::string prefix = program.substr(0, name_at - 5);
  if (!OpenInHost(host_root_, absl::StrCat(prefix, "/share/", kMarker), O_PATH).ok()) {
    return program;
  }
  std::vector<CachedFile> files;
  for (const char* directory : {"bin", "share"}) {
    HULL_ASSIGN_OR_RETURN(std::vector<CachedFile> found,
                          ListFiles(host_root_, absl::StrCat(prefix, "/", directory), directory));
    files.insert(files.end(), found.begin(), found.end());
  }
  uint64_t bytes = 0;
  for (const CachedFile& file : files) bytes += static_cast<uint64_t>(file.stat.st_size);
  if (files.size() > kMaxFiles || bytes > kMaxBytes) return program;
  std::sort(files.begin(), files.end(), [](const CachedFile& a, const CachedFile& b) {
    return std::tie(a.directory, a.name) < std::tie(b.directory, b.name);
  });
  std::string fingerprint = absl::StrCat(prefix, "\n");
  for (const CachedFile& file : files) fingerprint += Fingerprint(file);

  const std::string copy = absl::StrCat(directory_, "/", HexName(fingerprint));
  const std::string copied_program = absl::StrCat(copy, "/bin/", program.substr(name_at));
  if (access(copied_program.c_str(), X_OK) == 0) {
    // The newest copy survives a restart: newest by use.
    utimensat(AT_FDCWD, copy.c_str(), nullptr, 0);
    return copied_program;
  }

  HULL_ASSIGN_OR_RETURN(const UniqueFd lock,
                        UniqueFd::Open(absl::StrCat(directory_, "/.lock"), O_RDWR | O_CREAT, 0600));
  if (flock(lock.get(), LOCK_EX) != 0) return PosixError("flock");
  if (access(copied_program.c_str(), X_OK) == 0) return copied_program;
  const std::string unfinished = absl::StrCat(directory_, "/unfinished");
  RemoveCopy(unfinished);
  HULL_RETURN_IF_ERROR(MakeDirectory(unfinished));
  HULL_RETURN_IF_ERROR(MakeDirectory(absl::StrCat(unfinished, "/bin")));
  HULL_RETURN_IF_ERROR(MakeDirectory(absl::StrCat(unfinished, "/share")));
  for (const CachedFile& file : files) {
    const std::string relative = absl::StrCat(file.directory, "/", file.name);
    HULL_RETURN_IF_ERROR(CopyFile(host_root_, absl::StrCat(prefix, "/", relative), file,
                                  absl::StrCat(unfinished, "/", relative)));
  }
  // On disk before it has its name: a copy that is found is whole even after a power cut.
  if (syncfs(lock.get()) != 0) return PosixError("syncfs");
  if (rename(unfinished.c_str(), copy.c_str()) != 0) {
    return PosixError(absl::StrCat("rename to \"", copy, "\""));
  }
  // A file outside the prefix's layout, such as a broken link of that name.
  if (access(copied_program.c_str(), X_OK) != 0) return program;
  return copied_program;
}

}  // namespace hull::emulated_host
