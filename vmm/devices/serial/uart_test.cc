#include "vmm/devices/serial/uart.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "vmm/devices/serial/wire.h"

namespace hull::serial {
namespace {

class CountingInterrupt : public Interrupt {
 public:
  void Raise() override { ++count; }
  int count = 0;
};

class UartTest : public testing::Test {
 protected:
  uint8_t Read(uint8_t offset) {
    std::array<uint8_t, 1> data = {0xee};
    uart_.Read(offset, data);
    return data[0];
  }
  void Write(uint8_t offset, uint8_t value) { uart_.Write(offset, std::array{value}); }
  size_t Receive(const std::string& text) {
    return uart_.Receive(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  int TakeInterrupts() { return std::exchange(interrupt_->count, 0); }

  std::shared_ptr<CountingInterrupt> interrupt_ = std::make_shared<CountingInterrupt>();
  std::string sent_;
  int room_ = 0;
  Uart uart_{interrupt_,
             {.transmit = [this](uint8_t byte) { sent_.push_back(static_cast<char>(byte)); },
              .receive_room = [this] { ++room_; }}};
};

TEST_F(UartTest, TransmitsAtOnce) {
  EXPECT_EQ(Read(kLineStatus), kLsrTransmitterEmpty);
  Write(kData, 'h');
  Write(kData, 'i');
  EXPECT_EQ(sent_, "hi");
  EXPECT_EQ(Read(kLineStatus), kLsrTransmitterEmpty);
  EXPECT_EQ(TakeInterrupts(), 0) << "none is enabled";
}

TEST_F(UartTest, TransmitterInterrupt) {
  EXPECT_EQ(Read(kInterruptIdentity), kIirNone);
  Write(kInterruptEnable, kIerTransmitterEmpty);
  EXPECT_EQ(TakeInterrupts(), 1) << "enabling it raises it, as the transmitter is empty";
  EXPECT_EQ(Read(kInterruptIdentity), kIirTransmitterEmpty);
  EXPECT_EQ(Read(kInterruptIdentity), kIirNone) << "reading acknowledges";
  Write(kData, 'x');
  EXPECT_EQ(TakeInterrupts(), 1);
  EXPECT_EQ(Read(kInterruptIdentity), kIirTransmitterEmpty);
}

TEST_F(UartTest, ReceivesInOrderWithInterrupts) {
  Write(kInterruptEnable, kIerReceived);
  EXPECT_EQ(Receive("ab"), 2u);
  EXPECT_EQ(TakeInterrupts(), 1);
  EXPECT_EQ(Read(kInterruptIdentity), kIirReceived);
  EXPECT_NE(Read(kLineStatus) & kLsrDataReady, 0);
  EXPECT_EQ(Read(kData), 'a');
  EXPECT_EQ(Read(kInterruptIdentity), kIirReceived) << "pending as long as there is data";
  EXPECT_EQ(Read(kData), 'b');
  EXPECT_EQ(Read(kInterruptIdentity), kIirNone);
  EXPECT_EQ(Read(kLineStatus) & kLsrDataReady, 0);
  EXPECT_EQ(Read(kData), 0);
}

TEST_F(UartTest, AFullFifoTurnsBytesAwayAndAsksForThemOnce) {
  EXPECT_EQ(Receive(std::string(100, 'x')), 64u);
  for (int i = 0; i < 63; ++i) EXPECT_EQ(Read(kData), 'x');
  EXPECT_EQ(room_, 0);
  EXPECT_EQ(Read(kData), 'x');
  EXPECT_EQ(room_, 1);
  EXPECT_EQ(Receive("y"), 1u);
  EXPECT_EQ(Read(kData), 'y');
  EXPECT_EQ(room_, 1) << "nothing was turned away since";
}

TEST_F(UartTest, ClearingTheFifoMakesRoom) {
  EXPECT_EQ(Receive(std::string(65, 'x')), 64u);
  Write(kFifoControl, kFcrEnable | kFcrClearReceive);
  EXPECT_EQ(room_, 1);
  EXPECT_EQ(Read(kLineStatus) & kLsrDataReady, 0);
  EXPECT_EQ(Read(kInterruptIdentity), kIirFifoEnabled | kIirNone) << "a 16550A to its driver";
}

TEST_F(UartTest, TheDivisorLatchHidesTheDataRegisters) {
  Write(kLineControl, kLcrDivisorLatch | 3);
  Write(kData, 1);
  Write(kInterruptEnable, 0);
  EXPECT_EQ(Read(kData), 1);
  EXPECT_EQ(Read(kInterruptEnable), 0);
  EXPECT_EQ(sent_, "");
  Write(kLineControl, 3);
  EXPECT_EQ(Read(kLineControl), 3);
  Write(kData, 'z');
  EXPECT_EQ(sent_, "z");
}

TEST_F(UartTest, Loopback) {
  Write(kModemControl, kMcrLoop | kMcrOut2 | kMcrRequestToSend);
  EXPECT_EQ(Read(kModemStatus), kMsrCarrier | kMsrClearToSend);
  Write(kData, 'q');
  EXPECT_EQ(sent_, "");
  EXPECT_EQ(Read(kData), 'q');
  EXPECT_EQ(Receive("lost"), 4u);
  EXPECT_EQ(Read(kLineStatus) & kLsrDataReady, 0);
  for (int i = 0; i < 1000; ++i) Write(kData, 'o');  // More than the FIFO holds.
  Write(kModemControl, 0);
  EXPECT_EQ(Read(kModemStatus), kMsrClearToSend | kMsrDataSetReady | kMsrCarrier);
}

TEST_F(UartTest, ScratchAndReadOnlyRegisters) {
  Write(kScratch, 0x5a);
  EXPECT_EQ(Read(kScratch), 0x5a);
  Write(kLineStatus, 0xff);
  Write(kModemStatus, 0);
  EXPECT_EQ(Read(kLineStatus), kLsrTransmitterEmpty);
  Write(kInterruptEnable, 0xff);
  EXPECT_EQ(Read(kInterruptEnable), kIerMask);
}

TEST_F(UartTest, WideAccessesAreBytesAtConsecutivePorts) {
  uart_.Write(kLineControl, std::array<uint8_t, 2>{3, kMcrOut1});
  std::array<uint8_t, 2> data = {};
  uart_.Read(kLineControl, data);
  EXPECT_EQ(data[0], 3);
  EXPECT_EQ(data[1], kMcrOut1);
}

}  // namespace
}  // namespace hull::serial
