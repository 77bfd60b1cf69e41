// How a device interrupts the guest, without knowing the interrupt controller.

#ifndef VMM_BUS_INTERRUPT_H_
#define VMM_BUS_INTERRUPT_H_

namespace hull {

// One interrupt line. Raise() may be called from any thread and never blocks; an edge is delivered
// at least once after each call.
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  virtual void Raise() = 0;
};

}  // namespace hull

#endif  // VMM_BUS_INTERRUPT_H_
