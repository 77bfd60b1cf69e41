#include "vmm/devices/vsock/packet.h"

#include <cstring>

namespace hull::vsock {

Header DecodeHeader(const HeaderBytes& bytes) {
  Header header;
  // SAFETY: a structure of plain integers, of which only the padding is left out.
  std::memcpy(static_cast<void*>(&header), bytes.data(), kHeaderSize);
  return header;
}

HeaderBytes EncodeHeader(const Header& header) {
  HeaderBytes bytes;
  std::memcpy(bytes.data(), &header, kHeaderSize);
  return bytes;
}

Verdict Judge(const Header& header, uint32_t payload_size, uint64_t guest_cid) {
  // Answering a spoofed source would send the guest packets for addresses it does not have.
  if (header.src_cid != guest_cid) return Verdict::kDrop;
  const bool for_stream_on_host = header.dst_cid == kHostCid && header.type == kTypeStream;
  if (header.op == kOpReset) return for_stream_on_host ? Verdict::kDeliver : Verdict::kDrop;
  // 5.10.6.4.2: RST for a type that is unknown; the same for an address that nobody has.
  if (!for_stream_on_host) return Verdict::kReset;
  if (header.op < kOpRequest || header.op > kOpCreditRequest) return Verdict::kReset;
  if (header.op == kOpReadWrite && (header.len > kMaxPayload || header.len > payload_size)) {
    // The stream has lost bytes that cannot be had any more.
    return Verdict::kReset;
  }
  return Verdict::kDeliver;
}

Header ResetFor(const Header& header) {
  return Header{.src_cid = header.dst_cid,
                .dst_cid = header.src_cid,
                .src_port = header.dst_port,
                .dst_port = header.src_port,
                .type = header.type,
                .op = kOpReset};
}

}  // namespace hull::vsock
