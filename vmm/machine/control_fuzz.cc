// The input is a request: what is understood lies within it.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>
#include <variant>

#include "vmm/machine/control_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace control = hull::machine::control;
  const control::Request request = control::Parse(std::span(data, size));
  if (const auto* keys = std::get_if<control::KeysRequest>(&request)) {
    CHECK(!keys->codes.empty());
    CHECK_LE(keys->codes.size(), control::kMaxKeys);
    CHECK_EQ(keys->codes.data(), data + 1);
    CHECK_EQ(keys->codes.size(), size - 1);
  }
  return 0;
}
