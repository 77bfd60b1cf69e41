#include "vmm/container/config.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

using testing::HasSubstr;

Config Example() {
  Config config;
  config.id = std::string(64, 'a');
  config.name = "web";
  config.created_unix_ms = 1700000000123;
  config.image = "localhost/app:latest";
  config.image_digest = "sha256:" + std::string(64, 'b');
  config.root_image = "/var/lib/hull/images/x.erofs";
  config.process.args = {"sh", "-c", "echo \"\\\n\t\x01\"", "", "\xff\xfe not UTF-8"};
  config.process.environment = {"A=1", "UMLAUT=\xc3\xbc"};
  config.process.working_directory = "/";
  config.process.user = "app:web";
  config.process.attach_stdin = true;
  config.process.terminal = true;
  config.process.terminal_size = {.rows = 24, .columns = 65535};
  config.hostname = "box";
  config.read_only = true;
  config.remove = true;
  config.cpus = 2;
  config.cpu_millis = 1500;
  config.memory_bytes = uint64_t{1} << 40;
  config.storage_bytes = uint64_t{10} << 30;
  config.mounts = {*ParseVolumeFlag("data:/var/lib/data:ro,noexec"), *ParseVolumeFlag("/own"),
                   *ParseTmpfsFlag("/t:size=1m,mode=700")};
  return config;
}

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ConfigTest, ComesBackAsItWas) {
  const absl::StatusOr<Config> config = ParseConfig(SerializeConfig(Example()));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config, Example());
}

TEST(ConfigTest, APcMachineIsOneOnlyWhereItIs) {
  EXPECT_THAT(SerializeConfig(Example()), testing::Not(HasSubstr("\"pc\"")));
  Config config = Example();
  config.pc = PcMachine{.boot = "floppy"};
  const std::string text = SerializeConfig(config);
  const absl::StatusOr<Config> parsed = ParseConfig(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, config);
  EXPECT_FALSE(ParseConfig(Replace(text, "\"boot\":", "\"boots\":")).ok());
  EXPECT_FALSE(ParseConfig(Replace(text, "{\"boot\":\"floppy\"}", "7")).ok());

  EXPECT_THAT(text, testing::Not(HasSubstr("display")));
  config.pc->display =
      Display{.protocol = "vnc", .address = "127.0.0.1", .port = 5900, .password_file = "/secret"};
  const std::string shown = SerializeConfig(config);
  const absl::StatusOr<Config> with_display = ParseConfig(shown);
  ASSERT_TRUE(with_display.ok()) << with_display.status();
  EXPECT_EQ(*with_display, config);
  EXPECT_FALSE(ParseConfig(Replace(shown, "5900", "0")).ok());
  EXPECT_FALSE(ParseConfig(Replace(shown, "127.0.0.1", "/socket")).ok());
  EXPECT_TRUE(ParseConfig(Replace(Replace(shown, "127.0.0.1", "/socket"), "5900", "0")).ok());
  EXPECT_FALSE(ParseConfig(Replace(shown, "5900", "65536")).ok());
  EXPECT_FALSE(ParseConfig(Replace(shown, "\"vnc\"", "\"x11\"")).ok());
}

TEST(ConfigTest, IsPlainJson) {
  const std::string text = SerializeConfig(Example());
  EXPECT_THAT(text, HasSubstr(R"("echo \"\\\u000a\u0009\u0001\"")"));
  EXPECT_THAT(text, HasSubstr(R"({"hex":"fffe206e6f74205554462d38"})"));
  for (const char c : text) EXPECT_TRUE(c >= 0x20 && c < 0x7f);
}

TEST(ConfigTest, RefusesWhatItDoesNotKnow) {
  const std::string good = SerializeConfig(Example());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      ParseConfig(Replace(good, "\"version\":" + std::to_string(kConfigVersion), "\"version\":1"))
          .status()));
  const struct {
    const char* from;
    const char* to;
    const char* says;
  } kCases[] = {
      {"\"cpus\":2", "\"cpus\":2,\"extra\":1", "\"extra\" is unknown"},
      {"\"cpus\":2", "\"cpus\":-2", "\"cpus\""},
      {"\"cpus\":2", "\"cpus\":4294967296", "\"cpus\" is out of range"},
      {"\"cpus\":2", "\"cpus\":\"2\"", "\"cpus\""},
      {"\"cpus\":2,", "", "\"cpus\" is missing"},
      {"\"read_only\":true", "\"read_only\":1", "\"read_only\""},
      {"\"name\":\"web\"", "\"name\":7", "\"name\""},
      {"\"name\":\"web\"", "\"name\":\"a\\u0000b\"", "NUL"},
      {"\"name\":\"web\"", "\"name\":{\"hex\":\"6\"}", "\"name\""},
      {"\"name\":\"web\"", "\"name\":{\"hex\":\"zz\"}", "\"name\""},
      {"\"user\":\"app:web\"", "\"user\":\"app:web\",\"more\":[]", "\"more\" is unknown"},
      {"\"args\":[", "\"args\":[[],", "\"args\""},
  };
  for (const auto& bad : kCases) {
    const absl::Status status = ParseConfig(Replace(good, bad.from, bad.to)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad.to << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.says));
  }
}

TEST(ConfigTest, RefusesWhatIsNoJson) {
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"),
                                  std::string(100000, '['), std::string("{\"a\":") + "\xff}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseConfig(text).status()));
  }
  const std::string good = SerializeConfig(Example());
  for (size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_FALSE(ParseConfig(good.substr(0, cut)).ok()) << cut;
  }
}

TEST(StateTest, ComesBackAsItWas) {
  for (const Status status :
       {Status::kRunning, Status::kPaused, Status::kExited, Status::kFailed}) {
    State state = {.status = status,
                   .started_unix_ms = 1,
                   .finished_unix_ms = 2,
                   .monitor_pid = 3,
                   .vmm_pid = 4,
                   .exit_status = 137,
                   .error = "it \"broke\""};
    const absl::StatusOr<State> parsed = ParseState(SerializeState(state));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, state);
  }
}

TEST(StateTest, RefusesAnUnknownStatus) {
  EXPECT_THAT(
      std::string(
          ParseState(Replace(SerializeState(State()), "running", "flying")).status().message()),
      HasSubstr("\"status\" is unknown"));
}

}  // namespace
}  // namespace hull::container
