#include "vmm/cli/hull_main.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/out_of_memory.h"
#include "vmm/cli/copy_command.h"
#include "vmm/cli/diff_command.h"
#include "vmm/cli/exec_command.h"
#include "vmm/cli/image_commands.h"
#include "vmm/cli/image_transfer_commands.h"
#include "vmm/cli/import_command.h"
#include "vmm/cli/info_command.h"
#include "vmm/cli/inspect_command.h"
#include "vmm/cli/inspection_commands.h"
#include "vmm/cli/logs_command.h"
#include "vmm/cli/message.h"
#include "vmm/cli/monitor_command.h"
#include "vmm/cli/pause_command.h"
#include "vmm/cli/ps_command.h"
#include "vmm/cli/registry_commands.h"
#include "vmm/cli/run_command.h"
#include "vmm/cli/screen_commands.h"
#include "vmm/cli/start_command.h"
#include "vmm/cli/stop_command.h"
#include "vmm/cli/version.h"
#include "vmm/cli/volume_command.h"
#include "vmm/container/outcome.h"
#include "vmm/emulated_host/emulated_host.h"

namespace hull::cli {
namespace {

constexpr char kHelp[] =
    R"(Runs containers directly on the hypervisor, each in a microVM of its own.
Usage: hull VERB [ARG...]

  run      Run a command in a container  ps      List containers
  create   Make one, to be started       inspect Show all about some, as JSON
  start    Start containers              logs    Show what one has printed
  stop     Stop containers               attach  Show what a running one prints
  restart  Stop and start them           wait    Wait for the end of some
  kill     Send them a signal            rename  Give one another name
  rm       Remove containers             exec    Run one more command in one
  top      Show what runs in one         stats   Show what some use
  pause    Stop all that some do         unpause Let them go on
  cp       Copy files out of one or in   diff    Show what one has changed
  export   Write all files of one

Containers that are a PC, for DOS and the like:
  screentext  Print its screen           sendkeys  Type on its keyboard
  screenshot  Write a picture of it

  images   List images                   pull    Fetch one from a registry
  load     Take some from an archive     push    Send one to a registry
  save     Write some to an archive      login   Log in to a registry
  tag      Give one a further name       logout  Log out of it
  untag    Take a name from one          history Show how one was made
  rmi      Remove images                 image   Inspect, prune and more
  import   Make one of a PC's disk

  info     Show if this machine is fit   host    Manage the emulated host
  version  Print the version             volume  Create and remove volumes

hull VERB --help tells more. The exit status is the verb's or the container's;
125 if Hull failed, 126 and 127 if the command cannot be executed or found.
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
    {"create", CreateCommand},
    {"start", StartCommand},
    {"stop", StopCommand},
    {"restart", RestartCommand},
    {"kill", KillCommand},
    {"rm", RmCommand},
    {"ps", PsCommand},
    {"inspect", InspectCommand},
    {"logs", LogsCommand},
    {"attach", AttachCommand},
    {"exec", ExecCommand},
    {"top", TopCommand},
    {"stats", StatsCommand},
    {"pause", PauseCommand},
    {"unpause", UnpauseCommand},
    {"wait", WaitCommand},
    {"screentext", ScreentextCommand},
    {"screenshot", ScreenshotCommand},
    {"sendkeys", SendkeysCommand},
    {"rename", RenameCommand},
    {"cp", CopyCommand},
    {"diff", DiffCommand},
    {"export", ExportCommand},
    {"volume", VolumeCommand},
    {"images", ImagesCommand},
    {"load", LoadCommand},
    {"import", ImportCommand},
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

}  // namespace

int HullMain(int argc, char** argv) {
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

}  // namespace hull::cli
