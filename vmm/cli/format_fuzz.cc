// Templates, filters and moments of any content.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/time/time.h"
#include "vmm/cli/format_template.h"
#include "vmm/cli/logs_command.h"
#include "vmm/cli/ps_command.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::cli;
  // SAFETY: bytes are bytes.
  const std::string text(reinterpret_cast<const char*>(data), size);
  const nlohmann::json value = {{"ID", "x"}, {"State", {{"Pid", 1}}}};
  const absl::StatusOr<std::string> out = RenderTemplate(text, value);
  if (out.ok() && text.find("{{") == std::string::npos && out->size() > text.size()) abort();
  const absl::StatusOr<ContainerFilter> filter = ContainerFilter::Parse({text});
  if (filter.ok()) filter->Matches({});
  ParseMoment(text, absl::UnixEpoch()).status().IgnoreError();
  return 0;
}
