// libarchive behind absl::Status: decompression, and the entries of a tar stream.

#ifndef IMAGES_OCI_ARCHIVE_H_
#define IMAGES_OCI_ARCHIVE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/entry_type.h"
#include "images/oci/byte_source.h"

struct archive;
struct archive_entry;

namespace hull::images {

// Which compressed formats a Decompressor takes. Plain data passes through it unchanged only with
// kAny. With kZstdOnce what comes out is taken as it is; with the others it is decompressed again
// if it is compressed itself.
enum class Compression { kGzip, kZstd, kZstdOnce, kAny };

// Decompresses a stream of at least one byte. The format is told by the content.
class Decompressor : public ByteSource {
 public:
  // `source` must outlive the result.
  static absl::StatusOr<std::unique_ptr<Decompressor>> Create(ByteSource& source,
                                                              Compression compression);
  ~Decompressor() override;

  // kDataLoss for a corrupt or truncated stream; an error of the source unchanged.
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override;

 private:
  struct Input;
  Decompressor();
  std::unique_ptr<Input> input_;
  archive* archive_ = nullptr;
};

// Compresses a stream with Zstandard. The same bytes give the same result with the same version of
// the library. Not thread-safe.
class Compressor {
 public:
  // Takes what comes out; called by Write() and Finish().
  using Sink = std::function<absl::Status(std::span<const uint8_t>)>;

  static absl::StatusOr<std::unique_ptr<Compressor>> Create(Sink sink);
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  ~Compressor();

  // An error of the sink unchanged. After an error, only destruction is allowed.
  absl::Status Write(std::span<const uint8_t> data);
  // Once, last.
  absl::Status Finish();

 private:
  struct Output;
  explicit Compressor(Sink sink);
  absl::Status Error() const;

  std::unique_ptr<Output> output_;
  archive* archive_ = nullptr;
};

// Goes over the entries of an uncompressed tar stream (ustar, pax, GNU). Names are the raw bytes
// of the archive, whatever their encoding. Not thread-safe.
class TarReader {
 public:
  // A piece of an entry's data; `data` lives until the next call on the reader.
  struct Block {
    uint64_t offset;
    std::span<const uint8_t> data;
  };

  // From a stream, which must outlive the reader.
  static absl::StatusOr<std::unique_ptr<TarReader>> Open(ByteSource& source);
  // From position 0 of `fd`, which stays the caller's and may be read by others: data that is not
  // wanted is skipped by seeking.
  static absl::StatusOr<std::unique_ptr<TarReader>> OpenFile(int fd);
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;
  ~TarReader();

  // Goes to the next entry; false at the end. kDataLoss for a corrupt stream; an error of the
  // source unchanged. After an error, only destruction is allowed.
  absl::StatusOr<bool> Next();

  // Of the current entry. Strings live until the next call of Next().
  EntryType type() const;
  absl::string_view path() const;
  absl::string_view link_target() const;  // of a hard or symbolic link
  uint32_t mode() const;                  // the 12 permission bits
  int64_t uid() const;
  int64_t gid() const;
  int64_t size() const;  // of a regular file's data, in bytes
  int64_t mtime() const;
  uint32_t mtime_nsec() const;
  uint64_t device_major() const;
  uint64_t device_minor() const;
  std::vector<std::pair<std::string, std::string>> Xattrs() const;

  // The next part of the entry's data: holes are left out. False at its end.
  absl::StatusOr<bool> NextBlock(Block* block);
  // The same as a plain stream, with holes as zeros.
  absl::StatusOr<size_t> ReadData(std::span<uint8_t> buffer);

 private:
  struct Input;
  TarReader();
  absl::Status Error() const;

  std::unique_ptr<Input> input_;
  archive* archive_ = nullptr;
  archive_entry* entry_ = nullptr;
};

}  // namespace hull::images

#endif  // IMAGES_OCI_ARCHIVE_H_
