#include "images/layers/rootfs_builder.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "images/oci/testing.h"
#include "vmm/base/file_io.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {
namespace {

using testing::Compress;
using ::testing::HasSubstr;
using testing::MakeTar;
using testing::Sha256Of;
using testing::StringSource;
using testing::TarEntry;

class RootfsBuilderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/rootfs-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    image_ = Create("image");
    scratch_ = Create("scratch");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  UniqueFd Create(const std::string& name) {
    return UniqueFd::Open(directory_ + "/" + name, O_RDWR | O_CREAT | O_EXCL, 0600).value();
  }

  // Adds one layer, stored as `suffix` of its media type says.
  static absl::Status AddLayer(RootfsBuilder& builder, const std::string& tar,
                               absl::string_view suffix = "") {
    const std::string blob = suffix.empty() ? tar : Compress(tar, absl::StripPrefix(suffix, "+"));
    const Descriptor descriptor{
        .media_type = absl::StrCat("application/vnd.oci.image.layer.v1.tar", suffix),
        .digest = Sha256Of(blob),
        .size = blob.size(),
        .platform = {},
        .name = {}};
    StringSource source(blob);
    return builder.AddLayer(source, descriptor, Sha256Of(tar), [](uint64_t) {});
  }

  absl::Status Build(const std::vector<std::string>& tars, const UnpackLimits& limits = {}) {
    RootfsBuilder builder(image_.get(), scratch_.get(), limits);
    for (const std::string& tar : tars) {
      if (absl::Status status = AddLayer(builder, tar, "+gzip"); !status.ok()) return status;
    }
    return builder.Finish({1, 2, 3});
  }

  // Has the reference implementation check the image and unpack it.
  std::string Extract() {
    const std::string out = directory_ + "/out";
    const std::string command =
        absl::StrCat("fsck.erofs --extract=", out, " --no-preserve-owner --preserve-perms ",
                     directory_, "/image >", directory_, "/fsck.log 2>&1");
    EXPECT_EQ(system(command.c_str()), 0) << ReadFile(directory_ + "/fsck.log", 1 << 20).value();
    return out;
  }

  std::string directory_;
  UniqueFd image_;
  UniqueFd scratch_;
};

TEST_F(RootfsBuilderTest, ReferenceImplementationReadsEverythingBack) {
  const std::string big(3 * 4096 + 17, 'b');
  const std::string almost_block(4095, 'a');
  const std::string two_blocks(8192, '2');
  const std::string long_name(255, 'n');
  const std::string long_path = absl::StrCat("deep/", std::string(200, 'd'), "/", long_name);
  const std::string nfd = "e\xcc\x81";  // decomposed, and must stay so
  std::vector<TarEntry> entries = {
      {.path = "./", .type = '5', .mode = 0755},
      {.path = "big", .data = big, .mode = 04755},
      {.path = "almost", .data = almost_block},
      {.path = "two", .data = two_blocks},
      {.path = "empty"},
      {.path = "dir/", .type = '5', .mode = 01777},
      {.path = long_path, .data = "long"},
      {.path = "new\nline", .data = "n"},
      {.path = "latin\xe9", .data = "l"},
      {.path = "pax-latin", .data = "p", .pax = {{"path", "pax\xe9"}}},
      {.path = nfd, .data = "nfd"},
      {.path = "hard", .type = '1', .link = "big"},
      {.path = "sym", .type = '2', .link = "dir/\xe9"},
      {.path = "longsym", .type = '2', .link = std::string(4000, 's')},
      {.path = "fifo", .type = '6'},
      {.path = "old", .data = "x", .mtime = 1},
      {.path = "ids", .data = "x", .uid = 70000, .gid = 4000000000},
      {.path = "xattr",
       .data = std::string(4090, 'x'),
       .pax = {{"SCHILY.xattr.user.k", std::string("a\0b\n", 4)},
               {"SCHILY.xattr.user.large", std::string(9000, 'v')}}},
  };
  // More names than fit one directory block.
  for (int i = 0; i < 500; ++i) {
    entries.push_back({.path = absl::StrCat("many/file-", i), .data = absl::StrCat(i)});
  }
  ASSERT_TRUE(Build({MakeTar(entries)}).ok());
  const std::string out = Extract();
  const auto read = [&out](const std::string& name) {
    return ReadFile(out + "/" + name, 1 << 20).value_or("(missing)");
  };
  EXPECT_EQ(read("big"), big);
  EXPECT_EQ(read("almost"), almost_block);
  EXPECT_EQ(read("two"), two_blocks);
  EXPECT_EQ(read("empty"), "");
  EXPECT_EQ(read(long_path), "long");
  EXPECT_EQ(read("new\nline"), "n");
  EXPECT_EQ(read("latin\xe9"), "l");
  EXPECT_EQ(read("pax\xe9"), "p");
  EXPECT_EQ(read(nfd), "nfd");
  EXPECT_EQ(read("hard"), big);
  EXPECT_EQ(read("xattr"), std::string(4090, 'x'));
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(read(absl::StrCat("many/file-", i)), absl::StrCat(i));
  }
  EXPECT_EQ(std::filesystem::read_symlink(out + "/sym"), "dir/\xe9");
  EXPECT_EQ(std::filesystem::read_symlink(out + "/longsym"), std::string(4000, 's'));
  struct stat info;
  ASSERT_EQ(lstat((out + "/big").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 04755u);
  ASSERT_EQ(lstat((out + "/dir").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 01777u);
}

TEST_F(RootfsBuilderTest, SameImageTwiceIsTheSameBytes) {
  const std::string tar = MakeTar(
      {{.path = "a", .data = "1", .mtime = 5}, {.path = "b", .data = std::string(5000, 'b')}});
  ASSERT_TRUE(Build({tar}).ok());
  const std::string first = ReadFile(directory_ + "/image", 1 << 20).value();
  ASSERT_EQ(ftruncate(image_.get(), 0), 0);
  ASSERT_EQ(ftruncate(scratch_.get(), 0), 0);
  ASSERT_TRUE(Build({tar}).ok());
  EXPECT_EQ(ReadFile(directory_ + "/image", 1 << 20).value(), first);
  EXPECT_EQ(first.size() % 4096, 0u);
}

TEST_F(RootfsBuilderTest, UpperLayersReplaceAndRemove) {
  ASSERT_TRUE(Build({MakeTar({{.path = "a", .data = std::string(10000, 'o')},
                              {.path = "b", .data = "b"},
                              {.path = "d/x", .data = "x"}}),
                     MakeTar({{.path = "a", .data = "new"}, {.path = ".wh.b"}}),
                     MakeTar({{.path = "d/.wh..wh..opq"}, {.path = "d/y", .data = "y"}})})
                  .ok());
  const std::string out = Extract();
  EXPECT_EQ(ReadFile(out + "/a", 100).value(), "new");
  EXPECT_EQ(ReadFile(out + "/d/y", 100).value(), "y");
  EXPECT_FALSE(std::filesystem::exists(out + "/b"));
  EXPECT_FALSE(std::filesystem::exists(out + "/d/x"));
}

TEST_F(RootfsBuilderTest, EveryCompressionIsRead) {
  RootfsBuilder builder(image_.get(), scratch_.get(), {});
  ASSERT_TRUE(AddLayer(builder, MakeTar({{.path = "none", .data = "0"}}), "").ok());
  ASSERT_TRUE(AddLayer(builder, MakeTar({{.path = "gzip", .data = "1"}}), "+gzip").ok());
  ASSERT_TRUE(AddLayer(builder, MakeTar({{.path = "zstd", .data = "2"}}), "+zstd").ok());
  ASSERT_TRUE(builder.Finish({}).ok());
  const std::string out = Extract();
  EXPECT_EQ(ReadFile(out + "/none", 9).value(), "0");
  EXPECT_EQ(ReadFile(out + "/gzip", 9).value(), "1");
  EXPECT_EQ(ReadFile(out + "/zstd", 9).value(), "2");
}

TEST_F(RootfsBuilderTest, EntriesThatLeadOutsideAreNamed) {
  const absl::Status status =
      Build({MakeTar({{.path = "ok"}, {.path = "dir/../../evil", .data = "x"}})});
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.ToString(), HasSubstr("entry \"dir/../../evil\""));
}

TEST_F(RootfsBuilderTest, MegabyteNamesAndAttributesFailCleanly) {
  // One that libarchive passes on, one whose record it skips, and one whose header it refuses.
  for (const size_t bytes : {size_t{900'000}, size_t{1'040'000}, size_t{1} << 20}) {
    const std::string value(bytes, 'x');
    EXPECT_FALSE(Build({MakeTar({{.path = value}})}).ok());
    EXPECT_FALSE(Build({MakeTar({{.path = "f", .pax = {{"SCHILY.xattr.user.k", value}}}})}).ok());
    EXPECT_FALSE(Build({MakeTar({{.path = "l", .type = '2', .link = value}})}).ok());
  }
}

TEST_F(RootfsBuilderTest, BombsEndEarly) {
  const std::string tar = MakeTar({{.path = "zeros", .data = std::string(size_t{8} << 20, '\0')}});
  absl::Status status = Build({tar}, {.free_expanded_bytes = 1 << 20, .max_expansion = 50});
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("bomb"));
  status = Build({tar}, {.max_expanded_bytes = 1 << 20});
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("1048576 bytes allowed"));
}

TEST_F(RootfsBuilderTest, SparseFileOfAnySizeIsBounded) {
  // GNU sparse format 1.0: the map says "one byte at offset 0", the real size is huge.
  std::string data = "1\n0\n1\n";
  data.resize(512, '\0');
  data += "x";
  const auto sparse = [&data](const std::string& size) {
    return MakeTar({{.path = "s",
                     .data = data,
                     .pax = {{"GNU.sparse.major", "1"},
                             {"GNU.sparse.minor", "0"},
                             {"GNU.sparse.name", "sparse"},
                             {"GNU.sparse.realsize", size}}}});
  };
  EXPECT_TRUE(absl::IsResourceExhausted(Build({sparse("8000000000000000")})));
  ASSERT_TRUE(Build({sparse("10000")}).ok());
  std::string expected(10000, '\0');
  expected[0] = 'x';
  EXPECT_EQ(ReadFile(Extract() + "/sparse", 1 << 20).value(), expected);
}

TEST_F(RootfsBuilderTest, DamagedLayersAreDataLoss) {
  const std::string tar = MakeTar({{.path = "f", .data = std::string(100'000, 'f')}});
  const std::string blob = Compress(tar, "gzip");
  const Descriptor good{.media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
                        .digest = Sha256Of(blob),
                        .size = blob.size(),
                        .platform = {},
                        .name = {}};
  const auto add = [this](const std::string& bytes, const Descriptor& descriptor,
                          const Digest& diff_id) {
    StringSource source(bytes);
    return RootfsBuilder(image_.get(), scratch_.get(), {})
        .AddLayer(source, descriptor, diff_id, [](uint64_t) {});
  };
  ASSERT_TRUE(add(blob, good, Sha256Of(tar)).ok());

  std::string flipped = blob;
  flipped[flipped.size() / 2] ^= 1;
  EXPECT_THAT(add(flipped, good, Sha256Of(tar)).ToString(), HasSubstr("does not match its digest"));
  EXPECT_THAT(add(blob.substr(0, blob.size() / 2), good, Sha256Of(tar)).ToString(),
              HasSubstr("truncated"));
  EXPECT_THAT(add(blob + "x", good, Sha256Of(tar)).ToString(), HasSubstr("longer than"));
  EXPECT_THAT(add(blob, good, Sha256Of("other")).ToString(), HasSubstr("uncompressed content"));

  // Right digests, wrong content.
  const auto rehashed = [&good](const std::string& bytes) {
    Descriptor descriptor = good;
    descriptor.digest = Sha256Of(bytes);
    descriptor.size = bytes.size();
    return descriptor;
  };
  const std::string half = blob.substr(0, blob.size() / 2);
  EXPECT_TRUE(absl::IsDataLoss(add(half, rehashed(half), Sha256Of(tar))));
  EXPECT_TRUE(absl::IsDataLoss(add(tar, rehashed(tar), Sha256Of(tar))));
  const std::string half_tar = Compress(tar.substr(0, 5000), "gzip");
  EXPECT_TRUE(absl::IsDataLoss(add(half_tar, rehashed(half_tar), Sha256Of(tar.substr(0, 5000)))));
}

}  // namespace
}  // namespace hull::images
