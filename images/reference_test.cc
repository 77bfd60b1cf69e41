#include "images/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace hull::images {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Candidates(absl::string_view text) {
  const absl::StatusOr<Reference> reference = ParseReference(text);
  if (!reference.ok()) return {reference.status().ToString()};
  std::vector<std::string> names;
  for (const Reference& candidate : LocalCandidates(*reference)) {
    names.push_back(candidate.FullName());
  }
  return names;
}

TEST(ReferenceTest, ShortNamesAreLocalThenDockers) {
  EXPECT_THAT(Candidates("busybox"),
              ElementsAre("localhost/busybox:latest", "docker.io/library/busybox:latest"));
  EXPECT_THAT(Candidates("me/app:v1.2"),
              ElementsAre("localhost/me/app:v1.2", "docker.io/me/app:v1.2"));
}

TEST(ReferenceTest, NamesWithARegistryAreThemselves) {
  EXPECT_THAT(Candidates("quay.io/a/b"), ElementsAre("quay.io/a/b:latest"));
  EXPECT_THAT(Candidates("localhost/b:x"), ElementsAre("localhost/b:x"));
  EXPECT_THAT(Candidates("localhost:5000/b"), ElementsAre("localhost:5000/b:latest"));
  EXPECT_THAT(Candidates("docker.io/busybox"), ElementsAre("docker.io/library/busybox:latest"));
}

TEST(ReferenceTest, DigestIsTakenApart) {
  const std::string hex(64, 'a');
  const absl::StatusOr<Reference> reference = ParseReference("busybox:v1@sha256:" + hex);
  ASSERT_TRUE(reference.ok());
  EXPECT_EQ(reference->digest->hex(), hex);
  EXPECT_EQ(reference->path, "busybox");
  EXPECT_EQ(reference->tag, "v1");
}

TEST(ReferenceTest, DockersOldHostNameIsDockers) {
  EXPECT_THAT(Candidates("index.docker.io/busybox"),
              ElementsAre("docker.io/library/busybox:latest"));
  EXPECT_EQ(QualifyAsDocker(*ParseReference("busybox:1")).FullName(),
            "docker.io/library/busybox:1");
  EXPECT_EQ(QualifyAsDocker(*ParseReference("a/b")).FullName(), "docker.io/a/b:latest");
  EXPECT_EQ(QualifyAsDocker(*ParseReference("quay.io/b")).FullName(), "quay.io/b:latest");
}

TEST(ReferenceTest, NewNamesAreLocal) {
  EXPECT_EQ(Qualify(*ParseReference("app")).FullName(), "localhost/app:latest");
  EXPECT_EQ(Qualify(*ParseReference("quay.io/app:1")).FullName(), "quay.io/app:1");
}

TEST(ReferenceTest, WhatIsNotANameIsRefused) {
  for (const std::string& text : {std::string(),
                                  std::string("Upper"),
                                  std::string("a//b"),
                                  std::string("/a"),
                                  std::string("a/"),
                                  std::string("../etc"),
                                  std::string("a/../b"),
                                  std::string("a:"),
                                  std::string("a:-x"),
                                  std::string("a:.."),
                                  std::string("a b"),
                                  std::string("a%b"),
                                  std::string("a@sha256:12"),
                                  std::string("-a"),
                                  std::string("a."),
                                  std::string("a..b"),
                                  std::string("-h.io/a"),
                                  std::string("h.io:port/a"),
                                  std::string("a\0b", 3),
                                  std::string("a:") + std::string(129, 't'),
                                  std::string(256, 'a')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseReference(text).status())) << text;
  }
}

}  // namespace
}  // namespace hull::images
