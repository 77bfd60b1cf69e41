#include "vmm/cli/image_location.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hull::cli {
namespace {

using ::testing::HasSubstr;

TEST(ImageLocationTest, Registries) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  struct Case {
    std::string text, skopeo, registry, name;
  };
  for (const Case& c : std::vector<Case>{
           {"busybox", "docker://docker.io/library/busybox:latest", "docker.io",
            "docker.io/library/busybox:latest"},
           {"me/app:2", "docker://docker.io/me/app:2", "docker.io", "docker.io/me/app:2"},
           {"docker://quay.io/a/b", "docker://quay.io/a/b:latest", "quay.io", "quay.io/a/b:latest"},
           {"127.0.0.1:5000/a:x", "docker://127.0.0.1:5000/a:x", "127.0.0.1:5000",
            "127.0.0.1:5000/a:x"},
           {"quay.io/a@" + digest, "docker://quay.io/a@" + digest, "quay.io", ""},
           {"h:5000/a@" + digest, "docker://h:5000/a@" + digest, "h:5000", ""},
           {"quay.io/a:v1@" + digest, "docker://quay.io/a@" + digest, "quay.io", "quay.io/a:v1"}}) {
    const absl::StatusOr<ImageLocation> location = ParseImageLocation(c.text);
    ASSERT_TRUE(location.ok()) << location.status();
    EXPECT_EQ(location->skopeo, c.skopeo);
    EXPECT_EQ(location->registry, c.registry);
    EXPECT_EQ(location->name, c.name) << c.text;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseImageLocation("Not A Name").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseImageLocation("").status()));
}

TEST(ImageLocationTest, OtherTransports) {
  struct Case {
    std::string text, name, archive;
  };
  for (const Case& c :
       std::vector<Case>{{"oci:/x/Layout:app:v1", "localhost/app:v1", ""},
                         {"oci:/x/Layout", "localhost/layout:latest", ""},
                         {"oci-archive:a.tar:quay.io/b:2", "quay.io/b:2", ""},
                         {"dir:/x/y/", "localhost/y:latest", ""},
                         {"dir:/x/-", "", ""},
                         {"docker-archive:/x/a.tar", "localhost/a.tar:latest", "/x/a.tar"},
                         {"docker-archive:/x/a.tar:b", "localhost/b:latest", ""},
                         {"docker-daemon:b:2", "localhost/b:2", ""},
                         {"containers-storage:quay.io/b", "quay.io/b:latest", ""}}) {
    const absl::StatusOr<ImageLocation> location = ParseImageLocation(c.text);
    ASSERT_TRUE(location.ok()) << location.status();
    EXPECT_EQ(location->skopeo, c.text);
    EXPECT_EQ(location->registry, "");
    EXPECT_EQ(location->name, c.name) << c.text;
    EXPECT_EQ(location->archive, c.archive) << c.text;
  }
  EXPECT_FALSE(HasTransport("docker.io/x"));
  EXPECT_FALSE(HasTransport("oci/x:y"));
}

TEST(ImageLocationTest, FailuresSayWhatToDo) {
  const std::string refused =
      "time=\"2026-01-02T03:04:05Z\" level=warning msg=\"something\"\n"
      "time=\"2026-01-02T03:04:05Z\" level=fatal msg=\"pinging: Get \\\"https://h/v2/\\\": dial "
      "tcp: "
      "connect: connection refused\"\n";
  EXPECT_EQ(
      DescribeSkopeoFailure(refused, "h"),
      "pinging: Get \"https://h/v2/\": dial tcp: connect: connection refused (nothing answers "
      "at h)");
  EXPECT_THAT(DescribeSkopeoFailure("level=fatal msg=\"unauthorized: x\"", "quay.io"),
              HasSubstr("hull login quay.io"));
  EXPECT_EQ(DescribeSkopeoFailure("", ""), "skopeo failed without a word");
  EXPECT_EQ(DescribeSkopeoFailure("plain \x1b[31m", ""), "plain \\x1b[31m");
}

}  // namespace
}  // namespace hull::cli
