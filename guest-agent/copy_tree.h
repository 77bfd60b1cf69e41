// Copies of trees of files: what a new volume has of the image. System calls only, no allocation.

#ifndef GUEST_AGENT_COPY_TREE_H_
#define GUEST_AGENT_COPY_TREE_H_

#include "guest-agent/failure.h"

namespace hull::agent {

// How many directories may be below one another.
inline constexpr unsigned kMaxTreeDepth = 64;

// Copies what is in the directory `from` to the directory `to`, with owners, modes, times and
// extended attributes, which `to` itself gets, too. Files that are there already are overwritten.
// Each name of a file with several becomes a file of its own. Not to be called on two threads.
bool CopyTree(int from, int to, Failure* failure);

}  // namespace hull::agent

#endif  // GUEST_AGENT_COPY_TREE_H_
