// Writes images of the store in the forms that other tools read.
//
// Sources: OCI image specification 1.1, "Image Layout"; Docker image specification 1.2;
// containers-transports(5), "dir"; POSIX.1-2017, pax, "ustar Interchange Format".

#ifndef IMAGES_IMAGE_EXPORT_H_
#define IMAGES_IMAGE_EXPORT_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "images/store.h"

namespace hull::images {

enum class ExportFormat {
  kOciArchive,     // a tar file of an OCI layout
  kOciDirectory,   // an OCI layout; several images at once
  kDockerArchive,  // a tar file as `docker save` writes it, layers uncompressed; several images
  kDirTransport,   // a directory as skopeo's dir: writes it; one image
};

// By the names that podman gives them: oci-archive, oci-dir, docker-archive, docker-dir.
std::optional<ExportFormat> ParseExportFormat(absl::string_view name);
bool IsDirectory(ExportFormat format);

struct ExportedImage {
  ImageFiles files;
  std::vector<std::string> names;  // full; may be empty
};

// podman's, kDockerArchive, unless one of them is the disk of a machine, for which that has no
// place.
ExportFormat DefaultExportFormat(const std::vector<ExportedImage>& images);

struct ExportOptions {
  ExportFormat format = ExportFormat::kDockerArchive;
  // The program hull-unpack.
  UnpackProgram unpack_program;
  // The export is given up when this becomes readable. -1: never.
  int cancel_fd = -1;
};

// Writes to `output`: an archive from its current position on (it may be a pipe), or into an empty
// directory. Blobs are written as they are in the store, so that an OCI form or dir: has the
// digests that the image was loaded with. kInvalidArgument for several images in a form that takes
// one. On an error the output is of no use.
absl::Status ExportImages(const Store& store, const std::vector<ExportedImage>& images,
                          const ExportOptions& options, int output);

}  // namespace hull::images

#endif  // IMAGES_IMAGE_EXPORT_H_
