#include "vmm/container/guest_listener.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "vmm/base/status_macros.h"
#include "vmm/sandbox/broker.h"

namespace hull::container {
namespace {

// Connections that have not said what they are. The agent opens three at the start, and two for
// each of the processes (agent_messages.h: at most 64) that it is told to start at a time; what is
// beyond that comes from processes of the container, and is refused.
constexpr size_t kMaxGreeting = 3 + 2 * 64;

}  // namespace

GuestListener::~GuestListener() {
  Stop();
  for (const auto& greeting : greetings_) loop_->RemoveFd(greeting->watch);
}

absl::StatusOr<UniqueFd> GuestListener::Start() {
  HULL_ASSIGN_OR_RETURN(sandbox::BrokerSockets broker, sandbox::MakeBrokerSockets());
  HULL_ASSIGN_OR_RETURN(broker_watch_, loop_->AddFd(broker.server.get(), EPOLLIN,
                                                    [this](uint32_t) { AnswerRequests(true); }));
  broker_ = std::move(broker.server);
  return std::move(broker.requester);
}

void GuestListener::Stop() {
  if (!broker_.valid()) return;
  loop_->RemoveFd(broker_watch_);
  broker_.Reset();
}

void GuestListener::Pause() {
  if (!broker_.valid()) return;
  if (!loop_->ModifyFd(broker_watch_, 0).ok()) Stop();
}

void GuestListener::Resume() {
  AnswerRequests(false);
  if (broker_.valid() && !loop_->ModifyFd(broker_watch_, EPOLLIN).ok()) Stop();
}

// The guest connects to the host: to nobody but this monitor.
void GuestListener::AnswerRequests(bool accept) {
  while (broker_.valid()) {
    const absl::StatusOr<std::optional<sandbox::BrokerRequest>> request =
        sandbox::ReceiveRequest(broker_.get());
    if (!request.ok()) return Stop();
    if (!request->has_value()) return;
    sandbox::BrokerReply reply = {.id = (*request)->id, .error = ECONNREFUSED};
    if (accept && (*request)->port == agent::kAgentPort) {
      reply.connection = Greet();
      if (reply.connection.valid()) reply.error = 0;
    }
    // A VMM that does not take its replies has nobody else to blame, and one that cannot be sent
    // any must not wait for them: without this socket its guest is refused everything.
    if (!sandbox::SendReply(broker_.get(), reply).ok()) return Stop();
  }
}

// The guest's end of a new connection; invalid if there is none to be had.
UniqueFd GuestListener::Greet() {
  int sockets[2];
  if (greetings_.size() >= kMaxGreeting ||
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) != 0) {
    return UniqueFd();
  }
  UniqueFd guest(sockets[1]);
  auto greeting = std::make_unique<Greeting>();
  Greeting* const raw = greeting.get();
  raw->socket = UniqueFd(sockets[0]);
  absl::StatusOr<EventLoop::Id> watch =
      loop_->AddFd(raw->socket.get(), EPOLLIN, [this, raw](uint32_t) { ReadHello(raw); });
  if (!watch.ok()) return UniqueFd();
  raw->watch = *watch;
  greetings_.push_back(std::move(greeting));
  return guest;
}

void GuestListener::ReadHello(Greeting* greeting) {
  while (true) {
    size_t want = agent::kFrameHeaderBytes;
    if (greeting->have >= want) {
      uint32_t length;
      memcpy(&length, greeting->bytes.data(), sizeof(length));  // x86-64 is little-endian too
      if (length > agent::kMaxHelloBytes) return (void)Take(greeting);
      want += length;
    }
    if (greeting->have == want && want > agent::kFrameHeaderBytes) {
      const auto bytes = greeting->bytes;
      const size_t length = greeting->have - agent::kFrameHeaderBytes;
      UniqueFd socket = Take(greeting);
      return handler_->OnGuestConnection(std::span(bytes).subspan(agent::kFrameHeaderBytes, length),
                                         std::move(socket));
    }
    const ssize_t n = read(greeting->socket.get(), greeting->bytes.data() + greeting->have,
                           want - greeting->have);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    // Not the agent: whatever it is, only its own connection ends.
    if (n <= 0) {
      Take(greeting);
      return handler_->OnStrangerGone();
    }
    greeting->have += static_cast<size_t>(n);
  }
}

// Its socket, with the greeting itself gone.
UniqueFd GuestListener::Take(Greeting* greeting) {
  loop_->RemoveFd(greeting->watch);
  UniqueFd socket = std::move(greeting->socket);
  std::erase_if(greetings_, [greeting](const auto& other) { return other.get() == greeting; });
  return socket;
}

}  // namespace hull::container
