#include "vmm/cli/logs_command.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/container_store.h"
#include "vmm/container/log_reader.h"

namespace hull::cli {
namespace {

using container::ContainerStore;
using container::LogEntry;
using container::LogStream;

// Changes wake a follower up; so often it looks whether the container is still alive.
constexpr int kLookMs = 500;

struct LogsFlags {
  std::string name;
  bool follow = false;
  bool timestamps = false;
  int64_t tail = -1;
  std::string since;
  std::string until;
};

absl::Status Print(std::vector<LogPrinter::Piece> pieces) {
  for (const LogPrinter::Piece& piece : pieces) {
    HULL_RETURN_IF_ERROR(Annotate(
        WriteFull(piece.to_stderr ? STDERR_FILENO : STDOUT_FILENO, piece.text), "write the log"));
  }
  return absl::OkStatus();
}

absl::Status Follow(ContainerStore* store, const std::string& id, container::LogReader* reader,
                    LogPrinter* printer) {
  const UniqueFd changes(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!changes.valid()) return PosixError("watch the log");
  const std::string directory = store->StateDirectory(id);
  inotify_add_watch(changes.get(), directory.c_str(),
                    IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF);
  while (true) {
    // Looked at before the log, so that all that an ended container printed is seen.
    const absl::StatusOr<container::ContainerInfo> info = store->Look(id);
    const bool alive = info.ok() && info->alive;
    HULL_RETURN_IF_ERROR(reader->Read([&](const LogEntry& entry) { printer->Add(entry); }));
    HULL_RETURN_IF_ERROR(Print(printer->Take()));
    if (!alive) return absl::OkStatus();
    pollfd wait = {.fd = changes.get(), .events = POLLIN, .revents = 0};
    poll(&wait, 1, kLookMs);
    char events[4096];
    while (read(changes.get(), events, sizeof(events)) > 0) {
    }
  }
}

absl::Status ShowLog(const Installation& installation, const LogsFlags& flags) {
  const absl::Time now = absl::Now();
  LogPrinter::Options options = {.timestamps = flags.timestamps};
  if (!flags.since.empty()) {
    HULL_ASSIGN_OR_RETURN(const absl::Time since, ParseMoment(flags.since, now));
    options.since_unix_ns = absl::ToUnixNanos(since);
  }
  if (!flags.until.empty()) {
    HULL_ASSIGN_OR_RETURN(const absl::Time until, ParseMoment(flags.until, now));
    options.until_unix_ns = absl::ToUnixNanos(until);
  }
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ContainerStore> store, OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const Named found, FindContainer(store.get(), flags.name));
  const container::Config& config = found.info.config;
  if (config.log_max_bytes == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "container ", config.name,
        " keeps no log: it was run with --rm and not in the background, so its output is where it "
        "was started"));
  }
  container::LogReader reader(store->StateDirectory(config.id));
  LogPrinter printer(options);
  HULL_RETURN_IF_ERROR(reader.Read([&](const LogEntry& entry) {
    printer.Add(entry);
    if (flags.tail >= 0) printer.KeepTail(static_cast<size_t>(flags.tail));
  }));
  HULL_RETURN_IF_ERROR(Print(printer.Take()));
  if (!flags.follow) return absl::OkStatus();
  return Follow(store.get(), config.id, &reader, &printer);
}

}  // namespace

absl::StatusOr<absl::Time> ParseMoment(absl::string_view text, absl::Time now) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return time;
  // Without a zone it is this machine's.
  for (const char* const format : {"%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%d"}) {
    if (absl::ParseTime(format, text, absl::LocalTimeZone(), &time, &error)) return time;
  }
  double seconds = 0;
  constexpr double kMostSeconds = 9e9;  // in the 23rd century, as nanoseconds still fit
  if (absl::SimpleAtod(text, &seconds) && seconds >= 0 && seconds < kMostSeconds) {
    return absl::UnixEpoch() + absl::Seconds(seconds);
  }
  absl::Duration ago;
  if (absl::ParseDuration(text, &ago) && absl::AbsDuration(ago) < absl::Hours(24 * 36500)) {
    return now - ago;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(text.substr(0, 60)),
                   "\" is no moment: write 2026-01-31T12:00:00Z, seconds since 1970, or how long "
                   "ago (10m)"));
}

void LogPrinter::Add(const LogEntry& entry) {
  if (entry.unix_ns < options_.since_unix_ns || entry.unix_ns > options_.until_unix_ns) return;
  if (entry.stream == LogStream::kDropped) {
    held_.push_back({.piece = {.to_stderr = true,
                               .text = absl::StrCat("hull: ", entry.content,
                                                    " lines were dropped here, as the log could "
                                                    "not be written\n")},
                     .begins_line = true});
    ++held_lines_;
    return;
  }
  const bool to_stderr = entry.stream == LogStream::kStandardError;
  bool& within_line = within_line_[to_stderr ? 1 : 0];
  Held held = {.piece = {.to_stderr = to_stderr, .text = {}}, .begins_line = !within_line};
  if (held.begins_line && options_.timestamps) {
    container::AppendLogTime(entry.unix_ns, &held.piece.text);
    held.piece.text += ' ';
  }
  absl::StrAppend(&held.piece.text, entry.content, entry.ends_line ? "\n" : "");
  within_line = !entry.ends_line;
  held_lines_ += held.begins_line ? 1 : 0;
  held_.push_back(std::move(held));
}

void LogPrinter::KeepTail(size_t lines) {
  while (held_lines_ > lines || (!held_.empty() && !held_.front().begins_line)) {
    held_lines_ -= held_.front().begins_line ? 1 : 0;
    held_.pop_front();
  }
}

std::vector<LogPrinter::Piece> LogPrinter::Take() {
  std::vector<Piece> pieces;
  for (Held& held : held_) {
    if (!pieces.empty() && pieces.back().to_stderr == held.piece.to_stderr) {
      pieces.back().text += held.piece.text;
    } else {
      pieces.push_back(std::move(held.piece));
    }
  }
  held_.clear();
  held_lines_ = 0;
  return pieces;
}

int LogsCommand(const std::vector<std::string>& args) {
  LogsFlags flags;
  CLI::App app("Shows what a container has printed.", "logs");
  app.formatter(std::make_shared<UsageFormatter>("logs [FLAG...] CONTAINER"));
  app.add_flag("-f,--follow", flags.follow, "Go on until the container has ended");
  app.add_flag("-t,--timestamps", flags.timestamps, "Show when each line began");
  app.add_option("--tail", flags.tail, "Only the last so many lines (default: all)");
  app.add_option("--since", flags.since, "Only from a time on: RFC 3339, or how long ago (10m)");
  app.add_option("--until", flags.until, "Only up to a time");
  app.add_option("CONTAINER", flags.name, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, {flags.name});
      })) {
    return *status;
  }
  const absl::Status shown = ShowLog(installation, flags);
  return shown.ok() ? 0 : ReportFailure(shown);
}

}  // namespace hull::cli
