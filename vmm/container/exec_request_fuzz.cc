// A request that is accepted survives the way to the monitor and back.

#include <cstdint>
#include <cstdlib>

#include "vmm/container/exec_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<hull::container::ExecRequest> request = hull::container::ParseExecRequest(
      absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!request.ok()) return 0;
  const std::string bytes = hull::container::SerializeExecRequest(*request);
  const auto again = hull::container::ParseExecRequest(bytes);
  if (!again.ok() || !(again->process == request->process) || again->detach != request->detach) {
    std::abort();
  }
  return 0;
}
