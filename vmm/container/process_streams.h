// The standard streams of one process of the container, between the guest and the process's
// clients: two connections, the first of which carries standard input the other way.

#ifndef VMM_CONTAINER_PROCESS_STREAMS_H_
#define VMM_CONTAINER_PROCESS_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/event/event_loop.h"

namespace hull::container {

// Belongs to the loop's thread, as its handler does. No buffer grows: output is read only while the
// handler has room for it, and standard input is bounded by the clients' credit.
class ProcessStreams {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A piece of output as a whole attach frame: the byte of its type, then 1 to kMaxAttachPayload
    // bytes of the process.
    virtual void OnOutput(ProcessStreams* streams, absl::string_view frame) = 0;
    // Whether there is room for output now. When that changes to true, call Update().
    virtual bool HasRoom(const ProcessStreams* streams) = 0;
    // So many bytes of that client's standard input are taken, or are for nobody any more.
    virtual void OnStdinTaken(ProcessStreams* streams, uint32_t client, size_t bytes) = 0;
    // Standard output or standard error has come to its end, or was closed by CloseOutput().
    virtual void OnOutputEnd(ProcessStreams* streams) = 0;
    // The host's own failure.
    virtual void OnStreamError(ProcessStreams* streams, const absl::Status& status) = 0;
  };

  // Both outlive this. `attach_stdin`: the process reads standard input; if not, what clients send
  // is for nobody. `standard_error`: there is one; a terminal has a single stream.
  ProcessStreams(EventLoop* loop, Handler* handler, bool attach_stdin, bool standard_error);
  ProcessStreams(const ProcessStreams&) = delete;
  ProcessStreams& operator=(const ProcessStreams&) = delete;
  ~ProcessStreams();

  // The guest's connection for a stream: kStandardOutput, which takes standard input too, or
  // kStandardError. A second one for the same stream is refused (closed).
  void Open(AttachType type, UniqueFd socket);
  bool connected() const { return out_.connected && err_.connected; }
  // Nothing more comes from the guest: from connections that never were, nothing ever did.
  bool ended() const { return out_.ended && err_.ended; }
  // Some connection is there that may still bring output.
  bool pending() const {
    return (out_.connected && !out_.ended) || (err_.connected && !err_.ended);
  }

  // From a client, within its credit, which the caller enforces.
  void AcceptStdin(uint32_t client, absl::string_view data);
  // Nothing more comes from any client, after what was accepted.
  void EndStdin();

  // Nobody wants that output any more: the writer in the guest gets SIGPIPE.
  void CloseOutput(AttachType type);

  // The process is gone (or its machine is): standard input is for nobody.
  void OnProcessGone() { process_gone_ = true; }

  // Looks again at HasRoom().
  void Update();

 private:
  struct Stream {
    explicit Stream(AttachType output) : type(output) {}
    const AttachType type;
    UniqueFd socket;
    EventLoop::Id watch = 0;
    uint32_t events = 0;
    bool connected = false;  // was, at some time
    bool ended = false;      // nothing more comes from the guest
    bool unwanted = false;   // nobody takes it
  };
  // Whose the bytes in stdin_ are, in their order.
  struct Owner {
    uint32_t client;
    size_t bytes;
  };

  void OnEvents(Stream* stream, uint32_t events);
  void End(Stream* stream);
  void Close(Stream* stream);
  void PumpStdin();
  void TakeStdin(size_t bytes);

  EventLoop* const loop_;
  Handler* const handler_;
  const bool attach_stdin_;
  // For whatever is being passed on at the moment; not cleared at the start.
  const std::unique_ptr<char[]> buffer_;
  Stream out_{AttachType::kStandardOutput};
  Stream err_{AttachType::kStandardError};
  bool process_gone_ = false;

  std::string stdin_;
  std::deque<Owner> stdin_owners_;
  bool stdin_ended_ = false;  // nothing more comes from a client
  bool stdin_shut_ = false;   // and the guest has been told
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_PROCESS_STREAMS_H_
