#include "vmm/container/pc_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"

namespace hull::container {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

absl::Status CopyRange(int from, int to, off_t start, off_t end, std::vector<uint8_t>& buffer) {
  if (lseek(to, start, SEEK_SET) < 0) return PosixError("seek");
  while (start < end) {
    const std::span<uint8_t> part(buffer.data(),
                                  std::min(buffer.size(), static_cast<size_t>(end - start)));
    HULL_ASSIGN_OR_RETURN(const size_t n, PreadFull(from, part, start));
    if (n == 0) return absl::DataLossError("the disk became shorter while it was copied");
    HULL_RETURN_IF_ERROR(
        // SAFETY: any object may be seen as bytes.
        WriteFull(to, absl::string_view(reinterpret_cast<const char*>(part.data()), n)));
    start += static_cast<off_t>(n);
  }
  return absl::OkStatus();
}

absl::Status CopyData(int from, int to, off_t size) {
  if (ioctl(to, FICLONE, from) == 0) return absl::OkStatus();
  if (ftruncate(to, size) != 0) return PosixError("size");
  std::vector<uint8_t> buffer(kBufferBytes);
  for (off_t start = 0; start < size;) {
    start = lseek(from, start, SEEK_DATA);
    if (start < 0 && errno == ENXIO) break;  // nothing but a hole is left
    if (start < 0) return PosixError("seek");
    const off_t end = lseek(from, start, SEEK_HOLE);
    if (end < 0) return PosixError("seek");
    HULL_RETURN_IF_ERROR(CopyRange(from, to, start, end, buffer));
    start = end;
  }
  return absl::OkStatus();
}

}  // namespace

std::string PcDiskPath(absl::string_view state_directory) {
  return absl::StrCat(state_directory, "/disk.img");
}

absl::Status CopyDisk(const std::string& from, const std::string& to) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd source, UniqueFd::Open(from, O_RDONLY));
  struct stat info;
  if (fstat(source.get(), &info) != 0) return PosixError(absl::StrCat("stat \"", from, "\""));
  HULL_ASSIGN_OR_RETURN(const UniqueFd copy, UniqueFd::Open(to, O_RDWR | O_CREAT | O_EXCL, 0600));
  const absl::Status copied = CopyData(source.get(), copy.get(), info.st_size);
  if (copied.ok()) return copied;
  unlink(to.c_str());
  return Annotate(copied, absl::StrCat("copy the disk to \"", to, "\""));
}

}  // namespace hull::container
