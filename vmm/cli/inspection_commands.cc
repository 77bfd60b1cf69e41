#include "vmm/cli/inspection_commands.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/format_template.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/pc_containers.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/cli/vmm_memory.h"
#include "vmm/container/agent_messages.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"
#include "vmm/container/monitor_question.h"
#include "vmm/container/names.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

using container::ContainerStore;
using container::GuestStatistics;
using container::ListedProcess;
using Row = std::vector<std::string>;

// How long a guest may take to answer. Generous, as a processor may be emulated.
constexpr absl::Duration kPatience = absl::Seconds(60);
// Between two rounds of `hull stats`, as podman has it.
constexpr absl::Duration kInterval = absl::Seconds(5);

// ---- top ----

// The guest's number of a terminal, as Linux encodes device numbers for user space.
std::string TerminalName(uint32_t device) {
  constexpr uint32_t kFirstPts = 136;
  constexpr uint32_t kLastPts = 143;
  const uint32_t major = device >> 8 & 0xfff;
  const uint32_t minor = (device & 0xff) | (device >> 12 & 0xfff00);
  if (device == 0 || major < kFirstPts || major > kLastPts) return "?";
  return absl::StrCat("pts/", minor + (major - kFirstPts) * 256);
}

Row ProcessRow(const ListedProcess& process) {
  const double seconds = static_cast<double>(process.elapsed_ms) / 1000;
  const double busy = static_cast<double>(process.cpu_time_ms) / 1000;
  return {
      process.user.empty() ? absl::StrCat(process.uid) : container::Printable(process.user),
      absl::StrCat(process.pid),
      absl::StrCat(process.parent_pid),
      absl::StrFormat("%.3f", seconds > 0 ? 100 * busy / seconds : 0),
      absl::FormatDuration(absl::Trunc(absl::Milliseconds(process.elapsed_ms), absl::Seconds(1))),
      TerminalName(process.terminal),
      absl::FormatDuration(
          absl::Trunc(absl::Milliseconds(process.cpu_time_ms), absl::Milliseconds(10))),
      container::Printable(process.command)};
}

absl::StatusOr<std::string> Top(const Installation& installation, const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ContainerStore> store, OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const Named container, FindContainer(store.get(), name));
  HULL_RETURN_IF_ERROR(RefusePc(container.info, "processes"));
  constexpr char kOnlyRunning[] = "top can only be used on running containers";
  if (!Runs(container.info)) return WrongState(container.info, kOnlyRunning);
  HULL_ASSIGN_OR_RETURN(const UniqueFd socket, Connect(store.get(), container.info.config.id));
  HULL_ASSIGN_OR_RETURN(const std::vector<ListedProcess> processes,
                        container::AskForProcesses(socket.get(), kPatience));
  std::vector<Row> rows = {{"USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"}};
  for (const ListedProcess& process : processes) rows.push_back(ProcessRow(process));
  return RenderTable(rows);
}

// ---- stats ----

struct Sample {
  container::Config config;
  GuestStatistics guest;
  VmmMemory vmm;
  double cpu_percent = 0;  // of one CPU
};

// The guest's counts when it was last asked, by the container's id.
using Earlier = std::map<std::string, GuestStatistics>;

absl::StatusOr<Sample> Measure(ContainerStore* store, const Named& container, Earlier* earlier) {
  const container::Config& config = container.info.config;
  HULL_ASSIGN_OR_RETURN(const UniqueFd socket, Connect(store, config.id));
  Sample sample;
  sample.config = config;
  HULL_ASSIGN_OR_RETURN(sample.guest, container::AskForStatistics(socket.get(), kPatience));
  HULL_ASSIGN_OR_RETURN(sample.vmm, MeasureVmm(container.info.state.vmm_pid, config.memory_bytes));
  // Since the last time; the first time since the start, as podman has it.
  const GuestStatistics since = (*earlier)[config.id];
  if (sample.guest.uptime_ms > since.uptime_ms && sample.guest.cpu_busy_ms >= since.cpu_busy_ms) {
    sample.cpu_percent = 100 * static_cast<double>(sample.guest.cpu_busy_ms - since.cpu_busy_ms) /
                         static_cast<double>(sample.guest.uptime_ms - since.uptime_ms);
  }
  (*earlier)[config.id] = sample.guest;
  return sample;
}

uint64_t UsedBytes(const GuestStatistics& guest) {
  return guest.memory_total_bytes -
         std::min(guest.memory_total_bytes, guest.memory_available_bytes);
}

std::string HumanBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return absl::StrFormat("%.4g%s", value, kUnits[unit]);
}

std::string StatsTable(const std::vector<Sample>& samples) {
  std::vector<Row> rows = {{"ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "HOST MEM",
                            "VMM MEM", "BLOCK IO", "PIDS"}};
  for (const Sample& sample : samples) {
    const uint64_t used = UsedBytes(sample.guest);
    const uint64_t limit = sample.config.memory_bytes;
    rows.push_back(
        {std::string(container::ShortId(sample.config.id)), sample.config.name,
         absl::StrFormat("%.2f%%", sample.cpu_percent),
         absl::StrCat(HumanBytes(used), " / ", HumanBytes(limit)),
         absl::StrFormat("%.2f%%", 100 * static_cast<double>(used) /
                                       static_cast<double>(std::max(limit, uint64_t{1}))),
         HumanBytes(sample.vmm.guest_bytes + sample.vmm.own_bytes),
         HumanBytes(sample.vmm.own_bytes),
         absl::StrCat(HumanBytes(sample.guest.block_read_bytes), " / ",
                      HumanBytes(sample.guest.block_written_bytes)),
         absl::StrCat(sample.guest.processes)});
  }
  return RenderTable(rows);
}

std::string StatsJson(const std::vector<Sample>& samples) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Sample& sample : samples) {
    all.push_back({{"id", sample.config.id},
                   {"name", sample.config.name},
                   {"cpu_percent", sample.cpu_percent},
                   {"cpus", sample.guest.cpus},
                   {"cpu_busy_ms", sample.guest.cpu_busy_ms},
                   {"uptime_ms", sample.guest.uptime_ms},
                   {"memory_limit_bytes", sample.config.memory_bytes},
                   {"memory_total_bytes", sample.guest.memory_total_bytes},
                   {"memory_available_bytes", sample.guest.memory_available_bytes},
                   {"memory_used_bytes", UsedBytes(sample.guest)},
                   {"host_guest_memory_bytes", sample.vmm.guest_bytes},
                   {"host_vmm_memory_bytes", sample.vmm.own_bytes},
                   {"block_read_bytes", sample.guest.block_read_bytes},
                   {"block_written_bytes", sample.guest.block_written_bytes},
                   {"block_reads", sample.guest.block_reads},
                   {"block_writes", sample.guest.block_writes},
                   {"processes", sample.guest.processes},
                   {"threads", sample.guest.threads}});
  }
  return all.dump(1) + "\n";
}

// The containers with those names that run, or all that run.
absl::StatusOr<std::vector<Named>> Running(ContainerStore* store,
                                           const std::vector<std::string>& names) {
  std::vector<Named> running;
  for (const std::string& name : names) {
    HULL_ASSIGN_OR_RETURN(Named container, FindContainer(store, name));
    HULL_RETURN_IF_ERROR(RefusePc(container.info, "agent that could tell what it uses"));
    if (!Runs(container.info)) {
      return WrongState(container.info, "stats can only be used on running containers");
    }
    running.push_back(std::move(container));
  }
  if (!names.empty()) return running;
  HULL_ASSIGN_OR_RETURN(std::vector<container::ContainerInfo> infos, store->List());
  for (container::ContainerInfo& info : infos) {
    if (info.state.status != container::Status::kRunning || info.config.pc.has_value()) continue;
    std::string id = info.config.id;
    running.push_back({.name = std::move(id), .info = std::move(info)});
  }
  return running;
}

absl::StatusOr<std::string> Round(ContainerStore* store, const std::vector<std::string>& names,
                                  bool as_json, Earlier* earlier) {
  HULL_ASSIGN_OR_RETURN(const std::vector<Named> running, Running(store, names));
  std::vector<Sample> samples;
  for (const Named& container : running) {
    absl::StatusOr<Sample> sample = Measure(store, container, earlier);
    // One that was not named may end at any moment.
    if (!sample.ok() && names.empty()) continue;
    if (!sample.ok()) return sample.status();
    samples.push_back(*std::move(sample));
  }
  return as_json ? StatsJson(samples) : StatsTable(samples);
}

}  // namespace

int TopCommand(const std::vector<std::string>& args) {
  std::string name;
  CLI::App app("Shows the processes of a container that runs.", "top");
  app.formatter(std::make_shared<UsageFormatter>("top CONTAINER"));
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, {name});
      })) {
    return *status;
  }
  const absl::StatusOr<std::string> table = Top(installation, name);
  return table.ok() ? PrintOutput(*table) : ReportFailure(table.status());
}

int StatsCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  bool once = false;
  std::string format;
  CLI::App app("Shows what containers use, again and again.", "stats");
  app.formatter(std::make_shared<UsageFormatter>("stats [FLAG...] [CONTAINER...]"));
  app.add_flag("--no-stream", once, "Show it once");
  app.add_option("--format", format, "json: as JSON");
  app.add_option("CONTAINER", names, "Name, id or the beginning of an id (default: all that run)");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, names);
      })) {
    return *status;
  }
  if (!format.empty() && format != "json") {
    PrintError("--format is json or nothing (see hull stats --help)");
    return container::kHullFailed;
  }
  const absl::StatusOr<std::unique_ptr<ContainerStore>> store = OpenContainers(installation);
  if (!store.ok()) return ReportFailure(store.status());
  Earlier earlier;
  constexpr char kClearScreen[] = "\x1b[2J\x1b[H";
  while (true) {
    const absl::StatusOr<std::string> text = Round(store->get(), names, !format.empty(), &earlier);
    if (!text.ok()) return ReportFailure(text.status());
    const bool screen = !once && format.empty() && isatty(STDOUT_FILENO);
    const int status = PrintOutput(absl::StrCat(screen ? kClearScreen : "", *text));
    if (once || status != 0) return status;
    absl::SleepFor(kInterval);
  }
}

}  // namespace hull::cli
