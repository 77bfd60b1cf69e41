// The input is the blob of a disk: whatever it is, what is unpacked has a size that a disk can
// have.

#include <glog/logging.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "images/layers/disk_layer.h"
#include "images/oci/byte_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::images;
  constexpr uint64_t kMaxData = 1 << 20;
  const std::string blob(reinterpret_cast<const char*>(data), size);
  // The layer is what it says it is, so that the blob itself is looked at.
  Sha256 hash;
  hash.Update(std::span(data, size));
  const Descriptor layer{.media_type = kDiskLayerType,
                         .digest = hash.Finish(),
                         .size = size,
                         .platform = {},
                         .name = {}};
  FILE* const file = tmpfile();
  CHECK(file != nullptr);
  TextSource source(blob);
  // SHA-256 of nothing: no disk has it, so that all of it is read and then refused.
  const Digest diff_id =
      Digest::FromHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const absl::StatusOr<uint64_t> bytes = UnpackDisk(source, layer, diff_id, BootDevice::kDisk,
                                                    kMaxData, fileno(file), [](uint64_t) {});
  CHECK(!bytes.ok());
  struct stat info;
  CHECK_EQ(fstat(fileno(file), &info), 0);
  CHECK_LE(static_cast<uint64_t>(info.st_size), kMaxDiskBytes);
  fclose(file);
  return 0;
}
