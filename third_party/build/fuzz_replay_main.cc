// Replays a fuzz target's corpus as an ordinary test: each argument is a file or a directory of
// files. libFuzzer brings its own main(); this one stands in for it where clang's runtime is
// absent.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

size_t Replay(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    size_t replayed = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      replayed += Replay(entry.path());
    }
    return replayed;
  }
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  size_t replayed = 0;
  for (int i = 1; i < argc; ++i) replayed += Replay(argv[i]);
  std::printf("replayed %zu inputs\n", replayed);
  // A corpus that went missing must not look like a success.
  return replayed == 0 ? 1 : 0;
}
