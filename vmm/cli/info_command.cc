#include "vmm/cli/info_command.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "vmm/cli/command_line.h"
#include "vmm/cli/image_views.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/cli/version.h"
#include "vmm/emulated_host/emulated_host.h"
#include "vmm/sandbox/host_check.h"

namespace hull::cli {
namespace {

using sandbox::HostFinding;
using sandbox::Verdict;

const char* Word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood:
      return "good";
    case Verdict::kNarrower:
      return "note";
    case Verdict::kBad:
      return "BAD";
  }
  return "";
}

// Where containers run, or why none can.
struct Machines {
  const char* place;  // For the JSON.
  std::string text;
};

Machines WhereMachinesRun() {
  const absl::StatusOr<emulated_host::Decision> decision = emulated_host::Decide();
  if (!decision.ok()) {
    return {"nowhere", absl::StrCat("nowhere: ", decision.status().message())};
  }
  if (decision->place == emulated_host::Place::kHere) return {"here", "on this machine's KVM"};
  return {"emulated host", absl::StrCat("in the emulated host, as ", decision->reason,
                                        "; it is a convenience and no boundary of its own")};
}

struct Info {
  Installation installation;
  utsname kernel;
  long processors;
  uint64_t memory_bytes;
  Machines machines;
  std::vector<HostFinding> findings;
};

std::string ToJson(const Info& info) {
  nlohmann::ordered_json isolation = nlohmann::ordered_json::array();
  for (const HostFinding& finding : info.findings) {
    isolation.push_back({{"topic", finding.topic},
                         {"verdict", Word(finding.verdict)},
                         {"found", finding.found},
                         {"advice", finding.advice}});
  }
  const nlohmann::ordered_json json = {
      {"version", kVersion},
      {"kernel", info.kernel.release},
      {"arch", info.kernel.machine},
      {"cpus", info.processors},
      {"memTotal", info.memory_bytes},
      {"machines", {{"place", info.machines.place}, {"text", info.machines.text}}},
      {"root", info.installation.root},
      {"run", info.installation.run},
      {"isolation", isolation},
  };
  // Paths need not be UTF-8.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string ToText(const Info& info) {
  std::string text = absl::StrCat(
      "version:   ", kVersion, "\nkernel:    ", info.kernel.sysname, " ", info.kernel.release, ", ",
      info.kernel.machine, "\nmachine:   ", info.processors, " CPUs, ",
      HumanSize(info.memory_bytes), " of memory\nmicroVMs:  ", info.machines.text,
      "\nstate:     ", info.installation.root, ", ", info.installation.run,
      "\n\nWhat this machine does for isolation:\n");
  for (const HostFinding& finding : info.findings) {
    absl::StrAppendFormat(&text, "  %-4s  %-16s %s\n", Word(finding.verdict), finding.topic,
                          finding.found);
    if (!finding.advice.empty()) absl::StrAppend(&text, "        to do: ", finding.advice, "\n");
  }
  return text;
}

}  // namespace

int InfoCommand(const std::vector<std::string>& args) {
  std::string format;
  CLI::App app("Shows this machine as Hull sees it, and whether it keeps its part of isolation.",
               "info");
  app.formatter(std::make_shared<UsageFormatter>("info [--format json]"));
  app.add_option("-f,--format", format, "json: the same for programs")
      ->check(CLI::IsMember({"json"}));
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());

  Info info = {.installation = *std::move(installation),
               .kernel = {},
               .processors = sysconf(_SC_NPROCESSORS_ONLN),
               .memory_bytes = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                               static_cast<uint64_t>(sysconf(_SC_PAGESIZE)),
               .machines = WhereMachinesRun(),
               .findings = {}};
  uname(&info.kernel);
  const std::string& root = info.installation.root;
  const std::string& run = info.installation.run;
  info.findings = sandbox::CheckHost(
      {.features = sandbox::QueryKernelFeatures(),
       .runs_as_root = geteuid() == 0,
       .guarded_directories = {root, run},
       .private_directories = {info.installation.ImageStore(), absl::StrCat(root, "/containers"),
                               absl::StrCat(root, "/emulated-host")}});
  return PrintOutput(format == "json" ? ToJson(info) : ToText(info));
}

}  // namespace hull::cli
