#include "images/layers/disk_layer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "images/oci/archive.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
// What may become a hole: a block of the usual file systems.
constexpr size_t kHoleBytes = 4096;

bool IsZero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

absl::Status WriteAt(int fd, std::span<const uint8_t> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return PosixError("write the disk");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

// A disk that is written from its beginning to its end, with holes where it has zeros.
class SparseWriter {
 public:
  SparseWriter(int fd, uint64_t max_data_bytes) : fd_(fd), max_data_bytes_(max_data_bytes) {}

  absl::Status Write(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      // Up to the next multiple of kHoleBytes, whatever the pieces that it comes in.
      const size_t step = std::min(bytes.size(), kHoleBytes - bytes_ % kHoleBytes);
      const std::span<const uint8_t> block = bytes.first(step);
      if (!IsZero(block)) {
        data_bytes_ += step;
        if (data_bytes_ > max_data_bytes_) {
          return absl::ResourceExhaustedError(absl::StrCat(
              "the disk holds more than the ", max_data_bytes_, " bytes of data allowed"));
        }
        HULL_RETURN_IF_ERROR(WriteAt(fd_, block, bytes_));
      }
      bytes_ += step;
      bytes = bytes.subspan(step);
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) return PosixError("size the disk");
    return absl::OkStatus();
  }

  uint64_t bytes() const { return bytes_; }

 private:
  const int fd_;
  const uint64_t max_data_bytes_;
  uint64_t bytes_ = 0;
  uint64_t data_bytes_ = 0;
};

}  // namespace

absl::StatusOr<PackedDisk> PackDisk(ByteSource& plain, uint64_t bytes, int disk_fd, int blob_fd,
                                    const DiskProgress& progress) {
  Sha256 plain_hash;
  Sha256 blob_hash;
  uint64_t blob_bytes = 0;
  SparseWriter disk(disk_fd, kMaxDiskBytes);
  HULL_ASSIGN_OR_RETURN(
      const std::unique_ptr<Compressor> compressor,
      Compressor::Create([&](std::span<const uint8_t> piece) -> absl::Status {
        blob_hash.Update(piece);
        blob_bytes += piece.size();
        // SAFETY: any object may be seen as bytes.
        return WriteFull(
            blob_fd, absl::string_view(reinterpret_cast<const char*>(piece.data()), piece.size()));
      }));
  std::vector<uint8_t> buffer(kBufferBytes);
  while (disk.bytes() < bytes) {
    const std::span<uint8_t> room(buffer.data(),
                                  std::min<uint64_t>(buffer.size(), bytes - disk.bytes()));
    HULL_ASSIGN_OR_RETURN(const size_t n, plain.Read(room));
    if (n == 0) return absl::DataLossError("the file became shorter while it was read");
    const std::span<const uint8_t> piece = room.first(n);
    plain_hash.Update(piece);
    HULL_RETURN_IF_ERROR(compressor->Write(piece));
    HULL_RETURN_IF_ERROR(disk.Write(piece));
    progress(disk.bytes());
  }
  HULL_RETURN_IF_ERROR(compressor->Finish());
  HULL_RETURN_IF_ERROR(disk.Finish());
  return PackedDisk{.diff_id = plain_hash.Finish(),
                    .layer = {.media_type = kDiskLayerType,
                              .digest = blob_hash.Finish(),
                              .size = blob_bytes,
                              .platform = {},
                              .name = {}}};
}

absl::StatusOr<uint64_t> UnpackDisk(ByteSource& blob, const Descriptor& layer,
                                    const Digest& diff_id, BootDevice boot, uint64_t max_data_bytes,
                                    int disk_fd, const DiskProgress& progress) {
  VerifiedSource verified(blob, "the disk's blob", layer.digest, layer.size);
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<Decompressor> decompressor,
                        Decompressor::Create(verified, Compression::kZstdOnce));
  VerifiedSource plain(*decompressor, "the disk", diff_id, VerifiedSource::kAnySize);
  SparseWriter disk(disk_fd, max_data_bytes);
  std::vector<uint8_t> buffer(kBufferBytes);
  while (true) {
    HULL_ASSIGN_OR_RETURN(const size_t n, plain.Read(buffer));
    if (n == 0) break;
    // Before it is written: a disk of zeros without end would be one hole.
    if (n > kMaxDiskBytes - disk.bytes()) return CheckDiskSize(boot, kMaxDiskBytes + 1);
    HULL_RETURN_IF_ERROR(disk.Write(std::span(buffer).first(n)));
    progress(verified.bytes_read());
  }
  HULL_RETURN_IF_ERROR(plain.Finish());
  HULL_RETURN_IF_ERROR(verified.Finish());
  HULL_RETURN_IF_ERROR(CheckDiskSize(boot, disk.bytes()));
  HULL_RETURN_IF_ERROR(disk.Finish());
  return disk.bytes();
}

}  // namespace hull::images
