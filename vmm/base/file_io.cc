#include "vmm/base/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"

namespace hull {

absl::StatusOr<size_t> ReadFull(int fd, std::span<uint8_t> buffer) {
  size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t n = read(fd, buffer.data() + done, buffer.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("read");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

absl::StatusOr<size_t> PreadFull(int fd, std::span<uint8_t> buffer, off_t offset) {
  size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t n =
        pread(fd, buffer.data() + done, buffer.size() - done, offset + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("read");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

absl::Status WriteFull(int fd, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("write");
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t limit) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd fd, UniqueFd::Open(path, O_RDONLY));
  // Not sized by fstat: files in /proc and pipes say 0.
  std::string content;
  constexpr size_t kChunk = 16384;
  while (true) {
    const size_t old_size = content.size();
    const size_t want = std::min(kChunk, limit - old_size + 1);
    content.resize(old_size + want);
    absl::StatusOr<size_t> n =
        ReadFull(fd.get(), std::span(reinterpret_cast<uint8_t*>(content.data()) + old_size, want));
    if (!n.ok()) return Annotate(n.status(), absl::StrCat("\"", path, "\""));
    content.resize(old_size + *n);
    if (content.size() > limit) {
      return absl::OutOfRangeError(
          absl::StrCat("\"", path, "\" is larger than the ", limit, " bytes allowed"));
    }
    if (*n < want) return content;
  }
}

namespace {

absl::Status WriteSyncRename(const std::string& temporary, const std::string& path,
                             absl::string_view data, mode_t mode) {
  {
    HULL_ASSIGN_OR_RETURN(const UniqueFd fd,
                          UniqueFd::Open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    absl::Status written = WriteFull(fd.get(), data);
    if (!written.ok()) return Annotate(written, absl::StrCat("\"", path, "\""));
    if (fsync(fd.get()) != 0) return PosixError(absl::StrCat("fsync \"", path, "\""));
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return PosixError(absl::StrCat("rename to \"", path, "\""));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteFileAtomically(const std::string& path, absl::string_view data, mode_t mode) {
  // Unique among the threads of this process and, by the pid, among processes.
  static std::atomic<uint64_t> counter{0};
  const std::string temporary =
      absl::StrCat(path, ".tmp-", getpid(), "-", counter.fetch_add(1, std::memory_order_relaxed));
  absl::Status status = WriteSyncRename(temporary, path, data, mode);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  const size_t slash = path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : (slash == 0 ? "/" : path.substr(0, slash));
  HULL_ASSIGN_OR_RETURN(const UniqueFd dir, UniqueFd::Open(directory, O_RDONLY | O_DIRECTORY));
  if (fsync(dir.get()) != 0) return PosixError(absl::StrCat("fsync \"", directory, "\""));
  return absl::OkStatus();
}

}  // namespace hull
