// A hostile guest against the registers of the serial port, and a hostile writer against its
// receiver: what is read is what was sent in, in order, and nothing else.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "vmm/bus/interrupt.h"
#include "vmm/devices/serial/uart.h"
#include "vmm/devices/serial/wire.h"

namespace {

using hull::serial::Uart;

struct Nothing : hull::Interrupt {
  void Raise() override {}
};

// What the receiver holds, as the data sheet has it.
class Model {
 public:
  void Write(uint8_t offset, uint8_t value) {
    if (offset == hull::serial::kData && !latch_ && loop_) Put(value);
    if (offset == hull::serial::kFifoControl && (value & hull::serial::kFcrClearReceive) != 0) {
      fifo_.clear();
    }
    if (offset == hull::serial::kLineControl) {
      latch_ = (value & hull::serial::kLcrDivisorLatch) != 0;
    }
    if (offset == hull::serial::kModemControl) loop_ = (value & hull::serial::kMcrLoop) != 0;
  }
  void CheckRead(uint8_t offset, uint8_t value) {
    if (offset == hull::serial::kLineStatus) {
      CHECK_EQ((value & hull::serial::kLsrDataReady) != 0, !fifo_.empty());
    }
    if (offset != hull::serial::kData || latch_) return;
    CHECK_EQ(value, fifo_.empty() ? 0 : fifo_.front());
    if (!fifo_.empty()) fifo_.pop_front();
  }
  void Receive(const std::vector<uint8_t>& data, size_t taken) {
    CHECK_LE(taken, data.size());
    if (loop_) return;
    for (size_t i = 0; i < taken; ++i) CHECK(Put(data[i]));
    CHECK(taken == data.size() || fifo_.size() == kFifoSize)
        << "bytes were turned away for nothing";
  }

 private:
  static constexpr size_t kFifoSize = 64;

  bool Put(uint8_t byte) {
    if (fifo_.size() == kFifoSize) return false;
    fifo_.push_back(byte);
    return true;
  }

  std::deque<uint8_t> fifo_;
  bool latch_ = false;
  bool loop_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t transmitted = 0;
  size_t written = 0;
  Uart uart(std::make_shared<Nothing>(),
            {.transmit = [&](uint8_t) { ++transmitted; }, .receive_room = [] {}});
  Model model;
  // Three bytes a step: what is done and at which register; a value; how wide.
  for (size_t i = 0; i + 3 <= size; i += 3) {
    const uint8_t offset = data[i] & 7;
    // The bus keeps an access within the device.
    const size_t width = 1 + data[i + 2] % (hull::serial::kRegisterCount - offset);
    std::vector<uint8_t> bytes(width, data[i + 1]);
    switch (data[i] >> 6) {
      case 0:
        uart.Read(offset, bytes);
        for (size_t k = 0; k < width; ++k) {
          model.CheckRead(static_cast<uint8_t>(offset + k), bytes[k]);
        }
        break;
      case 1:
        bytes.resize(data[i + 2]);
        model.Receive(bytes, uart.Receive(bytes));
        break;
      default:
        uart.Write(offset, bytes);
        written += width;
        for (size_t k = 0; k < width; ++k) model.Write(static_cast<uint8_t>(offset + k), bytes[k]);
        break;
    }
    CHECK_LE(transmitted, written) << "more was printed than the guest wrote";
  }
  return 0;
}
