#include "vmm/container/exec_sessions.h"

#include <signal.h>

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "vmm/container/exec_request.h"
#include "vmm/container/names.h"

namespace hull::container {
namespace {

constexpr char kNotRunning[] = "the container is not running";

}  // namespace

bool ExecSessions::OnClientFrame(ClientId client, const AttachFrame& frame) {
  switch (frame.type) {
    case AttachType::kExecPart: {
      std::string& request = requests_[client];
      if (request.size() + frame.data.size() > kMaxExecRequest) {
        requests_.erase(client);
        Answer(client,
               {.exit_status = kHullFailed,
                .error = "the command, its arguments and environment take more than 1 MiB"});
        return true;
      }
      absl::StrAppend(&request, frame.data);
      return true;
    }
    case AttachType::kExec: {
      const std::string request = std::move(requests_[client]);
      requests_.erase(client);
      StartSession(client, request);
      return true;
    }
    case AttachType::kListProcesses:
    case AttachType::kGetStatistics:
      Ask(client, frame.type);
      return true;
    default:
      break;
  }
  Session* const session = FindByClient(client);
  return session != nullptr && OnSessionFrame(session, frame);
}

void ExecSessions::StartSession(ClientId client, absl::string_view request) {
  if (FindByClient(client) != nullptr) {
    return handler_->RefuseClient(client, "asked for a second process");
  }
  const absl::StatusOr<ExecRequest> parsed = ParseExecRequest(request);
  if (!parsed.ok()) return handler_->RefuseClient(client, parsed.status().message());
  const auto fail = [&](absl::string_view why) {
    Answer(client, {.exit_status = kHullFailed, .error = std::string(why)});
  };
  if (!running_) return fail(kNotRunning);
  if (sessions_.size() >= kMaxFurtherProcesses) {
    return fail(
        absl::StrCat("the container runs ", kMaxFurtherProcesses, " further processes already"));
  }
  const absl::StatusOr<uint64_t> token = RandomU64();
  if (!token.ok()) return fail(token.status().message());
  auto session = std::make_unique<Session>();
  session->id = ++last_id_;
  session->token = *token;
  session->client = client;
  session->detach = parsed->detach;
  const absl::StatusOr<std::string> frame = StartProcessFrame(session->id, session->token, *parsed);
  if (!frame.ok()) return fail(frame.status().message());
  const bool terminal = parsed->process.terminal;
  // One that prints for nobody is not waited for, but its client is told of the start.
  clients_->Attach(client, {.process = session->id, .paced = !session->detach});
  if (!session->detach) {
    session->awaited = terminal ? 1 : 2;
    session->streams = std::make_unique<ProcessStreams>(loop_, this, parsed->process.attach_stdin,
                                                        /*standard_error=*/!terminal);
  }
  sessions_.emplace(session->id, std::move(session));
  UpdateExpectation();
  handler_->SendToAgent(*frame);
}

bool ExecSessions::OnSessionFrame(Session* session, const AttachFrame& frame) {
  switch (frame.type) {
    case AttachType::kStdin:
      if (!clients_->TakeStdin(session->client, frame.data.size())) {
        handler_->RefuseClient(session->client, "sent more standard input than it may");
      } else if (session->streams != nullptr) {
        session->streams->AcceptStdin(session->client, frame.data);
      }
      return true;
    case AttachType::kStdinEnd:
      if (session->streams != nullptr) session->streams->EndStdin();
      return true;
    case AttachType::kSignal:
      handler_->SendToAgent(SignalFrame(session->id, frame.number));
      return true;
    case AttachType::kKill:
      handler_->SendToAgent(SignalFrame(session->id, SIGKILL));
      return true;
    case AttachType::kOutputClosed:
      if (session->streams != nullptr) {
        session->streams->CloseOutput(static_cast<AttachType>(frame.number));
      }
      return true;
    case AttachType::kResize:
      handler_->SendToAgent(ResizeTerminalFrame(session->id, FrameTerminalSize(frame)));
      return true;
    case AttachType::kDetach:
      Detach(session);
      return true;
    default:
      return false;
  }
}

// The process goes on, and what it prints is for nobody.
void ExecSessions::Detach(Session* session) {
  const ClientId client = std::exchange(session->client, ClientId{0});
  clients_->Attach(client, {});
  Answer(client, {.exit_status = 0});
  Update();
}

void ExecSessions::OnClientGone(ClientId client) {
  requests_.erase(client);
  for (auto& [id, question] : questions_) {
    if (question.client == client) question.client = 0;
  }
  if (Session* const session = FindByClient(client)) {
    session->client = 0;
    CloseStreamsLater(session->id);
  }
}

void ExecSessions::CloseStreamsLater(uint32_t id) {
  loop_->Post([this, id] {
    Session* const session = Find(id);
    if (session == nullptr) return;
    session->streams.reset();
    FinishIfOver(session);
  });
}

void ExecSessions::OnConnection(const GuestHello& hello, UniqueFd socket) {
  Session* const session = Find(hello.process_id);
  // Not the agent's, or of a process that nobody listens to any more: closed.
  if (session == nullptr || hello.token != session->token) return;
  if (session->awaited > 0) --session->awaited;
  if (session->streams != nullptr) {
    session->streams->Open(hello.role == ConnectionRole::kStdio ? AttachType::kStandardOutput
                                                                : AttachType::kStandardError,
                           std::move(socket));
  }
  UpdateExpectation();
}

void ExecSessions::OnAgentEvent(const AgentEvent& event) {
  if (event.kind == AgentEvent::Kind::kProcesses || event.kind == AgentEvent::Kind::kStatistics) {
    return OnAnswer(event);
  }
  Session* const session = Find(event.process_id);
  if (session == nullptr || session->outcome.has_value()) {
    return handler_->OnSessionViolation("news of an unknown process");
  }
  switch (event.kind) {
    case AgentEvent::Kind::kStarted:
      if (session->started) return handler_->OnSessionViolation("a second start of a process");
      session->started = true;
      if (session->detach) Detach(session);
      return;
    case AgentEvent::Kind::kStartFailed:
      if (session->started) return handler_->OnSessionViolation("a second start of a process");
      session->awaited = 0;
      Answer(session->client, event.outcome);
      Forget(session->id);
      return;
    case AgentEvent::Kind::kExited:
      if (!session->started) {
        return handler_->OnSessionViolation("an end of a process that does not run");
      }
      session->outcome = event.outcome;
      if (session->streams != nullptr) {
        session->streams->OnProcessGone();
        session->drain_timer = loop_->AddTimer(drain_, [this, id = session->id] {
          Session* const late = Find(id);
          if (late == nullptr) return;
          late->drain_timer.reset();
          // Connections that did not come will not: others of the guest's may have taken their
          // place.
          if (late->awaited > 0) return CloseStreamsLater(id);
          // A machine that is paused sends nothing.
          if (clients_->HasRoom(id) && running_)
            handler_->OnSessionViolation("output that does not end");
        });
      }
      return FinishIfOver(session);
    default:
      return;
  }
}

void ExecSessions::FinishIfOver(Session* session) {
  if (!session->outcome.has_value()) return;
  if (session->streams != nullptr && !session->streams->ended()) return;
  Answer(session->client, *session->outcome);
  Forget(session->id);
}

void ExecSessions::Answer(ClientId client, const Outcome& outcome) {
  const auto status = static_cast<uint32_t>(outcome.exit_status);
  if (outcome.error.empty()) {
    clients_->Send(client, {.type = AttachType::kExited, .number = status});
  } else {
    clients_->Send(client, {.type = AttachType::kFailed, .data = outcome.error, .number = status});
  }
}

void ExecSessions::Forget(uint32_t id) {
  Session* const session = Find(id);
  if (session == nullptr) return;
  if (session->drain_timer.has_value()) loop_->CancelTimer(*session->drain_timer);
  if (session->client != 0) clients_->Attach(session->client, {});
  // Its streams may be what calls; the number is free for the agent, but never used again here.
  loop_->Post([streams = std::shared_ptr<ProcessStreams>(std::move(session->streams))] {});
  sessions_.erase(id);
  UpdateExpectation();
  handler_->OnSessionsDone();
}

void ExecSessions::Ask(ClientId client, AttachType question) {
  for (const auto& [id, asked] : questions_) {
    if (asked.client == client) return handler_->RefuseClient(client, "asked two things at once");
  }
  if (!running_) {
    return Answer(client, {.exit_status = kHullFailed, .error = kNotRunning});
  }
  const uint32_t id = ++last_question_;
  questions_[id] = {.client = client};
  handler_->SendToAgent(question == AttachType::kListProcesses ? ListProcessesFrame(id, 0)
                                                               : GetStatisticsFrame(id));
}

void ExecSessions::OnAnswer(const AgentEvent& event) {
  const bool list = event.kind == AgentEvent::Kind::kProcesses;
  uint32_t id = 0;
  ProcessPage page;
  if (list) {
    absl::StatusOr<ProcessPage> parsed = ParseProcessPage(event.answer);
    if (!parsed.ok()) return handler_->OnSessionViolation(parsed.status().message());
    page = *std::move(parsed);
    id = page.request_id;
  } else {
    const absl::StatusOr<GuestStatistics> parsed = ParseStatistics(event.answer);
    if (!parsed.ok()) return handler_->OnSessionViolation(parsed.status().message());
    id = parsed->request_id;
  }
  const auto asked = questions_.find(id);
  if (asked == questions_.end()) {
    return handler_->OnSessionViolation("an answer to what was not asked");
  }
  Question& question = asked->second;
  clients_->Send(question.client, {.type = list ? AttachType::kProcesses : AttachType::kStatistics,
                                   .data = event.answer});
  question.listed += page.processes.size();
  if (list && !page.complete && question.client != 0 && question.listed < kMaxShownProcesses) {
    return handler_->SendToAgent(ListProcessesFrame(id, page.processes.back().pid));
  }
  questions_.erase(asked);
}

void ExecSessions::Update() {
  for (const auto& [id, session] : sessions_) {
    if (session->streams != nullptr) session->streams->Update();
  }
}

void ExecSessions::OnMachineEnd() {
  running_ = false;
  machine_ended_ = true;
  for (const auto& [id, question] : questions_) {
    Answer(question.client, {.exit_status = kHullFailed, .error = kNotRunning});
  }
  questions_.clear();
  for (const auto& [id, session] : sessions_) {
    clients_->Attach(session->client, {.process = id, .paced = false});
    if (!session->outcome.has_value()) {
      session->outcome = {.exit_status = SignalStatus(SIGKILL),
                          .error = "the container has ended, and this process with it"};
    }
    if (session->streams == nullptr) {
      CloseStreamsLater(id);
      continue;
    }
    session->streams->OnProcessGone();
    session->streams->Update();
    // Connections that never were bring nothing.
    if (!session->streams->pending()) CloseStreamsLater(id);
  }
}

void ExecSessions::OnOutput(ProcessStreams* streams, absl::string_view frame) {
  const Session* const session = FindByStreams(streams);
  if (session == nullptr) return;
  if (session->client != 0) clients_->SendOutput(session->id, frame);
  if (!HasRoom(streams)) streams->Update();
}

bool ExecSessions::HasRoom(const ProcessStreams* streams) {
  const Session* const session = FindByStreams(streams);
  return session == nullptr || session->client == 0 || clients_->HasRoom(session->id);
}

void ExecSessions::OnStdinTaken(ProcessStreams*, uint32_t client, size_t bytes) {
  clients_->ReturnStdinCredit(client, bytes);
}

void ExecSessions::OnOutputEnd(ProcessStreams* streams) {
  if (Session* const session = FindByStreams(streams)) FinishIfOver(session);
}

void ExecSessions::OnStreamError(ProcessStreams*, const absl::Status& status) {
  handler_->OnSessionError(status);
}

ExecSessions::Session* ExecSessions::Find(uint32_t id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : it->second.get();
}

ExecSessions::Session* ExecSessions::FindByClient(ClientId client) {
  for (const auto& [id, session] : sessions_) {
    if (session->client == client && client != 0) return session.get();
  }
  return nullptr;
}

ExecSessions::Session* ExecSessions::FindByStreams(const ProcessStreams* streams) {
  for (const auto& [id, session] : sessions_) {
    if (session->streams.get() == streams) return session.get();
  }
  return nullptr;
}

void ExecSessions::UpdateExpectation() {
  bool expecting = false;
  for (const auto& [id, session] : sessions_) expecting = expecting || session->awaited > 0;
  if (expecting == expecting_) return;
  expecting_ = expecting;
  handler_->ExpectConnections(expecting);
}

}  // namespace hull::container
