#include "images/layers/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hull::images {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CountingOwner : public ContentOwner {
 public:
  void Release(const Inode&) override { ++released; }
  int released = 0;
};

class TreeTest : public ::testing::Test {
 protected:
  void Layer() { tree_.BeginLayer(); }
  absl::Status Add(EntryType type, absl::string_view path, absl::string_view link = "") {
    return tree_.Apply(LayerEntry{.type = type, .path = path, .link_target = link}).status();
  }
  absl::Status File(absl::string_view path) { return Add(EntryType::kRegular, path); }
  absl::Status Dir(absl::string_view path) { return Add(EntryType::kDirectory, path); }
  absl::Status Symlink(absl::string_view path, absl::string_view target) {
    return Add(EntryType::kSymlink, path, target);
  }
  absl::Status HardLink(absl::string_view path, absl::string_view target) {
    return Add(EntryType::kHardLink, path, target);
  }

  // Every path in the tree, directories with a slash at their end.
  std::vector<std::string> Paths() {
    std::vector<std::string> paths;
    Walk(tree_.root(), "", &paths);
    return paths;
  }
  const Inode* Find(const std::vector<std::string>& components) {
    const Inode* inode = &tree_.root();
    for (const std::string& component : components) {
      inode = inode->children.at(component).inode;
    }
    return inode;
  }

  CountingOwner owner_;
  Tree tree_{owner_, TreeLimits{.max_entries = 100, .max_metadata_bytes = 10'000'000}};

 private:
  static void Walk(const Inode& directory, const std::string& prefix,
                   std::vector<std::string>* paths) {
    for (const auto& [name, link] : directory.children) {
      const bool is_directory = link.inode->type == FileType::kDirectory;
      paths->push_back(prefix + name + (is_directory ? "/" : ""));
      if (is_directory) Walk(*link.inode, std::string(paths->back()), paths);
    }
  }
};

TEST_F(TreeTest, NamesThatLeadOutOfTheRootAreRefused) {
  Layer();
  for (const absl::string_view path : {"../x", "a/../../x", "a/..", "..", "/x", "/"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(File(path))) << path;
    EXPECT_TRUE(absl::IsInvalidArgument(Dir(path))) << path;
    EXPECT_TRUE(absl::IsInvalidArgument(HardLink("l", path))) << path;
  }
  EXPECT_THAT(Paths(), IsEmpty());
}

TEST_F(TreeTest, OddNamesAreKept) {
  Layer();
  const std::string newline = "a\nb";
  const std::string latin1 = "caf\xe9";
  const std::string longest(255, 'x');
  ASSERT_TRUE(File(newline).ok());
  ASSERT_TRUE(File(latin1).ok());
  ASSERT_TRUE(File(longest).ok());
  ASSERT_TRUE(File("..hidden").ok());
  ASSERT_TRUE(File("./dot//slashes").ok());
  EXPECT_THAT(Paths(), ElementsAre("..hidden", newline, latin1, "dot/", "dot/slashes", longest));
}

TEST_F(TreeTest, LongNamesAreRefused) {
  Layer();
  EXPECT_THAT(File(std::string(256, 'x')).ToString(), HasSubstr("256 bytes"));
  EXPECT_THAT(File(std::string(1 << 20, 'x')).ToString(), HasSubstr("1048576 bytes"));
  EXPECT_THAT(Symlink("l", std::string(4096, 'x')).ToString(), HasSubstr("4096"));
  EXPECT_TRUE(absl::IsInvalidArgument(Symlink("l", "")));
}

TEST_F(TreeTest, WhiteoutsHideLayersBelowOnly) {
  Layer();
  ASSERT_TRUE(File("gone").ok());
  ASSERT_TRUE(File("dir/gone").ok());
  ASSERT_TRUE(File("dir/kept").ok());
  ASSERT_TRUE(File("whole/a").ok());
  Layer();
  ASSERT_TRUE(File(".wh.gone").ok());
  ASSERT_TRUE(File("dir/.wh.gone").ok());
  ASSERT_TRUE(File(".wh.whole").ok());
  ASSERT_TRUE(File(".wh.never-was").ok());
  ASSERT_TRUE(File("never/.wh.was").ok());
  ASSERT_TRUE(File("new").ok());
  ASSERT_TRUE(File(".wh.new").ok());
  EXPECT_THAT(Paths(), ElementsAre("dir/", "dir/kept", "new"));
  EXPECT_EQ(owner_.released, 3);
}

TEST_F(TreeTest, WhiteoutAndNewDirectoryInOneLayerInAnyOrder) {
  for (const bool whiteout_first : {true, false}) {
    CountingOwner owner;
    Tree tree(owner, TreeLimits());
    const auto add = [&tree](EntryType type, absl::string_view path) {
      ASSERT_TRUE(tree.Apply(LayerEntry{.type = type, .path = path}).ok());
    };
    tree.BeginLayer();
    add(EntryType::kRegular, "d/old");
    tree.BeginLayer();
    if (whiteout_first) add(EntryType::kRegular, ".wh.d");
    add(EntryType::kDirectory, "d");
    add(EntryType::kRegular, "d/new");
    if (!whiteout_first) add(EntryType::kRegular, ".wh.d");
    const auto& children = tree.root().children.at("d").inode->children;
    EXPECT_EQ(children.size(), 1u);
    EXPECT_TRUE(children.contains("new"));
  }
}

TEST_F(TreeTest, OpaqueDirectoryKeepsItsOwnLayer) {
  Layer();
  ASSERT_TRUE(File("d/old").ok());
  ASSERT_TRUE(File("d/sub/old").ok());
  Layer();
  ASSERT_TRUE(File("d/sub/new").ok());
  ASSERT_TRUE(File("d/.wh..wh..opq").ok());
  ASSERT_TRUE(File("d/late").ok());
  EXPECT_THAT(Paths(), ElementsAre("d/", "d/late", "d/sub/", "d/sub/new"));
}

TEST_F(TreeTest, WhiteoutWithoutANameIsRefusedAndAufsFilesAreNot) {
  Layer();
  for (const absl::string_view path : {".wh.", ".wh..", ".wh...", "a/.wh."}) {
    EXPECT_TRUE(absl::IsInvalidArgument(File(path))) << path;
  }
  EXPECT_TRUE(File(".wh..wh.plnk").ok());
  EXPECT_TRUE(File(".wh..wh.aufs").ok());
  EXPECT_THAT(Paths(), IsEmpty());
}

TEST_F(TreeTest, SymlinksAsParentsAreResolvedInTheImage) {
  Layer();
  ASSERT_TRUE(Dir("usr/lib").ok());
  ASSERT_TRUE(Symlink("lib", "usr/lib").ok());
  ASSERT_TRUE(Symlink("usr/abs", "/usr/lib").ok());
  ASSERT_TRUE(Symlink("usr/lib/up", "../lib").ok());
  Layer();
  ASSERT_TRUE(File("lib/a").ok());
  ASSERT_TRUE(File("usr/abs/b").ok());
  ASSERT_TRUE(File("lib/up/up/new/c").ok());
  EXPECT_THAT(Paths(), ElementsAre("lib", "usr/", "usr/abs", "usr/lib/", "usr/lib/a", "usr/lib/b",
                                   "usr/lib/new/", "usr/lib/new/c", "usr/lib/up"));
}

TEST_F(TreeTest, SymlinkEscapesAreRefused) {
  Layer();
  ASSERT_TRUE(Symlink("up", "../..").ok());
  ASSERT_TRUE(Symlink("out", "/tmp/outside").ok());
  ASSERT_TRUE(Symlink("loop", "loop").ok());
  ASSERT_TRUE(File("plain").ok());
  EXPECT_THAT(File("up/x").ToString(), HasSubstr("outside the root"));
  EXPECT_THAT(File("out/x").ToString(), HasSubstr("not a directory in the image"));
  EXPECT_THAT(File("loop/x").ToString(), HasSubstr("too many symbolic links"));
  EXPECT_THAT(File("plain/x").ToString(), HasSubstr("not a directory"));
  EXPECT_THAT(HardLink("h", "up/x").ToString(), HasSubstr("outside the root"));
  EXPECT_THAT(Paths(), ElementsAre("loop", "out", "plain", "up"));
}

TEST_F(TreeTest, TheLastComponentIsNeverFollowed) {
  Layer();
  ASSERT_TRUE(Dir("real").ok());
  ASSERT_TRUE(Symlink("link", "real").ok());
  Layer();
  ASSERT_TRUE(Dir("link").ok());
  EXPECT_EQ(Find({"link"})->type, FileType::kDirectory);
  ASSERT_TRUE(File("real").ok());
  EXPECT_EQ(Find({"real"})->type, FileType::kRegular);
}

TEST_F(TreeTest, DirectoryOverDirectoryKeepsChildrenAndTakesMetadata) {
  Layer();
  ASSERT_TRUE(File("d/x").ok());
  Layer();
  ASSERT_TRUE(tree_
                  .Apply(LayerEntry{
                      .type = EntryType::kDirectory, .path = "d/", .permissions = 0700, .uid = 7})
                  .ok());
  EXPECT_EQ(Find({"d"})->metadata.permissions, 0700u);
  EXPECT_EQ(Find({"d"})->metadata.uid, 7u);
  EXPECT_THAT(Paths(), ElementsAre("d/", "d/x"));
}

TEST_F(TreeTest, HardLinksShareAnInode) {
  Layer();
  ASSERT_TRUE(File("a").ok());
  Layer();
  ASSERT_TRUE(HardLink("b", "a").ok());
  ASSERT_TRUE(HardLink("b", "b").ok());
  EXPECT_EQ(Find({"a"}), Find({"b"}));
  EXPECT_EQ(Find({"a"})->links, 2u);
  ASSERT_TRUE(File(".wh.a").ok());
  EXPECT_EQ(owner_.released, 0);
  EXPECT_EQ(Find({"b"})->links, 1u);
  EXPECT_THAT(HardLink("c", "nowhere").ToString(), HasSubstr("not in the image"));
  ASSERT_TRUE(Dir("d").ok());
  EXPECT_THAT(HardLink("c", "d").ToString(), HasSubstr("it is a directory"));
  EXPECT_THAT(HardLink("d", "b").ToString(), HasSubstr("replace a directory"));
}

TEST_F(TreeTest, TheRootIsADirectoryForEver) {
  Layer();
  EXPECT_TRUE(Dir("./").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(File("./")));
  EXPECT_TRUE(absl::IsInvalidArgument(Symlink(".", "x")));
}

TEST_F(TreeTest, MetadataOutOfRangeIsRefused) {
  Layer();
  LayerEntry entry{.path = "f"};
  entry.uid = int64_t{UINT32_MAX};
  EXPECT_TRUE(absl::IsInvalidArgument(tree_.Apply(entry).status()));
  entry.uid = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(tree_.Apply(entry).status()));
  entry.uid = int64_t{UINT32_MAX} - 1;
  EXPECT_TRUE(tree_.Apply(entry).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(
      tree_.Apply(LayerEntry{.type = EntryType::kCharDevice, .path = "dev", .device_major = 4096})
          .status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Add(EntryType::kOther, "odd")));
}

TEST_F(TreeTest, AttributesAreCheckedAndFiltered) {
  Layer();
  LayerEntry entry{.path = "f"};
  entry.xattrs = {{"user.k", std::string("\0\xff", 2)},
                  {"security.capability", "cap"},
                  {"trusted.overlay.redirect", "/etc"},
                  {"com.apple.thing", "x"}};
  ASSERT_TRUE(tree_.Apply(entry).ok());
  const auto& xattrs = Find({"f"})->metadata.xattrs;
  EXPECT_EQ(xattrs.size(), 2u);
  EXPECT_EQ(xattrs.at("user.k"), std::string("\0\xff", 2));
  entry.xattrs = {{"user.big", std::string(65536, 'x')}};
  EXPECT_THAT(tree_.Apply(entry).status().ToString(), HasSubstr("65536 bytes"));
  entry.xattrs = {{"user." + std::string(251, 'x'), "v"}};
  EXPECT_TRUE(absl::IsInvalidArgument(tree_.Apply(entry).status()));
}

TEST_F(TreeTest, LimitsHold) {
  Layer();
  std::string deep;
  for (int i = 0; i < 101; ++i) deep += "d/";
  EXPECT_TRUE(absl::IsResourceExhausted(File(deep + "f")));

  Tree few(owner_, TreeLimits{.max_entries = 2, .max_metadata_bytes = 1000});
  few.BeginLayer();
  const LayerEntry entry{.path = "f"};
  EXPECT_TRUE(few.Apply(entry).ok());
  EXPECT_TRUE(few.Apply(entry).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(few.Apply(entry).status()));

  Tree small(owner_, TreeLimits{.max_entries = 100, .max_metadata_bytes = 10});
  small.BeginLayer();
  EXPECT_TRUE(
      absl::IsResourceExhausted(small.Apply(LayerEntry{.path = "longer-than-ten"}).status()));
}

TEST_F(TreeTest, DepthIsBoundedEvenThroughSymlinks) {
  Tree tree(owner_, TreeLimits());
  tree.BeginLayer();
  const auto add = [&tree](EntryType type, const std::string& path, const std::string& link) {
    return tree.Apply(LayerEntry{.type = type, .path = path, .link_target = link}).status();
  };
  absl::Status status;
  std::string deep = "l/";
  for (int i = 0; i < 500; ++i) deep += "d/";
  // Each round starts where the last one ended.
  std::string target = "/";
  for (int round = 0; round < 10 && status.ok(); ++round) {
    ASSERT_TRUE(add(EntryType::kSymlink, "l", target).ok());
    status = add(EntryType::kSymlink, deep + "up", ".");
    target = target.size() > 4050 ? "/" : target + std::string(deep, 2);
  }
  EXPECT_THAT(status.ToString(), HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace hull::images
