#include "vmm/machine/host_sockets.h"

#include <sys/epoll.h>

#include <cerrno>
#include <utility>

#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/sandbox/broker.h"

namespace hull::machine {
namespace {

// More connections than a machine can have.
constexpr size_t kMaxUnderWay = 1024;

// The errno for the machine, which only tells refusals apart from the rest in its log.
int ErrorOf(const absl::Status& status) {
  if (absl::IsNotFound(status)) return ENOENT;
  if (absl::IsPermissionDenied(status)) return EACCES;
  if (absl::IsResourceExhausted(status)) return EMFILE;
  return ECONNREFUSED;
}

}  // namespace

absl::StatusOr<UniqueFd> ListenForHosts(const std::string& path) {
  absl::StatusOr<UniqueFd> listener = vsock::ListenOnUnixSocket(path);
  if (!listener.ok()) return Annotate(listener.status(), "vsock");
  return listener;
}

absl::StatusOr<std::unique_ptr<ConnectionBroker>> ConnectionBroker::Create(UniqueFd socket,
                                                                           std::string prefix,
                                                                           EventLoop* loop) {
  std::unique_ptr<ConnectionBroker> broker(
      new ConnectionBroker(std::move(socket), std::move(prefix), loop));
  HULL_ASSIGN_OR_RETURN(broker->watch_,
                        loop->AddFd(broker->socket_.get(), EPOLLIN,
                                    [raw = broker.get()](uint32_t) { raw->OnReadable(); }));
  return broker;
}

ConnectionBroker::~ConnectionBroker() { StopServing(); }

void ConnectionBroker::StopServing() {
  if (watch_.has_value()) loop_->RemoveFd(*watch_);
  watch_.reset();
}

void ConnectionBroker::OnReadable() {
  while (true) {
    const absl::StatusOr<std::optional<sandbox::BrokerRequest>> request =
        sandbox::ReceiveRequest(socket_.get());
    // The machine is gone, or is no machine of Hull's any more.
    if (!request.ok()) return StopServing();
    if (!request->has_value()) return;
    const uint32_t id = (*request)->id;
    const auto reply = [this, id](absl::StatusOr<UniqueFd> connected) {
      --under_way_;
      sandbox::BrokerReply answer = {.id = id};
      if (connected.ok()) {
        answer.connection = *std::move(connected);
      } else {
        answer.error = ErrorOf(connected.status());
      }
      // A machine that does not take its replies has nobody else to blame.
      sandbox::SendReply(socket_.get(), answer).IgnoreError();
    };
    ++under_way_;
    if (under_way_ > kMaxUnderWay) {
      reply(absl::ResourceExhaustedError("too many connections under way"));
    } else {
      connector_.Connect((*request)->port, reply);
    }
  }
}

}  // namespace hull::machine
