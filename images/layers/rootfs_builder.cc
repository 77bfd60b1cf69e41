#include "images/layers/rootfs_builder.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "images/erofs/image_writer.h"
#include "images/oci/archive.h"
#include "vmm/base/checked.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

// Passes uncompressed bytes on until they are too many, and reports progress in compressed ones.
class ExpansionGuard : public ByteSource {
 public:
  ExpansionGuard(ByteSource& source, const VerifiedSource& blob, const UnpackLimits& limits,
                 const RootfsBuilder::Progress& progress, uint64_t* total)
      : source_(source), blob_(blob), limits_(limits), progress_(progress), total_(*total) {}

  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer) override {
    HULL_ASSIGN_OR_RETURN(const size_t n, source_.Read(buffer));
    expanded_ += n;
    total_ += n;
    if (total_ > limits_.max_expanded_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the layers expand to more than the ", limits_.max_expanded_bytes, " bytes allowed"));
    }
    if (expanded_ > limits_.free_expanded_bytes &&
        expanded_ / limits_.max_expansion > blob_.bytes_read()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("it looks like a decompression bomb: ", blob_.bytes_read(),
                       " bytes have expanded to ", expanded_));
    }
    constexpr uint64_t kReportEvery = uint64_t{8} << 20;
    if (expanded_ >= next_report_) {
      progress_(blob_.bytes_read());
      next_report_ = expanded_ + kReportEvery;
    }
    return n;
  }

 private:
  ByteSource& source_;
  const VerifiedSource& blob_;
  const UnpackLimits& limits_;
  const RootfsBuilder::Progress& progress_;
  uint64_t& total_;
  uint64_t expanded_ = 0;
  uint64_t next_report_ = 0;
};

absl::Status ReadContent(TarReader& reader, const Inode& inode, erofs::ContentWriter& content) {
  TarReader::Block block;
  while (true) {
    HULL_ASSIGN_OR_RETURN(const bool more, reader.NextBlock(&block));
    if (!more) return absl::OkStatus();
    if (!RangeFits<uint64_t>(block.offset, block.data.size(), inode.size)) {
      return absl::DataLossError("its data is longer than its size");
    }
    HULL_RETURN_IF_ERROR(content.Write(inode, block.offset, block.data));
  }
}

LayerEntry EntryOf(const TarReader& reader) {
  return LayerEntry{.type = reader.type(),
                    .path = reader.path(),
                    .link_target = reader.link_target(),
                    .permissions = reader.mode(),
                    .uid = reader.uid(),
                    .gid = reader.gid(),
                    .size = reader.size(),
                    .mtime = reader.mtime(),
                    .mtime_nsec = reader.mtime_nsec(),
                    .device_major = reader.device_major(),
                    .device_minor = reader.device_minor(),
                    .xattrs = reader.Xattrs()};
}

absl::Status ApplyEntry(TarReader& reader, const LayerEntry& entry, uint64_t max_file_bytes,
                        Tree& tree, erofs::ContentWriter& content, uint64_t* file_bytes) {
  HULL_ASSIGN_OR_RETURN(Inode* const file, tree.Apply(entry));
  if (file == nullptr) return absl::OkStatus();
  // A sparse file of any size takes a few bytes in the archive.
  if (file->size > max_file_bytes - *file_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the files take more than the ", max_file_bytes, " bytes allowed"));
  }
  *file_bytes += file->size;
  HULL_RETURN_IF_ERROR(content.Allocate(file));
  return ReadContent(reader, *file, content);
}

}  // namespace

absl::Status ApplyLayer(ByteSource& tar, uint64_t max_file_bytes, Tree& tree,
                        erofs::ContentWriter& content, uint64_t* file_bytes) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<TarReader> reader, TarReader::Open(tar));
  tree.BeginLayer();
  std::string last_path;
  while (true) {
    const absl::StatusOr<bool> more = reader->Next();
    if (!more.ok() && last_path.empty()) return more.status();
    if (!more.ok()) return Annotate(more.status(), absl::StrCat("after entry ", Quote(last_path)));
    if (!*more) return absl::OkStatus();
    const LayerEntry entry = EntryOf(*reader);
    last_path = std::string(entry.path);
    absl::Status status = ApplyEntry(*reader, entry, max_file_bytes, tree, content, file_bytes);
    if (!status.ok()) return Annotate(status, absl::StrCat("entry ", Quote(entry.path)));
  }
}

RootfsBuilder::RootfsBuilder(int image_fd, int scratch_fd, const UnpackLimits& limits)
    : limits_(limits),
      image_fd_(image_fd),
      content_(image_fd, scratch_fd),
      tree_(content_, limits.tree) {}

absl::Status RootfsBuilder::AddLayer(ByteSource& blob, const Descriptor& descriptor,
                                     const Digest& diff_id, const Progress& progress) {
  HULL_ASSIGN_OR_RETURN(const LayerCompression compression,
                        LayerCompressionOf(descriptor.media_type));
  VerifiedSource verified_blob(blob, absl::StrCat("blob ", descriptor.digest.ToString()),
                               descriptor.digest, descriptor.size);
  const auto apply = [&]() -> absl::Status {
    std::unique_ptr<Decompressor> decompressor;
    ByteSource* plain = &verified_blob;
    if (compression != LayerCompression::kNone) {
      HULL_ASSIGN_OR_RETURN(
          decompressor, Decompressor::Create(verified_blob, compression == LayerCompression::kGzip
                                                                ? Compression::kGzip
                                                                : Compression::kZstd));
      plain = decompressor.get();
    }
    ExpansionGuard guard(*plain, verified_blob, limits_, progress, &expanded_bytes_);
    VerifiedSource tar(guard, "its uncompressed content", diff_id, VerifiedSource::kAnySize);
    HULL_RETURN_IF_ERROR(
        ApplyLayer(tar, limits_.max_expanded_bytes, tree_, content_, &file_bytes_));
    return tar.Finish();
  };
  absl::Status status = apply();
  // Most of what can be wrong in a layer comes from a blob that is not the right one: say so first.
  if (status.ok() || absl::IsDataLoss(status) || absl::IsInvalidArgument(status)) {
    HULL_RETURN_IF_ERROR(verified_blob.Finish());
  }
  return status;
}

absl::Status RootfsBuilder::Finish(const std::array<uint8_t, 16>& uuid) {
  return erofs::WriteImage(tree_, content_, image_fd_, uuid);
}

}  // namespace hull::images
