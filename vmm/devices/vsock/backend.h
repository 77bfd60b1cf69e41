// The two interfaces between the device (queues) and its host side (sockets).

#ifndef VMM_DEVICES_VSOCK_BACKEND_H_
#define VMM_DEVICES_VSOCK_BACKEND_H_

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/devices/vsock/wire.h"

namespace hull::vsock {

// The bytes behind the header of a packet from the guest. They are in guest memory: volatile, so
// each byte is looked at once.
class GuestPayload {
 public:
  virtual ~GuestPayload() = default;
  // Bytes that the driver provided; may differ from Header::len.
  virtual uint32_t size() const = 0;
  // [offset, offset + size) for a system call that reads it.
  virtual absl::StatusOr<std::vector<iovec>> Slices(uint32_t offset, uint32_t size) const = 0;
  virtual absl::Status Copy(uint32_t offset, std::span<uint8_t> out) const = 0;
};

// Where the payload of a packet to the guest goes.
class GuestRoom {
 public:
  virtual ~GuestRoom() = default;
  virtual uint32_t size() const = 0;
  // The first `size` bytes for a system call that fills them.
  virtual absl::StatusOr<std::vector<iovec>> Slices(uint32_t size) const = 0;
};

// The host side as the device sees it. One thread: the event loop's.
class Backend {
 public:
  virtual ~Backend() = default;

  // The guest's driver is up or gone. When it goes, its connections end for the host as if the
  // guest had closed them: what it had sent is still delivered.
  virtual void SetGuestPresent(bool present) = 0;

  // Whether HandlePacket may be called: replies that the guest does not take are bounded.
  virtual bool CanHandlePacket() const = 0;
  // Any packet of the guest, already copied out but not validated.
  virtual void HandlePacket(const Header& header, const GuestPayload& payload) = 0;

  // Whether TakePacket has something to try. May turn out wrong, never stays so.
  virtual bool HasPacket() const = 0;
  // The next packet for the guest, its payload (Header::len bytes) written to `room` (which has at
  // least one byte); nullopt when there is none after all.
  virtual std::optional<Header> TakePacket(const GuestRoom& room) = 0;
};

// The device as the host side sees it.
class BackendObserver {
 public:
  virtual ~BackendObserver() = default;
  // HasPacket() became true for a reason of the host's, that is, not inside a call above.
  virtual void OnPacketPending() = 0;
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_BACKEND_H_
