// What a machine is made of: the specification that hull-vmm is started with.
//
// SPEC.md describes the JSON form field by field. This package knows nothing of KVM, so that
// whatever produces specifications can use it.

#ifndef VMM_MACHINE_SPEC_H_
#define VMM_MACHINE_SPEC_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::machine {

inline constexpr uint32_t kSpecVersion = 1;
// What every machine needs of the host besides what its specification names.
inline constexpr char kKvmDevice[] = "/dev/kvm";
// The largest specification in JSON: far above any sensible one.
inline constexpr size_t kMaxSpecSize = 256 * 1024;

inline constexpr uint32_t kMaxVcpus = 32;
inline constexpr uint64_t kMinMemoryBytes = uint64_t{24} << 20;
inline constexpr uint64_t kMemoryGranularity = 4096;
inline constexpr size_t kMaxCmdlineSize = 2000;  // Leaves room for what the machine adds.
// Block devices; with a socket device and a source of entropy they take every interrupt line.
inline constexpr size_t kMaxBlockDevices = 17;
// What runs from the reset vector: at most what lies between KVM's own pages and the end of 4 GiB.
inline constexpr uint64_t kMaxFirmwareSize = uint64_t{256} << 10;
// What the guest sees as the disk's serial number (VIRTIO 1.2, 5.2.6).
inline constexpr size_t kMaxBlockIdSize = 20;
inline constexpr uint32_t kMinGuestCid = 3;           // 0 to 2 have meanings of their own.
inline constexpr uint32_t kMaxGuestCid = 0xfffffffe;  // 0xffffffff means "any".
inline constexpr size_t kMaxPathSize = 4095;
// A diskette drive each.
inline constexpr size_t kMaxDiskettes = 2;
// A hard disk drive each.
inline constexpr size_t kMaxDisks = 2;
// Above 3 GiB a PC's memory would be in two parts, which its firmware is not told of.
inline constexpr uint64_t kMaxPcMemoryBytes = uint64_t{3} << 30;
// sockaddr_un holds 107 bytes, and the guest's port is appended: "_4294967295".
inline constexpr size_t kMaxSocketPathSize = 96;

// A file by name, or an open descriptor that was inherited.
struct FileRef {
  std::variant<std::string, int> source;

  bool operator==(const FileRef&) const = default;
};

// For messages: `"/path"` or `descriptor 5`.
std::string Describe(const FileRef& file);

struct ConsoleSpec {
  FileRef output;
  std::optional<FileRef> input;

  bool operator==(const ConsoleSpec&) const = default;
};

struct BlockSpec {
  std::string id;
  FileRef file;
  bool read_only = false;
  bool direct = false;

  bool operator==(const BlockSpec&) const = default;
};

// Either host_socket or connector.
struct VsockSpec {
  uint32_t guest_cid = kMinGuestCid;
  // Connections go to and come from Unix sockets whose paths start with this.
  std::string host_socket = {};
  // An inherited descriptor of a broker of connections (vmm/sandbox/broker.h); none come from the
  // host.
  std::optional<int> connector = {};

  bool operator==(const VsockSpec&) const = default;
};

struct DisketteSpec {
  FileRef file;
  bool read_only = false;

  bool operator==(const DisketteSpec&) const = default;
};

struct DiskSpec {
  FileRef file;
  bool read_only = false;

  bool operator==(const DiskSpec&) const = default;
};

// What firmware can start a system from.
enum class BootDevice { kDiskette, kDisk, kCdrom };

// What only the pc machine has.
struct PcSpec {
  std::optional<FileRef> video_firmware;
  std::vector<DisketteSpec> diskettes;  // Drive A, then B.
  std::vector<DiskSpec> disks;          // Primary master, then slave.
  std::optional<FileRef> cdrom;         // Secondary master; read-only.
  // In which order they are tried, none twice. Empty: diskette, disk, CD-ROM.
  std::vector<BootDevice> boot;
  // An inherited descriptor of the socket at whose other end the screen is looked at and the
  // keyboard typed on (vmm/machine/control_protocol.h).
  std::optional<int> control;

  bool operator==(const PcSpec&) const = default;
};

struct MachineSpec {
  std::optional<PcSpec> pc;  // The machine model is "pc", else it is "micro".
  uint32_t vcpus = 1;
  uint64_t memory_bytes = 0;
  FileRef kernel;  // Unused if there is firmware, which then has neither of the next two.
  std::optional<FileRef> initramfs;
  std::string cmdline;
  std::optional<FileRef> firmware;
  std::optional<ConsoleSpec> console;
  std::vector<BlockSpec> block;
  std::optional<VsockSpec> vsock;
  bool rng = false;
  // An inherited descriptor of the socket at whose other end the machine is paused
  // (vmm/machine/pause_protocol.h).
  std::optional<int> pause;

  bool operator==(const MachineSpec&) const = default;
};

// Strict: kInvalidArgument with the place ("block[0].path: expected a string") for a field that is
// unknown, missing, of the wrong type or out of range, another version, and whatever Validate
// refuses. Whether the files exist and the host has the memory is for the machine to find out.
// Pure.
absl::StatusOr<MachineSpec> ParseSpec(absl::string_view json);

// The rules that ParseSpec holds a specification to, for one that was made otherwise. Pure.
absl::Status ValidateSpec(const MachineSpec& spec);

// The JSON form; ParseSpec of it gives the same specification back, if that is valid. Pure.
std::string SerializeSpec(const MachineSpec& spec);

}  // namespace hull::machine

#endif  // VMM_MACHINE_SPEC_H_
