// The agent's program in another role: a process of its own in the container that reads and writes
// archives (ProcessSpec.archiver in protocol/agent.proto).

#ifndef GUEST_AGENT_ARCHIVER_H_
#define GUEST_AGENT_ARCHIVER_H_

namespace hull::agent {

// argv[0] of an archiver.
inline constexpr char kArchiverName[] = "hull-archiver";

// argv[1] says what to do; paths are absolute:
//   stat PATH                  writes "directory", "file" or "other", and a line break
//   pack PATH PREFIX           writes an archive of PATH, whose entries are called PREFIX/...
//   unpack DIRECTORY OWNER     reads an archive; OWNER is a USER[:GROUP] of the container, or
//   empty:
//                              as the archive says
//   export                     writes an archive of the container's root
//   changes                    writes what is other than in the image: A, C or D, path, NUL
//   layer                      writes an archive of it, as a layer of an OCI image
// Returns the exit status: 0, or 1 with a line about it on standard error.
int ArchiverMain(int argc, char** argv);

}  // namespace hull::agent

#endif  // GUEST_AGENT_ARCHIVER_H_
