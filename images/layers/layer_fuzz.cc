// Feeds arbitrary bytes as an uncompressed layer to the tar reader, the entry checks and the tree,
// and writes the image that results.

#include <glog/logging.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "images/erofs/image_writer.h"
#include "images/layers/rootfs_builder.h"

namespace hull::images {
namespace {

class BytesSource : public ByteSource {
 public:
  explicit BytesSource(std::span<const uint8_t> data) : data_(data) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override {
    const size_t n = std::min(buffer.size(), data_.size());
    std::copy_n(data_.begin(), n, buffer.begin());
    data_ = data_.subspan(n);
    return n;
  }

 private:
  std::span<const uint8_t> data_;
};

void FuzzOne(std::span<const uint8_t> data) {
  static const int image = memfd_create("image", MFD_CLOEXEC);
  static const int scratch = memfd_create("scratch", MFD_CLOEXEC);
  CHECK_EQ(ftruncate(image, 0), 0);
  CHECK_EQ(ftruncate(scratch, 0), 0);
  erofs::ContentWriter content(image, scratch);
  Tree tree(content, TreeLimits{.max_entries = 2000, .max_metadata_bytes = 1 << 20});
  uint64_t file_bytes = 0;
  constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;
  // Two layers of the same bytes: every whiteout meets what it removes.
  for (int layer = 0; layer < 2; ++layer) {
    BytesSource source(data);
    if (!ApplyLayer(source, kMaxFileBytes, tree, content, &file_bytes).ok()) return;
  }
  erofs::WriteImage(tree, content, image, {}).IgnoreError();
}

}  // namespace
}  // namespace hull::images

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hull::images::FuzzOne({data, size});
  return 0;
}
