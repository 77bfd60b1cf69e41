// The clients of a container's monitor: who is attached to which process's streams, what waits for
// each of them, and how much standard input each may send.

#ifndef VMM_CONTAINER_ATTACHED_CLIENTS_H_
#define VMM_CONTAINER_ATTACHED_CLIENTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/attach_socket.h"
#include "vmm/event/event_loop.h"

namespace hull::container {

// Numbers a client for its life; never used again by the same AttachedClients. 0 is nobody.
using ClientId = uint32_t;

// At most so many at a time; further ones are told so and closed.
inline constexpr size_t kMaxClients = 32;
// What may wait for a client that is not paced. Beyond it the client gets no more output.
inline constexpr size_t kMaxClientBacklog = size_t{1} << 20;

// How a client is attached to a process.
struct Attachment {
  uint32_t process = 0;  // by the agent protocol's number; 0: it gets no output
  // Output waits for this client, which stops the process that writes. One that is not paced loses
  // its output, with a notice, if it does not take it.
  bool paced = false;
};

// Belongs to the loop's thread, as its handler does.
class AttachedClients {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // `frame` is valid during the call.
    virtual void OnClientFrame(ClientId client, const AttachFrame& frame) = 0;
    // It is gone (OK), or was closed for what it sent. The number means nobody any more.
    virtual void OnClientGone(ClientId client, const absl::Status& status) = 0;
    // A paced client has taken all that waited for it.
    virtual void OnClientRoom() = 0;
  };

  // Both outlive this, and `loop` does not run after this.
  AttachedClients(EventLoop* loop, Handler* handler);
  AttachedClients(const AttachedClients&) = delete;
  AttachedClients& operator=(const AttachedClients&) = delete;
  ~AttachedClients();

  // Greets whoever is at the other end of a connected SOCK_SEQPACKET. kResourceExhausted if there
  // are kMaxClients, which the peer has been told then.
  absl::StatusOr<ClientId> Add(UniqueFd socket);
  void Attach(ClientId client, Attachment attachment);
  // Its process; 0 if it is attached to none.
  uint32_t ProcessOf(ClientId client) const;
  bool Has(ClientId client) const { return Find(client) != nullptr; }

  // Nothing for a client that is gone.
  void Send(ClientId client, const AttachFrame& frame);
  // To all clients, attached or not.
  void SendToAll(const AttachFrame& frame);
  // A whole frame of output to the clients of that process.
  void SendOutput(uint32_t process, absl::string_view frame);
  // The client wants no more output of that type.
  void CloseOutput(ClientId client, AttachType type);

  // Whether it may have sent so many more bytes of standard input.
  bool TakeStdin(ClientId client, size_t bytes);
  // Gives back what was taken, now or as soon as the client has room.
  void ReturnStdinCredit(ClientId client, size_t bytes);

  // Ends a client; the handler is not told.
  void Close(ClientId client);

  // No paced client of this process has anything waiting.
  bool HasRoom(uint32_t process) const;
  // No paced client of any process has.
  bool paced_sendable() const;
  // No client at all has.
  bool sendable() const;

 private:
  class Client;

  Client* Find(ClientId client) const;
  // Not at once: the client may be what calls.
  void Forget(Client* client);

  EventLoop* const loop_;
  Handler* const handler_;
  ClientId last_id_ = 0;
  std::map<ClientId, std::unique_ptr<Client>> clients_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_ATTACHED_CLIENTS_H_
