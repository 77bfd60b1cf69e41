#include "vmm/cli/hull_main.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/out_of_memory.h"
#include "vmm/cli/commit_command.h"
#include "vmm/cli/completion_command.h"
#include "vmm/cli/container_command.h"
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
#include "vmm/cli/prune_commands.h"
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

  run     Run a command     ps      List containers   top     Show its processes
  create  Make a container  inspect Show all as JSON  stats   Show what some use
  start   Start some        logs    Show its output   pause   Stop all it does
  stop    Stop some         attach  Follow its words  unpause Let it go on
  restart Stop and start    wait    Wait for its end  cp      Copy files in, out
  kill    Send a signal     rename  Give it a name    diff    Show its changes
  rm      Remove some       exec    Run one more      export  Write all files
  screentext  Print a PC's screen  screenshot  Picture of it  sendkeys  Type

  images  List images       pull    Fetch a new one   tag     Give it a name
  load    Read an archive   push    Send one away     untag   Take a name
  save    Write an archive  login   Log in for these  history Show its making
  rmi     Remove images     logout  Log out again
  import  Take a PC's disk  commit  Of a container    image   Prune and more

  info    Check this host   version Print its number  host    Emulated host
  volume  Disks that stay   system  prune clears up   container  prune and all
  completion  For bash, zsh

hull VERB --help tells more. The exit status is the verb's or the container's;
125 if Hull failed, 126 and 127 if the command cannot be executed or found.
)";

int VersionCommand(const std::vector<std::string>&) {
  return PrintOutput(absl::StrCat("hull version ", kVersion, "\n"));
}

int HelpCommand(const std::vector<std::string>&) { return PrintOutput(kHelp); }

int CompleteCommand(const std::vector<std::string>& words);

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
    {"commit", CommitCommand},
    {"volume", VolumeCommand},
    {"container", ContainerCommand},
    {"system", SystemCommand},
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
    {"completion", CompletionCommand},
    {"__complete", CompleteCommand},
    {"version", VersionCommand},
    {"--version", VersionCommand},
    {"help", HelpCommand},
    {"--help", HelpCommand},
    {"-h", HelpCommand},
};

const Verb* FindVerb(absl::string_view name) {
  for (const Verb& verb : kVerbs) {
    if (name == verb.name) return &verb;
  }
  return nullptr;
}

int CompleteCommand(const std::vector<std::string>& words) {
  std::vector<std::string> offered;
  for (const Verb& verb : kVerbs) {
    // monitor is for hull itself, as what begins otherwise is for scripts or not a verb.
    const absl::string_view name = verb.name;
    if (absl::ascii_islower(name[0]) && name != "monitor") offered.emplace_back(name);
  }
  return PrintCandidates(words, std::move(offered), [](const std::vector<std::string>& args) {
    return FindVerb(args.front())->run({args.begin() + 1, args.end()});
  });
}

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
  if (const Verb* const verb = FindVerb(argv[1])) return verb->run(args);
  PrintError(absl::StrCat("unknown verb ", absl::CHexEscape(argv[1]), ": hull --help lists them"));
  return container::kHullFailed;
}

}  // namespace hull::cli
