#include "vmm/container/labels.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

using testing::ElementsAre;

TEST(LabelsTest, TheUsersComeOnTopOfTheImages) {
  EXPECT_THAT(*MergeLabels({{"a", "image"}, {"c", "3"}}, {"b", "a=user", "d=x=y"}),
              ElementsAre("a=user", "b=", "c=3", "d=x=y"));
  EXPECT_FALSE(MergeLabels({}, {"=x"}).ok());
  EXPECT_FALSE(MergeLabels({}, {std::string("a=\0", 3)}).ok());
}

TEST(LabelsTest, FiltersAskForAKeyOrForAValue) {
  const std::vector<std::string> labels = {"a=1", "b="};
  EXPECT_TRUE(HasLabel(labels, "a"));
  EXPECT_TRUE(HasLabel(labels, "a=1"));
  EXPECT_TRUE(HasLabel(labels, "b="));
  EXPECT_FALSE(HasLabel(labels, "a=2"));
  EXPECT_FALSE(HasLabel(labels, "a="));
  EXPECT_FALSE(HasLabel(labels, "c"));
}

}  // namespace
}  // namespace hull::container
