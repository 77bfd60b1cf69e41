#include "vmm/cli/vmm_supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/base/out_of_memory.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/event/event_loop.h"
#include "vmm/machine/host_sockets.h"
#include "vmm/sandbox/broker.h"

namespace hull::cli {
namespace {

constexpr int kExitHostError = 65;  // vmm/README.md

sigset_t PassedOn() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

[[noreturn]] void DieOf(int number) {
  // The core that matters is the VMM's, which leaves none.
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(number, SIG_DFL);
  raise(number);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, number);
  sigprocmask(SIG_UNBLOCK, &mask, nullptr);
  _exit(128 + number);  // a signal that kills nobody
}

}  // namespace

absl::StatusOr<VmmSupervisor> VmmSupervisor::Create(const machine::MachineSpec& spec,
                                                    machine::HostFiles& files) {
  VmmSupervisor supervisor;
  const sigset_t signals = PassedOn();
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return PosixError("block signals");
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return PosixError("create a pipe");
  supervisor.report_read_.Reset(report[0]);
  supervisor.report_write_.Reset(report[1]);
  if (!spec.vsock.has_value() || spec.vsock->connector.has_value()) return supervisor;
  const std::string& path = spec.vsock->host_socket;
  HULL_ASSIGN_OR_RETURN(files.vsock_listener, machine::ListenForHosts(path));
  RemoveWhenOutOfMemory(path.c_str());
  supervisor.socket_path_ = path;
  absl::StatusOr<sandbox::BrokerSockets> sockets = sandbox::MakeBrokerSockets();
  if (!sockets.ok()) {
    supervisor.RemoveSocket();
    return sockets.status();
  }
  files.vsock_connector = std::move(sockets->requester);
  supervisor.broker_ = std::move(sockets->server);
  return supervisor;
}

void VmmSupervisor::ReadReport() {
  char text[8];
  const ssize_t n = read(report_read_.get(), text, sizeof(text));
  int status;
  if (n > 0 && absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(n)), &status)) {
    reported_ = status & 0xff;
  }
}

void VmmSupervisor::RemoveSocket() const {
  if (!socket_path_.empty()) unlink(socket_path_.c_str());
}

absl::Status VmmSupervisor::Serve(pid_t vmm) {
  const UniqueFd end(static_cast<int>(syscall(SYS_pidfd_open, vmm, 0)));
  if (!end.valid()) return PosixError("watch the VMM's process");
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create());
  const sigset_t signals = PassedOn();
  signals_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return PosixError("signalfd");
  HULL_RETURN_IF_ERROR(loop->AddFd(signals_.get(), EPOLLIN,
                                   [this, vmm](uint32_t) {
                                     signalfd_siginfo info;
                                     if (read(signals_.get(), &info, sizeof(info)) != sizeof(info))
                                       return;
                                     kill(vmm, static_cast<int>(info.ssi_signo));
                                   })
                           .status());
  HULL_RETURN_IF_ERROR(
      loop->AddFd(end.get(), EPOLLIN, [&loop](uint32_t) { loop->Stop(); }).status());
  report_write_.Reset();
  EventLoop::Id report_watch = 0;
  HULL_ASSIGN_OR_RETURN(report_watch, loop->AddFd(report_read_.get(), EPOLLIN, [&](uint32_t) {
    ReadReport();
    // One that ends without a word is seen by its process alone.
    loop->RemoveFd(report_watch);
    if (reported_.has_value()) loop->Stop();
  }));
  std::unique_ptr<machine::ConnectionBroker> broker;
  if (broker_.valid()) {
    HULL_ASSIGN_OR_RETURN(
        broker, machine::ConnectionBroker::Create(std::move(broker_), socket_path_, loop.get()));
  }
  return loop->Run();
}

void VmmSupervisor::Supervise(pid_t vmm) {
  const absl::Status served = Serve(vmm);
  if (!served.ok()) {
    kill(vmm, SIGKILL);
    // Nothing is left to do about a standard error that cannot be written.
    WriteFull(STDERR_FILENO, absl::StrCat("hull-vmm: ", served.message(), "\n")).IgnoreError();
  }
  RemoveSocket();
  int status = 0;
  if (served.ok() && reported_.has_value()) {
    // It has nothing left to do, whatever it thinks of that.
    kill(vmm, SIGKILL);
    status = W_EXITCODE(*reported_, 0);
  } else {
    while (waitpid(vmm, &status, 0) < 0 && errno == EINTR) {
    }
  }
  if (!served.ok()) _exit(kExitHostError);
  if (WIFSIGNALED(status)) DieOf(WTERMSIG(status));
  // The first process of a PID namespace cannot die of a signal that it sends itself.
  const int code = WEXITSTATUS(status);
  if (code == 128 + SIGTERM || code == 128 + SIGINT) DieOf(code - 128);
  _exit(code);
}

}  // namespace hull::cli
