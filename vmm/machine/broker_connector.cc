#include "vmm/machine/broker_connector.h"

#include <sys/epoll.h>

#include <utility>

#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/sandbox/broker.h"

namespace hull::machine {

absl::StatusOr<std::unique_ptr<BrokerConnector>> BrokerConnector::Create(UniqueFd broker,
                                                                         EventLoop* loop) {
  std::unique_ptr<BrokerConnector> connector(new BrokerConnector(std::move(broker), loop));
  HULL_ASSIGN_OR_RETURN(connector->watch_,
                        loop->AddFd(connector->broker_.get(), EPOLLIN,
                                    [raw = connector.get()](uint32_t) { raw->OnReadable(); }));
  return connector;
}

BrokerConnector::~BrokerConnector() {
  if (watch_.has_value()) loop_->RemoveFd(*watch_);
}

vsock::HostConnector::RequestId BrokerConnector::Connect(uint32_t port, Done done) {
  // Never 0, and in 32 bits on the wire: numbers come back long after their requests ended.
  if (++last_id_ == 0) ++last_id_;
  const uint32_t id = last_id_;
  const absl::Status sent = watch_.has_value()
                                ? sandbox::SendRequest(broker_.get(), {.id = id, .port = port})
                                : absl::UnavailableError("the broker of connections is gone");
  if (sent.ok()) {
    waiting_.insert_or_assign(id, std::move(done));
  } else {
    done(sent);
  }
  return id;
}

void BrokerConnector::Cancel(RequestId id) { waiting_.erase(static_cast<uint32_t>(id)); }

void BrokerConnector::OnReadable() {
  while (true) {
    absl::StatusOr<std::optional<sandbox::BrokerReply>> reply =
        sandbox::ReceiveReply(broker_.get());
    if (!reply.ok()) return GiveUp(reply.status());
    if (!reply->has_value()) return;
    const auto found = waiting_.find((*reply)->id);
    if (found == waiting_.end()) continue;  // cancelled
    const Done done = std::move(found->second);
    waiting_.erase(found);
    if ((*reply)->error != 0) {
      done(PosixError((*reply)->error, "connect to the host"));
    } else {
      done(std::move((*reply)->connection));
    }
  }
}

void BrokerConnector::GiveUp(const absl::Status& status) {
  loop_->RemoveFd(*watch_);
  watch_.reset();
  const std::map<uint32_t, Done> waiting = std::exchange(waiting_, {});
  for (const auto& [id, done] : waiting) done(status);
}

}  // namespace hull::machine
