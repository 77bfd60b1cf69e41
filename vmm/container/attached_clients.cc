#include "vmm/container/attached_clients.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"

namespace hull::container {

class AttachedClients::Client : public AttachSocket::Handler {
 public:
  Client(AttachedClients* all, ClientId id) : all_(all), id_(id) {}

  absl::Status Open(UniqueFd socket) {
    HULL_ASSIGN_OR_RETURN(socket_, AttachSocket::Create(all_->loop_, std::move(socket), this));
    return absl::OkStatus();
  }

  void OnFrame(const AttachFrame& frame) override {
    if (!closed) all_->handler_->OnClientFrame(id_, frame);
  }

  void OnSendable() override {
    if (closed) return;
    SendCredit();
    if (attachment.paced) all_->handler_->OnClientRoom();
  }

  void OnClosed(const absl::Status& status) override {
    if (closed) return;
    all_->Forget(this);
    all_->handler_->OnClientGone(id_, status);
  }

  ClientId id() const { return id_; }
  AttachSocket& socket() { return *socket_; }

  bool sendable() const { return socket_->sendable(); }

  void SendCredit() {
    if (credit_owed == 0 || !socket_->sendable()) return;
    socket_->Send(
        {.type = AttachType::kStdinCredit, .number = std::exchange(credit_owed, uint32_t{0})});
  }

  Attachment attachment;
  bool closed = false;
  bool wants_out = true;
  bool wants_err = true;
  uint32_t stdin_used = 0;  // of its window: sent and not given back
  uint32_t credit_owed = 0;

 private:
  AttachedClients* const all_;
  const ClientId id_;
  std::unique_ptr<AttachSocket> socket_;
};

AttachedClients::AttachedClients(EventLoop* loop, Handler* handler)
    : loop_(loop), handler_(handler) {}

AttachedClients::~AttachedClients() = default;

absl::StatusOr<ClientId> AttachedClients::Add(UniqueFd socket) {
  auto client = std::make_unique<Client>(this, ++last_id_);
  HULL_RETURN_IF_ERROR(client->Open(std::move(socket)));
  client->socket().Send({.type = AttachType::kHello, .number = kAttachVersion});
  if (clients_.size() >= kMaxClients) {
    const std::string why =
        absl::StrCat("too many clients are attached to the container: at most ", kMaxClients);
    client->socket().Send({.type = AttachType::kFailed, .data = why, .number = 125});
    return absl::ResourceExhaustedError(why);
  }
  const ClientId id = client->id();
  clients_.emplace(id, std::move(client));
  return id;
}

AttachedClients::Client* AttachedClients::Find(ClientId client) const {
  const auto it = clients_.find(client);
  return it == clients_.end() || it->second->closed ? nullptr : it->second.get();
}

void AttachedClients::Attach(ClientId client, Attachment attachment) {
  if (Client* const found = Find(client)) found->attachment = attachment;
}

uint32_t AttachedClients::ProcessOf(ClientId client) const {
  const Client* const found = Find(client);
  return found == nullptr ? 0 : found->attachment.process;
}

void AttachedClients::Send(ClientId client, const AttachFrame& frame) {
  if (Client* const found = Find(client)) found->socket().Send(frame);
}

void AttachedClients::SendToAll(const AttachFrame& frame) {
  for (const auto& [id, client] : clients_) {
    if (!client->closed) client->socket().Send(frame);
  }
}

void AttachedClients::SendOutput(uint32_t process, absl::string_view frame) {
  const auto type = static_cast<AttachType>(frame[0]);
  for (const auto& [id, client] : clients_) {
    if (client->closed || client->attachment.process != process) continue;
    if (type == AttachType::kStandardOutput && !client->wants_out) continue;
    if (type == AttachType::kStandardError && !client->wants_err) continue;
    if (!client->attachment.paced &&
        client->socket().waiting_bytes() + frame.size() > kMaxClientBacklog) {
      client->attachment = {};
      client->socket().Send({.type = AttachType::kNotice,
                             .data = "this client did not take the container's output in time and "
                                     "gets no more of it (hull logs has it)"});
      continue;
    }
    client->socket().SendMessage(frame);
  }
}

void AttachedClients::CloseOutput(ClientId client, AttachType type) {
  Client* const found = Find(client);
  if (found == nullptr) return;
  (type == AttachType::kStandardOutput ? found->wants_out : found->wants_err) = false;
}

bool AttachedClients::TakeStdin(ClientId client, size_t bytes) {
  Client* const found = Find(client);
  if (found == nullptr || bytes > kInitialStdinCredit - found->stdin_used) return false;
  found->stdin_used += static_cast<uint32_t>(bytes);
  return true;
}

void AttachedClients::ReturnStdinCredit(ClientId client, size_t bytes) {
  Client* const found = Find(client);
  if (found == nullptr) return;
  found->stdin_used -= static_cast<uint32_t>(bytes);
  found->credit_owed += static_cast<uint32_t>(bytes);
  found->SendCredit();
}

void AttachedClients::Close(ClientId client) {
  if (Client* const found = Find(client)) Forget(found);
}

void AttachedClients::Forget(Client* client) {
  client->closed = true;
  loop_->Post([this, id = client->id()] { clients_.erase(id); });
}

bool AttachedClients::HasRoom(uint32_t process) const {
  return std::all_of(clients_.begin(), clients_.end(), [process](const auto& entry) {
    const Client& client = *entry.second;
    return client.closed || !client.attachment.paced || client.attachment.process != process ||
           client.sendable();
  });
}

bool AttachedClients::paced_sendable() const {
  return std::all_of(clients_.begin(), clients_.end(), [](const auto& entry) {
    return entry.second->closed || !entry.second->attachment.paced || entry.second->sendable();
  });
}

bool AttachedClients::sendable() const {
  return std::all_of(clients_.begin(), clients_.end(), [](const auto& entry) {
    return entry.second->closed || entry.second->sendable();
  });
}

}  // namespace hull::container
