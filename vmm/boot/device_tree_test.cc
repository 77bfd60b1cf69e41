#include "vmm/boot/device_tree.h"

extern "C" {
#include <libfdt.h>
}

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::boot {
namespace {

using ::testing::ElementsAre;

class Tree {
 public:
  explicit Tree(const HardwareDescription& hardware) {
    auto blob = BuildDeviceTree(hardware);
    EXPECT_TRUE(blob.ok()) << blob.status();
    if (blob.ok()) blob_ = *std::move(blob);
    EXPECT_EQ(fdt_check_full(blob_.data(), blob_.size()), 0);
  }
  bool Has(const std::string& node) const {
    return fdt_path_offset(blob_.data(), node.c_str()) >= 0;
  }
  bool HasProperty(const std::string& node, const char* property) const {
    return fdt_getprop(blob_.data(), fdt_path_offset(blob_.data(), node.c_str()), property,
                       nullptr) != nullptr;
  }
  std::vector<uint32_t> Cells(const std::string& node, const char* property) const {
    int size = 0;
    const void* data =
        fdt_getprop(blob_.data(), fdt_path_offset(blob_.data(), node.c_str()), property, &size);
    std::vector<uint32_t> cells;
    for (int i = 0; data != nullptr && i < size / 4; ++i) {
      cells.push_back(fdt32_ld(static_cast<const fdt32_t*>(data) + i));
    }
    return cells;
  }
  std::string String(const std::string& node, const char* property) const {
    const void* data =
        fdt_getprop(blob_.data(), fdt_path_offset(blob_.data(), node.c_str()), property, nullptr);
    return data == nullptr ? "" : static_cast<const char*>(data);
  }
  std::vector<std::string> Children(const std::string& node) const {
    std::vector<std::string> names;
    int child;
    fdt_for_each_subnode(child, blob_.data(), fdt_path_offset(blob_.data(), node.c_str())) {
      names.push_back(fdt_get_name(blob_.data(), child, nullptr));
    }
    return names;
  }
  size_t size() const { return blob_.size(); }

 private:
  std::vector<uint8_t> blob_;
};

constexpr uint64_t kLapic = 0xfee00000;
constexpr uint64_t kIoapic = 0xfec00000;

TEST(DeviceTreeTest, WhatTheGuestKernelLooksFor) {
  const Tree tree({.vcpus = 2,
                   .lapic_address = kLapic,
                   .ioapic_address = kIoapic,
                   .virtio = {{0xd0000000, 0x1000, 5, true}, {0xd0001000, 0x1000, 6}},
                   .serial = HardwareDescription::Serial{.port = 0x3f8, .irq = 4},
                   .exit_port = 0x501});
  EXPECT_NE(tree.String("/", "compatible"), "");
  EXPECT_THAT(tree.Cells("/chosen", "hull,exit-port"), ElementsAre(0x501));
  EXPECT_THAT(tree.Children("/cpus"), ElementsAre("cpu@0", "cpu@1"));
  EXPECT_THAT(tree.Cells("/cpus/cpu@1", "reg"), ElementsAre(1));
  EXPECT_EQ(tree.String("/cpus/cpu@1", "device_type"), "cpu");
  EXPECT_EQ(tree.String("/soc", "compatible"), "simple-bus");
  // In the order given, as Linux names the disks by it.
  EXPECT_THAT(tree.Children("/soc"), ElementsAre("lapic@fee00000", "ioapic@fec00000",
                                                 "virtio@d0000000", "virtio@d0001000"));
  EXPECT_EQ(tree.String("/soc/ioapic@fec00000", "compatible"), "intel,ce4100-ioapic");
  EXPECT_THAT(tree.Cells("/soc/virtio@d0001000", "reg"), ElementsAre(0, 0xd0001000, 0, 0x1000));
  EXPECT_THAT(tree.Cells("/soc/virtio@d0001000", "interrupts"), ElementsAre(6, 3));
  EXPECT_EQ(tree.Cells("/soc/virtio@d0001000", "interrupt-parent"),
            tree.Cells("/soc/ioapic@fec00000", "phandle"));
  EXPECT_TRUE(tree.HasProperty("/soc/virtio@d0000000", "hull,used-buffers-only"));
  EXPECT_FALSE(tree.HasProperty("/soc/virtio@d0001000", "hull,used-buffers-only"));
  EXPECT_THAT(tree.Cells("/isa/serial@i3f8", "reg"), ElementsAre(1, 0x3f8, 8));
  EXPECT_THAT(tree.Cells("/isa/serial@i3f8", "interrupts"), ElementsAre(4, 3));
}

TEST(DeviceTreeTest, WhatIsAbsentIsNotDescribed) {
  const Tree tree({.lapic_address = kLapic, .ioapic_address = kIoapic});
  EXPECT_TRUE(tree.Cells("/chosen", "hull,exit-port").empty());
  EXPECT_FALSE(tree.Has("/isa"));
  EXPECT_THAT(tree.Children("/soc"), ElementsAre("lapic@fee00000", "ioapic@fec00000"));
}

TEST(DeviceTreeTest, TheLargestMachineFits) {
  HardwareDescription hardware = {.vcpus = 255, .lapic_address = kLapic, .ioapic_address = kIoapic};
  hardware.serial = HardwareDescription::Serial{.port = 0x3f8, .irq = 4};
  hardware.exit_port = 0x501;
  for (uint64_t i = 0; i < 19; ++i) {
    hardware.virtio.push_back({0xfffffffff0000000 + i * 0x1000, 0x1000, 23, true});
  }
  const Tree tree(hardware);
  EXPECT_EQ(tree.Children("/cpus").size(), 255u);
  EXPECT_LT(tree.size(), 64u << 10);
}

}  // namespace
}  // namespace hull::boot
