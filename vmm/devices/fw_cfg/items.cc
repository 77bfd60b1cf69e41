#include "vmm/devices/fw_cfg/items.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hull::fw_cfg {

namespace {

constexpr uint8_t kInterfacePorts = 1 << 0;
constexpr uint8_t kInterfaceDma = 1 << 1;
constexpr size_t kDirectoryNameSize = 56;

void PutBigEndian(std::vector<uint8_t>& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void PutLittleEndian(std::vector<uint8_t>& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

}  // namespace

Items::Items() {
  Set(kSignature, {'Q', 'E', 'M', 'U'});
  Set(kInterface, {kInterfacePorts | kInterfaceDma, 0, 0, 0});
  WriteDirectory();
}

void Items::SetInteger16(uint16_t key, uint16_t value) {
  std::vector<uint8_t> content;
  PutLittleEndian(content, value, 2);
  Set(key, std::move(content));
}

absl::Status Items::AddFile(const std::string& name, std::vector<uint8_t> content) {
  if (name.empty() || name.size() > kMaxFileName) {
    return absl::InvalidArgumentError(absl::StrCat("fw_cfg: a file name of ", name.size(),
                                                   " bytes; 1 to ", kMaxFileName, " are possible"));
  }
  if (files_.size() == kMaxFiles) {
    return absl::ResourceExhaustedError(absl::StrCat("fw_cfg: more than ", kMaxFiles, " files"));
  }
  const uint16_t key = static_cast<uint16_t>(kFirstFile + files_.size());
  files_.push_back({name, static_cast<uint32_t>(content.size())});
  Set(key, std::move(content));
  WriteDirectory();
  return absl::OkStatus();
}

void Items::WriteDirectory() {
  std::vector<uint8_t> directory;
  PutBigEndian(directory, files_.size(), 4);
  for (size_t i = 0; i < files_.size(); ++i) {
    PutBigEndian(directory, files_[i].size, 4);
    PutBigEndian(directory, kFirstFile + i, 2);
    PutBigEndian(directory, 0, 2);
    const size_t name = directory.size();
    directory.insert(directory.end(), files_[i].name.begin(), files_[i].name.end());
    directory.resize(name + kDirectoryNameSize, 0);
  }
  Set(kFileDirectory, std::move(directory));
}

std::span<const uint8_t> Items::Get(uint16_t key) const {
  const auto found = items_.find(key);
  if (found == items_.end()) return {};
  return found->second;
}

std::vector<uint8_t> EncodeE820(std::span<const E820Range> ranges) {
  std::vector<uint8_t> out;
  for (const E820Range& range : ranges) {
    PutLittleEndian(out, range.address, 8);
    PutLittleEndian(out, range.size, 8);
    PutLittleEndian(out, range.type, 4);
  }
  return out;
}

}  // namespace hull::fw_cfg
