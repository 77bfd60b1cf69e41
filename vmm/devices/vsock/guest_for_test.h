// The guest's side of the socket device, for tests: packets over a FakeDriver's queues.

#ifndef VMM_DEVICES_VSOCK_GUEST_FOR_TEST_H_
#define VMM_DEVICES_VSOCK_GUEST_FOR_TEST_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/fakes/fake_driver.h"
#include "vmm/devices/vsock/packet.h"
#include "vmm/devices/vsock/wire.h"
#include "vmm/virtio/device.h"

namespace hull::vsock {

struct Packet {
  Header header;
  std::string data;
};

// Buffers are allocated once and used again, so that a test can move any amount of data.
class GuestForTest {
 public:
  static constexpr uint64_t kCid = 3;

  explicit GuestForTest(std::shared_ptr<virtio::Device> device, uint32_t rx_buffer_size = 4096)
      : driver_(std::move(device)), rx_buffer_size_(rx_buffer_size) {}

  // Sets the device up, with its receive queue full of buffers unless `post_rx` is false.
  bool Start(bool post_rx = true) {
    if (!driver_.Start()) return false;
    rx_free_.clear();
    rx_posted_.clear();
    tx_free_.clear();
    tx_posted_.clear();
    received_.clear();
    if (rx_buffers_.empty()) {
      for (int i = 0; i < driver_.Queue(kRxQueue).size(); ++i) {
        rx_buffers_.push_back(driver_.allocator().Allocate(rx_buffer_size_));
      }
      for (int i = 0; i < driver_.Queue(kTxQueue).size(); ++i) {
        tx_buffers_.push_back(driver_.allocator().Allocate(kHeaderSize + kMaxPayload));
      }
    }
    rx_free_ = rx_buffers_;
    tx_free_ = tx_buffers_;
    post_rx_ = post_rx;
    Poll();
    return true;
  }

  // A header of a connection's packet, from the guest's port to the host's.
  Header Make(uint16_t op, uint32_t guest_port, uint32_t host_port, uint32_t flags = 0) const {
    return Header{.src_cid = kCid,
                  .dst_cid = kHostCid,
                  .src_port = guest_port,
                  .dst_port = host_port,
                  .type = kTypeStream,
                  .op = op,
                  .flags = flags,
                  .buf_alloc = 256 * 1024};
  }

  // Puts a packet on the transmit queue; false if it is full. `header` is sent as it stands.
  bool SendRaw(const Header& header, absl::string_view data, bool kick = true) {
    Poll();
    if (tx_free_.empty()) return false;
    const GuestAddress buffer = tx_free_.back();
    tx_free_.pop_back();
    const HeaderBytes bytes = EncodeHeader(header);
    const bool written =
        driver_.memory().Write(buffer, bytes).ok() &&
        driver_.memory()
            .Write(GuestAddress{buffer.value + kHeaderSize},
                   std::span(reinterpret_cast<const uint8_t*>(data.data()), data.size()))
            .ok();
    if (!written) return false;
    fakes::FakeQueue& queue = driver_.Queue(kTxQueue);
    // As Linux does: header and payload in buffers of their own, if there is a payload.
    fakes::ChainBuilder chain = queue.Chain();
    chain.Raw(buffer, kHeaderSize, false);
    if (!data.empty()) {
      chain.Raw(GuestAddress{buffer.value + kHeaderSize}, static_cast<uint32_t>(data.size()), false)
          .Indirect();
    }
    tx_posted_[(kick ? chain.Send() : chain.SendQuietly()).head()] = buffer;
    return true;
  }

  bool Send(uint16_t op, uint32_t guest_port, uint32_t host_port, absl::string_view data = "",
            uint32_t flags = 0) {
    Header header = Make(op, guest_port, host_port, flags);
    header.len = static_cast<uint32_t>(data.size());
    return SendRaw(header, data);
  }

  // Takes back what the device is done with, and gives it buffers again.
  void Poll() {
    while (const std::optional<fakes::Used> used = driver_.Queue(kTxQueue).PopUsed()) {
      const auto posted = tx_posted_.find(used->head);
      if (posted == tx_posted_.end()) continue;  // A chain that a test made by hand.
      tx_free_.push_back(posted->second);
      tx_posted_.erase(posted);
    }
    while (const std::optional<fakes::Used> used = driver_.Queue(kRxQueue).PopUsed()) {
      const GuestAddress buffer = rx_posted_.at(used->head);
      rx_posted_.erase(used->head);
      rx_free_.push_back(buffer);
      std::vector<uint8_t> bytes(used->length);
      if (!driver_.memory().Read(buffer, bytes).ok() || bytes.size() < kHeaderSize) {
        ++malformed_;
        continue;
      }
      HeaderBytes header;
      std::copy_n(bytes.begin(), kHeaderSize, header.begin());
      received_.push_back(
          {DecodeHeader(header), std::string(bytes.begin() + kHeaderSize, bytes.end())});
      if (received_.back().header.len != received_.back().data.size()) ++malformed_;
    }
    if (!post_rx_ || rx_free_.empty()) return;
    for (const GuestAddress buffer : rx_free_) {
      fakes::ChainBuilder chain = driver_.Queue(kRxQueue).Chain();
      chain.Raw(buffer, rx_buffer_size_, true);
      rx_posted_[chain.SendQuietly().head()] = buffer;
    }
    rx_free_.clear();
    // One notification for all of them.
    driver_.Queue(kRxQueue).Kick();
  }

  void set_post_rx(bool post_rx) { post_rx_ = post_rx; }
  std::deque<Packet>& received() { return received_; }
  // Packets whose length does not agree with itself.
  int malformed() const { return malformed_; }
  size_t tx_unused() const { return tx_posted_.size(); }
  fakes::FakeDriver& driver() { return driver_; }

 private:
  fakes::FakeDriver driver_;
  const uint32_t rx_buffer_size_;
  bool post_rx_ = true;
  std::vector<GuestAddress> rx_buffers_;
  std::vector<GuestAddress> tx_buffers_;
  std::vector<GuestAddress> rx_free_;
  std::vector<GuestAddress> tx_free_;
  std::map<uint16_t, GuestAddress> rx_posted_;
  std::map<uint16_t, GuestAddress> tx_posted_;
  std::deque<Packet> received_;
  int malformed_ = 0;
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_GUEST_FOR_TEST_H_
