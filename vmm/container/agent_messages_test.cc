#include "vmm/container/agent_messages.h"

#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guest-agent/protocol/agent.pb.h"
#include "guest-agent/protocol/framing.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kToken = 0x1122334455667788;

template <typename Message>
std::vector<uint8_t> Bytes(const Message& message) {
  const std::string text = message.SerializeAsString();
  return {text.begin(), text.end()};
}

// The messages of whole frames, as the agent would read them.
std::vector<agent::HostMessage> Decode(const std::string& frames) {
  std::vector<uint8_t> buffer(agent::kMaxHostMessageBytes);
  agent::FrameDecoder decoder(buffer);
  std::span<const uint8_t> input(reinterpret_cast<const uint8_t*>(frames.data()), frames.size());
  std::vector<agent::HostMessage> messages;
  while (decoder.Push(&input) == agent::FrameDecoder::Event::kFrame) {
    agent::HostMessage message;
    EXPECT_TRUE(message.ParseFromArray(decoder.payload().data(),
                                       static_cast<int>(decoder.payload().size())));
    messages.push_back(message);
  }
  EXPECT_TRUE(decoder.at_boundary());
  return messages;
}

Config Example() {
  Config config;
  config.hostname = "box";
  config.process.args = {"cat", "\xff"};
  config.process.environment = {"A=1"};
  config.process.user = "app";
  config.process.working_directory = "/w";
  config.process.attach_stdin = true;
  return config;
}

TEST(AgentMessagesTest, StartTellsAllThatTheAgentNeeds) {
  const std::vector<agent::HostMessage> messages = Decode(*StartContainerFrames(Example(), kToken));
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].welcome().version(), agent::PROTOCOL_VERSION);
  const agent::StartContainer& start = messages[1].start_container();
  EXPECT_EQ(start.container().hostname(), "box");
  EXPECT_EQ(start.container().root().device(), "/dev/vda");
  EXPECT_EQ(start.container().root().filesystem_type(), "erofs");
  EXPECT_FALSE(start.container().root().read_only());
  EXPECT_TRUE(start.container().root().has_tmpfs());
  ASSERT_EQ(start.container().files_size(), 2);
  EXPECT_THAT(start.container().files(1).content(), HasSubstr("127.0.1.1\tbox\n"));
  EXPECT_EQ(start.process().process_id(), kMainProcessId);
  EXPECT_EQ(start.process().stream_token(), kToken);
  EXPECT_TRUE(start.process().attach_stdin());
  EXPECT_THAT(start.process().args(), ElementsAre("cat", "\xff"));
  EXPECT_EQ(start.process().user(), "app");
  EXPECT_EQ(start.process().working_directory(), "/w");
  // CAP_SYS_ADMIN (21) is not among them; CAP_SYS_BOOT (22) is.
  EXPECT_EQ(start.process().capabilities().bounding() & (3u << 21), 1u << 22);
  EXPECT_EQ(start.process().capabilities().inheritable(), 0u);
}

TEST(AgentMessagesTest, AReadOnlyRoot) {
  Config config = Example();
  config.read_only = true;
  const agent::RootFilesystem root =
      Decode(*StartContainerFrames(config, kToken))[1].start_container().container().root();
  EXPECT_TRUE(root.read_only());
  EXPECT_TRUE(root.has_tmpfs());  // for /run and /tmp
}

TEST(AgentMessagesTest, WhatIsTooLargeForAFrameIsRefused) {
  Config config = Example();
  config.process.args.push_back(std::string(agent::kMaxHostMessageBytes, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(StartContainerFrames(config, kToken).status()));
}

TEST(AgentMessagesTest, SignalAndShutdown) {
  EXPECT_EQ(Decode(SignalFrame(15))[0].signal_process().signal(), 15u);
  EXPECT_EQ(Decode(SignalFrame(15))[0].signal_process().process_id(), kMainProcessId);
  EXPECT_TRUE(Decode(ShutdownFrame())[0].has_shutdown());
}

TEST(AgentMessagesTest, HelloSaysTheRole) {
  agent::Hello hello;
  hello.set_version(agent::PROTOCOL_VERSION);
  hello.mutable_control();
  EXPECT_EQ(*ParseHello(Bytes(hello), kToken), ConnectionRole::kControl);
  hello.mutable_stdio()->set_process_id(kMainProcessId);
  hello.mutable_stdio()->set_token(kToken);
  EXPECT_EQ(*ParseHello(Bytes(hello), kToken), ConnectionRole::kStdio);
  hello.mutable_standard_error()->set_process_id(kMainProcessId);
  hello.mutable_standard_error()->set_token(kToken);
  EXPECT_EQ(*ParseHello(Bytes(hello), kToken), ConnectionRole::kStandardError);
}

TEST(AgentMessagesTest, AStrangersHelloIsRefused) {
  agent::Hello hello;
  hello.set_version(agent::PROTOCOL_VERSION);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseHello(Bytes(hello), kToken).status()));
  hello.mutable_stdio()->set_process_id(kMainProcessId);
  hello.mutable_stdio()->set_token(kToken + 1);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseHello(Bytes(hello), kToken).status()));
  hello.mutable_stdio()->set_process_id(kMainProcessId + 1);
  hello.mutable_stdio()->set_token(kToken);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseHello(Bytes(hello), kToken).status()));
  const std::vector<uint8_t> garbage(20, 0xff);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseHello(garbage, kToken).status()));
}

TEST(AgentMessagesTest, AnAgentOfAnotherVersionIsNamed) {
  agent::Hello hello;
  hello.set_version(agent::PROTOCOL_VERSION + 1);
  hello.mutable_control();
  const absl::Status status = ParseHello(Bytes(hello), kToken).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 2"));
}

TEST(AgentMessagesTest, TheEndOfTheProcess) {
  agent::AgentMessage message;
  message.mutable_exited()->set_process_id(kMainProcessId);
  message.mutable_exited()->set_exit_code(7);
  EXPECT_EQ(ParseAgentMessage(Bytes(message))->kind, AgentEvent::Kind::kExited);
  EXPECT_EQ(ParseAgentMessage(Bytes(message))->outcome.exit_status, 7);
  message.mutable_exited()->set_signal(9);
  EXPECT_EQ(ParseAgentMessage(Bytes(message))->outcome.exit_status, 137);
  EXPECT_EQ(ParseAgentMessage(Bytes(message))->outcome.error, "");
}

TEST(AgentMessagesTest, AStartThatFailedHasItsStatus) {
  agent::AgentMessage message;
  agent::StartFailed* failed = message.mutable_start_failed();
  failed->set_process_id(kMainProcessId);
  failed->set_message("x:\x1b not found");
  const std::pair<agent::StartFailed::Kind, int> kStatuses[] = {
      {agent::StartFailed::INTERNAL, 125},
      {agent::StartFailed::NOT_FOUND, 127},
      {agent::StartFailed::NOT_EXECUTABLE, 126},
      {agent::StartFailed::INVALID_SPEC, 125},
  };
  for (const auto& [kind, status] : kStatuses) {
    failed->set_kind(kind);
    const absl::StatusOr<AgentEvent> event = ParseAgentMessage(Bytes(message));
    ASSERT_TRUE(event.ok());
    EXPECT_EQ(event->kind, AgentEvent::Kind::kStartFailed);
    EXPECT_EQ(event->outcome.exit_status, status);
    EXPECT_EQ(event->outcome.error, "x:\\x1b not found");
  }
}

TEST(AgentMessagesTest, WhatMakesNoSenseIsAViolation) {
  agent::AgentMessage message;
  message.mutable_exited()->set_process_id(kMainProcessId);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok());  // neither code nor signal
  message.mutable_exited()->set_exit_code(256);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok());
  message.mutable_exited()->set_signal(65);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok());
  message.mutable_exited()->set_signal(0);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok());
  message.mutable_started()->set_process_id(2);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok());
  const std::vector<uint8_t> garbage(20, 0xff);
  EXPECT_FALSE(ParseAgentMessage(garbage).ok());
  // A message of a newer agent, on the other hand, is none.
  EXPECT_EQ(ParseAgentMessage({})->kind, AgentEvent::Kind::kNothing);
}

}  // namespace
}  // namespace hull::container
