// hull-agent: PID 1 of the guest.
//
// Its arguments are what the kernel command line has after "--":
//   hull.debug               log what happens to the kernel log
//   hull.channel=unix:PATH   the host is a Unix socket (to run the agent without a machine)
// Others are ignored, as a kernel ignores parameters that it does not know.

#include <sys/reboot.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string_view>

#include "guest-agent/agent.h"
#include "guest-agent/archiver.h"
#include "guest-agent/text.h"

namespace {

constexpr std::string_view kDebug = "hull.debug";
constexpr std::string_view kUnixChannel = "hull.channel=unix:";

}  // namespace

int main(int argc, char** argv) {
  // PID 1's arguments are the kernel's, this name is not among them.
  if (argc > 0 && argv[0] == std::string_view(hull::agent::kArchiverName)) {
    return hull::agent::ArchiverMain(argc, argv);
  }
  using hull::agent::Channel;
  std::optional<Channel> channel = Channel::Vsock();
  bool debug = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    if (argument == kDebug) debug = true;
    if (argument.starts_with(kUnixChannel)) {
      channel = Channel::Unix(hull::agent::WithoutPrefix(argument, kUnixChannel.size()));
    }
  }

  const hull::agent::KernelLog log(debug);
  // Without constinit each of its pages would be written to at the start of every machine.
  constinit static hull::agent::AgentBuffers buffers{};
  if (channel) {
    hull::agent::Agent agent(*channel, log, buffers);
    agent.Run();
  } else {
    log.Error({"hull.channel: the path is empty or too long"});
  }

  // Nothing that is mounted outlives the machine but what is on disks, and that is written here.
  sync();
  if (getpid() != 1) return 0;
  reboot(RB_POWER_OFF);
  log.Error({"cannot power off: ", hull::agent::ErrorText(errno)});
  // The kernel panics when PID 1 ends, and the VMM reports that: better than a machine that hangs.
  return 1;
}
