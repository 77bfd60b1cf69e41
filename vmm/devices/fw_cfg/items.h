// What firmware can ask for: numbered items, some of which are files with a name.
//
// QEMU's documentation, specs/fw_cfg, "Selector (Control) Register" and "File Directory".

#ifndef VMM_DEVICES_FW_CFG_ITEMS_H_
#define VMM_DEVICES_FW_CFG_ITEMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace hull::fw_cfg {

// Keys with a fixed meaning. Architecture-specific ones have bit 15 set.
inline constexpr uint16_t kSignature = 0x00;
inline constexpr uint16_t kInterface = 0x01;
inline constexpr uint16_t kCpuCount = 0x05;
inline constexpr uint16_t kBootMenu = 0x0e;
inline constexpr uint16_t kMaxCpuCount = 0x0f;
inline constexpr uint16_t kFileDirectory = 0x19;
inline constexpr uint16_t kFirstFile = 0x20;

inline constexpr size_t kMaxFiles = 64;
inline constexpr size_t kMaxFileName = 55;  // And a NUL.

// Filled before the guest runs; then only read, from any thread.
class Items {
 public:
  // With the signature, the interface's version (ports and DMA) and an empty directory.
  Items();

  void Set(uint16_t key, std::vector<uint8_t> content) { items_[key] = std::move(content); }
  void SetInteger16(uint16_t key, uint16_t value);
  // kInvalidArgument for a name that is empty or too long; kResourceExhausted beyond kMaxFiles.
  absl::Status AddFile(const std::string& name, std::vector<uint8_t> content);

  // Empty for a key that is not there.
  std::span<const uint8_t> Get(uint16_t key) const;

 private:
  struct File {
    std::string name;
    uint32_t size = 0;
  };
  void WriteDirectory();

  std::vector<File> files_;
  std::map<uint16_t, std::vector<uint8_t>> items_;
};

// One range of the file "etc/e820".
struct E820Range {
  static constexpr uint32_t kRam = 1;
  static constexpr uint32_t kReserved = 2;
  uint64_t address = 0;
  uint64_t size = 0;
  uint32_t type = kRam;
};

// The content of "etc/e820".
std::vector<uint8_t> EncodeE820(std::span<const E820Range> ranges);

}  // namespace hull::fw_cfg

#endif  // VMM_DEVICES_FW_CFG_ITEMS_H_
