#include "images/oci/file_set.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "images/bounded_json.h"
#include "images/oci/archive.h"
#include "images/oci/file_broker.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

// No honest layout comes near; it bounds the search for a file in a tar file.
constexpr int kMaxTarEntries = 100'000;
// `docker save` wrote a layer that two images share once, and links to it.
constexpr int kMaxLinks = 8;

absl::Status Missing(const std::string& path) {
  return absl::NotFoundError(absl::StrCat("\"", path, "\" is missing in the image layout"));
}

absl::Status NotRegular(const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat("\"", path, "\" is not a regular file"));
}

class DirectoryFileSet : public FileSet {
 public:
  explicit DirectoryFileSet(Opener open) : open_(std::move(open)) {}

  absl::StatusOr<File> OpenFile(const std::string& path) override {
    absl::StatusOr<UniqueFd> fd = open_(path);
    if (absl::IsNotFound(fd.status())) return Missing(path);
    if (!fd.ok()) return fd.status();
    struct stat info;
    if (fstat(fd->get(), &info) != 0) return PosixError(absl::StrCat("stat \"", path, "\""));
    return File{.content = std::make_unique<FileSource>(*std::move(fd)),
                .size = static_cast<uint64_t>(info.st_size)};
  }

 private:
  const Opener open_;
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

// `target` as seen from the directory of `path`; nothing if that is outside.
std::optional<std::string> Follow(const std::string& path, absl::string_view target) {
  if (absl::StartsWith(target, "/")) return std::nullopt;
  std::vector<absl::string_view> components = absl::StrSplit(path, '/');
  components.pop_back();
  for (const absl::string_view step : absl::StrSplit(target, '/')) {
    if (step.empty() || step == ".") continue;
    if (step != "..") {
      components.push_back(step);
    } else if (components.empty()) {
      return std::nullopt;
    } else {
      components.pop_back();
    }
  }
  return absl::StrJoin(components, "/");
}

// Finds each file by going over the headers again, which skips the data by seeking: a layout has a
// few dozen entries, and nothing needs to be remembered about them.
class TarFileSet : public FileSet {
 public:
  explicit TarFileSet(UniqueFd fd) : fd_(std::move(fd)) {}

  absl::StatusOr<File> OpenFile(const std::string& path) override {
    std::string name = path;
    for (int links = 0; links <= kMaxLinks; ++links) {
      HULL_ASSIGN_OR_RETURN(std::unique_ptr<TarReader> reader, Find(name));
      std::optional<std::string> target;
      switch (reader->type()) {
        case EntryType::kRegular: {
          const uint64_t size = static_cast<uint64_t>(std::max<int64_t>(reader->size(), 0));
          return File{.content = std::make_unique<TarEntrySource>(std::move(reader)), .size = size};
        }
        case EntryType::kSymlink:
          target = Follow(name, reader->link_target());
          break;
        case EntryType::kHardLink:
          target = Follow("", reader->link_target());
          break;
        default:
          break;
      }
      if (!target.has_value()) return NotRegular(path);
      name = *std::move(target);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("\"", path, "\" is behind more than ", kMaxLinks, " links"));
  }

 private:
  // The reader stands at the entry.
  absl::StatusOr<std::unique_ptr<TarReader>> Find(const std::string& path) {
    HULL_ASSIGN_OR_RETURN(std::unique_ptr<TarReader> reader, TarReader::OpenFile(fd_.get()));
    for (int entries = 0; entries < kMaxTarEntries; ++entries) {
      HULL_ASSIGN_OR_RETURN(const bool more, reader->Next());
      if (!more) return Missing(path);
      absl::string_view name = reader->path();
      absl::ConsumePrefix(&name, "./");
      if (name == path) return reader;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("the image layout's tar file has more than ", kMaxTarEntries, " entries"));
  }

  UniqueFd fd_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileSet>> FileSet::Open(UniqueFd fd) {
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return PosixError("stat the image layout");
  std::unique_ptr<FileSet> files;
  if (S_ISDIR(info.st_mode)) {
    files =
        OpenThrough([directory = std::make_shared<UniqueFd>(std::move(fd))](
                        const std::string& path) { return OpenBeneath(directory->get(), path); });
  } else {
    files = std::make_unique<TarFileSet>(std::move(fd));
  }
  return files;
}

std::unique_ptr<FileSet> FileSet::OpenThrough(Opener open) {
  return std::make_unique<DirectoryFileSet>(std::move(open));
}

absl::StatusOr<std::string> FileSet::ReadSmallFile(const std::string& path) {
  HULL_ASSIGN_OR_RETURN(const File file, OpenFile(path));
  return ReadAtMost(*file.content, kMaxJsonBytes, absl::StrCat("\"", path, "\""));
}

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

}  // namespace hull::images
