// A disk in a raw file or on a block device of the host.

#ifndef VMM_DEVICES_BLOCK_FILE_BACKEND_H_
#define VMM_DEVICES_BLOCK_FILE_BACKEND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/scoped_mmap.h"
#include "vmm/base/unique_fd.h"
#include "vmm/devices/block/backend.h"

namespace hull::block {

// Not thread-safe.
class FileBackend : public Backend {
 public:
  struct Options {
    bool read_only = false;
    // Past the host's page cache (O_DIRECT).
    bool direct = false;
  };

  // Opens `path`. Errors name it: kNotFound, kPermissionDenied, and those of Create.
  static absl::StatusOr<std::unique_ptr<FileBackend>> Open(const std::string& path,
                                                           const Options& options);

  // Takes an open descriptor; `name` is what messages call it: `"/path"`, `descriptor 5`. The
  // disk's size is the file's, now and for ever.
  //
  // kInvalidArgument: neither a regular file nor a block device; empty; not a multiple of 512 bytes
  // (with `direct`: of the storage's block size); not open for what `options` ask; no O_DIRECT on
  // this file system. kFailedPrecondition: in use (below).
  //
  // Locks the file (an advisory lock of the open file description, released with it): shared if
  // read-only, else exclusive, so that no two machines write one disk. Where the file system has no
  // locks, a line in the log says so.
  static absl::StatusOr<std::unique_ptr<FileBackend>> Create(UniqueFd fd, std::string name,
                                                             const Options& options);

  absl::string_view name() const override { return name_; }
  uint64_t size() const override { return size_; }
  uint32_t block_size() const override { return block_size_; }
  bool read_only() const override { return options_.read_only; }

  absl::Status Read(uint64_t offset, std::span<iovec> to) override;
  absl::Status Write(uint64_t offset, std::span<iovec> from) override;
  absl::Status Flush() override;
  absl::Status Discard(uint64_t offset, uint64_t size) override;
  absl::Status WriteZeroes(uint64_t offset, uint64_t size, bool may_unmap) override;

 private:
  FileBackend(UniqueFd fd, std::string name, const Options& options)
      : fd_(std::move(fd)), name_(std::move(name)), options_(options) {}

  absl::Status CheckAccessMode() const;
  absl::Status Lock() const;
  absl::Status FindSize();
  absl::Status EnableDirect();

  // Whether the request can go to the file as it is: always, but for O_DIRECT's alignment.
  bool Aligned(uint64_t offset, std::span<const iovec> slices) const;
  absl::Status AllocateBounce();
  // The parts of Read and Write that go through the bounce buffer, widened to whole blocks.
  absl::Status ReadBounced(uint64_t offset, std::span<const iovec> to);
  // Without slices it writes zeroes.
  absl::Status WriteBounced(uint64_t offset, uint64_t size,
                            std::optional<std::span<const iovec>> from);
  // fallocate(2). False where the file system cannot do it (for good: clears `supported`) or the
  // storage cannot for this range.
  absl::StatusOr<bool> Allocate(int mode, uint64_t offset, uint64_t size, bool& supported) const;
  // What failed, on this disk.
  absl::Status Error(absl::string_view what) const;

  const UniqueFd fd_;
  const std::string name_;
  const Options options_;
  uint64_t size_ = 0;
  uint32_t block_size_ = 512;
  ScopedMmap bounce_;  // Empty until first needed.
  // What the file system turned out not to have.
  bool can_punch_ = true;
  bool can_zero_ = true;
};

}  // namespace hull::block

#endif  // VMM_DEVICES_BLOCK_FILE_BACKEND_H_
