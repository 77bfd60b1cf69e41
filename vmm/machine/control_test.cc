#include "vmm/machine/control.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/vga/wire.h"
#include "vmm/machine/control_protocol.h"

namespace hull::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

struct Nothing : Interrupt {
  void Raise() override {}
};

class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::Create();
    ASSERT_TRUE(loop.ok());
    loop_ = *std::move(loop);
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    mine_ = UniqueFd(ends[0]);
    auto control = Control::Create(*loop_, UniqueFd(ends[1]), screen_, keyboard_);
    ASSERT_TRUE(control.ok());
    control_ = *std::move(control);
  }
  std::vector<int> Ask(const std::vector<uint8_t>& request) {
    EXPECT_EQ(send(mine_.get(), request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    EXPECT_TRUE(loop_->RunOnce(absl::Seconds(60)).ok());
    std::array<uint8_t, 65536> reply;
    const ssize_t size = recv(mine_.get(), reply.data(), reply.size(), MSG_DONTWAIT);
    return {reply.begin(), reply.begin() + std::max<ssize_t>(size, 0)};
  }

  std::unique_ptr<EventLoop> loop_;
  std::shared_ptr<vga::Device> screen_ = std::make_shared<vga::Device>(
      [] { return absl::ZeroDuration(); },
      ScopedMmap::Map(vga::kFrameBufferSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
          .value());
  std::shared_ptr<i8042::Device> keyboard_ = std::make_shared<i8042::Device>(
      std::make_shared<Nothing>(), std::make_shared<Nothing>(), [] {});
  UniqueFd mine_;
  std::unique_ptr<Control> control_;
};

TEST_F(ControlTest, KeysReachTheKeyboard) {
  EXPECT_THAT(Ask({'K', 0x1e, 0x9e}), ElementsAre('K', 2, 0));
  std::array<uint8_t, 1> data;
  keyboard_->Read(0, data);
  EXPECT_EQ(data[0], 0x1e);
  const std::vector<int> reply = Ask(std::vector<uint8_t>(control::kMaxRequest, 'K'));
  EXPECT_LT(reply[1] | reply[2] << 8, 256) << "there is not room for all of them";
  EXPECT_THAT(Ask({'M', 1, 0, 0xff, 0xff, 1}), ElementsAre('M'));
}

TEST_F(ControlTest, TheScreenIsSeen) {
  // Two columns and a row of one line.
  const std::array<uint8_t, 2> columns = {vga::kHorizontalEnd, 1};
  screen_->WritePorts(vga::kMiscWrite, std::array<uint8_t, 1>{0x63});
  screen_->WritePorts(vga::kColourCrtcIndex, columns);
  EXPECT_THAT(Ask({'T'}), ElementsAre('T', 2, 0, 1, 0, 0, 0, 0, 0, 0, ' ', 0, ' ', 0));
  EXPECT_THAT(Ask({'P'}), ElementsAre('P', 18, 0, 0, 0, 1, 0, 0, 0));
  EXPECT_THAT(Ask({'R', 0, 0, 0, 0}), SizeIs(1 + 18 * 3));
  EXPECT_THAT(Ask({'R', 50, 0, 0, 0}), SizeIs(1 + 4));
  EXPECT_THAT(Ask({'R', 0xff, 0xff, 0xff, 0xff}), SizeIs(1));
}

TEST_F(ControlTest, RubbishIsAnsweredWithAnError) {
  EXPECT_THAT(Ask({'X'}), ElementsAre('E'));
  EXPECT_THAT(Ask({'K'}), ElementsAre('E'));
  EXPECT_THAT(Ask({'M', 1}), ElementsAre('E'));
  EXPECT_THAT(Ask({'R', 1, 2, 3}), ElementsAre('E'));
  EXPECT_THAT(Ask(std::vector<uint8_t>(5000, 'K')), ElementsAre('E'));
}

TEST_F(ControlTest, WhoNeverReadsOrGoesAwayIsLetGo) {
  ASSERT_EQ(send(mine_.get(), "P", 1, 0), 1);
  const std::vector<uint8_t> request = {'T'};
  ssize_t sent = 1;
  // Until the replies that nobody reads fill the socket and it is closed.
  for (int i = 0; i < 100000 && sent > 0; ++i) {
    sent = send(mine_.get(), request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ASSERT_TRUE(loop_->RunOnce(absl::ZeroDuration()).ok());
  }
  EXPECT_EQ(sent, -1);
  EXPECT_TRUE(errno == EPIPE || errno == ECONNRESET) << errno;
  SetUp();
  mine_ = UniqueFd();
  EXPECT_TRUE(*loop_->RunOnce(absl::Seconds(60)));
  EXPECT_FALSE(*loop_->RunOnce(absl::ZeroDuration())) << "it is no longer watched";
}

}  // namespace
}  // namespace hull::machine
