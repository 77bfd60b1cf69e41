#include "vmm/cli/copy_plan.h"

#include <string>

#include "gtest/gtest.h"

namespace hull::cli {
namespace {

TEST(CopyPlaceTest, ContainersAndPaths) {
  const auto place = [](absl::string_view text) { return *ParseCopyPlace(text); };
  EXPECT_EQ(place("web:/etc/hosts").container, "web");
  EXPECT_EQ(place("web:/etc/hosts").path, "/etc/hosts");
  EXPECT_EQ(place("web:etc").path, "/etc");
  EXPECT_EQ(place("./a:b").path, "./a:b");
  EXPECT_FALSE(place("./a:b").container.has_value());
  EXPECT_FALSE(place("/a:b").container.has_value());
  EXPECT_EQ(place("file").path, "file");
  EXPECT_TRUE(place("-").stream);
  for (const char* const bad : {"", ":x", "web:"}) EXPECT_FALSE(ParseCopyPlace(bad).ok()) << bad;
}

TEST(CopyPlaceTest, Names) {
  EXPECT_EQ(CopyName("/a/b"), "b");
  EXPECT_EQ(CopyName("b/"), "b");
  for (const char* const whole : {"/", ".", "/a/.", "a/..", "/."}) EXPECT_EQ(CopyName(whole), ".");
  EXPECT_EQ(ParentOf("/a"), "/");
  EXPECT_EQ(ParentOf("a"), ".");
  EXPECT_EQ(ParentOf("/a/b/"), "/a");
}

std::string Plan(const std::string& source, FileKind kind, const std::string& target,
                 CopyTarget found) {
  const absl::StatusOr<CopyPlan> plan = PlanCopy(source, kind, target, found, "the host");
  if (!plan.ok()) return std::string(plan.status().message());
  return plan->directory + " " + plan->prefix;
}

TEST(CopyPlanTest, AsPodmanCp) {
  constexpr FileKind kFile = FileKind::kFile;
  constexpr FileKind kDirectory = FileKind::kDirectory;
  const CopyTarget directory = {kDirectory, kDirectory};
  const CopyTarget file = {kFile, kDirectory};
  const CopyTarget missing = {FileKind::kMissing, kDirectory};
  const CopyTarget nowhere = {FileKind::kMissing, FileKind::kMissing};
  EXPECT_EQ(Plan("/f", kFile, "/d", directory), "/d f");
  EXPECT_EQ(Plan("/f", kFile, "/d/g", missing), "/d g");
  EXPECT_EQ(Plan("/f", kFile, "/d/g", file), "/d g");
  EXPECT_EQ(Plan("/f", kFile, "/d/g/", missing), "\"/d/g/\" could not be found on the host");
  EXPECT_EQ(Plan("/f", kFile, "/x/g", nowhere), "\"/x/g\" could not be found on the host");
  EXPECT_EQ(Plan("/s", kDirectory, "/d", directory), "/d s");
  EXPECT_EQ(Plan("/s/.", kDirectory, "/d", directory), "/d .");
  EXPECT_EQ(Plan("/s", kDirectory, "/d/new", missing), "/d new");
  EXPECT_EQ(Plan("/s", kDirectory, "/d/new/", missing), "/d new");
  EXPECT_EQ(Plan("/s/.", kDirectory, "/d/new", missing), "/d new");
  EXPECT_EQ(Plan("/s", kDirectory, "/d/f", file),
            "destination must be a directory when copying a directory");
}

}  // namespace
}  // namespace hull::cli
