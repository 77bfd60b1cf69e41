#include "vmm/cli/vmm_memory.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "vmm/base/file_io.h"
#include "vmm/base/status_macros.h"

namespace hull::cli {
namespace {

// A VMM has some hundred mappings of about 700 bytes of text each.
constexpr size_t kMaxSmaps = size_t{4} << 20;
constexpr size_t kMaxChildren = 4096;

struct Mapping {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t pss_bytes = 0;
};

std::vector<Mapping> ParseMappings(absl::string_view smaps) {
  std::vector<Mapping> mappings;
  for (absl::string_view line : absl::StrSplit(smaps, '\n')) {
    const absl::string_view first = line.substr(0, line.find(' '));
    // The first line of a mapping begins with "START-END", each other one with "Name:".
    const std::vector<absl::string_view> ends = absl::StrSplit(first, '-');
    Mapping mapping;
    if (ends.size() == 2 && absl::SimpleHexAtoi(ends[0], &mapping.start) &&
        absl::SimpleHexAtoi(ends[1], &mapping.end)) {
      mappings.push_back(mapping);
    } else if (first == "Pss:" && !mappings.empty()) {
      line.remove_prefix(first.size());
      uint64_t kib = 0;
      if (absl::ConsumeSuffix(&line, " kB") && absl::SimpleAtoi(line, &kib)) {
        mappings.back().pss_bytes = kib * 1024;
      }
    }
  }
  return mappings;
}

}  // namespace

VmmMemory SplitMappings(absl::string_view smaps, uint64_t guest_memory_bytes) {
  const std::vector<Mapping> mappings = ParseMappings(smaps);
  VmmMemory memory;
  for (const Mapping& mapping : mappings) memory.own_bytes += mapping.pss_bytes;
  for (size_t first = 0; first < mappings.size(); ++first) {
    uint64_t length = 0;
    uint64_t pss = 0;
    for (size_t i = first; i < mappings.size() && length < guest_memory_bytes; ++i) {
      if (i > first && mappings[i].start != mappings[i - 1].end) break;
      length += mappings[i].end - mappings[i].start;
      pss += mappings[i].pss_bytes;
    }
    if (length != guest_memory_bytes) continue;
    memory.guest_bytes = pss;
    memory.own_bytes -= pss;
    break;
  }
  return memory;
}

absl::StatusOr<VmmMemory> MeasureVmm(pid_t vmm, uint64_t guest_memory_bytes) {
  HULL_ASSIGN_OR_RETURN(
      const std::string children,
      ReadFile(absl::StrCat("/proc/", vmm, "/task/", vmm, "/children"), kMaxChildren));
  std::vector<std::string> pids = absl::StrSplit(children, ' ', absl::SkipWhitespace());
  pids.push_back(absl::StrCat(vmm));
  VmmMemory all;
  for (const std::string& pid : pids) {
    const absl::StatusOr<std::string> smaps =
        ReadFile(absl::StrCat("/proc/", pid, "/smaps"), kMaxSmaps);
    if (!smaps.ok()) return smaps.status();
    const VmmMemory one = SplitMappings(*smaps, guest_memory_bytes);
    all.guest_bytes += one.guest_bytes;
    all.own_bytes += one.own_bytes;
  }
  return all;
}

}  // namespace hull::cli
