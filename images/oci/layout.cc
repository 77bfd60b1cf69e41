#include "images/oci/layout.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "images/bounded_json.h"
#include "images/oci/archive.h"
#include "images/oci/file_broker.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

// An index may hold indexes, but not without end.
constexpr int kMaxIndexDepth = 4;
// No honest layout comes near; it bounds the search for a blob in a tar file.
constexpr int kMaxTarEntries = 100'000;

absl::Status Missing(const std::string& path) {
  return absl::NotFoundError(absl::StrCat("\"", path, "\" is missing in the image layout"));
}

// A directory, whose files somebody opens.
class DirectoryLayout : public Layout {
 public:
  explicit DirectoryLayout(FileOpener open) : open_(std::move(open)) {}

 protected:
  absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path) override {
    absl::StatusOr<UniqueFd> fd = open_(path);
    if (absl::IsNotFound(fd.status())) return Missing(path);
    if (!fd.ok()) return fd.status();
    return std::make_unique<FileSource>(*std::move(fd));
  }

 private:
  const FileOpener open_;
};

// One entry of a tar file. Owns its own reader, so that several can be open at once.
class TarEntrySource : public ByteSource {
 public:
  explicit TarEntrySource(std::unique_ptr<TarReader> reader) : reader_(std::move(reader)) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override {
    return reader_->ReadData(buffer);
  }

 private:
  std::unique_ptr<TarReader> reader_;
};

// Finds each file by going over the headers again, which skips the data by seeking: a layout has a
// few dozen entries, and nothing needs to be remembered about them.
class TarLayout : public Layout {
 public:
  explicit TarLayout(UniqueFd fd) : fd_(std::move(fd)) {}

 protected:
  absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path) override {
    HULL_ASSIGN_OR_RETURN(std::unique_ptr<TarReader> reader, TarReader::OpenFile(fd_.get()));
    for (int entries = 0; entries < kMaxTarEntries; ++entries) {
      HULL_ASSIGN_OR_RETURN(const bool more, reader->Next());
      if (!more) return Missing(path);
      absl::string_view name = reader->path();
      absl::ConsumePrefix(&name, "./");
      if (name != path) continue;
      if (reader->type() != EntryType::kRegular) {
        return absl::InvalidArgumentError(absl::StrCat("\"", path, "\" is not a regular file"));
      }
      return std::make_unique<TarEntrySource>(std::move(reader));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("the image layout's tar file has more than ", kMaxTarEntries, " entries"));
  }

 private:
  UniqueFd fd_;
};

absl::StatusOr<std::string> ReadAtMost(ByteSource& source, size_t limit, absl::string_view what) {
  std::string content;
  constexpr size_t kChunk = 16384;
  while (true) {
    const size_t old_size = content.size();
    content.resize(old_size + kChunk);
    HULL_ASSIGN_OR_RETURN(
        const size_t n,
        source.Read(std::span(reinterpret_cast<uint8_t*>(content.data()) + old_size, kChunk)));
    content.resize(old_size + n);
    if (n == 0) return content;
    if (content.size() > limit) {
      return absl::InvalidArgumentError(absl::StrCat(what, " is larger than ", limit, " bytes"));
    }
  }
}

// Puts the first image for this platform below `descriptor` into `*found`; adds the platforms of
// the others to `*others`.
absl::Status FindInDescriptor(Layout& layout, const Descriptor& descriptor, int depth,
                              std::optional<Descriptor>* found, std::vector<std::string>* others) {
  if (IsManifestType(descriptor.media_type)) {
    // Without a platform the image's configuration says it, and is checked at the conversion.
    if (descriptor.platform.has_value() && !IsSupportedPlatform(*descriptor.platform)) {
      others->push_back(descriptor.platform->ToString());
      return absl::OkStatus();
    }
    *found = descriptor;
    return absl::OkStatus();
  }
  // "An encountered mediaType that is unknown to the implementation MUST NOT generate an error."
  if (!IsIndexType(descriptor.media_type)) return absl::OkStatus();
  if (depth >= kMaxIndexDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("image indexes are nested deeper than ", kMaxIndexDepth, " levels"));
  }
  HULL_ASSIGN_OR_RETURN(const std::string text, layout.ReadBlob(descriptor));
  HULL_ASSIGN_OR_RETURN(const Index index, ParseIndex(text));
  for (const Descriptor& inner : index.manifests) {
    HULL_RETURN_IF_ERROR(FindInDescriptor(layout, inner, depth + 1, found, others));
    if (found->has_value()) break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Layout>> Layout::Open(UniqueFd fd) {
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return PosixError("stat the image layout");
  std::unique_ptr<Layout> layout;
  if (S_ISDIR(info.st_mode)) {
    layout = std::make_unique<DirectoryLayout>(
        [directory = std::make_shared<UniqueFd>(std::move(fd))](const std::string& path) {
          return OpenBeneath(directory->get(), path);
        });
  } else {
    layout = std::make_unique<TarLayout>(std::move(fd));
  }
  HULL_RETURN_IF_ERROR(layout->CheckVersion());
  return layout;
}

absl::StatusOr<std::unique_ptr<Layout>> Layout::OpenThrough(FileOpener open) {
  std::unique_ptr<Layout> layout = std::make_unique<DirectoryLayout>(std::move(open));
  HULL_RETURN_IF_ERROR(layout->CheckVersion());
  return layout;
}

absl::Status Layout::CheckVersion() {
  absl::StatusOr<std::string> text = ReadSmallFile("oci-layout");
  if (absl::IsNotFound(text.status())) {
    // Both formats are tar files that hold an image; this is the one that people mistake.
    if (OpenFile("manifest.json").ok()) {
      return absl::InvalidArgumentError(
          "this is a docker-archive, not an OCI image layout; save the image with "
          "`podman save --format oci-archive` or convert it with skopeo");
    }
    return absl::InvalidArgumentError("this is not an OCI image layout: it has no \"oci-layout\"");
  }
  if (!text.ok()) return text.status();
  HULL_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(*text, "\"oci-layout\""));
  std::string version;
  HULL_RETURN_IF_ERROR(ReadString(object, "imageLayoutVersion", &version));
  if (version != "1.0.0") {
    return absl::InvalidArgumentError("\"oci-layout\": \"imageLayoutVersion\" is not \"1.0.0\"");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Layout::ReadSmallFile(const std::string& path) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, OpenFile(path));
  return ReadAtMost(*source, kMaxJsonBytes, absl::StrCat("\"", path, "\""));
}

absl::StatusOr<Index> Layout::ReadIndex() {
  HULL_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile("index.json"));
  return ParseIndex(text);
}

absl::StatusOr<std::unique_ptr<ByteSource>> Layout::OpenBlob(const Digest& digest) {
  return OpenFile(absl::StrCat("blobs/sha256/", digest.hex()));
}

absl::StatusOr<std::string> Layout::ReadBlob(const Descriptor& descriptor) {
  const std::string what = absl::StrCat("blob ", descriptor.digest.ToString());
  if (descriptor.size > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is larger than the ", kMaxJsonBytes, " bytes allowed for what it is"));
  }
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, OpenBlob(descriptor.digest));
  VerifiedSource verified(*source, what, descriptor.digest, descriptor.size);
  HULL_ASSIGN_OR_RETURN(std::string content, ReadAtMost(verified, kMaxJsonBytes, what));
  HULL_RETURN_IF_ERROR(verified.Finish());
  return content;
}

absl::StatusOr<std::vector<ImageInLayout>> SelectImages(Layout& layout) {
  HULL_ASSIGN_OR_RETURN(const Index index, layout.ReadIndex());
  std::vector<ImageInLayout> images;
  std::vector<std::string> others;
  for (const Descriptor& descriptor : index.manifests) {
    std::optional<Descriptor> found;
    HULL_RETURN_IF_ERROR(FindInDescriptor(layout, descriptor, 0, &found, &others));
    if (!found.has_value()) continue;
    auto image = std::find_if(images.begin(), images.end(), [&](const ImageInLayout& other) {
      return other.manifest.digest == found->digest;
    });
    if (image == images.end()) {
      image =
          images.insert(images.end(), ImageInLayout{.manifest = *std::move(found), .names = {}});
    }
    if (!descriptor.name.empty()) image->names.push_back(descriptor.name);
  }
  if (!images.empty()) return images;
  if (others.empty()) return absl::NotFoundError("there is no image in this layout");
  std::sort(others.begin(), others.end());
  others.erase(std::unique(others.begin(), others.end()), others.end());
  return absl::NotFoundError(absl::StrCat(
      "there is no image for linux/amd64 in this layout; it has ", absl::StrJoin(others, ", ")));
}

}  // namespace hull::images
