#include "vmm/container/disk.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/spawn.h"

namespace hull::container {
namespace {

constexpr char kMakeFileSystem[] = "/sbin/mke2fs";
constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;
// While mke2fs, which is another user, writes to it; nobody else gets through the directory.
constexpr mode_t kOpenMode = 0666;
constexpr size_t kCopyBytes = size_t{64} << 10;
constexpr absl::Duration kLookAgain = absl::Milliseconds(20);
// The number under which mke2fs inherits the file.
constexpr int kFileOfChild = 3;

// All that matters is said here, so that /etc/mke2fs.conf has no say: a journal, checksums of all
// metadata, times in nanoseconds. A new file is all zero, which needs neither to be written nor,
// later, to be done by the guest's kernel in the background. After an error of the disk the guest
// can only read.
std::vector<std::string> MakeFileSystemArguments(uint64_t bytes) {
  constexpr uint64_t kSmall = uint64_t{256} << 20;
  return {"mke2fs",
          "-q",
          "-F",
          "-t",
          "ext4",
          "-O",
          "none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,"
          "huge_file,dir_nlink,extra_isize,metadata_csum",
          "-b",
          "4096",
          "-I",
          "256",
          "-i",
          "16384",
          "-m",
          "0",
          "-e",
          "remount-ro",
          "-J",
          bytes < kSmall ? "size=4" : "size=32",
          "-E",
          "assume_storage_prezeroed=1,root_owner=0:0,nodiscard",
          absl::StrCat("/proc/self/fd/", kFileOfChild),
          absl::StrCat(bytes >> 20, "M")};
}

// `file` is empty and of the disk's size.
absl::Status MakeFileSystem(const DiskMaker& maker, int file, uint64_t bytes) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return PosixError("create a pipe");
  const UniqueFd words(ends[0]);
  UniqueFd words_of_child(ends[1]);
  SpawnOptions spawn;
  spawn.program = kMakeFileSystem;
  spawn.argv = MakeFileSystemArguments(bytes);
  spawn.fds = {-1, -1, words_of_child.get(), file};
  spawn.parent_death_signal = SIGKILL;
  // It reads nothing that anybody else wrote; that it has no rights either costs nothing.
  spawn.leave_host = true;
  sandbox::ClaimedUser user;
  if (geteuid() == 0) {
    HULL_ASSIGN_OR_RETURN(user, sandbox::ClaimUser(maker.users, maker.users_lock));
    spawn.user = user.user;
  }
  const absl::StatusOr<pid_t> pid = Spawn(spawn);
  if (absl::IsNotFound(pid.status())) {
    return absl::NotFoundError(absl::StrCat(
        "a disk needs ", kMakeFileSystem,
        ", which is not there: install the package e2fsprogs, or use --storage-size 0"));
  }
  if (!pid.ok()) return pid.status();
  words_of_child.Reset();
  // The first piece is all that is told; the rest is read so that its writer does not wait.
  uint8_t text[1024];
  const absl::StatusOr<size_t> said = ReadFull(words.get(), text);
  uint8_t rest[1024];
  while (ReadFull(words.get(), rest).value_or(0) > 0) {
  }
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(kMakeFileSystem, " failed: ",
                   absl::StripAsciiWhitespace(
                       absl::string_view(reinterpret_cast<const char*>(text),  // SAFETY: bytes.
                                         said.value_or(0)))));
}

// Copies what is not a hole to a file of the same size.
absl::Status CopyData(int from, int to) {
  const std::unique_ptr<uint8_t[]> buffer(new uint8_t[kCopyBytes]);
  off_t end = 0;
  while (true) {
    off_t at = lseek(from, end, SEEK_DATA);
    if (at < 0 && errno == ENXIO) return absl::OkStatus();
    if (at < 0) return PosixError("find data");
    end = lseek(from, at, SEEK_HOLE);
    if (end < 0) return PosixError("find holes");
    while (at < end) {
      const size_t wanted = std::min(kCopyBytes, static_cast<size_t>(end - at));
      HULL_ASSIGN_OR_RETURN(const size_t got, PreadFull(from, {buffer.get(), wanted}, at));
      if (got != wanted) return absl::DataLossError("the file has become shorter");
      size_t done = 0;
      while (done < got) {
        const ssize_t n =
            pwrite(to, buffer.get() + done, got - done, at + static_cast<off_t>(done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return PosixError("write");
        done += static_cast<size_t>(n);
      }
      at += static_cast<off_t>(got);
    }
  }
}

absl::Status SetSize(int file, uint64_t bytes, const std::string& path) {
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0) return absl::OkStatus();
  return PosixError(absl::StrCat("give \"", path, "\" its size"));
}

// Makes `path`, under the lock of its directory.
absl::Status MakeTemplate(const DiskMaker& maker, const std::string& path, uint64_t bytes) {
  // What an earlier one left that was killed is written over.
  const std::string unfinished = absl::StrCat(maker.templates, "/unfinished");
  HULL_ASSIGN_OR_RETURN(
      const UniqueFd file,
      UniqueFd::Open(unfinished, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, kFileMode));
  HULL_RETURN_IF_ERROR(SetSize(file.get(), bytes, unfinished));
  if (fchmod(file.get(), kOpenMode) != 0) return PosixError("open the template to mke2fs");
  HULL_RETURN_IF_ERROR(MakeFileSystem(maker, file.get(), bytes));
  if (fchmod(file.get(), kFileMode) != 0) return PosixError("close the template to others");
  if (fsync(file.get()) != 0) return PosixError(absl::StrCat("write \"", unfinished, "\""));
  if (rename(unfinished.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return PosixError(absl::StrCat("create \"", path, "\""));
}

absl::StatusOr<UniqueFd> OpenTemplate(const DiskMaker& maker, uint64_t bytes) {
  // The number is raised when MakeFileSystemArguments changes.
  const std::string path = absl::StrCat(maker.templates, "/ext4-1-", bytes);
  absl::StatusOr<UniqueFd> file = UniqueFd::Open(path, O_RDONLY | O_NOFOLLOW);
  if (!absl::IsNotFound(file.status())) return file;
  if (mkdir(maker.templates.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("create directory \"", maker.templates, "\""));
  }
  const std::string lock_path = absl::StrCat(maker.templates, "/lock");
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock,
                        UniqueFd::Open(lock_path, O_RDWR | O_CREAT | O_NOFOLLOW, kFileMode));
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return PosixError(absl::StrCat("lock \"", lock_path, "\""));
  }
  // Another may have made it meanwhile.
  file = UniqueFd::Open(path, O_RDONLY | O_NOFOLLOW);
  if (!absl::IsNotFound(file.status())) return file;
  HULL_RETURN_IF_ERROR(MakeTemplate(maker, path, bytes));
  return UniqueFd::Open(path, O_RDONLY | O_NOFOLLOW);
}

}  // namespace

std::string LayerPath(absl::string_view state_directory) {
  return absl::StrCat(state_directory, "/layer.ext4");
}

absl::Status MakeDisk(const DiskMaker& maker, const std::string& path, uint64_t bytes) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd from, OpenTemplate(maker, bytes));
  HULL_ASSIGN_OR_RETURN(const UniqueFd to,
                        UniqueFd::Open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, kFileMode));
  absl::Status status = SetSize(to.get(), bytes, path);
  if (status.ok()) {
    status = Annotate(CopyData(from.get(), to.get()), absl::StrCat("make \"", path, "\""));
  }
  if (status.ok() && fsync(to.get()) != 0)
    status = PosixError(absl::StrCat("write \"", path, "\""));
  if (!status.ok()) unlink(path.c_str());
  return status;
}

absl::StatusOr<UniqueFd> OpenDisk(const std::string& path, DiskAccess access,
                                  absl::Duration patience) {
  const bool read_only = access == DiskAccess::kReadOnly;
  HULL_ASSIGN_OR_RETURN(UniqueFd file,
                        UniqueFd::Open(path, (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW));
  struct flock lock = {};
  lock.l_type = static_cast<short>(read_only ? F_RDLCK : F_WRLCK);
  lock.l_whence = SEEK_SET;
  const absl::Time end = absl::Now() + patience;
  while (fcntl(file.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EACCES) return PosixError(absl::StrCat("lock \"", path, "\""));
    if (absl::Now() >= end) {
      return absl::FailedPreconditionError(
          absl::StrCat("\"", path, "\" is in use by another machine"));
    }
    absl::SleepFor(kLookAgain);
  }
  return file;
}

absl::StatusOr<DiskUsage> LookAtDisk(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return PosixError(absl::StrCat("inspect \"", path, "\""));
  // st_blocks counts in 512 bytes, whatever the file system's block size.
  return DiskUsage{.size_bytes = static_cast<uint64_t>(info.st_size),
                   .allocated_bytes = static_cast<uint64_t>(info.st_blocks) * 512};
}

}  // namespace hull::container
