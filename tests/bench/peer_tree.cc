// Prints the device tree with which Hull's guest kernel finds the devices of QEMU's microvm: what
// QEMU is given as -dtb, since that kernel has neither ACPI nor virtio_mmio.device=.
//
//   peer_tree > FILE

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/boot/device_tree.h"

int main() {
  // QEMU 7.2, hw/i386/microvm.c and include/hw/i386/microvm.h, with acpi=off and one IO-APIC.
  constexpr uint64_t kVirtioMmioBase = 0xfeb00000;
  constexpr uint64_t kVirtioMmioSize = 512;
  constexpr uint32_t kVirtioIrqBase = 5;
  constexpr uint32_t kDevices = 4;
  hull::boot::HardwareDescription hardware;
  hardware.lapic_address = 0xfee00000;
  hardware.ioapic_address = 0xfec00000;
  for (uint32_t i = 0; i < kDevices; ++i) {
    hardware.virtio.push_back({.address = kVirtioMmioBase + i * kVirtioMmioSize,
                               .size = kVirtioMmioSize,
                               .irq = kVirtioIrqBase + i});
  }
  const absl::StatusOr<std::vector<uint8_t>> tree = hull::boot::BuildDeviceTree(hardware);
  if (!tree.ok() || std::fwrite(tree->data(), 1, tree->size(), stdout) != tree->size()) {
    std::fputs("peer_tree: cannot write the tree\n", stderr);
    return 1;
  }
  return 0;
}
