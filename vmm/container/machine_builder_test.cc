#include "vmm/container/machine_builder.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/machine/spec.h"

namespace hull::container {
namespace {

Config Example() {
  Config config;
  config.cpus = 2;
  config.memory_bytes = uint64_t{64} << 20;
  return config;
}

TEST(MachineBuilderTest, TheMachineIsWhatTheContainerAsksFor) {
  const absl::StatusOr<std::string> text = BuildMachineSpec(
      Example(),
      {.kernel = 3, .initramfs = 4, .root = 5, .connector = 6, .pause = 7, .console = -1});
  ASSERT_TRUE(text.ok()) << text.status();
  const absl::StatusOr<machine::MachineSpec> spec = machine::ParseSpec(*text);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->vcpus, 2u);
  EXPECT_EQ(spec->memory_bytes, uint64_t{64} << 20);
  EXPECT_EQ(spec->kernel.source, (std::variant<std::string, int>(3)));
  EXPECT_EQ(spec->initramfs->source, (std::variant<std::string, int>(4)));
  ASSERT_EQ(spec->block.size(), 1u);
  EXPECT_EQ(spec->block[0].file.source, (std::variant<std::string, int>(5)));
  EXPECT_TRUE(spec->block[0].read_only);
  EXPECT_EQ(spec->vsock->connector, 6);
  EXPECT_TRUE(spec->rng);
  EXPECT_EQ(spec->pause, 7);
  EXPECT_FALSE(spec->console.has_value());
  EXPECT_EQ(spec->cmdline, "");
}

TEST(MachineBuilderTest, TheLayerIsTheSecondDisk) {
  const absl::StatusOr<std::string> text = BuildMachineSpec(Example(), {.kernel = 3,
                                                                        .initramfs = 4,
                                                                        .root = 5,
                                                                        .connector = 6,
                                                                        .pause = -1,
                                                                        .console = -1,
                                                                        .layer = 9});
  ASSERT_TRUE(text.ok()) << text.status();
  const absl::StatusOr<machine::MachineSpec> spec = machine::ParseSpec(*text);
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_EQ(spec->block.size(), 2u);
  EXPECT_EQ(spec->block[1].id, "layer");
  EXPECT_EQ(spec->block[1].file.source, (std::variant<std::string, int>(9)));
  EXPECT_FALSE(spec->block[1].read_only);
}

TEST(MachineBuilderTest, APcMachineBootsFromItsDisk) {
  const MachineDescriptors descriptors = {
      .kernel = 4, .root = 6, .console = 9, .video_firmware = 5, .control = 7};
  const std::variant<std::string, int> disk = 6;
  for (const char* boot : {"floppy", "disk", "cdrom"}) {
    Config config = Example();
    config.cpus = 1;
    config.pc = PcMachine{.boot = boot};
    config.read_only = true;
    const absl::StatusOr<std::string> text = BuildMachineSpec(config, descriptors);
    ASSERT_TRUE(text.ok()) << text.status();
    const absl::StatusOr<machine::MachineSpec> spec = machine::ParseSpec(*text);
    ASSERT_TRUE(spec.ok()) << spec.status();
    ASSERT_TRUE(spec->pc.has_value());
    EXPECT_EQ(spec->firmware->source, (std::variant<std::string, int>(4)));
    EXPECT_EQ(spec->pc->video_firmware->source, (std::variant<std::string, int>(5)));
    EXPECT_EQ(spec->pc->control, 7);
    EXPECT_EQ(spec->pc->boot.size(), 1u);
    const machine::PcSpec& pc = *spec->pc;
    EXPECT_EQ(pc.diskettes.size(), boot == std::string("floppy") ? 1u : 0u);
    EXPECT_EQ(pc.disks.size(), boot == std::string("disk") ? 1u : 0u);
    EXPECT_EQ(pc.cdrom.has_value(), boot == std::string("cdrom"));
    for (const machine::DisketteSpec& diskette : pc.diskettes) {
      EXPECT_EQ(diskette.file.source, disk);
      EXPECT_TRUE(diskette.read_only);
    }
    for (const machine::DiskSpec& hard : pc.disks) EXPECT_EQ(hard.file.source, disk);
  }
}

TEST(MachineBuilderTest, VolumesFollowTheRootOrTheLayer) {
  const absl::StatusOr<std::string> text =
      BuildMachineSpec(Example(), {.kernel = 3,
                                   .initramfs = 4,
                                   .root = 5,
                                   .connector = 6,
                                   .console = -1,
                                   .layer = -1,
                                   .volumes = {{.fd = 9, .read_only = true}, {.fd = 10}}});
  ASSERT_TRUE(text.ok()) << text.status();
  const absl::StatusOr<machine::MachineSpec> spec = machine::ParseSpec(*text);
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_EQ(spec->block.size(), 3u);
  EXPECT_EQ(spec->block[1].file.source, (std::variant<std::string, int>(9)));
  EXPECT_TRUE(spec->block[1].read_only);
  EXPECT_FALSE(spec->block[2].read_only);
}

TEST(MachineBuilderTest, AConsoleShowsTheWholeBoot) {
  const absl::StatusOr<std::string> text = BuildMachineSpec(
      Example(),
      {.kernel = 3, .initramfs = 4, .root = 5, .connector = 6, .pause = -1, .console = 7});
  ASSERT_TRUE(text.ok()) << text.status();
  const absl::StatusOr<machine::MachineSpec> spec = machine::ParseSpec(*text);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->console->output.source, (std::variant<std::string, int>(7)));
  EXPECT_THAT(spec->cmdline, testing::HasSubstr("loglevel=7"));
}

TEST(MachineBuilderTest, WhatNoMachineCanBeIsRefused) {
  // No two files can have one number.
  EXPECT_FALSE(
      BuildMachineSpec(
          Example(),
          {.kernel = 3, .initramfs = 4, .root = 5, .connector = 5, .pause = -1, .console = -1})
          .ok());
}

}  // namespace
}  // namespace hull::container
