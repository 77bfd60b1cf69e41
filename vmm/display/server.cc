#include "vmm/display/server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/display/input.h"
#include "vmm/display/rfb_client.h"

namespace hull::display {
namespace {

constexpr absl::Duration kReapInterval = absl::Milliseconds(100);
// Where a client's process has its two sockets; all others are closed.
constexpr int kChildClient = 3;
constexpr int kChildInput = 4;

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Create(Options options) {
  std::unique_ptr<Server> self(new Server(std::move(options)));
  HULL_ASSIGN_OR_RETURN(self->loop_, EventLoop::Create());
  HULL_ASSIGN_OR_RETURN(SharedScreen screen, SharedScreen::Create());
  self->screen_ = std::make_unique<SharedScreen>(std::move(screen));
  self->machine_ =
      std::make_unique<Machine>(self->loop_.get(), self.get(), std::move(self->options_.monitor));
  HULL_RETURN_IF_ERROR(self->machine_->Start());
  HULL_ASSIGN_OR_RETURN(self->watch_,
                        self->loop_->AddFd(self->options_.listener.get(), EPOLLIN,
                                           [server = self.get()](uint32_t) { server->Accept(); }));
  return self;
}

Server::~Server() = default;

absl::Status Server::Run() { return loop_->Run(); }

void Server::OnPicture(const container::Picture& picture) { screen_->Publish(picture); }

// The processes of clients end with this one.
void Server::OnEnd() { loop_->Stop(); }

void Server::Accept() {
  UniqueFd client(accept4(options_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!client.valid()) return;
  if (clients_.size() + ending_.size() >= kMaxClients) return;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
  Client entry;
  entry.input.Reset(ends[0]);
  UniqueFd theirs(ends[1]);
  entry.pid = fork();
  if (entry.pid < 0) return;
  if (entry.pid == 0) ServeInChild(std::move(client), std::move(theirs));
  const uint64_t id = next_client_++;
  absl::StatusOr<EventLoop::Id> watch =
      loop_->AddFd(entry.input.get(), EPOLLIN, [this, id](uint32_t) { OnInput(id); });
  if (!watch.ok()) {
    // It sees that nobody listens to it.
    ending_.push_back(entry.pid);
    return Reap();
  }
  entry.watch = *watch;
  clients_.emplace(id, std::move(entry));
  machine_->Watch(true);
}

void Server::ServeInChild(UniqueFd client, UniqueFd input) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) _exit(1);
  // First out of the way of the numbers that they are to have.
  const int high_client = fcntl(client.Release(), F_DUPFD_CLOEXEC, kChildInput + 1);
  const int high_input = fcntl(input.Release(), F_DUPFD_CLOEXEC, kChildInput + 1);
  if (high_client < 0 || high_input < 0 || dup2(high_client, kChildClient) < 0 ||
      dup2(high_input, kChildInput) < 0 || close_range(kChildInput + 1, ~0u, 0) != 0 ||
      !screen_->MakeReadOnly().ok() || !options_.confine_client().ok()) {
    _exit(1);
  }
  ServeRfbClient(UniqueFd(kChildClient), UniqueFd(kChildInput), *screen_, options_.password);
  _exit(0);
}

void Server::OnInput(uint64_t id) {
  Client& client = clients_.at(id);
  char message[kMaxInput + 1];
  const ssize_t n = recv(client.input.get(), message, sizeof(message), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) return Pass(absl::string_view(message, static_cast<size_t>(n)));
  loop_->RemoveFd(client.watch);
  ending_.push_back(client.pid);
  clients_.erase(id);
  if (clients_.empty()) machine_->Watch(false);
  Reap();
}

void Server::Pass(absl::string_view message) {
  const Input input = ParseInput(message);
  if (const auto* keys = std::get_if<Keys>(&input)) machine_->Type(keys->codes);
  if (const auto* movement = std::get_if<Movement>(&input)) machine_->Point(*movement);
}

void Server::Reap() {
  std::erase_if(ending_, [](pid_t pid) { return waitpid(pid, nullptr, WNOHANG) != 0; });
  if (ending_.empty() || reaping_) return;
  reaping_ = true;
  loop_->AddTimer(kReapInterval, [this] {
    reaping_ = false;
    Reap();
  });
}

}  // namespace hull::display
