// The socket device (VIRTIO 1.2, section 5.10): AF_VSOCK in the guest, Unix sockets on the host.

#ifndef VMM_DEVICES_VSOCK_DEVICE_H_
#define VMM_DEVICES_VSOCK_DEVICE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "vmm/base/log_throttle.h"
#include "vmm/base/unique_fd.h"
#include "vmm/devices/vsock/backend.h"
#include "vmm/devices/vsock/host_connector.h"
#include "vmm/devices/vsock/limits.h"
#include "vmm/event/event_loop.h"
#include "vmm/virtio/device.h"

namespace hull::vsock {

class Muxer;

struct Config {
  // The guest's address: 3 to 0xfffffffe (0 to 2 and 0xffffffff are reserved, 5.10.4).
  uint32_t guest_cid = 0;

  // Path S of the host's end. A process that connects to S and writes "CONNECT <port>\n" reaches
  // that port of the guest and reads "OK <n>\n" first; the guest's connections to CID 2 port P go
  // to the listener at "<S>_P". At most 96 bytes, so that the longest S_P fits sun_path.
  std::string host_socket = {};

  // An already listening socket to accept host connections on, instead of one bound to
  // `host_socket`; that file is then its maker's to remove. It is made non-blocking. With a
  // connector and neither of the two, no host process can connect to the guest.
  UniqueFd listener = {};

  // Replaces the connections to "<S>_P".
  std::unique_ptr<HostConnector> connector = {};

  Limits limits = {};
};

// Threads: everything belongs to the event loop's thread, but for the virtio::Device interface,
// which vCPU threads call. Those calls never wait for the loop: Activate hands its queues over by
// EventLoop::Post, and Reset takes them back under a lock that the loop holds only for one bounded
// batch of packets. So Reset works from any thread, the loop's own included, and after Run()
// returned.
//
// Destroy it on the loop's thread (or after Run() returned), when no vCPU can reach it any more.
class Device : public virtio::Device, private BackendObserver {
 public:
  // Call on the loop's thread, or before it runs; `loop` must outlive the device. Binds and listens
  // on `host_socket` (mode 0600) unless a listener is given; a socket file there that nobody
  // listens on any more is replaced. Host connections are accepted once the guest's driver is up,
  // and wait in the listener's backlog until then.
  //
  // kInvalidArgument for a bad CID or path, kAlreadyExists when another process listens on the
  // path, else what the system call said.
  static absl::StatusOr<std::shared_ptr<Device>> Create(Config config, EventLoop* loop);
  ~Device() override;

  // For the end of the machine, after the vCPUs stopped: takes what the guest had queued for
  // transmission, and waits until the host's sockets have taken everything that the guest ever sent
  // (what they took is safe from the end of this process), but no longer than `limit`, nor than
  // until the descriptor `stop` is readable. Returns whether nothing is left. Blocks; loop's thread
  // only, or any once Run() returned.
  bool Drain(absl::Duration limit, int stop);

  // virtio::Device:
  uint32_t type() const override;
  absl::string_view name() const override;
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) const override;
  absl::Status Activate(virtio::Activation activation) override;
  void Reset() override;

 private:
  struct Session;

  Device(uint32_t guest_cid, EventLoop* loop);

  // BackendObserver: a host socket has something for the guest.
  void OnPacketPending() override;

  static void EndSession(Session& session);

  // Loop's thread only.
  void Start(const std::shared_ptr<Session>& session);
  void Stop(const std::shared_ptr<Session>& session);
  // With the session's lock held.
  void Fail(Session& session, const absl::Status& status);
  void Process();
  // Returns whether there is more to do at once.
  bool PumpOnce();

  const uint32_t guest_cid_;
  EventLoop* const loop_;
  std::string bound_path_;  // Of the listener, if this device made it.
  std::unique_ptr<Muxer> muxer_;

  // The session that the transport last activated. Written under the transport's lock only.
  std::shared_ptr<Session> latest_;

  // Loop's thread only.
  std::shared_ptr<Session> running_;
  bool resume_posted_ = false;

  // Callbacks posted to the loop hold a weak reference, so that those which outlive the device do
  // nothing.
  const std::shared_ptr<Device*> self_;

  LogThrottle malformed_log_;
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_DEVICE_H_
