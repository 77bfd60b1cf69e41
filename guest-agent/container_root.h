// The container's view of the file system. System calls only; runs in the process that will become
// the container's, in a mount namespace of its own.

#ifndef GUEST_AGENT_CONTAINER_ROOT_H_
#define GUEST_AGENT_CONTAINER_ROOT_H_

#include "guest-agent/failure.h"
#include "guest-agent/start_request.h"

namespace hull::agent {

// Assembles the root of `request` from the image and the writable layer, makes it this process's
// root directory, mounts what an OCI runtime mounts, populates /dev and writes the request's files.
// README.md lists the mounts. Needs the directories of the initramfs.
bool EnterContainerRoot(const StartRequest& request, Failure* failure);

// Makes `path` a directory, with all parents that are missing (mode 0755).
bool MakeDirectories(const char* path, StartFailure kind, Failure* failure);

}  // namespace hull::agent

#endif  // GUEST_AGENT_CONTAINER_ROOT_H_
