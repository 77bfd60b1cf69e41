// The guest's nanopb code against the host's protobuf-lite code, both from the one schema.

#include "guest-agent/messages.h"

#include <sys/wait.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guest-agent/protocol/agent.pb.h"

namespace hull::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The smallest acceptable request.
HostMessage MinimalStart() {
  HostMessage message;
  StartContainer& start = *message.mutable_start_container();
  start.mutable_container()->mutable_root()->set_device("/dev/vda");
  start.mutable_container()->mutable_root()->set_filesystem_type("erofs");
  start.mutable_container()->mutable_root()->mutable_tmpfs();
  start.mutable_process()->set_process_id(1);
  start.mutable_process()->add_args("true");
  return message;
}

class HostMessageDecoderTest : public ::testing::Test {
 protected:
  HostMessageType Decode(const HostMessage& message) { return Decode(message.SerializeAsString()); }
  HostMessageType Decode(const std::string& bytes) {
    return decoder_->Decode({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }
  std::vector<std::string> Strings(const char* const* list) {
    std::vector<std::string> all;
    for (; *list != nullptr; ++list) all.emplace_back(*list);
    return all;
  }

  std::unique_ptr<HostMessageDecoder> decoder_ = std::make_unique<HostMessageDecoder>();
};

TEST_F(HostMessageDecoderTest, DecodesEveryField) {
  HostMessage message = MinimalStart();
  ContainerSpec& container = *message.mutable_start_container()->mutable_container();
  container.set_hostname("box");
  container.mutable_root()->set_read_only(true);
  container.mutable_root()->mutable_tmpfs()->set_size_bytes(1 << 20);
  File& file = *container.add_files();
  file.set_path("/etc/hosts");
  file.set_content(std::string("a\0b", 3));
  file.set_mode(0644);
  ProcessSpec& process = *message.mutable_start_container()->mutable_process();
  process.set_process_id(7);
  process.set_stream_token(0x123456789abcdef0);
  process.set_attach_stdin(true);
  process.add_args("-c");
  process.add_args("");
  process.add_args("\xff not UTF-8");
  process.add_environment("A=1");
  process.add_environment("B=");
  process.set_working_directory("/work");
  process.set_user("alice:wheel");
  process.add_additional_gids(5);
  process.add_additional_gids(0xffffffff);
  process.set_umask(0);
  Rlimit& rlimit = *process.add_rlimits();
  rlimit.set_resource(7);
  rlimit.set_soft(1024);
  rlimit.set_hard(UINT64_MAX);
  process.mutable_capabilities()->set_bounding(1);
  process.mutable_capabilities()->set_effective(2);
  process.mutable_capabilities()->set_permitted(3);
  process.mutable_capabilities()->set_inheritable(4);
  process.mutable_capabilities()->set_ambient(uint64_t{1} << 40);
  process.set_no_new_privileges(true);

  ASSERT_EQ(Decode(message), HostMessageType::kStartContainer) << decoder_->explanation();
  const StartRequest& start = decoder_->start();
  EXPECT_EQ(start.hostname, "box");
  EXPECT_STREQ(start.root.device, "/dev/vda");
  EXPECT_STREQ(start.root.filesystem_type, "erofs");
  EXPECT_TRUE(start.root.read_only);
  EXPECT_EQ(start.root.tmpfs_bytes, 1u << 20);
  ASSERT_EQ(start.file_count, 1u);
  EXPECT_STREQ(start.files[0].path, "/etc/hosts");
  EXPECT_EQ(start.files[0].content, std::string_view("a\0b", 3));
  EXPECT_EQ(start.files[0].mode, 0644u);
  EXPECT_EQ(start.process_id, 7u);
  EXPECT_EQ(start.stream_token, 0x123456789abcdef0u);
  EXPECT_TRUE(start.attach_stdin);
  EXPECT_EQ(start.arg_count, 4u);
  EXPECT_THAT(Strings(start.args), ElementsAre("true", "-c", "", "\xff not UTF-8"));
  EXPECT_THAT(Strings(start.environment), ElementsAre("A=1", "B="));
  EXPECT_STREQ(start.working_directory, "/work");
  EXPECT_EQ(start.user, "alice:wheel");
  EXPECT_THAT(std::span(start.additional_gids).first(start.additional_gid_count),
              ElementsAre(5, 0xffffffff));
  EXPECT_EQ(start.umask, 0u);
  ASSERT_EQ(start.rlimit_count, 1u);
  EXPECT_EQ(start.rlimits[0].resource, 7u);
  EXPECT_EQ(start.rlimits[0].soft, 1024u);
  EXPECT_EQ(start.rlimits[0].hard, UINT64_MAX);
  EXPECT_EQ(start.capabilities.bounding, 1u);
  EXPECT_EQ(start.capabilities.effective, 2u);
  EXPECT_EQ(start.capabilities.permitted, 3u);
  EXPECT_EQ(start.capabilities.inheritable, 4u);
  EXPECT_EQ(start.capabilities.ambient, uint64_t{1} << 40);
  EXPECT_TRUE(start.no_new_privileges);
}

TEST_F(HostMessageDecoderTest, DefaultsAndNothingLeftFromTheLastMessage) {
  HostMessage full = MinimalStart();
  ProcessSpec& process = *full.mutable_start_container()->mutable_process();
  process.add_args("x");
  process.add_environment("A=1");
  process.set_working_directory("/work");
  process.set_user("alice");
  process.add_additional_gids(5);
  process.set_umask(0777);
  process.add_rlimits();
  process.set_no_new_privileges(true);
  process.set_attach_stdin(true);
  full.mutable_start_container()->mutable_container()->set_hostname("box");
  full.mutable_start_container()->mutable_container()->add_files()->set_path("/f");
  ASSERT_EQ(Decode(full), HostMessageType::kStartContainer);
  ASSERT_EQ(Decode(MinimalStart()), HostMessageType::kStartContainer);
  const StartRequest& start = decoder_->start();
  EXPECT_THAT(Strings(start.args), ElementsAre("true"));
  EXPECT_THAT(Strings(start.environment), IsEmpty());
  EXPECT_STREQ(start.working_directory, "/");
  EXPECT_EQ(start.hostname, "");
  EXPECT_EQ(start.user, "");
  EXPECT_EQ(start.additional_gid_count, 0u);
  EXPECT_EQ(start.umask, 022u);
  EXPECT_EQ(start.rlimit_count, 0u);
  EXPECT_EQ(start.file_count, 0u);
  EXPECT_EQ(start.root.tmpfs_bytes, 0u);
  EXPECT_EQ(start.root.layer_device, nullptr);
  EXPECT_EQ(start.capabilities.bounding, 0u);
  EXPECT_FALSE(start.attach_stdin);
  EXPECT_FALSE(start.no_new_privileges);
}

TEST_F(HostMessageDecoderTest, DecodesALayerOnADisk) {
  HostMessage message = MinimalStart();
  DiskLayer& disk =
      *message.mutable_start_container()->mutable_container()->mutable_root()->mutable_disk();
  disk.set_device("/dev/vdb");
  disk.set_filesystem_type("ext4");
  ASSERT_EQ(Decode(message), HostMessageType::kStartContainer) << decoder_->explanation();
  EXPECT_STREQ(decoder_->start().root.layer_device, "/dev/vdb");
  EXPECT_STREQ(decoder_->start().root.layer_filesystem_type, "ext4");
}

TEST_F(HostMessageDecoderTest, DecodesMounts) {
  HostMessage message = MinimalStart();
  ContainerSpec& container = *message.mutable_start_container()->mutable_container();
  Mount& disk = *container.add_mounts();
  disk.set_target("/data");
  disk.set_device("/dev/vdc");
  disk.set_filesystem_type("ext4");
  disk.set_options("discard");
  disk.set_read_only(true);
  disk.set_allow_exec(true);
  Mount& tmpfs = *container.add_mounts();
  tmpfs.set_target("/t");
  tmpfs.set_filesystem_type("tmpfs");
  tmpfs.set_allow_suid(true);
  tmpfs.set_allow_devices(true);
  tmpfs.set_copy_image(true);
  ASSERT_EQ(Decode(message), HostMessageType::kStartContainer) << decoder_->explanation();
  ASSERT_EQ(decoder_->start().mount_count, 2u);
  const MountRequest& first = decoder_->start().mounts[0];
  EXPECT_STREQ(first.target, "/data");
  EXPECT_STREQ(first.device, "/dev/vdc");
  EXPECT_STREQ(first.filesystem_type, "ext4");
  EXPECT_STREQ(first.options, "discard");
  EXPECT_TRUE(first.read_only && first.allow_exec);
  EXPECT_FALSE(first.allow_suid || first.allow_devices || first.copy_image);
  const MountRequest& second = decoder_->start().mounts[1];
  EXPECT_EQ(second.device, nullptr);
  EXPECT_STREQ(second.options, "");
  EXPECT_FALSE(second.read_only || second.allow_exec);
  EXPECT_TRUE(second.allow_suid && second.allow_devices && second.copy_image);
  ASSERT_EQ(Decode(MinimalStart()), HostMessageType::kStartContainer);
  EXPECT_EQ(decoder_->start().mount_count, 0u);
}

TEST_F(HostMessageDecoderTest, DecodesTheSmallMessages) {
  HostMessage message;
  message.mutable_welcome()->set_version(3);
  ASSERT_EQ(Decode(message), HostMessageType::kWelcome);
  EXPECT_EQ(decoder_->version(), 3u);
  message.mutable_signal_process()->set_process_id(9);
  message.mutable_signal_process()->set_signal(15);
  ASSERT_EQ(Decode(message), HostMessageType::kSignalProcess);
  EXPECT_EQ(decoder_->process_id(), 9u);
  EXPECT_EQ(decoder_->signal(), 15);
  message.mutable_resize_terminal()->set_process_id(2);
  message.mutable_resize_terminal()->mutable_size()->set_rows(65535);
  message.mutable_resize_terminal()->mutable_size()->set_columns(80);
  ASSERT_EQ(Decode(message), HostMessageType::kResizeTerminal);
  EXPECT_EQ(decoder_->process_id(), 2u);
  EXPECT_EQ(decoder_->terminal_size().rows, 65535);
  EXPECT_EQ(decoder_->terminal_size().columns, 80);
  message.mutable_list_processes()->set_request_id(4);
  message.mutable_list_processes()->set_after_pid(77);
  ASSERT_EQ(Decode(message), HostMessageType::kListProcesses);
  EXPECT_EQ(decoder_->request_id(), 4u);
  EXPECT_EQ(decoder_->after_pid(), 77u);
  message.mutable_get_statistics()->set_request_id(5);
  ASSERT_EQ(Decode(message), HostMessageType::kGetStatistics);
  EXPECT_EQ(decoder_->request_id(), 5u);
  message.mutable_shutdown();
  EXPECT_EQ(Decode(message), HostMessageType::kShutdown);
}

TEST_F(HostMessageDecoderTest, DecodesAFurtherProcess) {
  ASSERT_EQ(Decode(MinimalStart()), HostMessageType::kStartContainer);
  HostMessage message;
  ProcessSpec& process = *message.mutable_start_process()->mutable_process();
  process.set_process_id(2);
  process.add_args("sh");
  process.add_environment("A=1");
  process.set_working_directory("/w");
  process.set_discard_output(true);
  process.set_archiver(true);
  process.mutable_terminal()->set_rows(24);
  process.mutable_terminal()->set_columns(80);
  ASSERT_EQ(Decode(message), HostMessageType::kStartProcess) << decoder_->explanation();
  const StartRequest& start = decoder_->start();
  EXPECT_EQ(start.process_id, 2u);
  EXPECT_THAT(Strings(start.args), ElementsAre("sh"));
  EXPECT_THAT(Strings(start.environment), ElementsAre("A=1"));
  EXPECT_STREQ(start.working_directory, "/w");
  EXPECT_TRUE(start.discard_output);
  EXPECT_TRUE(start.archiver);
  ASSERT_TRUE(start.has_terminal);
  EXPECT_EQ(start.terminal.rows, 24);
  EXPECT_EQ(start.terminal.columns, 80);

  process.clear_terminal();
  process.clear_discard_output();
  process.clear_archiver();
  ASSERT_EQ(Decode(message), HostMessageType::kStartProcess);
  EXPECT_FALSE(start.has_terminal);
  EXPECT_FALSE(start.discard_output);
  EXPECT_FALSE(start.archiver);
  process.mutable_terminal()->set_columns(65536);
  EXPECT_EQ(Decode(message), HostMessageType::kInvalid);
  EXPECT_EQ(decoder_->explanation(), "no size of a terminal");
  message.mutable_start_process()->clear_process();
  EXPECT_EQ(Decode(message), HostMessageType::kInvalid);
}

TEST_F(HostMessageDecoderTest, IgnoresWhatANewerSchemaAdds) {
  EXPECT_EQ(Decode(std::string()), HostMessageType::kUnknown);
  // Field 15, a submessage of two bytes.
  EXPECT_EQ(Decode(std::string("\x7a\x02\x08\x01")), HostMessageType::kUnknown);
  // Field 19 of Welcome.
  EXPECT_EQ(Decode(std::string("\x0a\x05\x08\x01\x98\x01\x07", 7)), HostMessageType::kWelcome);
}

struct BadCase {
  const char* explanation;
  std::function<void(ContainerSpec&, ProcessSpec&)> spoil;
};

TEST_F(HostMessageDecoderTest, RefusesWhatBreaksABound) {
  const std::vector<BadCase> cases = {
      {"no command", [](auto&, auto& p) { p.clear_args(); }},
      {"no command", [](auto&, auto& p) { p.set_args(0, ""); }},
      {"argument holds a NUL", [](auto&, auto& p) { p.add_args(std::string("a\0b", 3)); }},
      {"variable holds a NUL", [](auto&, auto& p) { p.add_environment(std::string(1, '\0')); }},
      {"directory holds a NUL",
       [](auto&, auto& p) { p.set_working_directory(std::string("/\0", 2)); }},
      {"name holds a NUL", [](auto&, auto& p) { p.set_user(std::string("a\0", 2)); }},
      {"name holds a NUL", [](auto& c, auto&) { c.set_hostname(std::string("a\0", 2)); }},
      {"not absolute", [](auto&, auto& p) { p.set_working_directory("work"); }},
      {"not absolute", [](auto& c, auto&) { c.add_files()->set_path("etc/hosts"); }},
      {"not absolute", [](auto& c, auto&) { c.add_files()->set_content("x"); }},
      {"mode is not",
       [](auto& c, auto&) {
         c.add_files()->set_path("/f");
         c.mutable_files(0)->set_mode(010000);
       }},
      {"too many files",
       [](auto& c, auto&) {
         for (size_t i = 0; i <= kMaxFiles; ++i) c.add_files()->set_path("/f");
       }},
      {"too many args",
       [](auto&, auto& p) {
         for (size_t i = 0; i < kMaxArgs; ++i) p.add_args("x");
       }},
      {"too many environment",
       [](auto&, auto& p) {
         for (size_t i = 0; i <= kMaxEnvironment; ++i) p.add_environment("x");
       }},
      {"does not decode", [](auto& c, auto&) { c.set_hostname(std::string(65, 'h')); }},
      {"does not decode", [](auto&, auto& p) { p.set_user(std::string(257, 'u')); }},
      {"does not decode",
       [](auto&, auto& p) {
         for (size_t i = 0; i <= kMaxAdditionalGids; ++i) p.add_additional_gids(1);
       }},
      {"does not decode",
       [](auto&, auto& p) {
         for (size_t i = 0; i <= kMaxRlimits; ++i) p.add_rlimits()->set_soft(1);
       }},
      {"umask", [](auto&, auto& p) { p.set_umask(01000); }},
      {"process_id", [](auto&, auto& p) { p.set_process_id(0); }},
      {"no root device", [](auto& c, auto&) { c.mutable_root()->clear_device(); }},
      {"no root device", [](auto& c, auto&) { c.mutable_root()->clear_filesystem_type(); }},
      {"no writable layer", [](auto& c, auto&) { c.mutable_root()->clear_tmpfs(); }},
      {"no device", [](auto& c, auto&) { c.mutable_root()->mutable_disk(); }},
      {"mount's target", [](auto& c, auto&) { c.add_mounts()->set_filesystem_type("tmpfs"); }},
      {"mount's target", [](auto& c, auto&) { c.add_mounts()->set_target("relative"); }},
      {"no filesystem type", [](auto& c, auto&) { c.add_mounts()->set_target("/t"); }},
      {"too many mounts",
       [](auto& c, auto&) {
         for (size_t i = 0; i <= kMaxMounts; ++i) {
           Mount& mount = *c.add_mounts();
           mount.set_target("/t");
           mount.set_filesystem_type("tmpfs");
         }
       }},
      {"NUL byte",
       [](auto& c, auto&) {
         c.mutable_root()->mutable_disk()->set_device(std::string("/dev\0", 5));
         c.mutable_root()->mutable_disk()->set_filesystem_type("ext4");
       }},
  };
  for (const BadCase& c : cases) {
    HostMessage message = MinimalStart();
    c.spoil(*message.mutable_start_container()->mutable_container(),
            *message.mutable_start_container()->mutable_process());
    EXPECT_EQ(Decode(message), HostMessageType::kInvalid) << c.explanation;
    EXPECT_THAT(std::string(decoder_->explanation()), HasSubstr(c.explanation));
  }
  HostMessage signal;
  for (uint32_t number : {0u, 65u, 0xffffffffu}) {
    signal.mutable_signal_process()->set_signal(number);
    EXPECT_EQ(Decode(signal), HostMessageType::kInvalid);
  }
  HostMessage resize;
  resize.mutable_resize_terminal()->mutable_size()->set_rows(65536);
  EXPECT_EQ(Decode(resize), HostMessageType::kInvalid);
}

TEST_F(HostMessageDecoderTest, TakesTheLargestFrame) {
  HostMessage message = MinimalStart();
  ProcessSpec& process = *message.mutable_start_container()->mutable_process();
  for (size_t i = 1; i < kMaxArgs; ++i) process.add_args("");
  for (size_t i = 0; i < kMaxEnvironment; ++i) process.add_environment("");
  const size_t room = kMaxHostMessageBytes - message.ByteSizeLong();
  // One argument takes the rest, less what the longer lengths of it and its enclosures take.
  process.set_args(0, std::string(room, 'x'));
  while (message.ByteSizeLong() > kMaxHostMessageBytes) process.mutable_args(0)->pop_back();
  ASSERT_GT(message.ByteSizeLong(), kMaxHostMessageBytes - 16);
  ASSERT_EQ(Decode(message), HostMessageType::kStartContainer) << decoder_->explanation();
  EXPECT_EQ(decoder_->start().arg_count, kMaxArgs);
  EXPECT_EQ(std::string_view(decoder_->start().args[0]), process.args(0));
  EXPECT_EQ(decoder_->start().environment_count, kMaxEnvironment);
}

TEST_F(HostMessageDecoderTest, EveryTruncationIsRefusedOrSmaller) {
  HostMessage message = MinimalStart();
  message.mutable_start_container()->mutable_process()->set_user("root");
  const std::string bytes = message.SerializeAsString();
  for (size_t size = 1; size < bytes.size(); ++size) {
    EXPECT_EQ(Decode(bytes.substr(0, size)), HostMessageType::kInvalid) << size;
  }
}

template <typename T>
T Payload(const EncodedFrame& frame, size_t limit) {
  std::vector<uint8_t> buffer(limit);
  FrameDecoder decoder(buffer);
  std::span<const uint8_t> input = frame.bytes();
  EXPECT_EQ(decoder.Push(&input), FrameDecoder::Event::kFrame);
  EXPECT_TRUE(input.empty());
  T message;
  EXPECT_TRUE(message.ParseFromArray(decoder.payload().data(), decoder.payload().size()));
  return message;
}

AgentMessage Message(const EncodedFrame& frame) {
  return Payload<AgentMessage>(frame, kMaxAgentMessageBytes);
}

TEST(EncodedFrameTest, Hello) {
  const Hello control = Payload<Hello>(EncodedFrame::ControlHello(), kMaxHelloBytes);
  EXPECT_EQ(control.version(), static_cast<uint32_t>(PROTOCOL_VERSION));
  EXPECT_TRUE(control.has_control());
  const Hello stdio = Payload<Hello>(
      EncodedFrame::StreamHello(StreamKind::kStdio, 0xffffffff, UINT64_MAX), kMaxHelloBytes);
  EXPECT_EQ(stdio.stdio().process_id(), 0xffffffff);
  EXPECT_EQ(stdio.stdio().token(), UINT64_MAX);
  const Hello error =
      Payload<Hello>(EncodedFrame::StreamHello(StreamKind::kStandardError, 1, 2), kMaxHelloBytes);
  EXPECT_EQ(error.standard_error().process_id(), 1u);
  EXPECT_EQ(error.standard_error().token(), 2u);
}

TEST(EncodedFrameTest, StartedAndFailed) {
  EXPECT_EQ(Message(EncodedFrame::Started(3, 44)).started().process_id(), 3u);
  EXPECT_EQ(Message(EncodedFrame::Started(3, 44)).started().pid(), 44u);
  const AgentMessage failed =
      Message(EncodedFrame::StartFailed(3, StartFailure::kNotExecutable, "why"));
  EXPECT_EQ(failed.start_failed().process_id(), 3u);
  EXPECT_EQ(failed.start_failed().kind(), StartFailed::NOT_EXECUTABLE);
  EXPECT_EQ(failed.start_failed().message(), "why");
  EXPECT_EQ(
      Message(EncodedFrame::StartFailed(1, StartFailure::kNotFound, "")).start_failed().kind(),
      StartFailed::NOT_FOUND);
  EXPECT_EQ(
      Message(EncodedFrame::StartFailed(1, StartFailure::kInvalidSpec, "")).start_failed().kind(),
      StartFailed::INVALID_SPEC);
  const std::string longest(kMaxExplanation, 'x');
  EXPECT_EQ(Message(EncodedFrame::Fatal(longest)).fatal().message(), longest);
  EXPECT_EQ(Message(EncodedFrame::Fatal(longest + "y")).fatal().message(), longest);
}

TEST(EncodedFrameTest, ExitStatus) {
  const Exited code = Message(EncodedFrame::Exited(1, W_EXITCODE(7, 0))).exited();
  EXPECT_EQ(code.status_case(), Exited::kExitCode);
  EXPECT_EQ(code.exit_code(), 7u);
  EXPECT_FALSE(code.core_dumped());
  const Exited zero = Message(EncodedFrame::Exited(1, 0)).exited();
  EXPECT_EQ(zero.status_case(), Exited::kExitCode);
  EXPECT_EQ(zero.exit_code(), 0u);
  const Exited killed = Message(EncodedFrame::Exited(1, W_EXITCODE(0, 11) | WCOREFLAG)).exited();
  EXPECT_EQ(killed.status_case(), Exited::kSignal);
  EXPECT_EQ(killed.signal(), 11u);
  EXPECT_TRUE(killed.core_dumped());
}

// As long as can be in every field.
ListedProcess LongestEntry(uint32_t pid) {
  ListedProcess entry;
  entry.pid = pid;
  entry.parent_pid = entry.uid = entry.terminal = UINT32_MAX;
  entry.user.Assign({std::string(entry.user.capacity(), 'u')});
  entry.state = '\xff';
  entry.cpu_time_ms = entry.elapsed_ms = UINT64_MAX;
  entry.command.Assign({std::string(entry.command.capacity(), 'c')});
  return entry;
}

TEST(EncodedFrameTest, TheLongestProcessListFits) {
  std::vector<ListedProcess> entries;
  for (size_t i = 0; i < kMaxListedProcesses; ++i) {
    entries.push_back(LongestEntry(UINT32_MAX - static_cast<uint32_t>(i)));
  }
  const ProcessList list =
      Message(EncodedFrame::ProcessList(UINT32_MAX, entries, true)).process_list();
  EXPECT_EQ(list.request_id(), UINT32_MAX);
  EXPECT_TRUE(list.complete());
  ASSERT_EQ(list.processes_size(), static_cast<int>(kMaxListedProcesses));
  for (size_t i = 0; i < kMaxListedProcesses; ++i) {
    const ListedProcess& entry = entries[i];
    const auto& got = list.processes(static_cast<int>(i));
    EXPECT_EQ(got.pid(), entry.pid);
    EXPECT_EQ(got.parent_pid(), entry.parent_pid);
    EXPECT_EQ(got.uid(), entry.uid);
    EXPECT_EQ(got.user(), entry.user.view());
    EXPECT_EQ(got.state(), 0xffu);
    EXPECT_EQ(got.cpu_time_ms(), entry.cpu_time_ms);
    EXPECT_EQ(got.elapsed_ms(), entry.elapsed_ms);
    EXPECT_EQ(got.terminal(), entry.terminal);
    EXPECT_EQ(got.command(), entry.command.view());
  }
  EXPECT_EQ(Message(EncodedFrame::ProcessList(1, {}, false)).process_list().processes_size(), 0);
}

TEST(EncodedFrameTest, Statistics) {
  const GuestStatistics all = {.memory_total_bytes = 1,
                               .memory_available_bytes = 2,
                               .memory_free_bytes = 3,
                               .cpus = 4,
                               .cpu_busy_ms = 5,
                               .processes = 6,
                               .threads = 7,
                               .block_read_bytes = 8,
                               .block_written_bytes = 9,
                               .block_reads = 10,
                               .block_writes = 11,
                               .uptime_ms = 12};
  const auto got = Message(EncodedFrame::Statistics(99, all)).statistics();
  EXPECT_EQ(got.request_id(), 99u);
  EXPECT_EQ(got.memory_total_bytes(), 1u);
  EXPECT_EQ(got.memory_available_bytes(), 2u);
  EXPECT_EQ(got.memory_free_bytes(), 3u);
  EXPECT_EQ(got.cpus(), 4u);
  EXPECT_EQ(got.cpu_busy_ms(), 5u);
  EXPECT_EQ(got.processes(), 6u);
  EXPECT_EQ(got.threads(), 7u);
  EXPECT_EQ(got.block_read_bytes(), 8u);
  EXPECT_EQ(got.block_written_bytes(), 9u);
  EXPECT_EQ(got.block_reads(), 10u);
  EXPECT_EQ(got.block_writes(), 11u);
  EXPECT_EQ(got.uptime_ms(), 12u);
}

}  // namespace
}  // namespace hull::agent
