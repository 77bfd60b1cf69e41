#include "vmm/devices/block/file_backend.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/devices/block/wire.h"
#include "vmm/memory/guest_memory.h"

namespace hull::block {
namespace {

constexpr uint64_t kBounceSize = 64 << 10;
// No storage asks for more than this of O_DIRECT; the bounce buffer (page-aligned) satisfies it.
constexpr uint32_t kMaxBlockSize = 4096;

uint64_t TotalSize(std::span<const iovec> slices) {
  uint64_t total = 0;
  for (const iovec& slice : slices) total += slice.iov_len;
  return total;
}

using VectoredCall = ssize_t (*)(int fd, const iovec* slices, int count, off_t offset);

// Repeats `call`, preadv or pwritev, until all is transferred.
absl::Status TransferAll(VectoredCall call, int fd, uint64_t offset, std::span<iovec> slices) {
  while (!slices.empty()) {
    const int count = static_cast<int>(std::min<size_t>(slices.size(), IOV_MAX));
    const ssize_t n = call(fd, slices.data(), count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError(call == preadv ? "read" : "write");
    // The size was fixed at the start: somebody truncated the file since.
    if (n == 0) return absl::DataLossError("the file is shorter than it was");
    offset += static_cast<uint64_t>(n);
    size_t left = static_cast<size_t>(n);
    while (left > 0 && left >= slices[0].iov_len) {
      left -= slices[0].iov_len;
      slices = slices.subspan(1);
    }
    if (left > 0) {
      slices[0].iov_base = static_cast<uint8_t*>(slices[0].iov_base) + left;
      slices[0].iov_len -= left;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileBackend>> FileBackend::Open(const std::string& path,
                                                               const Options& options) {
  // Non-blocking for the sake of what is no disk: opening a FIFO would wait for its other end.
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY;
  HULL_ASSIGN_OR_RETURN(UniqueFd fd, UniqueFd::Open(path, flags));
  return Create(std::move(fd), absl::StrCat("\"", path, "\""), options);
}

absl::StatusOr<std::unique_ptr<FileBackend>> FileBackend::Create(UniqueFd fd, std::string name,
                                                                 const Options& options) {
  std::unique_ptr<FileBackend> backend(new FileBackend(std::move(fd), std::move(name), options));
  HULL_RETURN_IF_ERROR(backend->CheckAccessMode());
  HULL_RETURN_IF_ERROR(backend->FindSize());
  HULL_RETURN_IF_ERROR(backend->Lock());
  if (options.direct) HULL_RETURN_IF_ERROR(backend->EnableDirect());
  return backend;
}

absl::Status FileBackend::Error(absl::string_view what) const {
  const int error = errno;
  return PosixError(error, absl::StrCat(what, " disk ", name_));
}

absl::Status FileBackend::CheckAccessMode() const {
  const int flags = fcntl(fd_.get(), F_GETFL);
  if (flags < 0) return Error("inspect");
  const int mode = flags & O_ACCMODE;
  if (mode == O_RDWR || (mode == O_RDONLY && options_.read_only)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("disk ", name_, " is not open for ",
                                                 options_.read_only ? "reading" : "writing"));
}

absl::Status FileBackend::FindSize() {
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return Error("inspect");
  if (S_ISREG(info.st_mode)) {
    size_ = static_cast<uint64_t>(info.st_size);
  } else if (S_ISBLK(info.st_mode)) {
    if (ioctl(fd_.get(), BLKGETSIZE64, &size_) != 0) return Error("find the size of");
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("disk ", name_, " is neither a regular file nor a block device"));
  }
  if (size_ == 0) return absl::InvalidArgumentError(absl::StrCat("disk ", name_, " is empty"));
  if (size_ % kSectorSize != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "disk ", name_, " has ", size_, " bytes, which is not a multiple of ", kSectorSize));
  }
  return absl::OkStatus();
}

absl::Status FileBackend::Lock() const {
  struct flock lock = {};
  lock.l_type = options_.read_only ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;  // From 0 to the end, wherever that is.
  if (fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0) return absl::OkStatus();
  if (errno == EAGAIN || errno == EACCES) {
    return absl::FailedPreconditionError(absl::StrCat(
        "disk ", name_, " is in use by another machine",
        options_.read_only ? " that writes to it" : "; only read-only disks can be shared"));
  }
  if (errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) {
    LOG(WARNING) << "disk " << name_ << ": its file system has no locks, so nothing keeps a "
                 << "second machine from using it";
    return absl::OkStatus();
  }
  return Error("lock");
}

absl::Status FileBackend::EnableDirect() {
  const int flags = fcntl(fd_.get(), F_GETFL);
  if (flags < 0 || fcntl(fd_.get(), F_SETFL, flags | O_DIRECT) != 0) {
    if (errno != EINVAL) return Error("set O_DIRECT for");
    return absl::InvalidArgumentError(
        absl::StrCat("disk ", name_, ": its file system has no direct I/O"));
  }
  // What size of access the storage takes is found by trying, as no interface says it for every
  // file system and kernel.
  HULL_RETURN_IF_ERROR(AllocateBounce());
  for (block_size_ = kSectorSize; block_size_ <= kMaxBlockSize; block_size_ *= 2) {
    if (pread(fd_.get(), bounce_.data(), block_size_, 0) >= 0) break;
    if (errno != EINVAL) return Error("read");
  }
  if (block_size_ > kMaxBlockSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("disk ", name_, ": its storage takes no direct I/O in blocks of ",
                     kMaxBlockSize, " bytes or less"));
  }
  if (size_ % block_size_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("disk ", name_, " has ", size_, " bytes, which is not a multiple of the ",
                     block_size_, " bytes that direct I/O works in on its storage"));
  }
  return absl::OkStatus();
}

bool FileBackend::Aligned(uint64_t offset, std::span<const iovec> slices) const {
  if (!options_.direct) return true;
  uint64_t bits = offset;
  for (const iovec& slice : slices) {
    bits |= reinterpret_cast<uintptr_t>(slice.iov_base) | slice.iov_len;
  }
  return (bits & (block_size_ - 1)) == 0;
}

absl::Status FileBackend::AllocateBounce() {
  if (bounce_.size() != 0) return absl::OkStatus();
  HULL_ASSIGN_OR_RETURN(
      bounce_, ScopedMmap::Map(kBounceSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
  return absl::OkStatus();
}

absl::Status FileBackend::Read(uint64_t offset, std::span<iovec> to) {
  if (!Aligned(offset, to)) return ReadBounced(offset, to);
  return TransferAll(preadv, fd_.get(), offset, to);
}

absl::Status FileBackend::Write(uint64_t offset, std::span<iovec> from) {
  if (!Aligned(offset, from)) return WriteBounced(offset, TotalSize(from), from);
  return TransferAll(pwritev, fd_.get(), offset, from);
}

absl::Status FileBackend::ReadBounced(uint64_t offset, std::span<const iovec> to) {
  HULL_RETURN_IF_ERROR(AllocateBounce());
  const uint64_t end = offset + TotalSize(to);
  for (uint64_t chunk = offset & ~uint64_t{block_size_ - 1}; chunk < end; chunk += kBounceSize) {
    const uint64_t size = std::min(kBounceSize, size_ - chunk);
    const std::span<uint8_t> buffer(bounce_.data(), size);
    HULL_ASSIGN_OR_RETURN(const size_t read,
                          PreadFull(fd_.get(), buffer, static_cast<off_t>(chunk)));
    if (read < size) return absl::DataLossError("the file is shorter than it was");
    const uint64_t from = std::max(chunk, offset);
    const uint64_t until = std::min(chunk + size, end);
    CopyToSlices(buffer.subspan(from - chunk, until - from), to, from - offset);
  }
  return absl::OkStatus();
}

absl::Status FileBackend::WriteBounced(uint64_t offset, uint64_t size,
                                       std::optional<std::span<const iovec>> from) {
  HULL_RETURN_IF_ERROR(AllocateBounce());
  const uint64_t end = offset + size;
  const uint64_t block_mask = block_size_ - 1;
  for (uint64_t chunk = offset & ~block_mask; chunk < end; chunk += kBounceSize) {
    const uint64_t chunk_end = std::min(chunk + kBounceSize, (end + block_mask) & ~block_mask);
    const std::span<uint8_t> buffer(bounce_.data(), chunk_end - chunk);
    const uint64_t start = std::max(chunk, offset);
    const uint64_t until = std::min(chunk_end, end);
    if (start != chunk || until != chunk_end) {
      // The rest of a block at either end keeps its content. Nobody else writes it meanwhile: the
      // disk is locked, and this thread executes one request at a time.
      HULL_ASSIGN_OR_RETURN(const size_t read,
                            PreadFull(fd_.get(), buffer, static_cast<off_t>(chunk)));
      if (read < buffer.size()) return absl::DataLossError("the file is shorter than it was");
    }
    const std::span<uint8_t> part = buffer.subspan(start - chunk, until - start);
    if (from.has_value()) {
      CopyFromSlices(*from, start - offset, part);
    } else {
      std::memset(part.data(), 0, part.size());
    }
    iovec slice = {buffer.data(), buffer.size()};
    HULL_RETURN_IF_ERROR(TransferAll(pwritev, fd_.get(), chunk, std::span(&slice, 1)));
  }
  return absl::OkStatus();
}

absl::Status FileBackend::Flush() {
  if (fdatasync(fd_.get()) != 0) return PosixError("fdatasync");
  return absl::OkStatus();
}

absl::StatusOr<bool> FileBackend::Allocate(int mode, uint64_t offset, uint64_t size,
                                           bool& supported) const {
  if (!supported) return false;
  int result;
  do {
    result = fallocate(fd_.get(), mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(size));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return true;
  if (errno == EOPNOTSUPP || errno == ENOSYS) {
    supported = false;
    return false;
  }
  // A block device refuses a range that is not aligned to its own blocks.
  if (errno == EINVAL) return false;
  return PosixError("fallocate");
}

absl::Status FileBackend::Discard(uint64_t offset, uint64_t size) {
  // 5.2.6.2: deallocating is a MAY, so a file system without holes is no error.
  return Allocate(FALLOC_FL_PUNCH_HOLE, offset, size, can_punch_).status();
}

absl::Status FileBackend::WriteZeroes(uint64_t offset, uint64_t size, bool may_unmap) {
  if (may_unmap) {
    HULL_ASSIGN_OR_RETURN(const bool punched,
                          Allocate(FALLOC_FL_PUNCH_HOLE, offset, size, can_punch_));
    if (punched) return absl::OkStatus();
  }
  HULL_ASSIGN_OR_RETURN(const bool zeroed, Allocate(FALLOC_FL_ZERO_RANGE, offset, size, can_zero_));
  if (zeroed) return absl::OkStatus();
  return WriteBounced(offset, size, std::nullopt);
}

}  // namespace hull::block
