// The program hull-unpack, with its sandbox as a parameter.

#ifndef IMAGES_UNPACK_MAIN_H_
#define IMAGES_UNPACK_MAIN_H_

#include <functional>

#include "absl/status/status.h"
#include "vmm/sandbox/jail.h"

namespace hull::images {

// Takes the calling process, the first of a PID namespace, into the sandbox for ever.
using Confinement = std::function<absl::Status(const sandbox::JailOptions&)>;

// The product's: the jail (vmm/sandbox/jail.h), then the list of system calls for unpacking.
absl::Status ConfineUnpacker(const sandbox::JailOptions& options);

// Runs a verb of unpack_protocol.h. What reads the image is a child in `confine`'s sandbox; this
// process opens the files of a layout directory for it. Without `confine`, for tests under the
// sanitizers, whose runtime needs what the sandbox takes away, this process does everything.
int UnpackMain(int argc, char** argv, const Confinement& confine);

}  // namespace hull::images

#endif  // IMAGES_UNPACK_MAIN_H_
