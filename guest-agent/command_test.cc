#include "guest-agent/command.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Candidates(std::string_view name, std::string_view path) {
  CommandCandidates candidates(name, path);
  std::vector<std::string> all;
  PathText candidate;
  while (candidates.Next(&candidate)) all.emplace_back(candidate.view());
  return all;
}

TEST(CommandCandidatesTest, WalksPath) {
  EXPECT_THAT(Candidates("ls", "/usr/bin:/bin"), ElementsAre("/usr/bin/ls", "/bin/ls"));
  EXPECT_THAT(Candidates("ls", "/bin::"), ElementsAre("/bin/ls", "./ls", "./ls"));
  EXPECT_THAT(Candidates("ls", ""), ElementsAre("./ls"));
  EXPECT_THAT(Candidates("/bin/ls", "/usr/bin"), ElementsAre("/bin/ls"));
  EXPECT_THAT(Candidates("./ls", "/usr/bin"), ElementsAre("./ls"));
  EXPECT_THAT(Candidates("a/b", "/usr/bin"), ElementsAre("a/b"));
}

TEST(CommandCandidatesTest, LeavesOutWhatIsTooLong) {
  const std::string longest(kMaxPath - 3, 'x');
  EXPECT_THAT(Candidates("ls", "/" + longest + ":/bin"), ElementsAre("/bin/ls"));
  EXPECT_THAT(Candidates("/" + std::string(kMaxPath, 'x'), "/bin"), IsEmpty());
  EXPECT_EQ(Candidates("/" + std::string(kMaxPath - 1, 'x'), "").size(), 1u);
}

int Search(std::map<std::string, int> files, std::string_view name, PathText* tried) {
  return SearchAndExec(
      name, "/a:/b:/c",
      [&](const char* path) {
        const auto found = files.find(path);
        return found == files.end() ? ENOENT : found->second;
      },
      tried);
}

TEST(SearchAndExecTest, ExplainsTheFailure) {
  PathText tried;
  EXPECT_EQ(Search({}, "foo", &tried), ENOENT);
  EXPECT_EQ(tried.view(), "foo");
  // "Not allowed" beats "not there", and the first of them is the one to name.
  EXPECT_EQ(Search({{"/a/foo", EACCES}, {"/b/foo", EACCES}}, "foo", &tried), EACCES);
  EXPECT_EQ(tried.view(), "/a/foo");
  EXPECT_EQ(Search({{"/a/foo", ENOTDIR}, {"/b/foo", ENOEXEC}, {"/c/foo", EACCES}}, "foo", &tried),
            ENOEXEC);
  EXPECT_EQ(tried.view(), "/b/foo");
  EXPECT_EQ(Search({{"/b/foo", EACCES}}, "/b/foo", &tried), EACCES);
}

std::unique_ptr<StartRequest> Request(std::vector<const char*> environment) {
  auto request = std::make_unique<StartRequest>();
  request->Clear();
  for (const char* variable : environment) {
    request->environment[request->environment_count++] = variable;
  }
  return request;
}

std::vector<std::string> Environment(const StartRequest& request) {
  std::vector<std::string> all;
  for (const char* const* variable = request.environment; *variable != nullptr; ++variable) {
    all.emplace_back(*variable);
  }
  return all;
}

TEST(CompleteEnvironmentTest, AddsWhatIsMissing) {
  AddedVariables added;
  auto request = Request({"A=1", "PATHS=/x", "HOMELESS"});
  CompleteEnvironment(request.get(), "/home/alice", &added);
  EXPECT_THAT(Environment(*request),
              ElementsAre("A=1", "PATHS=/x", "HOMELESS",
                          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                          "HOME=/home/alice"));
}

TEST(CompleteEnvironmentTest, LeavesWhatIsThere) {
  AddedVariables added;
  auto request = Request({"PATH=", "HOME=/h"});
  CompleteEnvironment(request.get(), "/home/alice", &added);
  EXPECT_THAT(Environment(*request), ElementsAre("PATH=", "HOME=/h"));
}

TEST(CompleteEnvironmentTest, HasRoomInAFullEnvironment) {
  AddedVariables added;
  auto request = Request(std::vector<const char*>(kMaxEnvironment, "A=1"));
  CompleteEnvironment(request.get(), "/", &added);
  EXPECT_EQ(Environment(*request).size(), kMaxEnvironment + kAddedEnvironment);
}

TEST(FindVariableTest, TheLastOneCounts) {
  const char* const environment[] = {"A=1", "AB=2", "A=3", "A"};
  EXPECT_EQ(FindVariable(environment, "A"), "3");
  EXPECT_EQ(FindVariable(environment, "AB"), "2");
  EXPECT_EQ(FindVariable(environment, "B").data(), nullptr);
}

}  // namespace
}  // namespace hull::agent
