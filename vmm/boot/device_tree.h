// The description of the machine's hardware that Linux reads: a flattened device tree.
//
// Devicetree Specification 0.4; the nodes are those of arch/x86/kernel/devicetree.c and
// Documentation/devicetree/bindings/virtio/mmio.yaml. kernel-config/README.md states the contract
// with Hull's guest kernel.

#ifndef VMM_BOOT_DEVICE_TREE_H_
#define VMM_BOOT_DEVICE_TREE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace hull::boot {

// What there is besides RAM, which the e820 map describes.
struct HardwareDescription {
  struct VirtioMmio {
    uint64_t address = 0;
    uint64_t size = 0;
    uint32_t irq = 0;  // IO-APIC pin; edge, rising.
    // Its interrupts say that buffers were used and nothing else, as its configuration never
    // changes: Hull's kernel then neither asks what they say nor acknowledges them (two exits
    // each).
    bool used_buffers_only = false;
  };

  struct Serial {
    uint16_t port = 0;
    uint32_t irq = 0;  // As above.
  };

  uint32_t vcpus = 1;  // APIC ids 0 to vcpus - 1.
  uint64_t lapic_address = 0;
  uint64_t ioapic_address = 0;
  // In the order in which the guest is to probe them: the first disk is /dev/vda.
  std::vector<VirtioMmio> virtio = {};
  std::optional<Serial> serial = std::nullopt;  // A 16550A.
  std::optional<uint16_t> exit_port = std::nullopt;
};

// The blob, ready for SETUP_DTB. Fails only where libfdt does. Pure.
absl::StatusOr<std::vector<uint8_t>> BuildDeviceTree(const HardwareDescription& hardware);

}  // namespace hull::boot

#endif  // VMM_BOOT_DEVICE_TREE_H_
