// Where an image is pulled from or pushed to, and what skopeo's complaints mean.
//
// Source: containers-transports(5).

#ifndef VMM_CLI_IMAGE_LOCATION_H_
#define VMM_CLI_IMAGE_LOCATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::cli {

struct ImageLocation {
  std::string skopeo;    // as skopeo writes it: "docker://quay.io/a/b:latest", "oci:/x:tag"
  std::string registry;  // "quay.io"; empty if it is not a registry
  // The name that an image pulled from there gets; empty if it says none (by digest, by a path that
  // is no name).
  std::string name;
  // Of a docker-archive without a name in it: the file, all of whose images are meant.
  std::string archive;
};

// "NAME[:TAG][@DIGEST]" with or without "docker://", or "TRANSPORT:…". A name without a registry is
// docker.io's. kInvalidArgument.
absl::StatusOr<ImageLocation> ParseImageLocation(const std::string& text);

// Whether it begins with one of skopeo's transports.
bool HasTransport(absl::string_view text);

// What skopeo wrote to standard error, as one line without its time stamps, with what to do where
// that is known.
std::string DescribeSkopeoFailure(absl::string_view error, absl::string_view registry);

}  // namespace hull::cli

#endif  // VMM_CLI_IMAGE_LOCATION_H_
