// Containers that are pc machines: how one is made of an image and flags, and what they have not.

#ifndef VMM_CLI_PC_CONTAINERS_H_
#define VMM_CLI_PC_CONTAINERS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "images/store.h"
#include "vmm/cli/run_flags.h"
#include "vmm/container/attach_client.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"

namespace hull::cli {

// Completes the configuration of a container of an image with `machine`, whose general part is set.
// kInvalidArgument, fit for the user, for flags that a pc machine has no use for.
absl::Status CompletePcConfig(const RunFlags& flags, const images::ResolvedImage& image,
                              container::Config* config);

// Gives a container that was created, and whose lock is held, a disk of its own. Nothing to do if
// it is no pc machine, or its disk is read-only.
absl::Status MakePcDisk(const container::ContainerStore& store, const container::Config& config);

// Makes this terminal the screen and keyboard of a container that is a pc machine, if `options`
// have a terminal and standard input. `detach_keys` is the flag's value.
void ShowPcScreen(const container::Config& config, const std::string& detach_keys,
                  container::AttachOptions* options);

// What one has not that is asked for its files.
inline constexpr char kNoFiles[] =
    "files that Hull could reach (mtools read disk.img in its state directory: hull inspect)";

// kUnimplemented, fit for the user, if the container is a pc machine, which has no `what`.
absl::Status RefusePc(const container::ContainerInfo& info, absl::string_view what);

}  // namespace hull::cli

#endif  // VMM_CLI_PC_CONTAINERS_H_
