// The input is a specification; what is accepted must survive being written and read again.

#include <cstdint>
#include <cstdlib>

#include "vmm/machine/spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace machine = hull::machine;
  const auto spec =
      machine::ParseSpec(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!spec.ok()) return 0;
  if (!machine::ValidateSpec(*spec).ok()) std::abort();
  const auto again = machine::ParseSpec(machine::SerializeSpec(*spec));
  if (!again.ok() || *again != *spec) std::abort();
  return 0;
}
