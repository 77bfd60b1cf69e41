// The processes that clients add to a running container, and what clients ask about it: everything
// of a monitor that is not about the container's main process.

#ifndef VMM_CONTAINER_EXEC_SESSIONS_H_
#define VMM_CONTAINER_EXEC_SESSIONS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/agent_messages.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/attached_clients.h"
#include "vmm/container/outcome.h"
#include "vmm/container/process_streams.h"
#include "vmm/event/event_loop.h"

namespace hull::container {

// Belongs to the loop's thread, as its handler does. A session is one further process: from its
// request to its Exited, whether or not its client is still there. A client that goes away closes
// its process's streams; the process itself goes on if it does not mind.
class ExecSessions : public ProcessStreams::Handler {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void SendToAgent(absl::string_view frame) = 0;
    // Whether the guest's agent is about to open connections: called when that changes, before the
    // agent is told to.
    virtual void ExpectConnections(bool expected) = 0;
    // A client broke the attach protocol.
    virtual void RefuseClient(ClientId client, absl::string_view why) = 0;
    // The guest broke the agent protocol; `what` completes "broke the protocol with".
    virtual void OnSessionViolation(absl::string_view what) = 0;
    virtual void OnSessionError(const absl::Status& status) = 0;
    // done() may have become true.
    virtual void OnSessionsDone() = 0;
  };

  // All outlive this. `drain`: how long a process's output may take after its end, while its client
  // reads.
  ExecSessions(EventLoop* loop, AttachedClients* clients, Handler* handler, absl::Duration drain)
      : loop_(loop), clients_(clients), handler_(handler), drain_(drain) {}
  ExecSessions(const ExecSessions&) = delete;
  ExecSessions& operator=(const ExecSessions&) = delete;

  // The container's process runs, or does not: it has ended, or is paused.
  void SetRunning(bool running) { running_ = running; }

  // Whether the frame was about a session, or a question.
  bool OnClientFrame(ClientId client, const AttachFrame& frame);
  void OnClientGone(ClientId client);
  // A stream that says it is of a process other than the main one.
  void OnConnection(const GuestHello& hello, UniqueFd socket);
  // What concerns processes other than the main one, and answers.
  void OnAgentEvent(const AgentEvent& event);
  // Clients may have room again.
  void Update();

  // The machine is over. What has not ended by now did so with it, and no client is waited for.
  void OnMachineEnd();
  // No output is still on its way to a client. Only after OnMachineEnd().
  bool done() const { return sessions_.empty(); }

  // ProcessStreams::Handler
  void OnOutput(ProcessStreams* streams, absl::string_view frame) override;
  bool HasRoom(const ProcessStreams* streams) override;
  void OnStdinTaken(ProcessStreams* streams, uint32_t client, size_t bytes) override;
  void OnOutputEnd(ProcessStreams* streams) override;
  void OnStreamError(ProcessStreams* streams, const absl::Status& status) override;

 private:
  struct Session {
    uint32_t id = 0;
    uint64_t token = 0;
    ClientId client = 0;  // 0: gone, or detached
    bool detach = false;
    bool started = false;
    int awaited = 0;                          // connections that the agent has still to open
    std::unique_ptr<ProcessStreams> streams;  // null: nobody's
    std::optional<Outcome> outcome;
    std::optional<EventLoop::Id> drain_timer;
  };
  // A client's question to the agent.
  struct Question {
    ClientId client = 0;
    size_t listed = 0;  // processes that the client has been told
  };

  void StartSession(ClientId client, absl::string_view request);
  bool OnSessionFrame(Session* session, const AttachFrame& frame);
  void Detach(Session* session);
  void Ask(ClientId client, AttachType question);
  void OnAnswer(const AgentEvent& event);

  Session* Find(uint32_t id);
  Session* FindByClient(ClientId client);
  Session* FindByStreams(const ProcessStreams* streams);
  // Tells the client how the process ended, once all its output is through.
  void FinishIfOver(Session* session);
  void Answer(ClientId client, const Outcome& outcome);
  // Later, as it may be the session itself that calls.
  void CloseStreamsLater(uint32_t id);
  void Forget(uint32_t id);
  void UpdateExpectation();

  EventLoop* const loop_;
  AttachedClients* const clients_;
  Handler* const handler_;
  const absl::Duration drain_;
  bool running_ = false;
  bool machine_ended_ = false;
  bool expecting_ = false;
  uint32_t last_id_ = kMainProcessId;
  uint32_t last_question_ = 0;
  std::map<uint32_t, std::unique_ptr<Session>> sessions_;
  std::map<ClientId, std::string> requests_;  // that are not complete yet
  std::map<uint32_t, Question> questions_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_EXEC_SESSIONS_H_
