// Names of images: what a person types, and what the store files it under.

#ifndef IMAGES_REFERENCE_H_
#define IMAGES_REFERENCE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/digest.h"

namespace hull::images {

// A parsed "[DOMAIN/]PATH[:TAG][@DIGEST]" (the grammar of the container distribution project's
// "reference" package, which podman and docker share).
struct Reference {
  std::string domain;  // "docker.io", "localhost:5000" …; empty if the text had none
  std::string path;    // "library/busybox"
  std::string tag;     // "latest" if the text had none
  std::optional<Digest> digest;

  // "DOMAIN/PATH".
  std::string Repository() const;
  // "DOMAIN/PATH:TAG", the name under which an image is stored.
  std::string FullName() const;
};

// The longest reference that is accepted, in bytes: each one is a file name in the store.
inline constexpr size_t kMaxReferenceBytes = 255;

// kInvalidArgument, with what is wrong, if `text` is not a reference. "docker.io/busybox" becomes
// "docker.io/library/busybox", as it does everywhere.
absl::StatusOr<Reference> ParseReference(absl::string_view text);

// What a name given to a new image means: without a domain it is "localhost/…" (as in podman).
Reference Qualify(Reference reference);

// What a name means to Docker, and in its archives: without a domain it is "docker.io/…".
Reference QualifyAsDocker(Reference reference);

// The references that `reference` may mean in the local store, the first that exists wins: itself
// if it has a domain, else "localhost/…", then docker.io's (as podman resolves short names).
std::vector<Reference> LocalCandidates(const Reference& reference);

}  // namespace hull::images

#endif  // IMAGES_REFERENCE_H_
