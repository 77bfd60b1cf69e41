#include "tests/faults/faults.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
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
// Where a fault is told.
int report = STDERR_FILENO;

void Report(uint64_t number, const char* function, int64_t argument, int error) {
  char line[128];
  const int size = snprintf(line, sizeof(line), "fault: %lu %s(0x%lx): %s\n", number, function,
                            static_cast<uint64_t>(argument), strerrorname_np(error));
  __real_write(report, reinterpret_cast<int64_t>(line), size, 0, 0, 0);
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
  int file = -1;
  if (const char* number = getenv("HULL_FAIL_AT"); number != nullptr) {
    failing_call = strtoull(number, nullptr, 10);
  } else {
    char path[PATH_MAX];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - sizeof("fail-at"));
    if (size <= 0) return;
    path[size] = 0;
    char* const name = strrchr(path, '/') + 1;
    strcpy(name, "fail-at");
    file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    strcpy(name, "fault");
    const int text = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (text < 0) abort();
    // Above all that a program gives its children by number.
    report = fcntl(text, F_DUPFD_CLOEXEC, 900);
    close(text);
  }
  const int64_t shared = __real_mmap(0, 2 * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                                     MAP_SHARED | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
  if (shared == -1) abort();
  auto* numbers = reinterpret_cast<uint64_t*>(shared);
  if (file >= 0) {
    failing_call = numbers[0];
    close(file);
  }
  calls = reinterpret_cast<std::atomic<uint64_t>*>(numbers + 1);
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
FAILS(access, EACCES, MinusOne)
FAILS(bind, EACCES, MinusOne)
FAILS(calloc, ENOMEM, Null)
FAILS(chdir, EACCES, MinusOne)
FAILS(close_range, EINVAL, MinusOne)
FAILS(connect, ECONNREFUSED, MinusOne)
FAILS(dup, EMFILE, MinusOne)
FAILS(dup2, EMFILE, MinusOne)
FAILS(epoll_create1, EMFILE, MinusOne)
FAILS(epoll_wait, EINTR, MinusOne)
FAILS(eventfd, EMFILE, MinusOne)
FAILS(execve, EACCES, MinusOne)
FAILS(faccessat, EACCES, MinusOne)
FAILS(fallocate, ENOSPC, MinusOne)
FAILS(fchmod, EPERM, MinusOne)
FAILS(fchown, EPERM, MinusOne)
FAILS(fdatasync, EIO, MinusOne)
FAILS(fdopendir, ENOMEM, Null)
FAILS(flock, ENOLCK, MinusOne)
FAILS(fork, EAGAIN, MinusOne)
FAILS(fstat, EIO, MinusOne)
FAILS(fstat64, EIO, MinusOne)
FAILS(fsync, EIO, MinusOne)
FAILS(ftruncate, EIO, MinusOne)
FAILS(getrandom, EINTR, MinusOne)
FAILS(link, ENOSPC, MinusOne)
FAILS(linkat, ENOSPC, MinusOne)
FAILS(listen, EADDRINUSE, MinusOne)
FAILS(lseek, EIO, MinusOne)
FAILS(lstat, EIO, MinusOne)
FAILS(malloc, ENOMEM, Null)
FAILS(memfd_create, EMFILE, MinusOne)
FAILS(mkdir, ENOSPC, MinusOne)
FAILS(mkdirat, ENOSPC, MinusOne)
FAILS(mmap, ENOMEM, MinusOne)
FAILS(mount, ENOMEM, MinusOne)
FAILS(mprotect, ENOMEM, MinusOne)
FAILS(open, EMFILE, MinusOne)
FAILS(openat, EMFILE, MinusOne)
FAILS(opendir, EMFILE, Null)
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
FAILS(recv, ENOMEM, MinusOne)
FAILS(recvmsg, ENOMEM, MinusOne)
FAILS(rename, ENOSPC, MinusOne)
FAILS(renameat, ENOSPC, MinusOne)
FAILS(renameat2, ENOSPC, MinusOne)
FAILS(rmdir, EBUSY, MinusOne)
FAILS(send, ENOBUFS, MinusOne)
FAILS(sendmsg, ENOBUFS, MinusOne)
FAILS(setresgid, EINVAL, MinusOne)
FAILS(setresuid, EAGAIN, MinusOne)
FAILS(setrlimit, EPERM, MinusOne)
FAILS(setsid, EPERM, MinusOne)
FAILS(signalfd, EMFILE, MinusOne)
FAILS(socket, EMFILE, MinusOne)
FAILS(socketpair, EMFILE, MinusOne)
FAILS(stat, EIO, MinusOne)
FAILS(symlink, ENOSPC, MinusOne)
FAILS(timerfd_create, EMFILE, MinusOne)
FAILS(timerfd_settime, EINVAL, MinusOne)
FAILS(umount2, EBUSY, MinusOne)
FAILS(unlink, EIO, MinusOne)
FAILS(unlinkat, EIO, MinusOne)
FAILS(unshare, ENOSPC, MinusOne)
FAILS(utimensat, EPERM, MinusOne)
FAILS(waitid, EINTR, MinusOne)
FAILS(waitpid, EINTR, MinusOne)
#undef WHICH
#define WHICH SECOND
FAILS(ioctl, ENOMEM, MinusOne)

// Whether a descriptor is open is only a question.
extern "C" int64_t __real_fcntl(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
extern "C" int64_t __wrap_fcntl(int64_t fd, int64_t command, int64_t c, int64_t d, int64_t e,
                                int64_t f) {
  if (command != F_GETFD && hull::faults::Fails("fcntl", command, EINVAL)) {
    return hull::faults::MinusOne(EINVAL);
  }
  return __real_fcntl(fd, command, c, d, e, f);
}

// Only what is added needs memory (epoll_ctl(2)).
extern "C" int64_t __real_epoll_ctl(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
extern "C" int64_t __wrap_epoll_ctl(int64_t epoll, int64_t operation, int64_t fd, int64_t d,
                                    int64_t e, int64_t f) {
  if (operation == EPOLL_CTL_ADD && hull::faults::Fails("epoll_ctl", epoll, ENOSPC)) {
    return hull::faults::MinusOne(ENOSPC);
  }
  return __real_epoll_ctl(epoll, operation, fd, d, e, f);
}

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
