// Where this Hull keeps its state and finds its other parts.

#ifndef VMM_CLI_INSTALLATION_H_
#define VMM_CLI_INSTALLATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "images/unpack_program.h"
#include "vmm/container/disk.h"

namespace hull::cli {

// All paths are absolute.
struct Installation {
  std::string executable;  // this program's real path
  std::string root;        // $HULL_ROOT, default /var/lib/hull: images and containers
  std::string run;         // $HULL_RUN, default /run/hull, or <root>/run where HULL_ROOT is set
  std::string libexec;     // $HULL_LIBEXEC, default beside this program: hull-vmm, hull-unpack
  std::string share;       // $HULL_SHARE, default <libexec>/../share: kernel, initramfs, images

  std::string users;  // $HULL_UIDS: user ids of jailed processes, FIRST:COUNT; empty: the default

  static absl::StatusOr<Installation> FromEnvironment();

  std::string Program(absl::string_view name) const;
  std::string ImageStore() const;
  images::UnpackProgram UnpackProgram() const;
  absl::StatusOr<container::DiskMaker> DiskMaker() const;
};

}  // namespace hull::cli

#endif  // VMM_CLI_INSTALLATION_H_
