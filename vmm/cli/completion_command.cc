#include "vmm/cli/completion_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "images/store.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/completion.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/container_store.h"
#include "vmm/container/outcome.h"
#include "vmm/container/volume_store.h"
#include "vmm/emulated_host/emulated_host.h"

namespace hull::cli {
namespace {

// Who waits for a candidate has typed it by then.
constexpr absl::Duration kPatience = absl::Seconds(2);
constexpr size_t kMaxOutputBytes = size_t{1} << 20;
constexpr size_t kShortIdDigits = 12;

// zsh runs it by its bashcompinit, which has no compopt. bash makes words of their own of ':' and
// '=', which belong to names of images and to flags: they are put together again, and what the
// shell takes for words before the one that is typed is taken off the candidates. Names among files
// are not treated as such, as their ':' would get a backslash.
constexpr char kScript[] = R"(_hull() {
  local i word typed= before= glue= files= names= candidate
  local -a words
  COMPREPLY=()
  words=()
  for (( i = 1; i <= COMP_CWORD; i++ )); do
    word=${COMP_WORDS[i]}
    if [[ ${#words[@]} -gt 0 && ( -n $glue || $word == [:=] ) ]]; then
      before=$typed
      typed=$typed$word
      words[${#words[@]}-1]=$typed
    else
      before=
      typed=$word
      words[${#words[@]}]=$word
    fi
    glue=
    if [[ $word == [:=] ]]; then
      glue=1
      before=$typed
    fi
  done
  while IFS= read -r candidate; do
    if [[ $candidate == :files ]]; then
      files=1
      while IFS= read -r candidate; do
        COMPREPLY[${#COMPREPLY[@]}]=$candidate
      done < <(compgen -f -- "${typed#"$before"}")
    else
      names=1
      COMPREPLY[${#COMPREPLY[@]}]=${candidate#"$before"}
    fi
  done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
  if [[ -n $files && -z $names ]]; then
    compopt -o filenames 2>/dev/null
  fi
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]]; then
    compopt -o nospace 2>/dev/null
  fi
  return 0
}
complete -F _hull hull
)";
constexpr char kZshStart[] = "autoload -U +X bashcompinit && bashcompinit\n";

// What a child of this process that runs `action` writes to its standard output; as far as it comes
// in time. It reads nothing and has nobody to complain to.
std::string OutputOf(const std::function<void()>& action) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return "";
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = fork();
  if (child < 0) return "";
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
        dup2(write_end.get(), STDOUT_FILENO) < 0) {
      _exit(container::kHullFailed);
    }
    action();
    _exit(0);
  }
  write_end.Reset();
  std::string output;
  const absl::Time deadline = absl::Now() + kPatience;
  while (output.size() < kMaxOutputBytes) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    pollfd readable = {.fd = read_end.get(), .events = POLLIN, .revents = 0};
    const int ready = left > 0 ? poll(&readable, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) break;
    char buffer[4096];
    const ssize_t n = read(read_end.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    output.append(buffer, static_cast<size_t>(n));
  }
  kill(child, SIGKILL);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return output;
}

bool Matches(const container::ContainerInfo& info, ContainerState state) {
  switch (state) {
    case ContainerState::kAny:
      return true;
    case ContainerState::kAlive:
      return info.alive;
    case ContainerState::kRunning:
      return Runs(info);
    case ContainerState::kPaused:
      return info.alive && !Runs(info);
    case ContainerState::kNotRunning:
      return !info.alive;
  }
  return false;
}

std::vector<std::string> ContainerNames(const Installation& installation, ContainerState state,
                                        absl::string_view prefix) {
  std::vector<std::string> names;
  // Looking makes no directories.
  if (access(absl::StrCat(installation.root, "/containers").c_str(), F_OK) != 0) return names;
  const absl::StatusOr<std::unique_ptr<container::ContainerStore>> store =
      container::ContainerStore::Open({.root = installation.root, .run = installation.run});
  if (!store.ok()) return names;
  const absl::StatusOr<std::vector<container::ContainerInfo>> infos = (*store)->List();
  if (!infos.ok()) return names;
  for (const container::ContainerInfo& info : *infos) {
    if (!Matches(info, state)) continue;
    const std::string short_id = info.config.id.substr(0, kShortIdDigits);
    if (absl::StartsWith(info.config.name, prefix)) {
      names.push_back(info.config.name);
    } else if (absl::StartsWith(short_id, prefix)) {
      names.push_back(short_id);
    }
  }
  return names;
}

std::vector<std::string> ImageNames(const Installation& installation, absl::string_view prefix) {
  std::vector<std::string> names;
  const absl::StatusOr<std::vector<images::ImageInfo>> images =
      images::Store(installation.ImageStore()).List();
  if (!images.ok()) return names;
  for (const images::ImageInfo& image : *images) {
    const std::string name =
        image.repository.empty() ? "" : ImageNameFor(image.repository, image.tag, prefix);
    const std::string short_id = image.id.hex().substr(0, kShortIdDigits);
    if (!name.empty()) {
      names.push_back(name);
    } else if (absl::StartsWith(short_id, prefix)) {
      names.push_back(short_id);
    }
  }
  return names;
}

std::vector<std::string> VolumeNames(const Installation& installation, absl::string_view prefix) {
  std::vector<std::string> names;
  const absl::StatusOr<container::DiskMaker> maker = installation.DiskMaker();
  if (!maker.ok()) return names;
  const absl::StatusOr<std::vector<container::Volume>> volumes =
      container::VolumeStore(installation.root, *maker).List();
  if (!volumes.ok()) return names;
  for (const container::Volume& volume : *volumes) {
    if (absl::StartsWith(volume.name, prefix)) names.push_back(volume.name);
  }
  return names;
}

// What the same command prints in the emulated host, if containers are there and it runs.
std::string CandidatesInEmulatedHost(const Installation& installation,
                                     const std::vector<std::string>& words) {
  const absl::StatusOr<emulated_host::Decision> decision = emulated_host::Decide();
  if (!decision.ok() || decision->place == emulated_host::Place::kHere) return "";
  const absl::StatusOr<emulated_host::Config> config = emulated_host::Config::FromEnvironment();
  if (!config.ok()) return "";
  const absl::StatusOr<emulated_host::Status> host = emulated_host::GetStatus(*config);
  if (!host.ok() || !host->running || !host->ready) return "";
  emulated_host::RunOptions options = {
      .argv = {installation.executable, "__complete"}, .forward_stdin = false, .may_start = false};
  options.argv.insert(options.argv.end(), words.begin(), words.end());
  return OutputOf([&] { (void)emulated_host::RunInside(*config, "", options); });
}

class Describer {
 public:
  using RunVerb = std::function<int(const std::vector<std::string>& args)>;
  explicit Describer(const RunVerb& run) : run_(run) {}

  VerbDescription operator()(const std::vector<std::string>& path) const {
    if (path.size() == 1) {
      VerbDescription group = Ask(path, "--help");
      if (!group.verbs.empty()) return group;
    }
    // Its verbs have no flags to speak of, and do not know this one.
    if (path.front() == "host") return {};
    return Ask(path, kDescribeFlag);
  }

 private:
  VerbDescription Ask(const std::vector<std::string>& path, const char* flag) const {
    std::vector<std::string> args = path;
    args.emplace_back(flag);
    return ParseDescription(path, OutputOf([&] {
                              // hull host tells its usage to standard error only.
                              dup2(STDOUT_FILENO, STDERR_FILENO);
                              run_(args);
                            }));
  }

  const RunVerb& run_;
};

}  // namespace

int CompletionCommand(const std::vector<std::string>& args) {
  std::string shell;
  CLI::App app("Prints a script by which a shell completes hull's command lines.", "completion");
  app.formatter(std::make_shared<UsageFormatter>("completion bash|zsh"));
  app.add_option("SHELL", shell, "bash or zsh")->required();
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  if (shell == "bash") return PrintOutput(kScript);
  if (shell == "zsh") return PrintOutput(absl::StrCat(kZshStart, kScript));
  PrintError(absl::StrCat("no completion for the shell ", container::Printable(shell),
                          ": there is bash and zsh"));
  return container::kHullFailed;
}

int PrintCandidates(const std::vector<std::string>& words, std::vector<std::string> verbs,
                    const std::function<int(const std::vector<std::string>& args)>& run) {
  if (words.empty()) return 0;
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  bool names_matter = false;
  const auto here = [&](const auto& names) {
    names_matter = true;
    return installation.ok() ? names() : std::vector<std::string>();
  };
  const CompletionSources sources = {
      .verbs = std::move(verbs),
      .describe = Describer(run),
      .containers =
          [&](ContainerState state, absl::string_view prefix) {
            return here([&] { return ContainerNames(*installation, state, prefix); });
          },
      .images =
          [&](absl::string_view prefix) {
            return here([&] { return ImageNames(*installation, prefix); });
          },
      .volumes =
          [&](absl::string_view prefix) {
            return here([&] { return VolumeNames(*installation, prefix); });
          },
  };
  std::vector<std::string> candidates = Complete(words, sources);
  if (names_matter && installation.ok()) {
    const std::string there = CandidatesInEmulatedHost(*installation, words);
    const std::vector<std::string> more = absl::StrSplit(there, '\n', absl::SkipEmpty());
    candidates.insert(candidates.end(), more.begin(), more.end());
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  }
  if (!candidates.empty()) PrintOutput(absl::StrCat(absl::StrJoin(candidates, "\n"), "\n"));
  return 0;
}

}  // namespace hull::cli
