#include "vmm/cli/ps_command.h"

#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "vmm/base/status_macros.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/displays.h"
#include "vmm/cli/format_template.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/config.h"
#include "vmm/container/labels.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

using container::ContainerInfo;
using container::Status;
using nlohmann::json;

constexpr size_t kShownCommand = 17;
constexpr char kColumns[] =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
constexpr char kColumnsHeading[] = "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES";

absl::Time FromMs(int64_t unix_ms) { return absl::FromUnixMillis(unix_ms); }

std::string Ago(int64_t unix_ms, absl::Time now) {
  return absl::StrCat(HumanDuration(now - FromMs(unix_ms)), " ago");
}

std::string StatusText(const ContainerInfo& info, absl::Time now) {
  const container::State& state = info.state;
  switch (state.status) {
    case Status::kCreated:
      return "Created";
    case Status::kRunning:
      return absl::StrCat("Up ", HumanDuration(now - FromMs(state.started_unix_ms)));
    case Status::kPaused:
      return "Paused";
    case Status::kExited:
      return absl::StrCat("Exited (", state.exit_status, ") ", Ago(state.finished_unix_ms, now));
    case Status::kFailed:
      return absl::StrCat("Failed (", state.exit_status, ") ", Ago(state.finished_unix_ms, now));
  }
  return "";
}

// Text of a container's, fit for a terminal and for one line of a table.
std::string OneLine(const std::string& text) {
  std::string line = absl::CHexEscape(text);
  // What CHexEscape() does to quotes is for C, not for people.
  std::string plain;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size() && (line[i + 1] == '"' || line[i + 1] == '\'')) ++i;
    plain += line[i];
  }
  return plain;
}

json Row(const ContainerInfo& info, absl::Time now, bool truncate) {
  const container::Config& config = info.config;
  std::string command = absl::StrJoin(config.process.args, " ");
  if (truncate && command.size() > kShownCommand) {
    command = absl::StrCat(command.substr(0, kShownCommand), "...");
  }
  json row;
  row["ID"] = truncate ? std::string(container::ShortId(config.id)) : config.id;
  row["Image"] = config.image;
  row["ImageID"] = std::string(absl::StripPrefix(config.image_digest, "sha256:"));
  row["Command"] = OneLine(command);
  row["CreatedAt"] = absl::FormatTime("%Y-%m-%d %H:%M:%S %z %Z", FromMs(config.created_unix_ms),
                                      absl::LocalTimeZone());
  row["RunningFor"] = Ago(config.created_unix_ms, now);
  row["Status"] = StatusText(info, now);
  row["State"] = container::StatusName(info.state.status);
  row["ExitCode"] = info.state.exit_status;
  row["Pid"] = info.state.vmm_pid;
  row["Ports"] = container::IsLive(info.state.status) ? DisplayPort(config) : "";
  row["Names"] = config.name;
  row["Labels"] = OneLine(absl::StrJoin(config.labels, ","));
  return row;
}

int64_t Seconds(int64_t unix_ms) { return unix_ms / 1000; }

// As `podman ps --format json` has it, as far as Hull has the same thing.
json JsonRow(const ContainerInfo& info, absl::Time now) {
  const container::Config& config = info.config;
  json labels = json::object();
  for (const std::string& label : config.labels) {
    const size_t equals = label.find('=');
    labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  json row;
  row["AutoRemove"] = config.remove;
  row["Command"] = config.process.args;
  row["Created"] = Seconds(config.created_unix_ms);
  row["CreatedAt"] = Ago(config.created_unix_ms, now);
  row["Exited"] = info.state.status == Status::kExited || info.state.status == Status::kFailed;
  row["ExitedAt"] = Seconds(info.state.finished_unix_ms);
  row["ExitCode"] = info.state.exit_status;
  row["Id"] = config.id;
  row["Image"] = config.image;
  row["ImageID"] = std::string(absl::StripPrefix(config.image_digest, "sha256:"));
  row["Labels"] = std::move(labels);
  row["Names"] = {config.name};
  row["Pid"] = info.state.vmm_pid;
  row["StartedAt"] = Seconds(info.state.started_unix_ms);
  row["State"] = container::StatusName(info.state.status);
  row["Status"] = StatusText(info, now);
  return row;
}

struct PsFlags {
  bool all = false;
  bool quiet = false;
  bool no_trunc = false;
  bool no_heading = false;
  bool latest = false;
  int last = 0;
  std::string format;
  std::vector<std::string> filters;
};

// The names of a template's fields, in capitals.
std::string Heading(absl::string_view format) {
  std::string heading;
  while (!format.empty()) {
    const size_t open = format.find("{{");
    absl::StrAppend(&heading, format.substr(0, open));
    if (open == absl::string_view::npos) break;
    format.remove_prefix(open + 2);
    const size_t close = std::min(format.find("}}"), format.size());
    absl::string_view field = absl::StripAsciiWhitespace(format.substr(0, close));
    field.remove_prefix(std::min(field.size(), field.rfind('.') + 1));
    absl::StrAppend(&heading, absl::AsciiStrToUpper(field));
    format.remove_prefix(std::min(close + 2, format.size()));
  }
  return absl::StrReplaceAll(heading, {{"\\t", "\t"}, {"\\n", "\n"}});
}

absl::StatusOr<std::string> Table(const std::vector<ContainerInfo>& containers,
                                  const PsFlags& flags) {
  const absl::Time now = absl::Now();
  absl::string_view format = flags.format;
  const bool standard = format.empty() || format == "table";
  const bool aligned = standard || absl::ConsumePrefix(&format, "table ");
  if (standard) format = kColumns;
  std::vector<std::vector<std::string>> rows;
  std::string lines;
  if (aligned && !flags.no_heading) {
    rows.push_back(absl::StrSplit(standard ? std::string(kColumnsHeading) : Heading(format), '\t'));
  }
  for (const ContainerInfo& info : containers) {
    HULL_ASSIGN_OR_RETURN(const std::string line,
                          RenderTemplate(format, Row(info, now, !flags.no_trunc)));
    absl::StrAppend(&lines, line, "\n");
    if (aligned) rows.push_back(absl::StrSplit(line, '\t'));
  }
  return aligned ? RenderTable(rows) : lines;
}

absl::StatusOr<std::string> Listing(const Installation& installation, const PsFlags& flags) {
  HULL_ASSIGN_OR_RETURN(const ContainerFilter filter, ContainerFilter::Parse(flags.filters));
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<container::ContainerStore> store,
                        OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(std::vector<ContainerInfo> containers, store->List());
  std::reverse(containers.begin(), containers.end());  // the newest first
  const bool all = flags.all || flags.latest || flags.last > 0 || filter.asks_for_status();
  std::erase_if(containers, [&](const ContainerInfo& info) {
    return (!all && !container::IsLive(info.state.status)) || !filter.Matches(info);
  });
  const size_t most = flags.latest ? 1 : static_cast<size_t>(std::max(flags.last, 0));
  if (most > 0 && containers.size() > most) containers.resize(most);

  if (flags.quiet) {
    std::string ids;
    for (const ContainerInfo& info : containers) {
      const std::string& id = info.config.id;
      absl::StrAppend(&ids, flags.no_trunc ? absl::string_view(id) : container::ShortId(id), "\n");
    }
    return ids;
  }
  if (flags.format == "json") {
    json rows = json::array();
    for (const ContainerInfo& info : containers) rows.push_back(JsonRow(info, absl::Now()));
    return PrettyJson(rows);
  }
  return Table(containers, flags);
}

bool MatchesPattern(absl::string_view text, absl::string_view pattern) {
  const bool begins = absl::ConsumePrefix(&pattern, "^");
  const bool ends = absl::ConsumeSuffix(&pattern, "$");
  if (begins && ends) return text == pattern;
  if (begins) return absl::StartsWith(text, pattern);
  if (ends) return absl::EndsWith(text, pattern);
  return absl::StrContains(text, pattern);
}

// Whether an image's stored name is what a user calls so.
bool IsAncestor(const container::Config& config, absl::string_view ancestor) {
  if (absl::StartsWith(absl::StripPrefix(config.image_digest, "sha256:"),
                       absl::StripPrefix(ancestor, "sha256:")) &&
      ancestor.size() >= container::kShortIdLength) {
    return true;
  }
  // "busybox" and "library/busybox" for docker.io/library/busybox:latest.
  absl::string_view image = config.image;
  if (ancestor.rfind(':') == absl::string_view::npos) image = image.substr(0, image.rfind(':'));
  return image == ancestor || absl::EndsWith(image, absl::StrCat("/", ancestor));
}

template <typename T, typename Check>
bool AnyOrNone(const std::vector<T>& values, Check check) {
  return values.empty() || std::any_of(values.begin(), values.end(), check);
}

}  // namespace

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return absl::StrCat(seconds, " seconds");
  const int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return absl::StrCat(minutes, " minutes");
  const int64_t hours = (minutes + 30) / 60;
  if (hours == 1) return "About an hour";
  if (hours < 48) return absl::StrCat(hours, " hours");
  const int64_t days = hours / 24;
  if (days < 14) return absl::StrCat(days, " days");
  if (days < 60) return absl::StrCat(days / 7, " weeks");
  if (days < 730) return absl::StrCat(days / 30, " months");
  return absl::StrCat(days / 365, " years");
}

absl::StatusOr<ContainerFilter> ContainerFilter::Parse(const std::vector<std::string>& filters) {
  constexpr Status kStatuses[] = {Status::kCreated, Status::kRunning, Status::kPaused,
                                  Status::kExited, Status::kFailed};
  ContainerFilter parsed;
  for (const std::string& filter : filters) {
    const size_t equals = filter.find('=');
    const std::string key = filter.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : filter.substr(equals + 1);
    if (key == "id") {
      parsed.ids_.push_back(std::string(absl::StripPrefix(value, "^")));
    } else if (key == "name") {
      parsed.names_.push_back(value);
    } else if (key == "ancestor") {
      parsed.ancestors_.push_back(value);
    } else if (key == "label") {
      parsed.labels_.push_back(value);
    } else if (key == "status") {
      if (std::none_of(std::begin(kStatuses), std::end(kStatuses),
                       [&](Status status) { return container::StatusName(status) == value; })) {
        return absl::InvalidArgumentError(
            absl::StrCat("--filter: no container is ever \"", absl::CHexEscape(value),
                         "\": there are created, running, exited and failed"));
      }
      parsed.statuses_.push_back(value);
    } else if (key == "exited") {
      int status = 0;
      if (!absl::SimpleAtoi(value, &status)) {
        return absl::InvalidArgumentError(
            absl::StrCat("--filter: exited=", absl::CHexEscape(value), " is not an exit status"));
      }
      parsed.exited_.push_back(status);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(absl::CHexEscape(key),
                       " is an invalid filter: there are id, name, status, "
                       "ancestor, label and exited"));
    }
  }
  return parsed;
}

bool ContainerFilter::Matches(const ContainerInfo& info) const {
  const container::Config& config = info.config;
  return AnyOrNone(ids_, [&](const auto& id) { return absl::StartsWith(config.id, id); }) &&
         AnyOrNone(names_, [&](const auto& name) { return MatchesPattern(config.name, name); }) &&
         AnyOrNone(statuses_,
                   [&](const auto& status) {
                     return container::StatusName(info.state.status) == status;
                   }) &&
         AnyOrNone(ancestors_, [&](const auto& image) { return IsAncestor(config, image); }) &&
         AnyOrNone(exited_,
                   [&](int status) {
                     return (info.state.status == Status::kExited ||
                             info.state.status == Status::kFailed) &&
                            info.state.exit_status == status;
                   }) &&
         std::all_of(labels_.begin(), labels_.end(),
                     [&](const auto& label) { return container::HasLabel(config.labels, label); });
}

int PsCommand(const std::vector<std::string>& args) {
  PsFlags flags;
  CLI::App app("Lists containers.", "ps");
  app.formatter(std::make_shared<UsageFormatter>("ps [FLAG...]"));
  app.add_flag("-a,--all", flags.all, "Also those that do not run");
  app.add_flag("-q,--quiet", flags.quiet, "Print ids only");
  app.add_flag("--no-trunc", flags.no_trunc, "Print whole ids and commands");
  app.add_flag("--noheading", flags.no_heading, "Print no heading");
  app.add_flag("-l,--latest", flags.latest, "The last that was created");
  app.add_option("-n,--last", flags.last, "The last so many that were created");
  app.add_option("--format", flags.format, "json, table, or a template such as {{.ID}} {{.Names}}");
  app.add_option("-f,--filter", flags.filters,
                 "id=, name=, status=, ancestor=, label= or exited=; repeatable")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [] {
        return Subjects::All(Subjects::Kind::kContainers);
      })) {
    return *status;
  }
  const absl::StatusOr<std::string> listing = Listing(installation, flags);
  if (!listing.ok()) return ReportFailure(listing.status());
  return PrintOutput(*listing);
}

}  // namespace hull::cli
