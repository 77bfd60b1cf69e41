#include "vmm/base/out_of_memory.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <new>

namespace hull {
namespace {

// A new-handler has no arguments.
std::atomic<const char*> last_words{nullptr};
std::atomic<int> exit_status{1};
std::atomic<const char*> doomed_file{nullptr};

[[noreturn]] void OutOfMemory() {
  if (const char* const path = doomed_file; path != nullptr) unlink(path);
  const char* const message = last_words;
  // Nothing is left to do about a standard error that cannot be written.
  const ssize_t written = write(STDERR_FILENO, message, strlen(message));
  static_cast<void>(written);
  _exit(exit_status);
}

}  // namespace

void ExitWhenOutOfMemory(const char* message, int status) {
  last_words = message;
  exit_status = status;
  std::set_new_handler(OutOfMemory);
}

void RemoveWhenOutOfMemory(const char* path) { doomed_file = path; }

}  // namespace hull
