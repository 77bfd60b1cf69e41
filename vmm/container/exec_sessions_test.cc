// Sessions on a real loop and real sockets; the test is the agent, the guest and the clients.

#include "vmm/container/exec_sessions.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guest-agent/protocol/agent.pb.h"
#include "guest-agent/protocol/framing.h"
#include "vmm/container/exec_request.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ExecSessionsTest : public testing::Test,
                         public ExecSessions::Handler,
                         public AttachedClients::Handler {
 protected:
  ExecSessionsTest() { sessions_.SetRunning(true); }

  // ---- ExecSessions::Handler

  void SendToAgent(absl::string_view frame) override {
    agent::HostMessage message;
    ASSERT_TRUE(message.ParseFromArray(frame.data() + agent::kFrameHeaderBytes,
                                       static_cast<int>(frame.size() - agent::kFrameHeaderBytes)));
    for_agent_.push_back(std::move(message));
  }
  void ExpectConnections(bool expected) override { expecting_ = expected; }
  void RefuseClient(ClientId client, absl::string_view why) override {
    refused_ = std::string(why);
    clients_.Close(client);
    sessions_.OnClientGone(client);
  }
  void OnSessionViolation(absl::string_view what) override { violation_ = std::string(what); }
  void OnSessionError(const absl::Status& status) override { FAIL() << status; }
  void OnSessionsDone() override {}

  // ---- AttachedClients::Handler

  void OnClientFrame(ClientId client, const AttachFrame& frame) override {
    EXPECT_TRUE(sessions_.OnClientFrame(client, frame));
  }
  void OnClientGone(ClientId client, const absl::Status&) override {
    sessions_.OnClientGone(client);
  }
  void OnClientRoom() override { sessions_.Update(); }

  // ---- Clients

  // Lets everything happen that can.
  void Run() {
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(loop_->RunOnce(absl::Milliseconds(1)).ok());
  }

  UniqueFd Connect() {
    int sockets[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets), 0);
    EXPECT_TRUE(clients_.Add(UniqueFd(sockets[0])).ok());
    UniqueFd client(sockets[1]);
    EXPECT_THAT(Take(client), ElementsAre("hello"));
    return client;
  }

  static void Send(const UniqueFd& client, const AttachFrame& frame) {
    const std::string message = EncodeAttachFrame(frame);
    ASSERT_EQ(send(client.get(), message.data(), message.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(message.size()));
  }

  // What the client has been sent, in words.
  static std::vector<std::string> Take(const UniqueFd& client) {
    std::vector<std::string> frames;
    std::vector<char> buffer(kMaxAttachFrame);
    for (ssize_t n; (n = recv(client.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;) {
      const AttachFrame frame = *DecodeAttachFrame({buffer.data(), static_cast<size_t>(n)});
      const std::string data(frame.data);
      switch (frame.type) {
        case AttachType::kHello:
          frames.push_back("hello");
          break;
        case AttachType::kStandardOutput:
          frames.push_back("out " + data);
          break;
        case AttachType::kStandardError:
          frames.push_back("err " + data);
          break;
        case AttachType::kExited:
          frames.push_back("exited " + std::to_string(frame.number));
          break;
        case AttachType::kFailed:
          frames.push_back("failed " + std::to_string(frame.number) + " " + data);
          break;
        case AttachType::kProcesses:
          frames.push_back("processes " + std::to_string(ParseProcessPage(data)->processes.size()));
          break;
        default:
          frames.push_back("another");
      }
    }
    return frames;
  }

  // Asks for a process; what the agent was told of it.
  agent::ProcessSpec Exec(const UniqueFd& client, ExecRequest request) {
    const std::string bytes = SerializeExecRequest(request);
    Send(client, {.type = AttachType::kExecPart, .data = absl::string_view(bytes).substr(0, 3)});
    Send(client, {.type = AttachType::kExecPart, .data = absl::string_view(bytes).substr(3)});
    Send(client, {.type = AttachType::kExec});
    Run();
    if (for_agent_.empty()) return {};
    return for_agent_.back().start_process().process();
  }

  // ---- The guest

  UniqueFd Open(const agent::ProcessSpec& process, ConnectionRole role, uint64_t token) {
    int sockets[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets), 0);
    sessions_.OnConnection({.role = role, .process_id = process.process_id(), .token = token},
                           UniqueFd(sockets[0]));
    return UniqueFd(sockets[1]);
  }
  static bool Closed(const UniqueFd& guest) {
    char byte;
    return read(guest.get(), &byte, 1) == 0;
  }
  void Tell(AgentEvent::Kind kind, uint32_t process_id, Outcome outcome = {}) {
    sessions_.OnAgentEvent({.kind = kind, .process_id = process_id, .outcome = outcome});
    Run();
  }

  static ExecRequest Request() { return {.process = {.args = {"sh"}, .attach_stdin = true}}; }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  AttachedClients clients_{loop_.get(), this};
  ExecSessions sessions_{loop_.get(), &clients_, this, absl::Seconds(10)};
  std::vector<agent::HostMessage> for_agent_;
  bool expecting_ = false;
  std::string refused_;
  std::string violation_;
};

TEST_F(ExecSessionsTest, ASessionFromItsRequestToItsStatus) {
  const UniqueFd client = Connect();
  const agent::ProcessSpec process = Exec(client, Request());
  EXPECT_GT(process.process_id(), kMainProcessId);
  EXPECT_THAT(process.args(), ElementsAre("sh"));
  EXPECT_TRUE(expecting_);
  UniqueFd out = Open(process, ConnectionRole::kStdio, process.stream_token());
  EXPECT_TRUE(expecting_);
  UniqueFd err = Open(process, ConnectionRole::kStandardError, process.stream_token());
  EXPECT_FALSE(expecting_);
  Tell(AgentEvent::Kind::kStarted, process.process_id());

  Send(client, {.type = AttachType::kStdin, .data = "typed"});
  Run();
  char typed[6] = {};
  EXPECT_EQ(read(out.get(), typed, 5), 5);
  EXPECT_STREQ(typed, "typed");
  ASSERT_EQ(write(out.get(), "o", 1), 1);
  ASSERT_EQ(write(err.get(), "e", 1), 1);
  // The status comes after all output, wherever that is when the process ends.
  Tell(AgentEvent::Kind::kExited, process.process_id(), {.exit_status = 7});
  ASSERT_EQ(write(out.get(), "O", 1), 1);
  out.Reset();
  err.Reset();
  Run();
  const std::vector<std::string> frames = Take(client);
  EXPECT_THAT(frames, testing::IsSupersetOf({"out o", "err e", "out O", "exited 7"}));
  EXPECT_EQ(frames.back(), "exited 7");
  EXPECT_TRUE(sessions_.done());
  EXPECT_EQ(violation_, "");
}

TEST_F(ExecSessionsTest, SignalsSizesAndStatusesAreOfItsProcess) {
  const UniqueFd client = Connect();
  ExecRequest request = Request();
  request.process.terminal = true;
  const agent::ProcessSpec process = Exec(client, request);
  const UniqueFd out = Open(process, ConnectionRole::kStdio, process.stream_token());
  EXPECT_FALSE(expecting_) << "a terminal has one stream";
  Tell(AgentEvent::Kind::kStarted, process.process_id());
  Send(client, {.type = AttachType::kSignal, .number = 15});
  Send(client, {.type = AttachType::kResize, .number = ResizeNumber({.rows = 5, .columns = 6})});
  Run();
  ASSERT_EQ(for_agent_.size(), 3u);
  EXPECT_EQ(for_agent_[1].signal_process().process_id(), process.process_id());
  EXPECT_EQ(for_agent_[1].signal_process().signal(), 15u);
  EXPECT_EQ(for_agent_[2].resize_terminal().process_id(), process.process_id());
  EXPECT_EQ(for_agent_[2].resize_terminal().size().columns(), 6u);
}

TEST_F(ExecSessionsTest, AStrangersStreamIsClosed) {
  const UniqueFd client = Connect();
  const agent::ProcessSpec process = Exec(client, Request());
  EXPECT_TRUE(Closed(Open(process, ConnectionRole::kStdio, process.stream_token() + 1)));
  agent::ProcessSpec other = process;
  other.set_process_id(process.process_id() + 1);
  EXPECT_TRUE(Closed(Open(other, ConnectionRole::kStdio, process.stream_token())));
  EXPECT_TRUE(expecting_);
}

TEST_F(ExecSessionsTest, AClientThatGoesAwayClosesTheStreams) {
  UniqueFd client = Connect();
  const agent::ProcessSpec process = Exec(client, Request());
  const UniqueFd out = Open(process, ConnectionRole::kStdio, process.stream_token());
  Tell(AgentEvent::Kind::kStarted, process.process_id());
  client.Reset();
  Run();
  EXPECT_TRUE(Closed(out));
  EXPECT_TRUE(Closed(Open(process, ConnectionRole::kStandardError, process.stream_token())));
  EXPECT_FALSE(sessions_.done()) << "the process may go on";
  Tell(AgentEvent::Kind::kExited, process.process_id());
  EXPECT_TRUE(sessions_.done());
}

TEST_F(ExecSessionsTest, ADetachedClientLeavesItsProcess) {
  const UniqueFd client = Connect();
  const agent::ProcessSpec process = Exec(client, Request());
  const UniqueFd out = Open(process, ConnectionRole::kStdio, process.stream_token());
  const UniqueFd err = Open(process, ConnectionRole::kStandardError, process.stream_token());
  Tell(AgentEvent::Kind::kStarted, process.process_id());
  Send(client, {.type = AttachType::kDetach});
  Run();
  EXPECT_THAT(Take(client), ElementsAre("exited 0"));
  ASSERT_EQ(write(out.get(), "x", 1), 1);
  Run();
  EXPECT_THAT(Take(client), IsEmpty());
  EXPECT_FALSE(Closed(out));
}

TEST_F(ExecSessionsTest, OneThatPrintsForNobodyIsNotWaitedFor) {
  const UniqueFd client = Connect();
  ExecRequest request = Request();
  request.detach = true;
  const agent::ProcessSpec process = Exec(client, request);
  EXPECT_TRUE(process.discard_output());
  EXPECT_FALSE(expecting_);
  EXPECT_THAT(Take(client), IsEmpty());
  Tell(AgentEvent::Kind::kStarted, process.process_id());
  EXPECT_THAT(Take(client), ElementsAre("exited 0"));
}

TEST_F(ExecSessionsTest, WhatCannotStart) {
  const UniqueFd client = Connect();
  const agent::ProcessSpec process = Exec(client, Request());
  Tell(AgentEvent::Kind::kStartFailed, process.process_id(),
       {.exit_status = 127, .error = "not there"});
  EXPECT_THAT(Take(client), ElementsAre("failed 127 not there"));
  EXPECT_FALSE(expecting_);
  sessions_.SetRunning(false);
  Exec(client, Request());
  EXPECT_THAT(Take(client), ElementsAre("failed 125 the container is not running"));
}

TEST_F(ExecSessionsTest, NoMoreThanTheAgentTakes) {
  for (size_t i = 0; i < kMaxFurtherProcesses; ++i) {
    const UniqueFd client = Connect();
    ExecRequest request = Request();
    request.detach = true;
    const agent::ProcessSpec process = Exec(client, request);
    Tell(AgentEvent::Kind::kStarted, process.process_id());
  }
  const UniqueFd client = Connect();
  Exec(client, Request());
  EXPECT_THAT(Take(client), ElementsAre(HasSubstr("runs 64 further processes already")));
}

TEST_F(ExecSessionsTest, AClientThatBreaksTheProtocolIsRefused) {
  UniqueFd client = Connect();
  Send(client, {.type = AttachType::kExecPart, .data = "\xff"});
  Send(client, {.type = AttachType::kExec});
  Run();
  EXPECT_THAT(refused_, HasSubstr("does not decode"));
  client = Connect();
  Exec(client, Request());
  Send(client, {.type = AttachType::kExec});
  Run();
  EXPECT_THAT(refused_, HasSubstr("second process"));
  EXPECT_EQ(violation_, "");
}

TEST_F(ExecSessionsTest, AGuestThatBreaksTheProtocolIsNamed) {
  Tell(AgentEvent::Kind::kExited, 9);
  EXPECT_EQ(violation_, "news of an unknown process");
  const UniqueFd client = Connect();
  const agent::ProcessSpec process = Exec(client, Request());
  Tell(AgentEvent::Kind::kExited, process.process_id());
  EXPECT_EQ(violation_, "an end of a process that does not run");
  Tell(AgentEvent::Kind::kStarted, process.process_id());
  Tell(AgentEvent::Kind::kStarted, process.process_id());
  EXPECT_EQ(violation_, "a second start of a process");
  sessions_.OnAgentEvent({.kind = AgentEvent::Kind::kStatistics, .answer = ""});
  EXPECT_EQ(violation_, "an answer to what was not asked");
}

TEST_F(ExecSessionsTest, ProcessesComeInPages) {
  const UniqueFd client = Connect();
  Send(client, {.type = AttachType::kListProcesses});
  Run();
  ASSERT_EQ(for_agent_.size(), 1u);
  agent::ProcessList list;
  list.set_request_id(for_agent_[0].list_processes().request_id());
  list.add_processes()->set_pid(3);
  list.add_processes()->set_pid(8);
  sessions_.OnAgentEvent(
      {.kind = AgentEvent::Kind::kProcesses, .answer = list.SerializeAsString()});
  ASSERT_EQ(for_agent_.size(), 2u);
  EXPECT_EQ(for_agent_[1].list_processes().after_pid(), 8u);
  list.clear_processes();
  list.set_complete(true);
  sessions_.OnAgentEvent(
      {.kind = AgentEvent::Kind::kProcesses, .answer = list.SerializeAsString()});
  EXPECT_THAT(Take(client), ElementsAre("processes 2", "processes 0"));
  EXPECT_EQ(for_agent_.size(), 2u);
  // Asked once, answered once.
  sessions_.OnAgentEvent(
      {.kind = AgentEvent::Kind::kProcesses, .answer = list.SerializeAsString()});
  EXPECT_EQ(violation_, "an answer to what was not asked");
}

TEST_F(ExecSessionsTest, TheMachinesEndIsThatOfEverySession) {
  const UniqueFd waiting = Connect();
  Send(waiting, {.type = AttachType::kListProcesses});
  const UniqueFd client = Connect();
  const agent::ProcessSpec process = Exec(client, Request());
  UniqueFd out = Open(process, ConnectionRole::kStdio, process.stream_token());
  UniqueFd err = Open(process, ConnectionRole::kStandardError, process.stream_token());
  Tell(AgentEvent::Kind::kStarted, process.process_id());
  ASSERT_EQ(write(out.get(), "last", 4), 4);
  out.Reset();
  err.Reset();
  sessions_.OnMachineEnd();
  Run();
  EXPECT_THAT(
      Take(client),
      ElementsAre("out last", "failed 137 the container has ended, and this process with it"));
  EXPECT_THAT(Take(waiting), ElementsAre("failed 125 the container is not running"));
  EXPECT_TRUE(sessions_.done());
}

}  // namespace
}  // namespace hull::container
