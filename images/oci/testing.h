// Real layers and layouts for tests, made with libarchive's writer or by hand.

#ifndef IMAGES_OCI_TESTING_H_
#define IMAGES_OCI_TESTING_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "images/digest.h"
#include "images/oci/byte_source.h"
#include "nlohmann/json.hpp"

namespace hull::images::testing {

// The bytes of a string.
class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string data) : data_(std::move(data)) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override;

 private:
  const std::string data_;
  size_t position_ = 0;
};

Digest Sha256Of(absl::string_view data);

// An entry of a tar file, written exactly as given. `type` is the ustar type flag.
struct TarEntry {
  std::string path = {};
  char type = '0';
  std::string data = {};
  std::string link = {};
  uint32_t mode = 0644;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 1'600'000'000;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  // Further pax records: "SCHILY.xattr.user.key" and the like. Long or odd paths and links become
  // records by themselves.
  std::vector<std::pair<std::string, std::string>> pax = {};
};

std::string MakeTar(const std::vector<TarEntry>& entries);
// `filter` is "gzip" or "zstd".
std::string Compress(absl::string_view data, absl::string_view filter);

// A layout in memory, file name to content. Anything in it may be changed before it is written.
struct TestLayout {
  std::map<std::string, std::string> files;
  nlohmann::json index;

  // Adds a blob and returns its descriptor.
  nlohmann::json AddBlob(absl::string_view media_type, const std::string& content);
  // Adds an image of uncompressed layers; `suffix` of the media type ("", "+gzip", "+zstd") says
  // how they are stored. Returns the manifest's descriptor, which is also in the index.
  nlohmann::json AddImage(const std::vector<std::string>& layers, const std::string& name,
                          absl::string_view suffix = "+gzip",
                          const nlohmann::json& process = nlohmann::json::object());

  static std::string BlobPath(const nlohmann::json& descriptor);
  // As a directory (which must not exist), or as the bytes of a tar file.
  void WriteDirectory(const std::string& path) const;
  std::string ToTar() const;

 private:
  std::map<std::string, std::string> AllFiles() const;
};

// The files of a docker-archive with one image of these uncompressed layers, as `docker save`
// writes them: layer N is "N/layer.tar", compressed with `filter` ("gzip", "zstd") if there is one.
std::map<std::string, std::string> DockerArchive(const std::vector<std::string>& layers,
                                                 const std::vector<std::string>& names,
                                                 absl::string_view filter = "");
std::string TarOfFiles(const std::map<std::string, std::string>& files);

}  // namespace hull::images::testing

#endif  // IMAGES_OCI_TESTING_H_
