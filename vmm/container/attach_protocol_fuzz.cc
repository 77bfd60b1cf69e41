// What a client or monitor sends: decoding never goes wrong, and a frame of a number or a text
// comes back as the bytes it was decoded from.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "vmm/container/attach_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view message(reinterpret_cast<const char*>(data), size);
  const auto frame = hull::container::DecodeAttachFrame(message);
  if (frame.ok() && hull::container::EncodeAttachFrame(*frame) != message) abort();
  return 0;
}
