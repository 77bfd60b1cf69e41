// The name of a piece of content: the SHA-256 of its bytes.

#ifndef IMAGES_DIGEST_H_
#define IMAGES_DIGEST_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::images {

// An immutable digest of the form "sha256:" and 64 lower-case hexadecimal digits (OCI image
// specification, "Digests"). Other algorithms are refused: none is in use.
class Digest {
 public:
  static constexpr size_t kHexDigits = 64;

  // kInvalidArgument if `text` has another form.
  static absl::StatusOr<Digest> Parse(absl::string_view text);
  // `hex` is already known to be 64 lower-case hexadecimal digits.
  static Digest FromHex(std::string hex) { return Digest(std::move(hex)); }

  const std::string& hex() const { return hex_; }
  std::string ToString() const;

  friend bool operator==(const Digest&, const Digest&) = default;

 private:
  explicit Digest(std::string hex) : hex_(std::move(hex)) {}
  std::string hex_;
};

// Whether every character is one of 0-9 and a-f.
bool IsLowerHex(absl::string_view text);

}  // namespace hull::images

#endif  // IMAGES_DIGEST_H_
