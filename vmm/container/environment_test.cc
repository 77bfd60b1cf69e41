#include "vmm/container/environment.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Environment Make() {
  return Environment({"HOME=/root", "LC_ALL=C", "LC_TIME=de", "LCX", "EMPTY="});
}

TEST(EnvironmentTest, ALaterValueReplacesAnEarlierInItsPlace) {
  Environment environment = Make();
  EXPECT_TRUE(environment.Add("A=1").ok());
  EXPECT_TRUE(environment.Add("B=2").ok());
  EXPECT_TRUE(environment.Add("A=x=y").ok());
  EXPECT_THAT(environment.variables(), ElementsAre("A=x=y", "B=2"));
  EXPECT_TRUE(environment.Has("A"));
  EXPECT_FALSE(environment.Has("AB"));
}

TEST(EnvironmentTest, ANameAlonePassesTheHostsValueIfThereIsOne) {
  Environment environment = Make();
  EXPECT_TRUE(environment.Add("HOME").ok());
  EXPECT_TRUE(environment.Add("EMPTY").ok());
  EXPECT_TRUE(environment.Add("MISSING").ok());
  EXPECT_THAT(environment.variables(), ElementsAre("HOME=/root", "EMPTY="));
}

TEST(EnvironmentTest, AStarPassesAllWithThePrefix) {
  Environment environment = Make();
  EXPECT_TRUE(environment.Add("LC*").ok());
  EXPECT_THAT(environment.variables(), ElementsAre("LC_ALL=C", "LC_TIME=de"));
}

TEST(EnvironmentTest, RefusesWhatHasNoName) {
  Environment environment = Make();
  EXPECT_THAT(std::string(environment.Add("=x").message()), HasSubstr("\"=x\""));
  EXPECT_FALSE(environment.Add("").ok());
  EXPECT_FALSE(environment.Add("  =x").ok());
  EXPECT_FALSE(environment.Add("A B=x").ok());
  EXPECT_FALSE(environment.Add(absl::string_view("A=\0", 3)).ok());
  EXPECT_THAT(environment.variables(), IsEmpty());
}

TEST(EnvironmentTest, ReadsAFile) {
  Environment environment = Make();
  EXPECT_TRUE(environment
                  .AddFile("f",
                           "# comment\n\n  \t\n  INDENTED=1\nQUOTED=\"as it is\" \n"
                           "   # also a comment\nHASH=a#b\nHOME\nDOS=x\r\nLAST=no newline")
                  .ok());
  EXPECT_THAT(environment.variables(), ElementsAre("INDENTED=1", "QUOTED=\"as it is\" ", "HASH=a#b",
                                                   "HOME=/root", "DOS=x", "LAST=no newline"));
}

TEST(EnvironmentTest, TellsTheLineOfAFileThatIsWrong) {
  Environment environment = Make();
  EXPECT_THAT(std::string(environment.AddFile("file", "A=1\n#\n=2\n").message()),
              HasSubstr("env file file, line 3"));
}

TEST(EnvironmentTest, IsBounded) {
  Environment environment({});
  std::string content;
  for (size_t i = 0; i <= kMaxVariables; ++i) content += "V" + std::to_string(i) + "=\n";
  EXPECT_THAT(std::string(environment.AddFile("f", content).message()),
              HasSubstr("more than 16384"));
}

}  // namespace
}  // namespace hull::container
