#include "images/oci/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <glog/logging.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;

absl::Status ArchiveError(archive* archive, absl::string_view what) {
  const char* message = archive_error_string(archive);
  return absl::DataLossError(
      absl::StrCat(what, ": ", message == nullptr ? "unknown error" : absl::CHexEscape(message)));
}

// libarchive's warning for a filter that it would hand to an external program counts as failure.
absl::Status CheckSetUp(archive* archive, int result, absl::string_view what) {
  if (result == ARCHIVE_OK) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("libarchive cannot read ", what, ": ",
                                          absl::CHexEscape(archive_error_string(archive))));
}

// What the "C" locale makes of every name that is not ASCII (see TarReader::Open). Every other
// warning means that a part of the header was ignored, such as a name of more than a megabyte.
bool IsLocaleWarning(archive* archive) {
  const char* message = archive_error_string(archive);
  return message != nullptr && absl::StrContains(message, "can't be converted");
}

// The read side of a ByteSource for libarchive, which keeps the source's own error.
struct StreamInput {
  ByteSource* source = nullptr;
  absl::Status status;
  std::vector<uint8_t> buffer = std::vector<uint8_t>(kBufferBytes);
};

la_ssize_t ReadStream(archive* archive, void* client, const void** out) {
  auto* input = static_cast<StreamInput*>(client);
  absl::StatusOr<size_t> n = input->source->Read(input->buffer);
  if (!n.ok()) {
    input->status = n.status();
    archive_set_error(archive, EIO, "read failed");
    return -1;
  }
  *out = input->buffer.data();
  return static_cast<la_ssize_t>(*n);
}

}  // namespace

struct Decompressor::Input : StreamInput {};

Decompressor::Decompressor() : input_(std::make_unique<Input>()), archive_(archive_read_new()) {
  CHECK(archive_ != nullptr);
}

Decompressor::~Decompressor() { archive_read_free(archive_); }

absl::StatusOr<std::unique_ptr<Decompressor>> Decompressor::Create(ByteSource& source,
                                                                   Compression compression) {
  std::unique_ptr<Decompressor> result(new Decompressor);
  archive* const a = result->archive_;
  result->input_->source = &source;
  if (compression == Compression::kGzip || compression == Compression::kAny) {
    HULL_RETURN_IF_ERROR(CheckSetUp(a, archive_read_support_filter_gzip(a), "gzip"));
  }
  if (compression == Compression::kZstd || compression == Compression::kAny) {
    HULL_RETURN_IF_ERROR(CheckSetUp(a, archive_read_support_filter_zstd(a), "zstd"));
  }
  if (compression == Compression::kAny) {
    HULL_RETURN_IF_ERROR(CheckSetUp(a, archive_read_support_filter_xz(a), "xz"));
    HULL_RETURN_IF_ERROR(CheckSetUp(a, archive_read_support_filter_bzip2(a), "bzip2"));
  }
  HULL_RETURN_IF_ERROR(CheckSetUp(a, archive_read_support_format_raw(a), "raw data"));
  if (compression == Compression::kZstdOnce) {
    HULL_RETURN_IF_ERROR(
        CheckSetUp(a, archive_read_append_filter(a, ARCHIVE_FILTER_ZSTD), "one layer of zstd"));
  }
  archive_entry* entry = nullptr;
  if (archive_read_open2(a, result->input_.get(), nullptr, ReadStream, nullptr, nullptr) !=
          ARCHIVE_OK ||
      archive_read_next_header(a, &entry) != ARCHIVE_OK) {
    if (!result->input_->status.ok()) return result->input_->status;
    return ArchiveError(a, "decompress");
  }
  if (compression != Compression::kAny && archive_filter_code(a, 0) == ARCHIVE_FILTER_NONE) {
    return absl::DataLossError("decompress: the data is not compressed as its type says");
  }
  return result;
}

absl::StatusOr<size_t> Decompressor::Read(std::span<uint8_t> buffer) {
  const la_ssize_t n = archive_read_data(archive_, buffer.data(), buffer.size());
  if (n >= 0) return static_cast<size_t>(n);
  if (!input_->status.ok()) return input_->status;
  return ArchiveError(archive_, "decompress");
}

struct Compressor::Output {
  Sink sink;
  absl::Status status;
};

Compressor::Compressor(Sink sink)
    : output_(std::make_unique<Output>(Output{.sink = std::move(sink), .status = {}})),
      archive_(archive_write_new()) {
  CHECK(archive_ != nullptr);
}

Compressor::~Compressor() { archive_write_free(archive_); }

absl::Status Compressor::Error() const {
  return output_->status.ok() ? ArchiveError(archive_, "compress") : output_->status;
}

absl::StatusOr<std::unique_ptr<Compressor>> Compressor::Create(Sink sink) {
  std::unique_ptr<Compressor> result(new Compressor(std::move(sink)));
  archive* const a = result->archive_;
  const auto write = [](archive* archive, void* client, const void* data,
                        size_t size) -> la_ssize_t {
    auto* output = static_cast<Output*>(client);
    output->status = output->sink(std::span(static_cast<const uint8_t*>(data), size));
    if (output->status.ok()) return static_cast<la_ssize_t>(size);
    archive_set_error(archive, EIO, "write failed");
    return -1;
  };
  const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                            archive_entry_free);
  CHECK(entry != nullptr);
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  if (archive_write_set_format_raw(a) != ARCHIVE_OK ||
      archive_write_add_filter_zstd(a) != ARCHIVE_OK ||
      // No padding, which would not be Zstandard.
      archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
      archive_write_open(a, result->output_.get(), nullptr, write, nullptr) != ARCHIVE_OK ||
      archive_write_header(a, entry.get()) != ARCHIVE_OK) {
    return result->Error();
  }
  return result;
}

absl::Status Compressor::Write(std::span<const uint8_t> data) {
  while (!data.empty()) {
    const la_ssize_t n = archive_write_data(archive_, data.data(), data.size());
    if (n <= 0) return Error();
    data = data.subspan(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status Compressor::Finish() {
  if (archive_write_close(archive_) != ARCHIVE_OK) return Error();
  return output_->status;
}

struct TarReader::Input : StreamInput {
  int fd = -1;
  off_t position = 0;
  off_t end = 0;
};

TarReader::TarReader() : input_(std::make_unique<Input>()), archive_(archive_read_new()) {
  CHECK(archive_ != nullptr);
}

TarReader::~TarReader() { archive_read_free(archive_); }

absl::Status TarReader::Error() const {
  if (!input_->status.ok()) return input_->status;
  return ArchiveError(archive_, "tar");
}

// The program stays in the "C" locale on purpose: libarchive then cannot convert the UTF-8 of pax
// headers, warns, and keeps the raw bytes. In a UTF-8 locale it would normalise names and replace
// what is not UTF-8, so that two files of an image could become one.
absl::StatusOr<std::unique_ptr<TarReader>> TarReader::Open(ByteSource& source) {
  std::unique_ptr<TarReader> reader(new TarReader);
  reader->input_->source = &source;
  archive* const a = reader->archive_;
  HULL_RETURN_IF_ERROR(CheckSetUp(a, archive_read_support_format_tar(a), "tar"));
  if (archive_read_open2(a, static_cast<StreamInput*>(reader->input_.get()), nullptr, ReadStream,
                         nullptr, nullptr) != ARCHIVE_OK) {
    return reader->Error();
  }
  return reader;
}

absl::StatusOr<std::unique_ptr<TarReader>> TarReader::OpenFile(int fd) {
  std::unique_ptr<TarReader> reader(new TarReader);
  struct stat info;
  if (fstat(fd, &info) != 0) return PosixError("stat");
  reader->input_->fd = fd;
  reader->input_->end = info.st_size;
  archive* const a = reader->archive_;
  HULL_RETURN_IF_ERROR(CheckSetUp(a, archive_read_support_format_tar(a), "tar"));
  const auto read_at = [](archive* archive, void* client, const void** out) -> la_ssize_t {
    auto* input = static_cast<Input*>(client);
    const ssize_t n = pread(input->fd, input->buffer.data(), input->buffer.size(), input->position);
    if (n < 0) {
      input->status = PosixError("read");
      archive_set_error(archive, EIO, "read failed");
      return -1;
    }
    input->position += n;
    *out = input->buffer.data();
    return n;
  };
  const auto skip = [](archive*, void* client, la_int64_t bytes) -> la_int64_t {
    auto* input = static_cast<Input*>(client);
    const off_t step = std::clamp<off_t>(bytes, 0, input->end - input->position);
    input->position += step;
    return step;
  };
  if (archive_read_open2(a, reader->input_.get(), nullptr, read_at, skip, nullptr) != ARCHIVE_OK) {
    return reader->Error();
  }
  return reader;
}

absl::StatusOr<bool> TarReader::Next() {
  const int result = archive_read_next_header(archive_, &entry_);
  if (result == ARCHIVE_EOF) return false;
  if (result == ARCHIVE_OK) return true;
  if (result == ARCHIVE_WARN && IsLocaleWarning(archive_)) return true;
  return Error();
}

EntryType TarReader::type() const {
  if (archive_entry_hardlink(entry_) != nullptr) return EntryType::kHardLink;
  switch (archive_entry_filetype(entry_)) {
    case AE_IFREG:
      return EntryType::kRegular;
    case AE_IFDIR:
      return EntryType::kDirectory;
    case AE_IFLNK:
      return EntryType::kSymlink;
    case AE_IFCHR:
      return EntryType::kCharDevice;
    case AE_IFBLK:
      return EntryType::kBlockDevice;
    case AE_IFIFO:
      return EntryType::kFifo;
    default:
      return EntryType::kOther;
  }
}

absl::string_view TarReader::path() const {
  const char* path = archive_entry_pathname(entry_);
  return path == nullptr ? absl::string_view() : absl::string_view(path);
}

absl::string_view TarReader::link_target() const {
  const char* target = archive_entry_hardlink(entry_);
  if (target == nullptr) target = archive_entry_symlink(entry_);
  return target == nullptr ? absl::string_view() : absl::string_view(target);
}

uint32_t TarReader::mode() const { return archive_entry_perm(entry_) & 07777; }
int64_t TarReader::uid() const { return archive_entry_uid(entry_); }
int64_t TarReader::gid() const { return archive_entry_gid(entry_); }
int64_t TarReader::size() const { return archive_entry_size(entry_); }
int64_t TarReader::mtime() const { return archive_entry_mtime(entry_); }
uint32_t TarReader::mtime_nsec() const {
  constexpr long kNanoseconds = 1'000'000'000;
  return static_cast<uint32_t>(std::clamp(archive_entry_mtime_nsec(entry_), 0L, kNanoseconds - 1));
}
uint64_t TarReader::device_major() const { return archive_entry_rdevmajor(entry_); }
uint64_t TarReader::device_minor() const { return archive_entry_rdevminor(entry_); }

std::vector<std::pair<std::string, std::string>> TarReader::Xattrs() const {
  std::vector<std::pair<std::string, std::string>> xattrs;
  archive_entry_xattr_reset(entry_);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry_, &name, &value, &size) == ARCHIVE_OK) {
    if (name == nullptr) continue;
    xattrs.emplace_back(name, std::string(static_cast<const char*>(value), size));
  }
  return xattrs;
}

absl::StatusOr<bool> TarReader::NextBlock(Block* block) {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  const int result = archive_read_data_block(archive_, &data, &size, &offset);
  if (result == ARCHIVE_EOF) return false;
  if (result != ARCHIVE_OK) return Error();
  if (offset < 0) return absl::DataLossError("tar: a sparse file has a negative offset");
  block->offset = static_cast<uint64_t>(offset);
  block->data = std::span(static_cast<const uint8_t*>(data), size);
  return true;
}

absl::StatusOr<size_t> TarReader::ReadData(std::span<uint8_t> buffer) {
  const la_ssize_t n = archive_read_data(archive_, buffer.data(), buffer.size());
  if (n < 0) return Error();
  return static_cast<size_t>(n);
}

}  // namespace hull::images
