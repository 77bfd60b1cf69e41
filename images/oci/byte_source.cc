#include "images/oci/byte_source.h"

#include <glog/logging.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {

absl::StatusOr<size_t> FileSource::Read(std::span<uint8_t> buffer) {
  while (true) {
    const ssize_t n = read(fd_.get(), buffer.data(), buffer.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return PosixError("read");
  }
}

absl::StatusOr<size_t> TextSource::Read(std::span<uint8_t> buffer) {
  const size_t n = std::min(buffer.size(), rest_.size());
  std::copy_n(rest_.begin(), n, buffer.begin());
  rest_.remove_prefix(n);
  return n;
}

// libcrypto fails here only when there is no memory left for 200 bytes.
Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::Update(std::span<const uint8_t> data) {
  CHECK_EQ(EVP_DigestUpdate(context_, data.data(), data.size()), 1);
}

Digest Sha256::Finish() {
  std::array<uint8_t, EVP_MAX_MD_SIZE> value;
  unsigned int size = 0;
  CHECK_EQ(EVP_DigestFinal_ex(context_, value.data(), &size), 1);
  return Digest::FromHex(
      absl::BytesToHexString({reinterpret_cast<const char*>(value.data()), size}));
}

absl::StatusOr<size_t> VerifiedSource::Read(std::span<uint8_t> buffer) {
  HULL_ASSIGN_OR_RETURN(const size_t n, source_.Read(buffer));
  bytes_read_ += n;
  if (bytes_read_ > size_) {
    return absl::DataLossError(
        absl::StrCat(what_, " is longer than the ", size_, " bytes that its descriptor says"));
  }
  hash_.Update(buffer.first(n));
  return n;
}

absl::Status VerifiedSource::Finish() {
  std::vector<uint8_t> buffer(65536);
  while (true) {
    HULL_ASSIGN_OR_RETURN(const size_t n, Read(buffer));
    if (n == 0) break;
  }
  if (size_ != kAnySize && bytes_read_ != size_) {
    return absl::DataLossError(absl::StrCat(what_, " is truncated: ", bytes_read_,
                                            " bytes, and its descriptor says ", size_));
  }
  const Digest actual = hash_.Finish();
  if (actual == digest_) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(what_, " does not match its digest: it should be ",
                                          digest_.ToString(), " and is ", actual.ToString()));
}

}  // namespace hull::images
