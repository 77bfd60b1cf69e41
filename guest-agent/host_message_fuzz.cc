// The guest's decoder: whatever it accepts must keep its promises to the code that starts
// processes.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "guest-agent/messages.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto decoder = std::make_unique<hull::agent::HostMessageDecoder>();
  if (size > hull::agent::kMaxHostMessageBytes) return 0;
  switch (decoder->Decode({data, size})) {
    case hull::agent::HostMessageType::kInvalid:
      Require(!decoder->explanation().empty());
      break;
    case hull::agent::HostMessageType::kSignalProcess:
      Require(decoder->signal() >= 1 && decoder->signal() <= 64);
      break;
    case hull::agent::HostMessageType::kStartContainer:
    case hull::agent::HostMessageType::kStartProcess: {
      const hull::agent::StartRequest& start = decoder->start();
      Require(start.arg_count >= 1 && start.args[start.arg_count] == nullptr);
      Require(start.environment[start.environment_count] == nullptr);
      // Reads every byte, so that AddressSanitizer sees an end that is missing.
      size_t total = 0;
      for (const char* name : {start.root.device, start.root.filesystem_type}) {
        if (name != nullptr) total += std::strlen(name);
      }
      for (size_t i = 0; i < start.arg_count; ++i) total += std::strlen(start.args[i]);
      for (size_t i = 0; i < start.environment_count; ++i) {
        total += std::strlen(start.environment[i]);
      }
      for (size_t i = 0; i < start.file_count; ++i) {
        Require(start.files[i].path[0] == '/');
        total += std::strlen(start.files[i].path) + start.files[i].content.size();
      }
      Require(total <= size);
      Require(start.working_directory[0] == '/');
      break;
    }
    default:
      break;
  }
  return 0;
}
