#include "tests/integration/escape_attempts.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

namespace hull {
namespace {

void AnswerEperm(int, siginfo_t*, void* context) {
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
}

// The kernel's numbers; <linux/kvm.h> in C++ needs the repair of vmm/kvm.
constexpr unsigned long kCreateVm = 0xae01;
constexpr unsigned long kCreateDevice = 0xc00caee0;

struct Attempt {
  const char* name;
  long (*make)();
};

long Open(const char* path, int flags = O_RDONLY) {
  return syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

long Write(const char* path) {
  const long fd = Open(path, O_WRONLY);
  return fd < 0 ? fd : syscall(SYS_write, fd, "1", 1);
}

// A child that does come to be must not go on with this program.
long Clone(unsigned long flags) {
  const long pid = syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0) syscall(SYS_exit_group, 0);
  return pid;
}

// Any descriptor that KVM may be behind; which one it is, a compromised VMM knows.
long KvmIoctl(unsigned long request, unsigned long argument = 0) {
  long result = -1;
  for (int fd = 3; fd < 64 && result < 0; ++fd) result = syscall(SYS_ioctl, fd, request, argument);
  return result;
}

// As many as a loop gets; the limit is far below.
template <typename Call>
long Exhaust(Call call) {
  for (int i = 0; i < 100000; ++i) {
    if (call() < 0) return -1;
  }
  return 0;
}

char buffer[4096];
iovec slice = {buffer, sizeof(buffer)};
sockaddr_un somebody = {AF_UNIX, "/run/docker.sock"};

const Attempt kAttempts[] = {
    {"open /", [] { return Open("/", O_RDONLY | O_DIRECTORY); }},
    {"open /etc/passwd", [] { return Open("/etc/passwd"); }},
    {"open /proc/1/mem", [] { return Open("/proc/1/mem", O_RDWR); }},
    {"open /proc/2/environ", [] { return Open("/proc/2/environ"); }},
    {"open /dev/mem", [] { return Open("/dev/mem", O_RDWR); }},
    {"open /dev/kvm", [] { return Open("/dev/kvm", O_RDWR); }},
    {"create a file", [] { return Open("/x", O_RDWR | O_CREAT); }},
    {"open", [] { return syscall(SYS_open, "/", O_RDONLY, 0); }},
    {"openat2", [] { return syscall(SYS_openat2, AT_FDCWD, "/", buffer, 24); }},
    {"creat", [] { return syscall(SYS_creat, "/x", 0600); }},
    {"execve", [] { return syscall(SYS_execve, "/bin/sh", nullptr, nullptr); }},
    {"execveat of a descriptor",
     [] { return syscall(SYS_execveat, 0, "", nullptr, nullptr, AT_EMPTY_PATH); }},
    {"memfd_create", [] { return syscall(SYS_memfd_create, "x", 0); }},
    {"kill everybody", [] { return syscall(SYS_kill, -1, 0); }},
    {"kill process 2", [] { return syscall(SYS_kill, 2, SIGKILL); }},
    {"tgkill another process", [] { return syscall(SYS_tgkill, 2, 2, SIGKILL); }},
    {"pidfd_open", [] { return syscall(SYS_pidfd_open, 1, 0); }},
    {"pidfd_getfd", [] { return syscall(SYS_pidfd_getfd, 3, 0, 0); }},
    {"ptrace", [] { return syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0); }},
    {"process_vm_readv", [] { return syscall(SYS_process_vm_readv, 1, &slice, 1, &slice, 1, 0); }},
    {"process_vm_writev",
     [] { return syscall(SYS_process_vm_writev, 1, &slice, 1, &slice, 1, 0); }},
    {"Unix socket", [] { return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }},
    {"TCP socket", [] { return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }},
    {"raw socket", [] { return syscall(SYS_socket, AF_INET, SOCK_RAW, 1); }},
    {"packet socket", [] { return syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0); }},
    {"netlink socket", [] { return syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0); }},
    {"vsock socket", [] { return syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0); }},
    {"socketpair", [] { return syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, buffer); }},
    {"connect", [] { return syscall(SYS_connect, 3, &somebody, sizeof(somebody)); }},
    {"bind", [] { return syscall(SYS_bind, 3, &somebody, sizeof(somebody)); }},
    {"mount", [] { return syscall(SYS_mount, "x", "/", "tmpfs", 0, nullptr); }},
    {"remount the root",
     [] { return syscall(SYS_mount, nullptr, "/", nullptr, MS_REMOUNT | MS_BIND, nullptr); }},
    {"umount2", [] { return syscall(SYS_umount2, "/", MNT_DETACH); }},
    {"fsopen", [] { return syscall(SYS_fsopen, "tmpfs", 0); }},
    {"open_tree", [] { return syscall(SYS_open_tree, AT_FDCWD, "/", 1); }},
    {"mknod", [] { return syscall(SYS_mknod, "/m", S_IFCHR | 0600, 0x0101); }},
    {"mkdir", [] { return syscall(SYS_mkdir, "/d", 0700); }},
    {"unlink", [] { return syscall(SYS_unlink, "/x"); }},
    {"chdir", [] { return syscall(SYS_chdir, ".."); }},
    {"chroot", [] { return syscall(SYS_chroot, "/"); }},
    {"pivot_root", [] { return syscall(SYS_pivot_root, "/", "/"); }},
    {"unshare user", [] { return syscall(SYS_unshare, CLONE_NEWUSER); }},
    {"unshare mount", [] { return syscall(SYS_unshare, CLONE_NEWNS); }},
    {"unshare network", [] { return syscall(SYS_unshare, CLONE_NEWNET); }},
    {"setns", [] { return syscall(SYS_setns, 3, 0); }},
    {"fork", [] { return Clone(0); }},
    {"clone user namespace", [] { return Clone(CLONE_NEWUSER); }},
    {"clone PID namespace", [] { return Clone(CLONE_NEWPID); }},
    {"clone mount namespace", [] { return Clone(CLONE_NEWNS); }},
    {"clone network namespace", [] { return Clone(CLONE_NEWNET); }},
    {"clone IPC namespace", [] { return Clone(CLONE_NEWIPC); }},
    {"clone UTS namespace", [] { return Clone(CLONE_NEWUTS); }},
    {"clone cgroup namespace", [] { return Clone(CLONE_NEWCGROUP); }},
    {"clone3", [] { return syscall(SYS_clone3, buffer, 88); }},
    {"setuid", [] { return syscall(SYS_setuid, 0); }},
    {"setresuid", [] { return syscall(SYS_setresuid, 0, 0, 0); }},
    {"setgid", [] { return syscall(SYS_setgid, 0); }},
    {"setgroups", [] { return syscall(SYS_setgroups, 0, nullptr); }},
    {"capset", [] { return syscall(SYS_capset, buffer, buffer); }},
    {"become dumpable", [] { return syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); }},
    {"ambient capability",
     [] { return syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0); }},
    {"outlive the parent", [] { return syscall(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0); }},
    {"bpf", [] { return syscall(SYS_bpf, 0, buffer, 32); }},
    {"perf_event_open", [] { return syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0); }},
    {"userfaultfd", [] { return syscall(SYS_userfaultfd, 1); }},
    {"io_uring_setup", [] { return syscall(SYS_io_uring_setup, 1, buffer); }},
    {"keyctl", [] { return syscall(SYS_keyctl, 0, -3, 1); }},
    {"add_key", [] { return syscall(SYS_add_key, "user", "x", "y", 1, -3); }},
    {"request_key", [] { return syscall(SYS_request_key, "user", "x", nullptr, 0); }},
    {"kexec_load", [] { return syscall(SYS_kexec_load, 0, 0, nullptr, 0); }},
    {"init_module", [] { return syscall(SYS_init_module, buffer, 1, ""); }},
    {"finit_module", [] { return syscall(SYS_finit_module, 0, "", 0); }},
    {"open_by_handle_at", [] { return syscall(SYS_open_by_handle_at, 3, buffer, 0); }},
    {"personality", [] { return syscall(SYS_personality, READ_IMPLIES_EXEC); }},
    {"reboot", [] { return syscall(SYS_reboot, 0xfee1dead, 672274793, 0, nullptr); }},
    {"sethostname", [] { return syscall(SYS_sethostname, "x", 1); }},
    {"setrlimit",
     [] {
       const rlimit more = {1 << 20, 1 << 20};
       return syscall(SYS_setrlimit, RLIMIT_NOFILE, &more);
     }},
    {"prlimit64 of init",
     [] {
       const rlimit more = {1 << 20, 1 << 20};
       return syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &more, nullptr);
     }},
    {"executable memory",
     [] {
       return syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
     }},
    {"make memory executable",
     [] { return syscall(SYS_mprotect, buffer, 4096, PROT_READ | PROT_EXEC); }},
    {"make guest memory dumpable", [] { return syscall(SYS_madvise, buffer, 4096, MADV_DODUMP); }},
    {"a second VM", [] { return KvmIoctl(kCreateVm); }},
    {"a KVM device", [] { return KvmIoctl(kCreateDevice, 1); }},
    {"a terminal's input", [] { return KvmIoctl(0x5412, reinterpret_cast<long>(buffer)); }},
    {"write own cgroup", [] { return Write("/sys/fs/cgroup/cgroup.procs"); }},
    {"write sysrq", [] { return Write("/proc/sysrq-trigger"); }},
    {"exhaust memory",
     [] {
       return syscall(SYS_mmap, nullptr, 1L << 36, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
     }},
    {"exhaust descriptors", [] { return Exhaust([] { return syscall(SYS_dup, 0); }); }},
    {"exhaust processes", [] { return Exhaust([] { return Clone(0); }); }},
    {"exhaust disk", [] { return Exhaust([] { return Open("/x", O_RDWR | O_CREAT); }); }},
};

}  // namespace

void AnswerViolations() {
  struct sigaction action = {};
  action.sa_sigaction = AnswerEperm;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &action, nullptr);
}

void TryToEscape(const char* kind) {
  int escaped = 0;
  char line[200];
  for (const Attempt& attempt : kAttempts) {
    if (attempt.make() < 0) continue;
    ++escaped;
    const int size = snprintf(line, sizeof(line), "ESCAPED %s: %s\n", kind, attempt.name);
    if (write(STDERR_FILENO, line, static_cast<size_t>(size)) < 0) _exit(1);
  }
  const int size = snprintf(line, sizeof(line), "escape-proof %s: %zu attempts, %d escaped\n", kind,
                            std::size(kAttempts), escaped);
  if (write(STDERR_FILENO, line, static_cast<size_t>(size)) < 0) _exit(1);
}

}  // namespace hull
