// How every thread but the first is started.

#ifndef VMM_BASE_THREAD_H_
#define VMM_BASE_THREAD_H_

#include <pthread.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace hull {

// Runs `entry(argument)` on a new thread, which the caller joins. `name` is for the error only. The
// thread has 256 KiB of stack (not the 8 MiB of the default: a large stack may be backed by a huge
// page at its first touch), which also hold the thread-local storage of the libraries.
//
// Signals are blocked in it, so that they go to the thread that waits for them (the event loop).
// Two are not: SIGSYS, which tells of a forbidden system call of its own, and `taken`.
absl::StatusOr<pthread_t> StartThread(const std::string& name, void* (*entry)(void*),
                                      void* argument, std::optional<int> taken = std::nullopt);

}  // namespace hull

#endif  // VMM_BASE_THREAD_H_
