// Feeds arbitrary text to every parser of an OCI document, and to that of names.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>

#include "images/image_config.h"
#include "images/oci/descriptor.h"
#include "images/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::images;  // NOLINT(google-build-using-namespace)
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  ParseIndex(text).IgnoreError();
  ParseManifest(text).IgnoreError();
  const absl::StatusOr<ImageConfig> config = ParseImageConfig(text);
  if (config.ok()) {
    // What was accepted once is accepted again in the form in which the store keeps it.
    CHECK(ProcessConfigFromJson(ProcessConfigToJson(config->process)).ok());
  }
  const absl::StatusOr<Reference> reference = ParseReference(text);
  if (reference.ok()) {
    for (const Reference& candidate : LocalCandidates(*reference)) {
      CHECK(candidate.FullName().size() <= kMaxReferenceBytes);
      CHECK(candidate.FullName().find('%') == std::string::npos);
      CHECK(ParseReference(candidate.FullName()).ok());
    }
  }
  return 0;
}
