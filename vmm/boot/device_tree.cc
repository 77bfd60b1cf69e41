#include "vmm/boot/device_tree.h"

extern "C" {
#include <libfdt.h>
}

#include <array>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hull::boot {

namespace {

constexpr uint32_t kIoapicPhandle = 1;
// Second cell of an interrupt of "intel,ce4100-ioapic".
constexpr uint32_t kEdgeRising = 3;

// libfdt's sequential writer, which keeps nodes in the order given (Linux probes in that order).
// The first error sticks and makes the rest do nothing.
class Writer {
 public:
  explicit Writer(std::vector<uint8_t>& blob) : blob_(blob) {
    // Searching for names that could be shared costs more than the bytes they would save.
    error_ = fdt_create_with_flags(blob_.data(), static_cast<int>(blob_.size()),
                                   FDT_CREATE_FLAG_NO_NAME_DEDUP);
    Do([&] { return fdt_finish_reservemap(blob_.data()); });
  }

  void Begin(const std::string& name) {
    Do([&] { return fdt_begin_node(blob_.data(), name.c_str()); });
  }
  void End() {
    Do([&] { return fdt_end_node(blob_.data()); });
  }
  void Empty(const char* name) {
    Do([&] { return fdt_property(blob_.data(), name, nullptr, 0); });
  }
  void String(const char* name, const char* value) {
    Do([&] { return fdt_property_string(blob_.data(), name, value); });
  }
  template <size_t N>
  void Cells(const char* name, const std::array<uint32_t, N>& values) {
    std::array<fdt32_t, N> cells;
    for (size_t i = 0; i < N; ++i) cells[i] = cpu_to_fdt32(values[i]);
    Do([&] { return fdt_property(blob_.data(), name, cells.data(), sizeof(cells)); });
  }
  void Cell(const char* name, uint32_t value) { Cells(name, std::array{value}); }
  // "reg" with two cells of address and two of size.
  void Reg(uint64_t address, uint64_t size) {
    Cells("reg", std::array{static_cast<uint32_t>(address >> 32), static_cast<uint32_t>(address),
                            static_cast<uint32_t>(size >> 32), static_cast<uint32_t>(size)});
  }

  absl::Status Finish() {
    Do([&] { return fdt_finish(blob_.data()); });
    if (error_ != 0) {
      return absl::InternalError(absl::StrCat("build the device tree: ", fdt_strerror(error_)));
    }
    blob_.resize(fdt_totalsize(blob_.data()));
    return absl::OkStatus();
  }

 private:
  template <typename F>
  void Do(F operation) {
    if (error_ == 0) error_ = operation();
  }

  std::vector<uint8_t>& blob_;
  int error_ = 0;
};

std::string At(const char* name, uint64_t address) {
  return absl::StrCat(name, "@", absl::Hex(address));
}

void WriteCpus(Writer& tree, const HardwareDescription& hardware) {
  tree.Begin("cpus");
  tree.Cell("#address-cells", 1);
  tree.Cell("#size-cells", 0);
  for (uint32_t id = 0; id < hardware.vcpus; ++id) {
    tree.Begin(At("cpu", id));
    tree.String("device_type", "cpu");
    tree.Cell("reg", id);
    tree.End();
  }
  tree.End();
}

void WriteInterruptControllers(Writer& tree, const HardwareDescription& hardware) {
  tree.Begin(At("lapic", hardware.lapic_address));
  tree.String("compatible", "intel,ce4100-lapic");
  tree.Reg(hardware.lapic_address, 0x1000);
  // Without it the kernel drives a PIC through the local APIC.
  tree.Empty("intel,virtual-wire-mode");
  tree.End();

  tree.Begin(At("ioapic", hardware.ioapic_address));
  tree.String("compatible", "intel,ce4100-ioapic");
  tree.Reg(hardware.ioapic_address, 0x1000);
  tree.Empty("interrupt-controller");
  tree.Cell("#interrupt-cells", 2);
  tree.Cell("phandle", kIoapicPhandle);
  tree.End();
}

void WriteSerial(Writer& tree, const HardwareDescription::Serial& serial) {
  constexpr uint32_t kPortSpace = 1;  // First cell of an ISA address: I/O ports.
  constexpr uint32_t kRegisters = 8;
  constexpr uint32_t kClock = 1843200;  // Hz; the PC's.
  tree.Begin("isa");                    // Linux goes by this name.
  tree.String("compatible", "isa");
  tree.Cell("#address-cells", 2);
  tree.Cell("#size-cells", 1);
  tree.Cells("ranges", std::array<uint32_t, 5>{kPortSpace, 0, 0, 0, 0x10000});
  tree.Begin(absl::StrCat("serial@i", absl::Hex(serial.port)));
  tree.String("compatible", "ns16550a");
  tree.Cells("reg", std::array<uint32_t, 3>{kPortSpace, serial.port, kRegisters});
  tree.Cell("clock-frequency", kClock);
  tree.Cells("interrupts", std::array{serial.irq, kEdgeRising});
  tree.Cell("interrupt-parent", kIoapicPhandle);
  tree.End();
  tree.End();
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> BuildDeviceTree(const HardwareDescription& hardware) {
  // Room for every node with its property names; Finish cuts it to size.
  std::vector<uint8_t> blob(2048 + 128 * size_t{hardware.vcpus} + 256 * hardware.virtio.size());
  Writer tree(blob);
  tree.Begin("");
  // Any will do, but without one the kernel ignores the tree.
  tree.String("compatible", "hull,micro");
  tree.Cell("#address-cells", 2);
  tree.Cell("#size-cells", 2);

  tree.Begin("chosen");
  if (hardware.exit_port.has_value()) tree.Cell("hull,exit-port", *hardware.exit_port);
  tree.End();

  WriteCpus(tree, hardware);

  tree.Begin("soc");
  tree.String("compatible", "simple-bus");
  tree.Cell("#address-cells", 2);
  tree.Cell("#size-cells", 2);
  tree.Empty("ranges");
  WriteInterruptControllers(tree, hardware);
  for (const HardwareDescription::VirtioMmio& device : hardware.virtio) {
    tree.Begin(At("virtio", device.address));
    tree.String("compatible", "virtio,mmio");
    tree.Reg(device.address, device.size);
    tree.Cells("interrupts", std::array{device.irq, kEdgeRising});
    tree.Cell("interrupt-parent", kIoapicPhandle);
    if (device.used_buffers_only) tree.Empty("hull,used-buffers-only");
    tree.End();
  }
  tree.End();

  if (hardware.serial.has_value()) WriteSerial(tree, *hardware.serial);

  tree.End();
  absl::Status status = tree.Finish();
  if (!status.ok()) return status;
  return blob;
}

}  // namespace hull::boot
