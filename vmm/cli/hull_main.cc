// The program `hull`: finds the verb and leaves the rest to it.

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/out_of_memory.h"
#include "vmm/cli/image_commands.h"
#include "vmm/cli/image_transfer_commands.h"
#include "vmm/cli/info_command.h"
#include "vmm/cli/message.h"
#include "vmm/cli/registry_commands.h"
#include "vmm/cli/run_command.h"
#include "vmm/cli/version.h"
#include "vmm/container/outcome.h"
#include "vmm/emulated_host/emulated_host.h"

namespace hull::cli {
namespace {

constexpr char kHelp[] =
    R"(Runs containers directly on the hypervisor, each in a microVM of its own.

Usage: hull VERB [ARG...]

  run       Run a command in a new container
  images    List the images on this machine
  pull      Fetch an image from a registry         push  Send one there
  load      Take images of an archive into the store
  save      Write images to an archive
  tag       Give an image a further name           untag, history, login, logout
  rmi       Remove images
  image     The same and more: inspect, prune, exists
  host      Manage the emulated host, where the CPU has no virtualisation
  info      Show this machine and whether it keeps its part of isolation
  version   Print the version

hull VERB --help tells more. Exit status: the verb's or the container's own; 125 if
Hull failed, 126 and 127 if the command cannot be executed or found, 128+n for signal n.
)";

int VersionCommand(const std::vector<std::string>&) {
  return PrintOutput(absl::StrCat("hull version ", kVersion, "\n"));
}

int HelpCommand(const std::vector<std::string>&) { return PrintOutput(kHelp); }

struct Verb {
  const char* name;
  int (*run)(const std::vector<std::string>& args);
};

constexpr Verb kVerbs[] = {
    {"run", RunCommand},
    // Second, as every run needs it once as well.
    {"monitor", MonitorCommand},
    {"images", ImagesCommand},
    {"load", LoadCommand},
    {"rmi", RmiCommand},
    {"image", ImageCommand},
    {"save", SaveCommand},
    {"tag", TagCommand},
    {"untag", UntagCommand},
    {"history", HistoryCommand},
    {"pull", PullCommand},
    {"push", PushCommand},
    {"login", LoginCommand},
    {"logout", LogoutCommand},
    {"host", emulated_host::RunHostVerb},
    {"info", InfoCommand},
    {"version", VersionCommand},
    {"--version", VersionCommand},
    {"help", HelpCommand},
    {"--help", HelpCommand},
    {"-h", HelpCommand},
};

// A descriptor that is opened later must not become a standard stream.
void FillStandardStreams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    if (open("/dev/null", O_RDWR) != fd) _exit(container::kHullFailed);
  }
}

int Main(int argc, char** argv) {
  FillStandardStreams();
  ExitWhenOutOfMemory(
      "hull: out of memory: this process may not have, or the machine has not, more\n",
      container::kHullFailed);
  if (argc < 2) {
    PrintError("which verb? hull --help lists them");
    return container::kHullFailed;
  }
  const std::vector<std::string> args(argv + 2, argv + argc);
  for (const Verb& verb : kVerbs) {
    if (absl::string_view(argv[1]) == verb.name) return verb.run(args);
  }
  PrintError(absl::StrCat("unknown verb ", absl::CHexEscape(argv[1]), ": hull --help lists them"));
  return container::kHullFailed;
}

}  // namespace
}  // namespace hull::cli

int main(int argc, char** argv) { return hull::cli::Main(argc, argv); }
