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

TEST(AgentMessagesTest, TheLayerCanBeOnADisk) {
  Config config = Example();
  config.storage_bytes = uint64_t{64} << 20;
  const agent::RootFilesystem root =
      Decode(*StartContainerFrames(config, kToken))[1].start_container().container().root();
  EXPECT_FALSE(root.has_tmpfs());
  EXPECT_EQ(root.disk().device(), "/dev/vdb");
  EXPECT_EQ(root.disk().filesystem_type(), "ext4");
}

TEST(AgentMessagesTest, MountsAndTheirDevices) {
  Config config = Example();
  config.mounts = {*ParseVolumeFlag("a:/a:ro"), *ParseTmpfsFlag("/t:size=1k,mode=700"),
                   *ParseVolumeFlag("b:/b:nocopy,suid")};
  for (const bool layer : {false, true}) {
    config.storage_bytes = layer ? uint64_t{64} << 20 : 0;
    const agent::ContainerSpec container =
        Decode(*StartContainerFrames(config, kToken))[1].start_container().container();
    ASSERT_EQ(container.mounts_size(), 3);
    const agent::Mount& a = container.mounts(0);
    EXPECT_EQ(a.target(), "/a");
    EXPECT_EQ(a.device(), layer ? "/dev/vdc" : "/dev/vdb");
    EXPECT_EQ(a.filesystem_type(), "ext4");
    EXPECT_TRUE(a.read_only() && a.allow_exec() && a.copy_image());
    EXPECT_FALSE(a.allow_suid() || a.allow_devices());
    const agent::Mount& tmpfs = container.mounts(1);
    EXPECT_EQ(tmpfs.device(), "");
    EXPECT_EQ(tmpfs.filesystem_type(), "tmpfs");
    EXPECT_EQ(tmpfs.options(), "mode=700,size=1024");
    EXPECT_FALSE(tmpfs.allow_exec());
    const agent::Mount& b = container.mounts(2);
    EXPECT_EQ(b.device(), layer ? "/dev/vdd" : "/dev/vdc");
    EXPECT_TRUE(b.allow_suid());
    EXPECT_FALSE(b.copy_image());
  }
}

TEST(AgentMessagesTest, WhatIsTooLargeForAFrameIsRefused) {
  Config config = Example();
  config.process.args.push_back(std::string(agent::kMaxHostMessageBytes, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(StartContainerFrames(config, kToken).status()));
}

TEST(AgentMessagesTest, SignalAndShutdown) {
  EXPECT_EQ(Decode(SignalFrame(7, 15))[0].signal_process().signal(), 15u);
  EXPECT_EQ(Decode(SignalFrame(7, 15))[0].signal_process().process_id(), 7u);
  EXPECT_TRUE(Decode(ShutdownFrame())[0].has_shutdown());
}

TEST(AgentMessagesTest, HelloSaysTheRole) {
  agent::Hello hello;
  hello.set_version(agent::PROTOCOL_VERSION);
  hello.mutable_control();
  EXPECT_EQ(ParseHello(Bytes(hello))->role, ConnectionRole::kControl);
  hello.mutable_stdio()->set_process_id(kMainProcessId);
  hello.mutable_stdio()->set_token(kToken);
  EXPECT_EQ(ParseHello(Bytes(hello))->role, ConnectionRole::kStdio);
  hello.mutable_standard_error()->set_process_id(kMainProcessId);
  hello.mutable_standard_error()->set_token(kToken);
  EXPECT_EQ(ParseHello(Bytes(hello))->role, ConnectionRole::kStandardError);
  EXPECT_EQ(ParseHello(Bytes(hello))->process_id, kMainProcessId);
  EXPECT_EQ(ParseHello(Bytes(hello))->token, kToken);
}

TEST(AgentMessagesTest, AStrangersHelloIsRefused) {
  agent::Hello hello;
  hello.set_version(agent::PROTOCOL_VERSION);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseHello(Bytes(hello)).status()));
  const std::vector<uint8_t> garbage(20, 0xff);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseHello(garbage).status()));
}

TEST(AgentMessagesTest, AnAgentOfAnotherVersionIsNamed) {
  agent::Hello hello;
  hello.set_version(agent::PROTOCOL_VERSION + 1);
  hello.mutable_control();
  const absl::Status status = ParseHello(Bytes(hello)).status();
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
  message.mutable_started()->set_process_id(0);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok());
  const std::vector<uint8_t> garbage(20, 0xff);
  EXPECT_FALSE(ParseAgentMessage(garbage).ok());
  // A message of a newer agent, on the other hand, is none.
  EXPECT_EQ(ParseAgentMessage({})->kind, AgentEvent::Kind::kNothing);
}

TEST(AgentMessagesTest, AFurtherProcessGetsTheRightsOfTheFirst) {
  ExecRequest request = {.process = Example().process, .detach = true};
  request.process.terminal = true;
  request.process.terminal_size = {.rows = 24, .columns = 80};
  const agent::ProcessSpec process =
      Decode(*StartProcessFrame(9, kToken, request))[0].start_process().process();
  EXPECT_EQ(process.process_id(), 9u);
  EXPECT_EQ(process.stream_token(), kToken);
  EXPECT_THAT(process.args(), ElementsAre("cat", "\xff"));
  EXPECT_TRUE(process.discard_output());
  EXPECT_EQ(process.terminal().rows(), 24u);
  EXPECT_EQ(process.terminal().columns(), 80u);
  const agent::ProcessSpec first =
      Decode(*StartContainerFrames(Example(), kToken))[1].start_container().process();
  EXPECT_EQ(process.capabilities().SerializeAsString(), first.capabilities().SerializeAsString());
  EXPECT_EQ(process.rlimits_size(), first.rlimits_size());
  EXPECT_FALSE(first.has_terminal());
  request.process.args.push_back(std::string(agent::kMaxHostMessageBytes, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(StartProcessFrame(9, kToken, request).status()));
}

TEST(AgentMessagesTest, QuestionsAndResize) {
  const agent::HostMessage resize =
      Decode(ResizeTerminalFrame(3, {.rows = 65535, .columns = 1}))[0];
  EXPECT_EQ(resize.resize_terminal().process_id(), 3u);
  EXPECT_EQ(resize.resize_terminal().size().rows(), 65535u);
  EXPECT_EQ(resize.resize_terminal().size().columns(), 1u);
  EXPECT_EQ(Decode(ListProcessesFrame(4, 77))[0].list_processes().after_pid(), 77u);
  EXPECT_EQ(Decode(GetStatisticsFrame(5))[0].get_statistics().request_id(), 5u);
}

TEST(AgentMessagesTest, APageOfProcesses) {
  agent::AgentMessage message;
  agent::ProcessList& list = *message.mutable_process_list();
  list.set_request_id(4);
  for (uint32_t pid = 1; pid <= 11; ++pid) {
    agent::ProcessEntry& entry = *list.add_processes();
    entry.set_pid(pid);
    entry.set_state(pid == 1 ? 'S' : 0x1b);
    entry.set_command("sh \x1b");
  }
  const absl::StatusOr<AgentEvent> event = ParseAgentMessage(Bytes(message));
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->kind, AgentEvent::Kind::kProcesses);
  const absl::StatusOr<ProcessPage> page = ParseProcessPage(event->answer);
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->request_id, 4u);
  EXPECT_FALSE(page->complete);
  ASSERT_EQ(page->processes.size(), 11u);
  EXPECT_EQ(page->processes[0].state, 'S');
  EXPECT_EQ(page->processes[1].state, '?') << "nothing for a terminal";
  EXPECT_EQ(page->processes[0].command, "sh \x1b");

  list.mutable_processes(3)->set_pid(3);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok()) << "not ascending";
  list.mutable_processes(3)->set_pid(4);
  list.add_processes()->set_pid(12);
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok()) << "too many";
  list.clear_processes();
  EXPECT_FALSE(ParseAgentMessage(Bytes(message)).ok()) << "none, and not complete";
}

TEST(AgentMessagesTest, Statistics) {
  agent::AgentMessage message;
  message.mutable_statistics()->set_request_id(5);
  message.mutable_statistics()->set_memory_total_bytes(1000);
  message.mutable_statistics()->set_threads(7);
  const absl::StatusOr<AgentEvent> event = ParseAgentMessage(Bytes(message));
  ASSERT_TRUE(event.ok());
  const absl::StatusOr<GuestStatistics> statistics = ParseStatistics(event->answer);
  ASSERT_TRUE(statistics.ok());
  EXPECT_EQ(statistics->request_id, 5u);
  EXPECT_EQ(statistics->memory_total_bytes, 1000u);
  EXPECT_EQ(statistics->threads, 7u);
}

TEST(ExecRequestTest, ThereAndBack) {
  ExecRequest request = {.process = Example().process};
  request.process.terminal = true;
  request.process.terminal_size = {.rows = 1, .columns = 65535};
  const absl::StatusOr<ExecRequest> back = ParseExecRequest(SerializeExecRequest(request));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->process, request.process);
  EXPECT_FALSE(back->detach);
}

TEST(ExecRequestTest, WhatIsNone) {
  const auto parse = [](auto change) {
    ExecRequest request = {.process = Example().process};
    change(request.process);
    return ParseExecRequest(SerializeExecRequest(request)).ok();
  };
  EXPECT_TRUE(parse([](Process&) {}));
  EXPECT_FALSE(parse([](Process& p) { p.args.clear(); }));
  EXPECT_FALSE(parse([](Process& p) { p.args[0].clear(); }));
  EXPECT_FALSE(parse([](Process& p) { p.args[1] = std::string(1, '\0'); }));
  EXPECT_FALSE(parse([](Process& p) { p.environment = {std::string(1, '\0')}; }));
  EXPECT_FALSE(parse([](Process& p) { p.working_directory = "w"; }));
  EXPECT_FALSE(parse([](Process& p) { p.user = std::string(257, 'u'); }));
  EXPECT_FALSE(parse([](Process& p) { p.args.assign(16385, "x"); }));
  EXPECT_FALSE(ParseExecRequest("\xff").ok());
  EXPECT_FALSE(ParseExecRequest("").ok());
}

}  // namespace
}  // namespace hull::container
