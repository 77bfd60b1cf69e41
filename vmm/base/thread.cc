#include "vmm/base/thread.h"

#include <signal.h>

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"

namespace hull {
namespace {

constexpr size_t kStackSize = size_t{256} << 10;

}  // namespace

absl::StatusOr<pthread_t> StartThread(const std::string& name, void* (*entry)(void*),
                                      void* argument, std::optional<int> taken) {
  // A new thread inherits the mask, so the signals are blocked across its creation.
  sigset_t blocked;
  sigset_t old;
  sigfillset(&blocked);
  sigdelset(&blocked, SIGSYS);
  if (taken.has_value()) sigdelset(&blocked, *taken);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackSize);
  pthread_sigmask(SIG_SETMASK, &blocked, &old);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, entry, argument);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) return PosixError(error, absl::StrCat("start thread \"", name, "\""));
  return thread;
}

}  // namespace hull
