// How an ISA device moves data to and from the guest's memory, without knowing the DMA controller.

#ifndef VMM_BUS_DMA_CHANNEL_H_
#define VMM_BUS_DMA_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace hull {

// One channel, as the device at its request line sees it. Where in memory the data goes, how much
// of it and in which direction is for the guest's driver to say, in the controller's registers.
class DmaChannel {
 public:
  struct Moved {
    // How much of the data was transferred: less than all of it where the controller is not ready
    // for this channel and direction, or reached the end of its count.
    size_t bytes = 0;
    // Whether the transfer reached the end of its count: the controller's TC signal.
    bool terminal_count = false;
  };

  virtual ~DmaChannel() = default;

  // Any thread; never waits. Addresses outside the guest's memory swallow data and read as 0xff.
  virtual Moved ToMemory(std::span<const uint8_t> data) = 0;
  virtual Moved FromMemory(std::span<uint8_t> data) = 0;
};

}  // namespace hull

#endif  // VMM_BUS_DMA_CHANNEL_H_
