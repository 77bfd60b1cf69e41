#include "images/config_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hull::images {
namespace {

using Kind = ConfigChange::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> ValuesOf(absl::string_view text) {
  const absl::StatusOr<ConfigChange> change = ParseConfigChange(text);
  EXPECT_TRUE(change.ok()) << text << ": " << change.status();
  return change.ok() ? change->values : std::vector<std::string>();
}

TEST(ConfigChangesTest, ReadsTheWordsOfADockerfile) {
  EXPECT_EQ(ParseConfigChange(" cmd ls ")->kind, Kind::kCommand);
  EXPECT_THAT(ValuesOf("CMD ls -l"), ElementsAre("/bin/sh", "-c", "ls -l"));
  EXPECT_THAT(ValuesOf(R"(CMD=["ls", "a b"])"), ElementsAre("ls", "a b"));
  EXPECT_THAT(ValuesOf("CMD []"), IsEmpty());
  EXPECT_THAT(ValuesOf("ENTRYPOINT="), IsEmpty());
  EXPECT_THAT(ValuesOf("ENV=A=1"), ElementsAre("A=1"));
  EXPECT_THAT(ValuesOf(R"(ENV A=1 B='2 3' C="4\"" D=\ 5)"),
              ElementsAre("A=1", "B=2 3", "C=4\"", "D= 5"));
  EXPECT_THAT(ValuesOf("ENV A one and two"), ElementsAre("A=one and two"));
  EXPECT_THAT(ValuesOf("LABEL a.b= c=d"), ElementsAre("a.b=", "c=d"));
  EXPECT_THAT(ValuesOf("EXPOSE 80 53/udp"), ElementsAre("80/tcp", "53/udp"));
  EXPECT_THAT(ValuesOf("VOLUME /a /b"), ElementsAre("/a", "/b"));
  EXPECT_THAT(ValuesOf(R"(VOLUME ["/a b"])"), ElementsAre("/a b"));
  EXPECT_THAT(ValuesOf("USER 1:2"), ElementsAre("1:2"));
  EXPECT_THAT(ValuesOf("WORKDIR a b"), ElementsAre("a b"));
  EXPECT_THAT(ValuesOf("STOPSIGNAL SIGINT"), ElementsAre("SIGINT"));
}

TEST(ConfigChangesTest, RefusesWhatIsNone) {
  for (const char* text : {"",
                           "=",
                           "RUN ls",
                           "ONBUILD CMD ls",
                           "CMDX ls",
                           "ENV",
                           "ENV =1",
                           "ENV A",
                           "ENV A=1 B",
                           "ENV A='1",
                           "LABEL",
                           "EXPOSE 0",
                           "EXPOSE 65536",
                           "EXPOSE 80/x",
                           "EXPOSE 1-2",
                           "VOLUME a",
                           "USER",
                           "WORKDIR ",
                           "CMD [\"ls\"",
                           "CMD [1]",
                           "VOLUME [\"a\"]"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseConfigChange(text).status())) << text;
  }
  EXPECT_THAT(ParseConfigChange("RUN ls").status().ToString(), HasSubstr("ENTRYPOINT"));
}

nlohmann::json Changed(nlohmann::json config, const std::vector<std::string>& changes) {
  for (const std::string& text : changes) {
    const absl::StatusOr<ConfigChange> change = ParseConfigChange(text);
    EXPECT_TRUE(change.ok()) << change.status();
    const absl::Status applied = ApplyConfigChange(*change, &config);
    EXPECT_TRUE(applied.ok()) << applied;
  }
  return config;
}

TEST(ConfigChangesTest, ChangesWhatThereIsAndMakesTheRest) {
  const nlohmann::json parent = {{"Cmd", {"sh"}},
                                 {"Env", {"PATH=/bin", "AB=1"}},
                                 {"Labels", {{"a", "1"}}},
                                 {"WorkingDir", "/srv"},
                                 {"Other", 1}};
  EXPECT_EQ(Changed(parent, {"CMD [\"ls\"]", "ENTRYPOINT [\"e\"]", "ENV AB=2 A=3", "LABEL a=2 b=3",
                             "EXPOSE 80", "VOLUME /v", "USER u", "STOPSIGNAL 9", "WORKDIR data"}),
            (nlohmann::json{{"Cmd", {"ls"}},
                            {"Entrypoint", {"e"}},
                            {"Env", {"PATH=/bin", "AB=2", "A=3"}},
                            {"Labels", {{"a", "2"}, {"b", "3"}}},
                            {"ExposedPorts", {{"80/tcp", nlohmann::json::object()}}},
                            {"Volumes", {{"/v", nlohmann::json::object()}}},
                            {"User", "u"},
                            {"StopSignal", "9"},
                            {"WorkingDir", "/srv/data"},
                            {"Other", 1}}));
  EXPECT_EQ(Changed(nlohmann::json::object(), {"WORKDIR data"}),
            (nlohmann::json{{"WorkingDir", "/data"}}));
}

TEST(ConfigChangesTest, DamagedConfigurationsAreErrors) {
  for (const auto& [text, damaged] : std::vector<std::pair<std::string, nlohmann::json>>{
           {"ENV A=1", {{"Env", 1}}},
           {"LABEL a=1", {{"Labels", "x"}}},
           {"EXPOSE 1", {{"ExposedPorts", nlohmann::json::array()}}},
           {"WORKDIR a", {{"WorkingDir", 2}}},
           {"USER a", nlohmann::json::array()}}) {
    nlohmann::json config = damaged;
    EXPECT_TRUE(absl::IsInvalidArgument(ApplyConfigChange(*ParseConfigChange(text), &config)))
        << text;
  }
}

}  // namespace
}  // namespace hull::images
