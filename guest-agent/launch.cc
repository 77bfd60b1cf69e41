#include "guest-agent/launch.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "guest-agent/archiver.h"
#include "guest-agent/command.h"
#include "guest-agent/container_root.h"
#include "guest-agent/credentials.h"
#include "guest-agent/terminal.h"

namespace hull::agent {
namespace {

// <linux/pidfd.h> has it since Linux 6.11. Its argument must be 0.
constexpr unsigned long kPidfdGetMountNamespace = _IO(0xff, 3);

struct ChildTask {
  StartRequest* request;
  ChildStreams streams;
  const LaunchedProcess* container;  // null: this is its first process
  Failure* failure;
};

// Makes them descriptors 0 to 2 and, where they are pipes or a terminal, `uid`'s own: the process
// may open them by name, as /dev/stdout.
bool AttachStreams(const ChildStreams& streams, uint32_t uid, Failure* failure) {
  for (int fd : {streams.in, streams.out, streams.error}) {
    struct stat info;
    if (uid != 0 && fstat(fd, &info) == 0 &&
        (S_ISFIFO(info.st_mode) || streams.terminal_socket >= 0) &&
        fchown(fd, uid, static_cast<gid_t>(-1)) != 0) {
      return Fail(failure, StartFailure::kInternal, errno, {"cannot give the streams to the user"});
    }
  }
  // None of the three is below 3 (Agent::Initialise() sees to it): no dup2() overwrites a source.
  if (dup2(streams.in, STDIN_FILENO) < 0 || dup2(streams.out, STDOUT_FILENO) < 0 ||
      dup2(streams.error, STDERR_FILENO) < 0) {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot attach the standard streams"});
  }
  return true;
}

// The agent blocks signals and ignores SIGPIPE; a new program must find neither.
void RestoreSignals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGPIPE, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// A container's own working directory is made where it is missing, that of a further process is
// not.
bool EnterWorkingDirectory(const char* path, bool create, Failure* failure) {
  if (chdir(path) == 0) return true;
  if (create && !MakeDirectories(path, StartFailure::kInvalidSpec, failure)) return false;
  if (chdir(path) == 0) return true;
  return Fail(failure, StartFailure::kInvalidSpec, errno, {"cannot change to directory ", path});
}

// execve(2) says ENOENT of a file that is there when the program that is to run it is not. Linux
// itself never returns this number.
constexpr int kNoInterpreter = ELIBACC;

// In the words of runc, which people and scripts know.
bool ExplainExec(std::string_view command, const PathText& tried, int error, Failure* failure) {
  if (error == kNoInterpreter) {
    return Fail(
        failure, StartFailure::kNotFound, 0,
        {"exec: \"", tried.view(), "\": its interpreter or dynamic linker is not in the image"});
  }
  if (error == ENOENT || error == ENOTDIR) {
    if (command.find('/') == std::string_view::npos) {
      return Fail(failure, StartFailure::kNotFound, 0,
                  {"exec: \"", command, "\": executable file not found in $PATH"});
    }
    return Fail(failure, StartFailure::kNotFound, error,
                {"exec: \"", command, "\": stat ", command});
  }
  struct stat info;
  if (error == EACCES && stat(tried.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) error = EISDIR;
  return Fail(failure, StartFailure::kNotExecutable, error, {"exec: \"", tried.view(), "\""});
}

// The first process makes the container, the others come into it.
bool EnterContainer(const ChildTask& task) {
  const StartRequest& request = *task.request;
  if (task.container != nullptr) {
    // The root directory becomes the namespace's, which is the container's.
    if (setns(task.container->pidfd.get(), CLONE_NEWNS) == 0) return true;
    return Fail(task.failure, StartFailure::kInternal, errno, {"cannot enter the container"});
  }
  if (!EnterContainerRoot(request, task.failure)) return false;
  if (!request.hostname.empty() &&
      sethostname(request.hostname.data(), request.hostname.size()) != 0) {
    return Fail(task.failure, StartFailure::kInvalidSpec, errno,
                {"cannot set the hostname ", request.hostname});
  }
  return true;
}

// The agent's own program, with all the rights that the agent has but in the container. The
// container's processes cannot trace what has rights that they lack.
bool BecomeArchiver(const ChildTask& task) {
  Failure* const failure = task.failure;
  // By the name that the kernel started it by, while its root is still this process's.
  const Fd program(open(reinterpret_cast<const char*>(getauxval(AT_EXECFN)), O_PATH | O_CLOEXEC));
  if (!program.valid()) {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot open the agent's program"});
  }
  if (!EnterContainer(task) || !AttachStreams(task.streams, 0, failure)) return false;
  RestoreSignals();
  StartRequest& request = *task.request;
  const char* const none[] = {nullptr};
  // SAFETY: as in BecomeProcess().
  syscall(SYS_execveat, program.get(), "", const_cast<char* const*>(request.args),
          const_cast<char* const*>(none), AT_EMPTY_PATH);
  return Fail(failure, StartFailure::kInternal, errno, {"cannot run the agent's program"});
}

bool BecomeProcess(const ChildTask& task) {
  StartRequest& request = *task.request;
  Failure* const failure = task.failure;
  const bool first = task.container == nullptr;
  static Identity identity;
  static AddedVariables added;
  if (setsid() < 0) return Fail(failure, StartFailure::kInternal, errno, {"setsid"});
  if (request.archiver) return BecomeArchiver(task);
  if (!EnterContainer(task) || !LookUpUser(request.user, &identity, failure)) return false;
  CompleteEnvironment(&request, identity.home, &added);
  ChildStreams streams = task.streams;
  Fd terminal;
  if (request.has_terminal) {
    if (!OpenTerminal(request.terminal, first, streams.terminal_socket, &terminal, failure)) {
      return false;
    }
    streams.in = streams.out = streams.error = terminal.get();
  }
  if (!EnterWorkingDirectory(request.working_directory, first, failure) ||
      !AttachStreams(streams, identity.uid, failure) || !SetRlimits(request, failure) ||
      !SetCredentials(request, identity, failure)) {
    return false;
  }
  umask(request.umask);
  RestoreSignals();

  const std::string_view path =
      FindVariable({request.environment, request.environment_count}, "PATH");
  const auto try_exec = [&request](const char* file) {
    // SAFETY: execve() does not write to the strings; its type is older than const.
    execve(file, const_cast<char* const*>(request.args),
           const_cast<char* const*>(request.environment));
    const int error = errno;
    return error == ENOENT && access(file, F_OK) == 0 ? kNoInterpreter : error;
  };
  PathText tried;
  const int error = SearchAndExec(request.args[0], path, try_exec, &tried);
  return ExplainExec(request.args[0], tried, error, failure);
}

int ChildMain(void* argument) {
  BecomeProcess(*static_cast<const ChildTask*>(argument));
  // Only a failure comes here. It is in *failure, which is the parent's memory as well.
  _exit(1);
}

}  // namespace

bool BringUpLoopback(Failure* failure) {
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!fd.valid() || ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) {
    return Fail(failure, StartFailure::kInternal, errno,
                {"cannot bring up the loopback interface"});
  }
  return true;
}

bool Launch(StartRequest* request, const ChildStreams& streams, const LaunchedProcess* container,
            LaunchedProcess* process, Failure* failure) {
  int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
  Fd own;
  if (container == nullptr) {
    flags |= CLONE_NEWPID | CLONE_NEWNS;
  } else {
    // The child shares this memory while it is in reach of the container's processes, and may have
    // no more rights than they: they must not trace it.
    own = Fd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!own.valid() || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        setns(container->pidfd.get(), CLONE_NEWPID) != 0) {
      return Fail(failure, StartFailure::kInternal, errno, {"cannot enter the container"});
    }
  }
  // As vfork(2): the child borrows this memory, and this process sleeps until it has become another
  // program or is gone. That saves copying the address space, and a failure needs no pipe.
  alignas(16) static char stack[128 * 1024];
  ChildTask task = {request, streams, container, failure};
  int pidfd = -1;
  const pid_t pid = clone(ChildMain, stack + sizeof(stack), flags, &task, &pidfd);
  const int error = errno;
  // Where children of this process are born, as before. To enter one's own namespace cannot fail.
  if (container != nullptr) setns(own.get(), CLONE_NEWPID);
  if (pid < 0) {
    return Fail(failure, StartFailure::kInternal, error, {"cannot create the process"});
  }
  process->pid = pid;
  process->pidfd = Fd(pidfd);
  if (failure->message.view().empty()) {
    // Close-on-exec, as all that the kernel opens by itself.
    if (container == nullptr) {
      process->mount_namespace = Fd(ioctl(process->pidfd.get(), kPidfdGetMountNamespace, 0));
    }
    return true;
  }
  waitpid(pid, nullptr, 0);
  return false;
}

}  // namespace hull::agent
