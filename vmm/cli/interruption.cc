#include "vmm/cli/interruption.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vmm/base/posix_error.h"
#include "vmm/container/attach_client.h"

namespace hull::cli {

absl::StatusOr<Interruption> Interruption::Create() {
  const sigset_t forwarded = container::ForwardedSignals();
  if (sigprocmask(SIG_BLOCK, &forwarded, nullptr) != 0) return PosixError("block signals");
  sigset_t ending;
  sigemptyset(&ending);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&ending, signal);
  UniqueFd fd(signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return PosixError("create a signal descriptor");
  return Interruption(std::move(fd));
}

std::optional<int> Interruption::Take() const {
  signalfd_siginfo info;
  if (read(fd_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace hull::cli
