// Feeds arbitrary text to the parser of --change, and applies what comes out.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>

#include "images/config_changes.h"
#include "images/image_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::images;  // NOLINT(google-build-using-namespace)
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<ConfigChange> change = ParseConfigChange(text);
  if (!change.ok()) return 0;
  nlohmann::json config = {{"Env", {"A=1"}}, {"WorkingDir", "/a"}, {"Labels", {{"a", "b"}}}};
  const absl::Status applied = ApplyConfigChange(*change, &config);
  CHECK(applied.ok()) << applied;
  // Whatever it is, a container starts with it or not: a NUL byte alone is refused later.
  if (text.find('\0') != absl::string_view::npos) return 0;
  const absl::StatusOr<ProcessConfig> process = ProcessConfigFromJson(config);
  if (text.find("\\u0000") == absl::string_view::npos) CHECK(process.ok()) << process.status();
  return 0;
}
