#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guest-agent/archive/tar_format.h"
#include "guest-agent/archive/tree.h"

namespace hull::archive {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr uint64_t kInside = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

class ArchiveTest : public testing::Test {
 protected:
  ArchiveTest() {
    std::string path = testing::TempDir() + "/archive-XXXXXX";
    directory_ = mkdtemp(path.data());
    fs::create_directory(directory_ / "from");
    fs::create_directory(directory_ / "to");
    archive_ = directory_ / "archive";
  }
  ~ArchiveTest() override { fs::remove_all(directory_); }

  static void Write(const fs::path& path, const std::string& content) {
    std::ofstream(path) << content;
  }
  static std::string Read(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  bool PackTree(const std::string& prefix = ".", const PackOptions& options = {}) {
    const int fd = open(archive_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    DescriptorSink sink(fd);
    const auto writer = std::make_unique<TarWriter>(&sink);
    const bool ok =
        Pack(AT_FDCWD, (directory_ / "from").c_str(), prefix, options, writer.get(), &why_);
    close(fd);
    return ok;
  }

  bool UnpackTree(const UnpackOptions& options) {
    const int fd = open(archive_.c_str(), O_RDONLY | O_CLOEXEC);
    const int root = open((directory_ / "to").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    DescriptorSource source(fd);
    const auto reader = std::make_unique<TarReader>(&source);
    const bool ok = Unpack(root, options, reader.get(), &why_);
    close(root);
    close(fd);
    return ok;
  }
  bool UnpackPlain(const std::string& prefix = ".") {
    return UnpackTree({.prefix = prefix, .resolve = kInside, .plain = true});
  }

  struct Made {
    EntryType type;
    std::string name;
    std::string link = "";
    std::string content = "";
    uint32_t mode = 0644;
  };
  void MakeArchive(const std::vector<Made>& entries) {
    const int fd = open(archive_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    DescriptorSink sink(fd);
    const auto writer = std::make_unique<TarWriter>(&sink);
    const auto entry = std::make_unique<Entry>();
    for (const Made& made : entries) {
      entry->Clear();
      entry->type = made.type;
      entry->name.Assign({made.name});
      entry->link.Assign({made.link});
      entry->mode = made.mode;
      entry->size = made.content.size();
      ASSERT_TRUE(writer->WriteEntry(*entry));
      ASSERT_TRUE(writer->WriteContent(reinterpret_cast<const uint8_t*>(made.content.data()),
                                       made.content.size()));
      ASSERT_TRUE(writer->EndContent(made.content.size()));
    }
    ASSERT_TRUE(writer->End());
    close(fd);
  }
  void ExpectRefused(const std::vector<Made>& entries, const std::string& says,
                     const std::string& prefix = ".") {
    MakeArchive(entries);
    EXPECT_FALSE(UnpackPlain(prefix));
    EXPECT_THAT(std::string(why_.view()), HasSubstr(says));
  }

  fs::path directory_;
  fs::path archive_;
  Why why_;
};

TEST_F(ArchiveTest, ATreeComesBackAsItWas) {
  const fs::path from = directory_ / "from";
  const std::string long_name(200, 'n');
  fs::create_directories(from / "a" / "b");
  Write(from / "a" / "b" / "file", std::string(100000, 'x'));
  Write(from / "a" / long_name, "long");
  Write(from / "empty", "");
  fs::create_symlink("a/b/" + std::string(150, 'l'), from / "link");
  fs::create_hard_link(from / "a" / "b" / "file", from / "twin");
  ASSERT_EQ(mkfifo((from / "fifo").c_str(), 0600), 0);
  chmod((from / "empty").c_str(), 04751);
  chmod((from / "a" / "b").c_str(), 0555);
  ASSERT_TRUE(PackTree()) << why_.view();
  // Another program reads the same.
  EXPECT_EQ(system(("tar -tf '" + archive_.string() + "' | grep -q '^./a/b/file$'").c_str()), 0);
  ASSERT_TRUE(UnpackPlain()) << why_.view();

  const fs::path to = directory_ / "to";
  EXPECT_EQ(Read(to / "a" / "b" / "file"), std::string(100000, 'x'));
  EXPECT_EQ(Read(to / "a" / long_name), "long");
  EXPECT_EQ(fs::read_symlink(to / "link").string(), "a/b/" + std::string(150, 'l'));
  EXPECT_EQ(fs::hard_link_count(to / "twin"), 2u);
  EXPECT_FALSE(fs::exists(to / "fifo"));
  struct stat info;
  ASSERT_EQ(stat((to / "empty").c_str(), &info), 0);
  // What is plain has no set-user-id bit.
  EXPECT_EQ(info.st_mode & 07777, 0751u);
  ASSERT_EQ(stat((to / "a" / "b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0555u);
  chmod((to / "a" / "b").c_str(), 0755);
  chmod((from / "a" / "b").c_str(), 0755);
}

TEST_F(ArchiveTest, WhatGnuTarWritesIsRead) {
  const std::string long_name(180, 'g');
  Write(directory_ / "from" / long_name, "gnu");
  for (const std::string format : {"gnu", "pax", "ustar", "posix"}) {
    if (format == "ustar")
      fs::rename(directory_ / "from" / long_name, directory_ / "from" / "short");
    ASSERT_EQ(system(("tar -C '" + (directory_ / "from").string() + "' --format=" + format +
                      " -cf '" + archive_.string() + "' .")
                         .c_str()),
              0);
    ASSERT_TRUE(UnpackPlain()) << format << ": " << why_.view();
  }
  EXPECT_EQ(Read(directory_ / "to" / long_name), "gnu");
  EXPECT_EQ(Read(directory_ / "to" / "short"), "gnu");
}

TEST_F(ArchiveTest, AFileAloneHasThePrefixForAName) {
  Write(directory_ / "from" / "f", "one");
  const int fd = open(archive_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  DescriptorSink sink(fd);
  const auto writer = std::make_unique<TarWriter>(&sink);
  ASSERT_TRUE(Pack(AT_FDCWD, (directory_ / "from" / "f").c_str(), "new", {}, writer.get(), &why_));
  close(fd);
  ASSERT_TRUE(UnpackPlain("new")) << why_.view();
  EXPECT_EQ(Read(directory_ / "to" / "new"), "one");
}

TEST_F(ArchiveTest, NothingLeavesTheDestination) {
  Write(directory_ / "outside", "untouched");
  const std::string outside = (directory_ / "outside").string();
  ExpectRefused({{EntryType::kFile, "../outside", "", "evil"}}, "\"..\"");
  ExpectRefused({{EntryType::kFile, "a/../../outside", "", "evil"}}, "\"..\"");
  ExpectRefused({{EntryType::kHardLink, "x", "../outside"}}, "\"..\"");
  // Absolute names are of the root that is unpacked into.
  MakeArchive({{EntryType::kFile, outside, "", "evil"}});
  EXPECT_TRUE(UnpackPlain()) << why_.view();
  // Through a link that the archive itself makes, to a directory and to the file.
  ExpectRefused({{EntryType::kSymlink, "up", ".."}, {EntryType::kFile, "up/outside", "", "evil"}},
                "cannot enter the directory of");
  ExpectRefused({{EntryType::kSymlink, "up", directory_.string()}, {EntryType::kDirectory, "up"}},
                "directory");
  MakeArchive({{EntryType::kSymlink, "target", outside}, {EntryType::kFile, "target", "", "new"}});
  EXPECT_TRUE(UnpackPlain()) << why_.view();
  EXPECT_EQ(Read(directory_ / "to" / "target"), "new");
  // A hard link to a link is one to the link.
  MakeArchive({{EntryType::kSymlink, "s", outside},
               {EntryType::kHardLink, "h", "s"},
               {EntryType::kFile, "h", "", "evil"}});
  EXPECT_TRUE(UnpackPlain()) << why_.view();
  EXPECT_EQ(Read(outside), "untouched");
}

TEST_F(ArchiveTest, NothingButWhatWasAskedForIsMade) {
  ExpectRefused({{EntryType::kFile, ".bashrc", "", "evil"}}, "not below what was asked for", "x");
  ExpectRefused({{EntryType::kFile, "xy", "", "evil"}}, "not below what was asked for", "x");
  ExpectRefused({{EntryType::kHardLink, "x", "other"}}, "not below what was asked for", "x");
  EXPECT_TRUE(fs::is_empty(directory_ / "to"));
}

TEST_F(ArchiveTest, WhatIsThereIsReplacedAndNotWrittenTo) {
  Write(directory_ / "to" / "f", "old");
  fs::create_hard_link(directory_ / "to" / "f", directory_ / "kept");
  fs::create_directory(directory_ / "to" / "d");
  MakeArchive({{EntryType::kFile, "f", "", "new"}});
  ASSERT_TRUE(UnpackPlain());
  EXPECT_EQ(Read(directory_ / "to" / "f"), "new");
  EXPECT_EQ(Read(directory_ / "kept"), "old");
  ExpectRefused({{EntryType::kFile, "d", "", "x"}}, "cannot replace");
  ExpectRefused({{EntryType::kDirectory, "f"}}, "cannot make the directory");
}

TEST_F(ArchiveTest, AnArchiveThatIsNoneIsRefused) {
  MakeArchive({{EntryType::kFile, "f", "", std::string(5000, 'c')}});
  const std::string whole = Read(archive_);
  for (const size_t size : {whole.size() - 2000, size_t{1000}, size_t{100}}) {
    Write(archive_, whole.substr(0, size));
    if (size > 2048 + 5000) continue;
    EXPECT_FALSE(UnpackPlain()) << size;
    EXPECT_THAT(std::string(why_.view()), HasSubstr("ends too early"));
  }
  std::string broken = whole;
  broken[0] ^= 1;
  Write(archive_, broken);
  EXPECT_FALSE(UnpackPlain());
  EXPECT_THAT(std::string(why_.view()), HasSubstr("checksum"));
}

class Collected final : public ChangeSink {
 public:
  bool OnChange(char kind, std::string_view path) override {
    changes.push_back(std::string(1, kind) + std::string(path));
    return true;
  }
  std::vector<std::string> changes;
};

TEST_F(ArchiveTest, ChangesAndLayersOfAnUpperDirectory) {
  const fs::path upper = directory_ / "from";
  const fs::path lower = directory_ / "to";
  fs::create_directories(lower / "etc");
  Write(lower / "etc" / "old", "1");
  Write(lower / "etc" / "changed", "1");
  fs::create_directories(upper / "etc");
  Write(upper / "etc" / "changed", "2");
  Write(upper / "etc" / "hosts", "host's");
  fs::create_directories(upper / "new");
  Write(upper / "new" / "file", "3");
  // As any user may make one since Linux 5.8.
  ASSERT_EQ(mknod((upper / "etc" / "old").c_str(), S_IFCHR, 0), 0);
  Collected collected;
  const int up = open(upper.c_str(), O_RDONLY | O_DIRECTORY);
  const int low = open(lower.c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(ListChanges(up, low, -1, &collected, &why_)) << why_.view();
  close(up);
  close(low);
  EXPECT_THAT(collected.changes,
              testing::UnorderedElementsAre("C/etc", "C/etc/changed", "A/etc/hosts", "D/etc/old",
                                            "A/new", "A/new/file"));

  const std::string_view left_out[] = {"/etc/hosts"};
  ASSERT_TRUE(PackTree(".", {.upper_layer = true, .left_out = left_out, .left_out_count = 1}));
  fs::remove_all(lower);
  fs::create_directory(lower);
  ASSERT_TRUE(UnpackPlain()) << why_.view();
  EXPECT_TRUE(fs::exists(lower / "etc" / ".wh.old"));
  EXPECT_FALSE(fs::exists(lower / "etc" / "hosts"));
  EXPECT_EQ(Read(lower / "new" / "file"), "3");
}

}  // namespace
}  // namespace hull::archive
