// A stream of bytes that is read once, from its beginning.

#ifndef IMAGES_OCI_BYTE_SOURCE_H_
#define IMAGES_OCI_BYTE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/digest.h"
#include "vmm/base/unique_fd.h"

struct evp_md_ctx_st;

namespace hull::images {

// Not thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills at least one byte of `buffer` (which is not empty), or returns 0 at the end.
  virtual absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) = 0;
};

// The bytes of a descriptor from its current position.
class FileSource : public ByteSource {
 public:
  explicit FileSource(UniqueFd fd) : fd_(std::move(fd)) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override;

 private:
  UniqueFd fd_;
};

// The bytes of a text, which must outlive the source.
class TextSource : public ByteSource {
 public:
  explicit TextSource(absl::string_view text) : rest_(text) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override;

 private:
  absl::string_view rest_;
};

// A running SHA-256.
class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  ~Sha256();

  void Update(std::span<const uint8_t> data);
  // The digest of all data so far. Call it once, last.
  Digest Finish();

 private:
  evp_md_ctx_st* const context_;
};

// Passes the bytes of another source on and checks them against what was promised. What a reader
// makes of the bytes must not be used before Finish() has said that they are the right ones.
class VerifiedSource : public ByteSource {
 public:
  static constexpr uint64_t kAnySize = UINT64_MAX;

  // `size` is the exact length in bytes, or kAnySize when only the digest is known.
  // `what` names the content in errors.
  VerifiedSource(ByteSource& source, std::string what, Digest digest, uint64_t size)
      : source_(source), what_(std::move(what)), digest_(std::move(digest)), size_(size) {}

  // kDataLoss as soon as there are more bytes than promised.
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override;
  // Reads what is left; kDataLoss if the length or the digest differs.
  absl::Status Finish();

  uint64_t bytes_read() const { return bytes_read_; }

 private:
  ByteSource& source_;
  const std::string what_;
  const Digest digest_;
  const uint64_t size_;
  uint64_t bytes_read_ = 0;
  Sha256 hash_;
};

}  // namespace hull::images

#endif  // IMAGES_OCI_BYTE_SOURCE_H_
