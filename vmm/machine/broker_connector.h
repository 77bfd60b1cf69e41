// Connections to host processes, from inside a jail that has no way to make them.

#ifndef VMM_MACHINE_BROKER_CONNECTOR_H_
#define VMM_MACHINE_BROKER_CONNECTOR_H_

#include <map>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/devices/vsock/host_connector.h"
#include "vmm/event/event_loop.h"

namespace hull::machine {

// Asks the broker at the other end of a socket (sandbox/broker.h). Event loop's thread only.
class BrokerConnector : public vsock::HostConnector {
 public:
  // `loop` outlives this.
  static absl::StatusOr<std::unique_ptr<BrokerConnector>> Create(UniqueFd broker, EventLoop* loop);
  ~BrokerConnector() override;

  RequestId Connect(uint32_t port, Done done) override;
  void Cancel(RequestId id) override;

 private:
  BrokerConnector(UniqueFd broker, EventLoop* loop) : broker_(std::move(broker)), loop_(loop) {}
  void OnReadable();
  // Nothing comes from it any more: refuses what waits.
  void GiveUp(const absl::Status& status);

  const UniqueFd broker_;
  EventLoop* const loop_;
  std::optional<EventLoop::Id> watch_;
  uint32_t last_id_ = 0;
  std::map<uint32_t, Done> waiting_;
};

}  // namespace hull::machine

#endif  // VMM_MACHINE_BROKER_CONNECTOR_H_
