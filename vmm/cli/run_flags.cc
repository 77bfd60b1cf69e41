#include "vmm/cli/run_flags.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <tuple>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/completion.h"
#include "vmm/cli/flag_prefix.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/names.h"
#include "vmm/container/signals.h"

namespace hull::cli {
namespace {

absl::Status Usage(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(what, " (see hull run --help)"));
}

// The values of --pull: what can be pulled is pulled before, by hull load.
constexpr absl::string_view kPullPolicies[] = {"never", "missing", "always", "newer"};

// The values of flags that need more than a type.
struct RawValues {
  std::string cpus;
  std::string memory;
  std::string storage_size;
  std::vector<std::string> volumes;
  std::vector<std::string> mounts;
  std::vector<std::string> tmpfs;
  std::string entrypoint;
  std::string stop_signal;
  std::string stop_timeout;
  std::string log_max_size;
  std::string pull;
  std::string display;
  std::string detach_keys = container::kDefaultDetachKeys;
};

void DefineFlags(absl::string_view verb, CLI::App* app, RunFlags* flags, RawValues* raw) {
  app->formatter(
      std::make_shared<UsageFormatter>(absl::StrCat(verb, " [FLAG...] IMAGE [CMD [ARG...]]")));
  app->get_help_ptr()->group("");  // whoever reads the text has found it
  if (verb == "run") {
    app->add_flag("-d,--detach", flags->detach, "Leave it in the background and print its id");
  }
  app->add_flag("--rm", flags->remove, "Remove the container when it has ended");
  app->add_option("--name", flags->name, "Name of the container (default: its short id)");
  app->add_option("--cpus", raw->cpus, "CPUs, 0.01 to 32 (default: 1)");
  app->add_option("-m,--memory", raw->memory, "Memory: number and b, k, m or g (default: 128m)");
  app->add_option("--storage-size", raw->storage_size,
                  "Disk for its writes (default: 10g; 0 or --rm: none)");
  for (const auto& [name, values, text] :
       {std::tuple("-v,--volume", &raw->volumes, "[NAME:]/PATH[:ro]; also --mount, --tmpfs"),
        std::tuple("--mount", &raw->mounts, ""), std::tuple("--tmpfs", &raw->tmpfs, "")}) {
    CLI::Option* const option = app->add_option(name, *values, text)
                                    ->type_size(1)
                                    ->expected(1)
                                    ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    if (*text == '\0') option->group("");
  }
  app->add_option("-e,--env", flags->env, "NAME=VALUE, or NAME for this shell's; also --env-file")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app->add_option("--env-file", flags->env_files, "")
      ->group("")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app->add_option("-w,--workdir", flags->working_directory, "Working directory of the command");
  app->add_option("-u,--user", flags->user, "USER[:GROUP], names or numbers");
  app->add_option("--entrypoint", raw->entrypoint, "Run this in place of the image's entry point");
  app->add_option("--hostname", flags->hostname, "Host name (default: the short id)");
  app->add_flag("--read-only", flags->read_only, "Make the root file system read-only");
  app->add_option("-l,--label", flags->labels, "KEY=VALUE, a label; repeatable")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app->add_option("--cidfile", flags->cidfile, "Write the container's id to this new file");
  app->add_option("--stop-signal", raw->stop_signal, "What hull stop sends (default: SIGTERM)");
  app->add_option("--stop-timeout", raw->stop_timeout, "Seconds until it kills (default: 10)");
  app->add_option("--log-max-size", raw->log_max_size,
                  "Size of each of 3 log files (default: 10m)");
  app->add_option("--pull", raw->pull, "")->group("");
  app->add_option("--display", raw->display, "PC: vnc[=ADDR:PORT|/PATH]; --display-password-file");
  app->add_option("--display-password-file", flags->display_password_file, "")->group("");
  app->add_flag("--console", flags->console, "Show the guest kernel's console on standard error");
  app->add_flag("-i,--interactive", flags->interactive, "Pass standard input to the command");
  app->add_flag("-t,--tty", flags->terminal, "Give the command a terminal");
  app->add_option("--detach-keys", raw->detach_keys, "")->group("");
}

absl::Status ParseMounts(const RawValues& raw, std::vector<container::Mount>* mounts) {
  const struct {
    const char* flag;
    const std::vector<std::string>& values;
    absl::StatusOr<container::Mount> (*parse)(absl::string_view);
  } kinds[] = {{"--volume", raw.volumes, container::ParseVolumeFlag},
               {"--mount", raw.mounts, container::ParseMountFlag},
               {"--tmpfs", raw.tmpfs, container::ParseTmpfsFlag}};
  for (const auto& kind : kinds) {
    for (const std::string& value : kind.values) {
      absl::StatusOr<container::Mount> mount = kind.parse(value);
      if (!mount.ok()) return Annotate(mount.status(), kind.flag);
      mounts->push_back(*std::move(mount));
    }
  }
  // What is below another is mounted after it.
  std::stable_sort(mounts->begin(), mounts->end(),
                   [](const container::Mount& a, const container::Mount& b) {
                     return std::count(a.target.begin(), a.target.end(), '/') <
                            std::count(b.target.begin(), b.target.end(), '/');
                   });
  return container::ValidateMounts(*mounts);
}

absl::Status CheckValues(const CLI::App& app, const RawValues& raw, uint64_t host_memory_bytes,
                         RunFlags* flags) {
  if (app.count("--name") > 0) {
    HULL_RETURN_IF_ERROR(Annotate(container::ValidateName(flags->name), "--name"));
  }
  if (app.count("--hostname") > 0) {
    HULL_RETURN_IF_ERROR(Annotate(container::ValidateHostname(flags->hostname), "--hostname"));
  }
  if (app.count("--cpus") > 0) {
    absl::StatusOr<container::Cpus> cpus = container::ParseCpus(raw.cpus);
    if (!cpus.ok()) return Annotate(cpus.status(), "--cpus");
    flags->cpus = *cpus;
  }
  if (app.count("--memory") > 0) {
    absl::StatusOr<uint64_t> memory = container::ParseMemory(raw.memory, host_memory_bytes);
    if (!memory.ok()) return Annotate(memory.status(), "--memory");
    flags->memory_bytes = *memory;
  }
  if (app.count("--storage-size") > 0) {
    const bool none = raw.storage_size == "0";
    absl::StatusOr<uint64_t> bytes = none ? 0 : container::ParseStorageSize(raw.storage_size);
    if (!bytes.ok()) return Annotate(bytes.status(), "--storage-size");
    flags->storage_bytes = *bytes;
  }
  HULL_RETURN_IF_ERROR(ParseMounts(raw, &flags->mounts));
  if (app.count("--entrypoint") > 0) flags->entrypoint = raw.entrypoint;
  absl::StatusOr<container::DetachKeys> keys = container::DetachKeys::Parse(raw.detach_keys);
  if (!keys.ok()) return Annotate(keys.status(), "--detach-keys");
  flags->detach_keys = *std::move(keys);
  flags->detach_keys_text = raw.detach_keys;
  if (app.count("--stop-signal") > 0) {
    absl::StatusOr<uint32_t> signal = container::ParseSignal(raw.stop_signal);
    if (!signal.ok()) return Annotate(signal.status(), "--stop-signal");
    flags->stop_signal = *signal;
  }
  if (app.count("--stop-timeout") > 0) {
    absl::StatusOr<uint32_t> seconds = container::ParseSeconds(raw.stop_timeout);
    if (!seconds.ok()) return Annotate(seconds.status(), "--stop-timeout");
    flags->stop_timeout_seconds = *seconds;
  }
  if (app.count("--log-max-size") > 0) {
    absl::StatusOr<uint64_t> bytes = container::ParseSize(raw.log_max_size);
    if (!bytes.ok()) return Annotate(bytes.status(), "--log-max-size");
    if (*bytes < container::kMinLogMaxBytes) {
      return absl::InvalidArgumentError("--log-max-size: at least 64k");
    }
    flags->log_max_bytes = *bytes;
  }
  if (app.count("--display") > 0) {
    HULL_ASSIGN_OR_RETURN(flags->display, display::ParseDisplayFlag(raw.display));
  }
  if (app.count("--pull") > 0 &&
      std::count(std::begin(kPullPolicies), std::end(kPullPolicies), raw.pull) == 0) {
    return Usage("--pull takes never, missing, always or newer");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RunFlags> ParseRunFlags(absl::string_view verb, const std::vector<std::string>& args,
                                       uint64_t host_memory_bytes) {
  RunFlags flags;
  RawValues raw;
  CLI::App app(verb == "run" ? "Runs a command in a new container, a microVM of its own."
                             : "Makes a container that hull start starts.");
  DefineFlags(verb, &app, &flags, &raw);
  if (args == std::vector<std::string>{kDescribeFlag}) {
    flags.help = DescribeVerb(app);
    return flags;
  }

  size_t taken = 0;
  HULL_ASSIGN_OR_RETURN(std::vector<std::string> own, TakeFlags(app, args, verb, &taken));
  std::reverse(own.begin(), own.end());  // the order in which CLI11 takes a vector
  try {
    app.parse(std::move(own));
  } catch (const CLI::CallForHelp&) {
    flags.help = absl::StrCat(absl::StripTrailingAsciiWhitespace(app.help()), "\n");
    return flags;
  } catch (const CLI::ParseError& error) {
    return Usage(error.what());
  }
  if (taken == args.size()) return Usage("which image? None was given");
  flags.image = args[taken];
  flags.command.assign(args.begin() + static_cast<ptrdiff_t>(taken) + 1, args.end());
  HULL_RETURN_IF_ERROR(CheckValues(app, raw, host_memory_bytes, &flags));
  return flags;
}

}  // namespace hull::cli
