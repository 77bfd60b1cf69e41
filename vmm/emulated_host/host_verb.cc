// `hull host …`.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/base/file_io.h"
#include "vmm/base/status_macros.h"
#include "vmm/emulated_host/emulated_host.h"
#include "vmm/emulated_host/internal.h"

namespace hull::emulated_host {
namespace {

constexpr int kUsageError = 64;
constexpr int kHullFailed = 125;

constexpr char kUsage[] =
    "usage: hull host start|stop|status\n"
    "       hull host shell [-c COMMAND | -- COMMAND [ARGUMENT...]]\n";

struct Arguments {
  Config config;
  std::string verb;
  std::optional<std::string> shell_command;  // of -c
  std::vector<std::string> command;          // after --
  int ready_fd = -1;
  // Options that only `supervise` has.
  bool internal_option = false;
};

// 512, 512k, 512m, 4g: bytes.
bool ParseSize(absl::string_view text, uint64_t* bytes) {
  if (text.empty()) return false;
  int shift = 0;
  switch (text.back() | 0x20) {
    case 'k':
      shift = 10;
      break;
    case 'm':
      shift = 20;
      break;
    case 'g':
      shift = 30;
      break;
    default:
      break;
  }
  if (shift != 0) text.remove_suffix(1);
  uint64_t number;
  if (!absl::SimpleAtoi(text, &number) || number > (uint64_t{1} << 50 >> shift)) return false;
  *bytes = number << shift;
  return true;
}

bool ParseSeconds(absl::string_view text, absl::Duration* duration) {
  uint32_t seconds;
  if (!absl::SimpleAtoi(text, &seconds) || seconds == 0) return false;
  *duration = absl::Seconds(seconds);
  return true;
}

absl::StatusOr<Arguments> Parse(const std::vector<std::string>& args) {
  Arguments parsed;
  HULL_ASSIGN_OR_RETURN(parsed.config, Config::FromEnvironment());
  if (args.empty()) return absl::InvalidArgumentError("a verb is missing");
  parsed.verb = args[0];
  for (size_t i = 1; i < args.size(); ++i) {
    const std::string& option = args[i];
    if (option == "--") {
      parsed.command.assign(args.begin() + static_cast<ptrdiff_t>(i) + 1, args.end());
      return parsed;
    }
    if (option == "--icount") {
      parsed.config.icount = true;
      continue;
    }
    if (i + 1 == args.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", option, "\": unknown, or lacks a value"));
    }
    const std::string& value = args[++i];
    bool good = true;
    Config& config = parsed.config;
    if (option == "-c") {
      parsed.shell_command = value;
    } else if (option == "--instance") {
      good = value.size() > 1 && value.front() == '/';
      config.instance_dir = value;
    } else if (option == "--cpus") {
      constexpr uint32_t kMaxCpus = 64;
      good = absl::SimpleAtoi(value, &config.cpus) && config.cpus >= 1 && config.cpus <= kMaxCpus;
    } else if (option == "--memory") {
      constexpr uint64_t kLeast = uint64_t{512} << 20;
      good = ParseSize(value, &config.memory_bytes) && config.memory_bytes >= kLeast;
    } else if (option == "--disk") {
      constexpr uint64_t kLeast = uint64_t{256} << 20;
      good = ParseSize(value, &config.data_disk_bytes) && config.data_disk_bytes >= kLeast;
    } else if (option == "--answer-deadline") {
      good = ParseSeconds(value, &config.answer_deadline);
    } else if (option == "--boot-deadline") {
      good = ParseSeconds(value, &config.boot_deadline);
    } else if (option == "--assets") {
      config.assets_dir = value;
    } else if (option == "--hull-root") {
      config.hull_root = value;
    } else if (option == "--hull-run") {
      config.hull_run = value;
    } else if (option == "--ready-fd") {
      good = absl::SimpleAtoi(value, &parsed.ready_fd);
    } else {
      return absl::InvalidArgumentError(absl::StrCat("\"", option, "\": unknown option"));
    }
    if (!good) return absl::InvalidArgumentError(absl::StrCat(option, " ", value, ": not valid"));
  }
  return parsed;
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  (void)WriteFull(STDERR_FILENO, absl::StrCat("hull: ", status.message(), "\n"));
  return kHullFailed;
}

int ShowStatus(const Config& config) {
  const absl::StatusOr<Status> status = GetStatus(config);
  if (!status.ok()) return Report(status.status());
  std::string text;
  if (!status->running) {
    text = "the emulated host is stopped\n";
  } else {
    text = absl::StrFormat(
        "the emulated host is %s\n"
        "  up           %d s\n"
        "  processes    supervisor %d, QEMU %d\n"
        "  commands     %u\n"
        "  CPUs         %u%s\n"
        "  memory       %u MiB\n",
        !status->trouble.empty() ? "paused" : (status->ready ? "running" : "starting"),
        absl::ToInt64Seconds(status->uptime), status->supervisor_pid, status->qemu_pid,
        status->sessions, status->cpus, status->icount ? ", instruction clock" : "",
        status->memory_bytes >> 20);
    if (!status->trouble.empty()) absl::StrAppend(&text, "  trouble      ", status->trouble, "\n");
  }
  absl::StrAppendFormat(&text, "  data disk    %s/%s, %u MiB used\n", config.instance_dir,
                        kDataDiskName, status->data_disk_used_bytes >> 20);
  return Report(WriteFull(STDOUT_FILENO, text));
}

int RunCommand(const Config& config, std::vector<std::string> argv) {
  RunOptions options;
  options.argv = std::move(argv);
  const absl::StatusOr<ExitStatus> status = RunInside(config, "", options);
  if (!status.ok()) return Report(status.status());
  status->Mirror();
}

std::vector<std::string> ShellCommand(const Arguments& arguments) {
  if (!arguments.command.empty()) return arguments.command;
  const char* shell = getenv("SHELL");
  std::string program = shell != nullptr && shell[0] == '/' ? shell : "/bin/sh";
  if (!arguments.shell_command.has_value()) return {std::move(program)};
  return {"/bin/sh", "-c", *arguments.shell_command};
}

}  // namespace

std::vector<std::string> SupervisorArguments(const Config& config, int ready_fd) {
  std::vector<std::string> arguments = {"--instance",
                                        config.instance_dir,
                                        "--assets",
                                        config.assets_dir,
                                        "--hull-root",
                                        config.hull_root,
                                        "--hull-run",
                                        config.hull_run,
                                        "--cpus",
                                        absl::StrCat(config.cpus),
                                        "--memory",
                                        absl::StrCat(config.memory_bytes),
                                        "--disk",
                                        absl::StrCat(config.data_disk_bytes),
                                        "--answer-deadline",
                                        absl::StrCat(absl::ToInt64Seconds(config.answer_deadline)),
                                        "--boot-deadline",
                                        absl::StrCat(absl::ToInt64Seconds(config.boot_deadline)),
                                        "--ready-fd",
                                        absl::StrCat(ready_fd)};
  if (config.icount) arguments.push_back("--icount");
  return arguments;
}

int RunHostVerb(const std::vector<std::string>& args) {
  const absl::StatusOr<Arguments> arguments = Parse(args);
  if (!arguments.ok()) {
    (void)WriteFull(STDERR_FILENO,
                    absl::StrCat("hull host: ", arguments.status().message(), "\n", kUsage));
    return absl::IsInvalidArgument(arguments.status()) ? kUsageError : kHullFailed;
  }
  const Config& config = arguments->config;
  const std::string& verb = arguments->verb;
  if (verb == "start") return Report(EnsureRunning(config, ""));
  if (verb == "stop") return Report(Stop(config));
  if (verb == "status") return ShowStatus(config);
  if (verb == "shell") return RunCommand(config, ShellCommand(*arguments));
  if (verb == "exec" && !arguments->command.empty()) return RunCommand(config, arguments->command);
  if (verb == "supervise" && arguments->ready_fd >= 0) {
    return Supervise(config, arguments->ready_fd);
  }
  (void)WriteFull(STDERR_FILENO, absl::StrCat("hull host: \"", verb, "\"?\n", kUsage));
  return kUsageError;
}

}  // namespace hull::emulated_host
