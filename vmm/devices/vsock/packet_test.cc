#include "vmm/devices/vsock/packet.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace hull::vsock {
namespace {

constexpr uint64_t kGuest = 3;

Header Good(uint16_t op) {
  return Header{.src_cid = kGuest,
                .dst_cid = kHostCid,
                .src_port = 1000,
                .dst_port = 2000,
                .type = kTypeStream,
                .op = op};
}

TEST(PacketTest, EncodesTheSpecificationsLayout) {
  const Header header = {.src_cid = 0x0807060504030201,
                         .dst_cid = 0x100f0e0d0c0b0a09,
                         .src_port = 0x14131211,
                         .dst_port = 0x18171615,
                         .len = 0x1c1b1a19,
                         .type = 0x1e1d,
                         .op = 0x201f,
                         .flags = 0x24232221,
                         .buf_alloc = 0x28272625,
                         .fwd_cnt = 0x2c2b2a29};
  const HeaderBytes bytes = EncodeHeader(header);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], i + 1);
  EXPECT_EQ(EncodeHeader(DecodeHeader(bytes)), bytes);
}

TEST(PacketTest, JudgesEachField) {
  struct Case {
    std::string name;
    void (*change)(Header&);
    uint32_t payload_size;
    Verdict expected;
  };
  const std::vector<Case> cases = {
      {"request", [](Header& h) { h.op = kOpRequest; }, 0, Verdict::kDeliver},
      {"credit request", [](Header& h) { h.op = kOpCreditRequest; }, 0, Verdict::kDeliver},
      {"operation 0", [](Header& h) { h.op = 0; }, 0, Verdict::kReset},
      {"operation 8", [](Header& h) { h.op = 8; }, 0, Verdict::kReset},
      {"operation 65535", [](Header& h) { h.op = 0xffff; }, 0, Verdict::kReset},
      {"reset", [](Header& h) { h.op = kOpReset; }, 0, Verdict::kDeliver},
      {"spoofed source", [](Header& h) { h.src_cid = 4; }, 0, Verdict::kDrop},
      {"source is the host", [](Header& h) { h.src_cid = kHostCid; }, 0, Verdict::kDrop},
      {"source with high bits", [](Header& h) { h.src_cid |= 1ull << 32; }, 0, Verdict::kDrop},
      {"other destination", [](Header& h) { h.dst_cid = 1; }, 0, Verdict::kReset},
      {"destination with high bits", [](Header& h) { h.dst_cid |= 1ull << 32; }, 0,
       Verdict::kReset},
      {"seqpacket", [](Header& h) { h.type = 2; }, 0, Verdict::kReset},
      {"type 0", [](Header& h) { h.type = 0; }, 0, Verdict::kReset},
      // A reset is never answered by a reset.
      {"reset to nowhere",
       [](Header& h) {
         h.op = kOpReset;
         h.dst_cid = 7;
       },
       0, Verdict::kDrop},
      {"reset of another type",
       [](Header& h) {
         h.op = kOpReset;
         h.type = 2;
       },
       0, Verdict::kDrop},
      {"no data", [](Header& h) { h.len = 0; }, 0, Verdict::kDeliver},
      {"exact data", [](Header& h) { h.len = 100; }, 100, Verdict::kDeliver},
      {"buffer longer than data", [](Header& h) { h.len = 100; }, 200, Verdict::kDeliver},
      {"data beyond the buffer", [](Header& h) { h.len = 101; }, 100, Verdict::kReset},
      {"largest data", [](Header& h) { h.len = kMaxPayload; }, kMaxPayload, Verdict::kDeliver},
      {"too much data", [](Header& h) { h.len = kMaxPayload + 1; }, 1u << 20, Verdict::kReset},
      {"absurd length", [](Header& h) { h.len = 0xffffffff; }, 0xffffffff, Verdict::kReset},
      // The length of what carries no data says nothing.
      {"length of a shutdown",
       [](Header& h) {
         h.op = kOpShutdown;
         h.len = 0xffffffff;
       },
       0, Verdict::kDeliver},
  };
  for (const Case& c : cases) {
    Header header = Good(kOpReadWrite);
    c.change(header);
    EXPECT_EQ(Judge(header, c.payload_size, kGuest), c.expected) << c.name;
  }
}

TEST(PacketTest, AnswersFromTheAddressThatWasMeant) {
  Header header = Good(kOpReadWrite);
  header.dst_cid = 9;
  header.type = 2;
  header.len = 77;
  header.flags = 3;
  const Header reset = ResetFor(header);
  EXPECT_EQ(reset.src_cid, 9u);
  EXPECT_EQ(reset.dst_cid, kGuest);
  EXPECT_EQ(reset.src_port, 2000u);
  EXPECT_EQ(reset.dst_port, 1000u);
  EXPECT_EQ(reset.op, kOpReset);
  EXPECT_EQ(reset.type, 2u);
  EXPECT_EQ(reset.len, 0u);
  EXPECT_EQ(reset.flags, 0u);
}

}  // namespace
}  // namespace hull::vsock
