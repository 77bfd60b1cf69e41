#include "vmm/devices/serial/console.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/serial/output.h"
#include "vmm/devices/serial/wire.h"
#include "vmm/event/event_loop.h"

namespace hull::serial {
namespace {

using ::testing::HasSubstr;

class NoInterrupt : public Interrupt {
 public:
  void Raise() override {}
};

struct Pipe {
  explicit Pipe(int size = 65536) {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    read_end = UniqueFd(fds[0]);
    write_end = UniqueFd(fds[1]);
    EXPECT_GE(fcntl(fds[1], F_SETPIPE_SZ, size), 0);
    EXPECT_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
  }
  std::string ReadAll() const {
    std::string all;
    std::array<char, 4096> buffer;
    ssize_t n;
    while ((n = read(read_end.get(), buffer.data(), buffer.size())) > 0) {
      all.append(buffer.data(), static_cast<size_t>(n));
    }
    return all;
  }
  UniqueFd read_end;
  UniqueFd write_end;
};

class ConsoleTest : public testing::Test {
 protected:
  ConsoleTest() : loop_(*EventLoop::Create()) { signal(SIGPIPE, SIG_IGN); }

  // Until nothing more happens, not counting timers further off than 100 ms.
  void RunLoop() {
    while (*loop_->RunOnce(absl::Milliseconds(100))) {
    }
  }
  static void Put(Output& output, const std::string& text) {
    for (const char c : text) output.Put(static_cast<uint8_t>(c));
  }

  std::unique_ptr<EventLoop> loop_;
};

TEST_F(ConsoleTest, LinesAndPartialLinesArrive) {
  Pipe pipe;
  auto output = *Output::Create(*loop_, std::move(pipe.write_end));
  Put(*output, "line\npart");
  RunLoop();
  EXPECT_EQ(pipe.ReadAll(), "line\npart");
  Put(*output, "ial");
  RunLoop();
  EXPECT_EQ(pipe.ReadAll(), "ial");
  EXPECT_EQ(output->dropped(), 0u);
}

TEST_F(ConsoleTest, ASlowReaderCostsOutputAndIsToldSo) {
  Pipe pipe(4096);
  auto output = *Output::Create(*loop_, std::move(pipe.write_end));
  const size_t total = 3 * Output::kCapacity;
  for (size_t i = 0; i < total / 64; ++i) Put(*output, std::string(63, 'x') + "\n");
  EXPECT_EQ(output->dropped(), total - Output::kCapacity);
  std::string all;
  for (int i = 0; i < 100 && all.find("lost") == std::string::npos; ++i) {
    RunLoop();
    all += pipe.ReadAll();
  }
  EXPECT_THAT(all, HasSubstr("[hull-vmm: 131072 bytes of console output lost]"));
  Put(*output, "on again\n");
  RunLoop();
  EXPECT_THAT(pipe.ReadAll(), HasSubstr("on again\n"));
}

TEST_F(ConsoleTest, AReaderThatGoesAwayIsNotAnError) {
  Pipe pipe;
  auto output = *Output::Create(*loop_, std::move(pipe.write_end));
  pipe.read_end.Reset();
  Put(*output, "nobody reads this\n");
  RunLoop();
  Put(*output, "nor this\n");
  RunLoop();
  EXPECT_EQ(output->dropped(), 27u);
}

TEST_F(ConsoleTest, DrainWritesWhatIsLeftButNotForEver) {
  Pipe pipe(4096);
  auto output = *Output::Create(*loop_, std::move(pipe.write_end));
  Put(*output, std::string(6000, 'x'));
  const absl::Time start = absl::Now();
  output->Drain(absl::Milliseconds(50));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_EQ(pipe.ReadAll().size(), 4096u);
  output->Drain(absl::Seconds(5));
  EXPECT_EQ(pipe.ReadAll().size(), 6000u - 4096u);
}

TEST_F(ConsoleTest, ARegularFileTakesItAll) {
  UniqueFd file(memfd_create("console", MFD_CLOEXEC));
  const UniqueFd copy = *file.Duplicate();
  auto output = *Output::Create(*loop_, std::move(file));
  Put(*output, std::string(20000, 'y') + "\n");
  RunLoop();
  EXPECT_EQ(lseek(copy.get(), 0, SEEK_END), 20001);
}

TEST_F(ConsoleTest, InputWaitsForTheGuest) {
  Pipe out;
  Pipe in;
  auto console = *Console::Create(*loop_, std::make_shared<NoInterrupt>(), std::move(out.write_end),
                                  std::move(in.read_end));
  std::string text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>('a' + i % 26));
  ASSERT_EQ(write(in.write_end.get(), text.data(), text.size()), 300);
  in.write_end.Reset();
  std::string received;
  for (int i = 0; i < 1000 && received.size() < text.size(); ++i) {
    RunLoop();
    std::array<uint8_t, 1> byte;
    while (console->uart()->Read(kLineStatus, byte), (byte[0] & kLsrDataReady) != 0) {
      console->uart()->Read(kData, byte);
      received.push_back(static_cast<char>(byte[0]));
    }
  }
  EXPECT_EQ(received, text);
  // At the end of input, the loop is idle.
  RunLoop();
  EXPECT_FALSE(*loop_->RunOnce(absl::Milliseconds(1)));
}

TEST_F(ConsoleTest, InputFromAFileIsRefused) {
  Pipe out;
  UniqueFd file(memfd_create("input", MFD_CLOEXEC));
  const auto console = Console::Create(*loop_, std::make_shared<NoInterrupt>(),
                                       std::move(out.write_end), std::move(file));
  EXPECT_TRUE(absl::IsInvalidArgument(console.status())) << console.status();
}

}  // namespace
}  // namespace hull::serial
