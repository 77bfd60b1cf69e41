#include "tests/faults/faults.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

// Wrappers are made at the level of the ABI: each takes six registers, whatever the function takes,
// and passes them on. That is right for every function with integers and pointers as its arguments,
// variable ones included, on x86-64, where the callee looks for no more than it was declared with.

extern "C" {
int64_t __real_write(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
int64_t __real_mmap(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
}

namespace hull::faults {
namespace {

// Shared between processes, so that one call of the whole start fails.
std::atomic<uint64_t>* calls = nullptr;
uint64_t failing_call = 0;

void Report(uint64_t number, const char* function, int64_t argument, int error) {
  char line[128];
  const int size = snprintf(line, sizeof(line), "fault: %lu %s(0x%lx): %s\n", number, function,
                            static_cast<uint64_t>(argument), strerrorname_np(error));
  __real_write(STDERR_FILENO, reinterpret_cast<int64_t>(line), size, 0, 0, 0);
}

// Whether this call is the one.
bool Fails(const char* function, int64_t argument, int error) {
  if (calls == nullptr) return false;
  const uint64_t number = calls->fetch_add(1, std::memory_order_relaxed) + 1;
  if (number != failing_call) return false;
  Report(number, function, argument, error);
  return true;
}

// What shows failure: -1 and errno, or a null pointer and errno, or the error itself.
int64_t MinusOne(int error) {
  errno = error;
  return -1;
}
int64_t Null(int error) {
  errno = error;
  return 0;
}
int64_t TheError(int error) { return error; }

// Not failures that a kernel has: waiting and waking, and what only asks.
bool AlwaysWorks(int64_t number) {
  switch (number) {
    case SYS_futex:
    case SYS_gettid:
    case SYS_tgkill:
    case SYS_getcpu:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Start() {
  const char* number = getenv("HULL_FAIL_AT");
  if (number == nullptr) return;
  failing_call = strtoull(number, nullptr, 10);
  const int64_t shared =
      __real_mmap(0, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == -1) abort();
  calls = new (reinterpret_cast<void*>(shared)) std::atomic<uint64_t>(0);
}

}  // namespace hull::faults

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names for --wrap.
#define FAILS(function, error, result)                                                          \
  extern "C" int64_t __real_##function(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);   \
  extern "C" int64_t __wrap_##function(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e,   \
                                       int64_t f) {                                             \
    if (hull::faults::Fails(#function, WHICH(a, b), error)) return hull::faults::result(error); \
    return __real_##function(a, b, c, d, e, f);                                                 \
  }
#define FIRST(a, b) a
#define SECOND(a, b) b

#define WHICH FIRST
FAILS(accept4, EMFILE, MinusOne)
FAILS(bind, EACCES, MinusOne)
FAILS(calloc, ENOMEM, Null)
FAILS(chdir, EACCES, MinusOne)
FAILS(connect, ECONNREFUSED, MinusOne)
FAILS(dup, EMFILE, MinusOne)
FAILS(dup2, EMFILE, MinusOne)
FAILS(epoll_create1, EMFILE, MinusOne)
FAILS(epoll_ctl, ENOSPC, MinusOne)
FAILS(epoll_wait, EINTR, MinusOne)
FAILS(eventfd, EMFILE, MinusOne)
FAILS(execve, EACCES, MinusOne)
FAILS(fallocate, ENOSPC, MinusOne)
FAILS(fork, EAGAIN, MinusOne)
FAILS(fstat, EIO, MinusOne)
FAILS(fstat64, EIO, MinusOne)
FAILS(ftruncate, EIO, MinusOne)
FAILS(getrandom, EINTR, MinusOne)
FAILS(listen, EADDRINUSE, MinusOne)
FAILS(lseek, EIO, MinusOne)
FAILS(malloc, ENOMEM, Null)
FAILS(memfd_create, EMFILE, MinusOne)
FAILS(mkdir, ENOSPC, MinusOne)
FAILS(mmap, ENOMEM, MinusOne)
FAILS(mount, ENOMEM, MinusOne)
FAILS(mprotect, ENOMEM, MinusOne)
FAILS(open, EMFILE, MinusOne)
FAILS(openat, EMFILE, MinusOne)
FAILS(pipe2, EMFILE, MinusOne)
FAILS(poll, EINTR, MinusOne)
FAILS(posix_memalign, ENOMEM, TheError)
FAILS(prctl, EINVAL, MinusOne)
FAILS(pread, EIO, MinusOne)
FAILS(pread64, EIO, MinusOne)
FAILS(preadv, EIO, MinusOne)
FAILS(pthread_create, EAGAIN, TheError)
FAILS(pwrite, ENOSPC, MinusOne)
FAILS(pwrite64, ENOSPC, MinusOne)
FAILS(pwritev, ENOSPC, MinusOne)
FAILS(read, EIO, MinusOne)
FAILS(readlink, EACCES, MinusOne)
FAILS(realloc, ENOMEM, Null)
FAILS(recvmsg, ENOMEM, MinusOne)
FAILS(rename, ENOSPC, MinusOne)
FAILS(sendmsg, ENOBUFS, MinusOne)
FAILS(setresgid, EINVAL, MinusOne)
FAILS(setresuid, EAGAIN, MinusOne)
FAILS(setrlimit, EPERM, MinusOne)
FAILS(signalfd, EMFILE, MinusOne)
FAILS(socket, EMFILE, MinusOne)
FAILS(socketpair, EMFILE, MinusOne)
FAILS(stat, EIO, MinusOne)
FAILS(timerfd_create, EMFILE, MinusOne)
FAILS(timerfd_settime, EINVAL, MinusOne)
FAILS(umount2, EBUSY, MinusOne)
FAILS(unlink, EIO, MinusOne)
FAILS(unshare, ENOSPC, MinusOne)
FAILS(waitid, EINTR, MinusOne)
FAILS(waitpid, EINTR, MinusOne)
#undef WHICH
#define WHICH SECOND
FAILS(fcntl, EINVAL, MinusOne)
FAILS(ioctl, ENOMEM, MinusOne)

// A write to an eventfd, eight bytes, has no way to fail (eventfd(2)): its counters never overflow.
extern "C" int64_t __wrap_write(int64_t fd, int64_t data, int64_t size, int64_t d, int64_t e,
                                int64_t f) {
  if (size != sizeof(uint64_t) && hull::faults::Fails("write", fd, ENOSPC)) {
    return hull::faults::MinusOne(ENOSPC);
  }
  return __real_write(fd, data, size, d, e, f);
}

// Has seven arguments.
extern "C" int64_t __real_syscall(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
extern "C" int64_t __wrap_syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d,
                                  int64_t e, int64_t f) {
  if (!hull::faults::AlwaysWorks(number) && hull::faults::Fails("syscall", number, EPERM)) {
    return hull::faults::MinusOne(EPERM);
  }
  return __real_syscall(number, a, b, c, d, e, f);
}
// NOLINTEND(bugprone-reserved-identifier)
