#include "vmm/machine/spec.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::machine {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kFull[] = R"({
  "version": 1, "machine": "micro", "vcpus": 2, "memory_bytes": 134217728,
  "kernel": {"path": "/k"}, "initramfs": {"fd": 7}, "cmdline": "quiet",
  "console": {"fd": 1, "input": {"fd": 0}},
  "block": [{"id": "root", "path": "/r.erofs", "read_only": true},
            {"id": "data", "fd": 9, "direct": true}],
  "vsock": {"guest_cid": 3, "host_socket": "/run/v"}, "rng": {}, "pause": {"fd": 8}
})";

constexpr char kSmall[] =
    R"({"version":1,"machine":"micro","vcpus":1,"memory_bytes":25165824,"kernel":{"path":"k"}})";

std::string ErrorOf(const std::string& text) {
  const auto spec = ParseSpec(text);
  EXPECT_TRUE(absl::IsInvalidArgument(spec.status())) << text;
  return std::string(spec.status().message());
}

// kFull with one text replaced by another.
std::string Error(const std::string& from, const std::string& to) {
  const std::string text = absl::StrReplaceAll(kFull, {{from, to}});
  EXPECT_NE(text, kFull) << from;
  return ErrorOf(text);
}

TEST(ParseSpecTest, Everything) {
  const auto spec = ParseSpec(kFull);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->vcpus, 2u);
  EXPECT_EQ(spec->memory_bytes, 134217728u);
  EXPECT_EQ(spec->kernel, FileRef{"/k"});
  EXPECT_EQ(spec->initramfs, FileRef{7});
  EXPECT_EQ(spec->cmdline, "quiet");
  EXPECT_EQ(spec->console->output, FileRef{1});
  EXPECT_EQ(spec->console->input, FileRef{0});
  ASSERT_EQ(spec->block.size(), 2u);
  EXPECT_TRUE(spec->block[0].read_only);
  EXPECT_FALSE(spec->block[0].direct);
  EXPECT_TRUE(spec->block[1].direct);
  EXPECT_EQ(spec->vsock->host_socket, "/run/v");
  EXPECT_TRUE(spec->rng);
  EXPECT_EQ(spec->pause, 8);
}

TEST(ParseSpecTest, WhatIsOptionalIsAbsent) {
  const auto spec = ParseSpec(kSmall);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_FALSE(spec->initramfs.has_value());
  EXPECT_FALSE(spec->console.has_value());
  EXPECT_FALSE(spec->vsock.has_value());
  EXPECT_FALSE(spec->rng);
  EXPECT_FALSE(spec->pause.has_value());
  EXPECT_TRUE(spec->block.empty());
}

TEST(ParseSpecTest, SerializedAndParsedAgain) {
  for (const char* text : {kFull, kSmall}) {
    const auto spec = ParseSpec(text);
    ASSERT_TRUE(spec.ok());
    const auto again = ParseSpec(SerializeSpec(*spec));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, *spec);
  }
}

TEST(ParseSpecTest, ErrorsNameTheField) {
  EXPECT_EQ(Error(R"("path": "/r.erofs")", R"("path": 5)"), "block[0].path: expected a string");
  EXPECT_EQ(Error("\"rng\": {}", "\"colour\": 1"), "colour: unknown field");
  EXPECT_EQ(Error("\"rng\": {}", "\"rng\": {\"x\": 1}"), "rng.x: unknown field");
  EXPECT_EQ(Error("\"rng\": {}", "\"rng\": true"), "rng: expected an object");
  EXPECT_EQ(Error("{\"fd\": 8}", "{}"), "pause.fd: missing");
  EXPECT_EQ(Error("{\"path\": \"/k\"}", "{\"path\": \"/k\", \"extra\": 1}"),
            "kernel.extra: unknown field");
  EXPECT_EQ(Error("{\"path\": \"/k\"}", "{}"), "kernel: expected either \"path\" or \"fd\"");
  EXPECT_EQ(Error("{\"path\": \"/k\"}", "{\"path\": \"/k\", \"fd\": 1}"),
            "kernel: expected either \"path\" or \"fd\"");
  EXPECT_EQ(Error("{\"path\": \"/k\"}", "{\"path\": \"\"}"), "kernel: expected a file name");
  EXPECT_EQ(Error("\"fd\": 7", "\"fd\": -1"),
            "initramfs.fd: expected an integer from 0 to 2147483647");
  EXPECT_EQ(Error("\"fd\": 7", "\"fd\": 2147483648"),
            "initramfs.fd: expected an integer from 0 to 2147483647");
  EXPECT_EQ(Error("\"fd\": 7", "\"fd\": 9"), "block[1]: descriptor 9 is used twice");
  EXPECT_EQ(Error("\"vcpus\": 2", "\"vcpus\": 0"), "vcpus: expected an integer from 1 to 32");
  EXPECT_EQ(Error("\"vcpus\": 2", "\"vcpus\": 33"), "vcpus: expected an integer from 1 to 32");
  EXPECT_EQ(Error("\"vcpus\": 2", "\"vcpus\": 1.5"), "vcpus: expected an integer from 1 to 32");
  EXPECT_EQ(Error("\"vcpus\": 2", "\"vcpus\": \"2\""), "vcpus: expected an integer from 1 to 32");
  EXPECT_EQ(Error("\"vcpus\": 2, ", ""), "vcpus: missing");
  EXPECT_EQ(Error("\"machine\": \"micro\"", "\"machine\": \"mini\""),
            "machine: \"mini\" is not a machine model; there are \"micro\" and \"pc\"");
  EXPECT_EQ(Error("\"read_only\": true", "\"read_only\": 1"),
            "block[0].read_only: expected true or false");
  EXPECT_EQ(Error("\"id\": \"data\"", "\"id\": \"root\""), "block[1].id: \"root\" is used twice");
  EXPECT_THAT(Error("\"id\": \"data\"", "\"id\": \"a b\""),
              StartsWith("block[1].id: expected 1 to"));
  EXPECT_THAT(Error("\"id\": \"data\"", "\"id\": \"123456789012345678901\""),
              StartsWith("block[1].id: expected 1 to 20"));
  EXPECT_EQ(Error("\"quiet\"", "\"a\\nb\""), "cmdline: a control character");
  EXPECT_EQ(Error("\"quiet\"", "\"" + std::string(2001, 'x') + "\""),
            "cmdline: longer than 2000 bytes");
  EXPECT_THAT(Error("\"guest_cid\": 3", "\"guest_cid\": 2"), StartsWith("vsock.guest_cid:"));
  EXPECT_THAT(Error("\"guest_cid\": 3", "\"guest_cid\": 4294967295"),
              StartsWith("vsock.guest_cid:"));
  EXPECT_EQ(Error("\"/run/v\"", "\"/" + std::string(96, 'x') + "\""),
            "vsock.host_socket: longer than 96 bytes");
  EXPECT_EQ(Error("\"/k\"", "\"a\\u0000b\""), "kernel: a NUL in a file name");
}

TEST(ParseSpecTest, Memory) {
  EXPECT_THAT(Error("134217728", "25161728"), HasSubstr("24 MiB"));
  EXPECT_THAT(Error("134217728", "134217729"), HasSubstr("multiple of 4096"));
  EXPECT_THAT(Error("134217728", "-1"), StartsWith("memory_bytes: expected"));
  EXPECT_THAT(Error("134217728", "18446744073709551616"), StartsWith("memory_bytes: expected"));
  EXPECT_THAT(Error("134217728", "9223372036854775808"), StartsWith("memory_bytes: expected"));
}

TEST(ParseSpecTest, VersionComesFirst) {
  EXPECT_EQ(ErrorOf(R"({"version": 2, "later": true})"), "version: only version 1 is supported");
  EXPECT_EQ(ErrorOf(R"({"version": "1"})"), "version: only version 1 is supported");
  EXPECT_EQ(ErrorOf(R"({"version": 1.5})"), "version: only version 1 is supported");
  EXPECT_EQ(ErrorOf("{}"), "version: missing");
  EXPECT_EQ(ErrorOf("[]"), "specification: expected an object");
}

TEST(ParseSpecTest, Bounds) {
  EXPECT_THAT(ErrorOf(std::string(kMaxSpecSize + 1, ' ')), HasSubstr("larger than"));
  std::string disks;
  for (int i = 0; i < 18; ++i) {
    disks +=
        (i == 0 ? "" : ",") + std::string(R"({"path":"d","id":"d)") + std::to_string(i) + "\"}";
  }
  const std::string small(kSmall);
  EXPECT_EQ(ErrorOf(small.substr(0, small.size() - 1) + ",\"block\":[" + disks + "]}"),
            "block: more than 17 disks");
}

TEST(ParseSpecTest, AKeyIsNotPrintedAtAnyLength) {
  const std::string error = ErrorOf("{\"version\":1,\"" + std::string(10000, 'k') + "\\u001b\":1}");
  EXPECT_LT(error.size(), 100u);
}

TEST(ParseSpecTest, FirmwareTakesThePlaceOfAKernel) {
  constexpr char kStart[] = R"({"version":1,"machine":"micro","vcpus":1,"memory_bytes":25165824)";
  const auto spec = ParseSpec(absl::StrCat(kStart, R"(,"firmware":{"path":"f"}})"));
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->firmware, FileRef{"f"});
  EXPECT_EQ(ParseSpec(SerializeSpec(*spec)).value(), *spec);
  EXPECT_EQ(ErrorOf(absl::StrCat(kStart, "}")), "kernel: missing");
  EXPECT_EQ(ErrorOf(absl::StrCat(kStart, R"(,"firmware":{}})")),
            "firmware: expected either \"path\" or \"fd\"");
  for (const char* other :
       {R"("kernel":{"path":"k"})", R"("initramfs":{"path":"i"})", R"("cmdline":"quiet")"}) {
    EXPECT_EQ(ErrorOf(absl::StrCat(kStart, R"(,"firmware":{"path":"f"},)", other, "}")),
              "firmware: not together with a kernel, an initramfs or a command line");
  }
}

TEST(ParseSpecTest, APcMachine) {
  constexpr char kStart[] = R"({"version":1,"machine":"pc","vcpus":1,"memory_bytes":33554432)";
  const auto parse = [&](const char* rest) { return ParseSpec(absl::StrCat(kStart, rest, "}")); };
  const auto error = [&](const char* rest) { return std::string(parse(rest).status().message()); };
  const auto spec =
      parse(R"(,"firmware":{"path":"f"},"video_firmware":{"path":"v"},)"
            R"("diskettes":[{"path":"a","read_only":true},{"fd":7}],"control":{"fd":5},)"
            R"("disks":[{"fd":8},{"path":"d","read_only":true}],"cdrom":{"path":"c"},)"
            R"("boot":["cdrom","floppy","disk"])");
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_TRUE(spec->pc.has_value());
  EXPECT_EQ(spec->pc->video_firmware, FileRef{"v"});
  EXPECT_EQ(spec->pc->diskettes,
            (std::vector<DisketteSpec>{{FileRef{"a"}, true}, {FileRef{7}, false}}));
  EXPECT_EQ(spec->pc->control, 5);
  EXPECT_EQ(spec->pc->disks, (std::vector<DiskSpec>{{FileRef{8}, false}, {FileRef{"d"}, true}}));
  EXPECT_EQ(spec->pc->cdrom, FileRef{"c"});
  EXPECT_EQ(spec->pc->boot, (std::vector<BootDevice>{BootDevice::kCdrom, BootDevice::kDiskette,
                                                     BootDevice::kDisk}));
  EXPECT_EQ(*ParseSpec(SerializeSpec(*spec)), *spec);
  EXPECT_TRUE(parse(R"(,"firmware":{"path":"f"})").ok());

  EXPECT_EQ(error(""), "firmware: missing; a pc machine starts with it");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"rng":{})"), "rng: not in a pc machine");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"block":[{"id":"d","path":"d"}])"),
            "block: not in a pc machine");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"vsock":{"guest_cid":3,"host_socket":"s"})"),
            "vsock: not in a pc machine");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"diskettes":{})"), "diskettes: expected an array");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"diskettes":[{}])"),
            "diskettes[0]: expected either \"path\" or \"fd\"");
  EXPECT_EQ(
      error(R"(,"firmware":{"path":"f"},"diskettes":[{"path":"a"},{"path":"b"},{"path":"c"}])"),
      "diskettes: more than 2 diskettes");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"disks":[{"path":"a"},{"path":"b"},{"path":"c"}])"),
            "disks: more than 2 disks");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"disks":[{"fd":3}],"cdrom":{"fd":3})"),
            "cdrom: descriptor 3 is used twice");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"cdrom":[])"), "cdrom: expected an object");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"boot":"disk")"), "boot: expected an array");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"boot":["disk","tape"])"),
            "boot[1]: expected \"floppy\", \"disk\" or \"cdrom\"");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"boot":["disk","disk"])"), "boot[1]: named twice");
  EXPECT_EQ(error(R"(,"firmware":{"fd":5},"control":{"fd":5})"),
            "control: descriptor 5 is used twice");
  EXPECT_EQ(error(R"(,"firmware":{"path":"f"},"control":{"path":"c"})"),
            "control.path: unknown field");
  for (const char* field : {"diskettes", "disks", "cdrom", "boot"}) {
    EXPECT_EQ(Error("\"rng\": {}", absl::StrCat("\"", field, "\": []")),
              absl::StrCat(field, ": only a pc machine has it"));
  }
  MachineSpec large = *spec;
  large.memory_bytes = kMaxPcMemoryBytes + kMemoryGranularity;
  EXPECT_FALSE(ValidateSpec(large).ok());
  large.memory_bytes = kMaxPcMemoryBytes;
  large.vcpus = 2;
  EXPECT_EQ(ValidateSpec(large).message(), "vcpus: a pc machine has 1");
}

TEST(ValidateSpecTest, ASpecificationMadeByHand) {
  MachineSpec spec;
  spec.memory_bytes = kMinMemoryBytes;
  spec.kernel = FileRef{"/k"};
  EXPECT_TRUE(ValidateSpec(spec).ok());
  spec.vsock = VsockSpec{.guest_cid = 1, .host_socket = "/s"};
  EXPECT_FALSE(ValidateSpec(spec).ok());
  spec.vsock.reset();
  spec.initramfs = FileRef{-1};
  EXPECT_FALSE(ValidateSpec(spec).ok());
  // A terminal may be both ends of the console.
  spec.initramfs.reset();
  spec.console = ConsoleSpec{.output = FileRef{5}, .input = FileRef{5}};
  EXPECT_TRUE(ValidateSpec(spec).ok());
}

TEST(DescribeTest, Files) {
  EXPECT_EQ(Describe(FileRef{"/a"}), "\"/a\"");
  EXPECT_EQ(Describe(FileRef{4}), "descriptor 4");
}

}  // namespace
}  // namespace hull::machine
