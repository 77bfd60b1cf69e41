#include "vmm/machine/spec.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"
#include "vmm/machine/strict_json.h"

namespace hull::machine {

namespace {

using nlohmann::json;

constexpr char kMicro[] = "micro";
constexpr char kPc[] = "pc";

// Fields that only a pc machine has.
constexpr const char* kPcFields[] = {"video_firmware", "diskettes", "disks",
                                     "cdrom",          "boot",      "control"};

struct BootName {
  BootDevice device;
  const char* name;
};
constexpr BootName kBootNames[] = {
    {BootDevice::kDiskette, "floppy"}, {BootDevice::kDisk, "disk"}, {BootDevice::kCdrom, "cdrom"}};

absl::Status At(absl::string_view path, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(path.empty() ? "specification" : path, ": ", what));
}

std::string Join(absl::string_view path, absl::string_view key) {
  return path.empty() ? std::string(key) : absl::StrCat(path, ".", key);
}

// One object of the document and the place where it stands.
class Object {
 public:
  // Names the first key that is not in `allowed`.
  static absl::StatusOr<Object> Create(const json& value, std::string path,
                                       std::initializer_list<absl::string_view> allowed) {
    if (!value.is_object()) return At(path, "expected an object");
    for (const auto& item : value.items()) {
      if (std::find(allowed.begin(), allowed.end(), item.key()) == allowed.end()) {
        return At(Join(path, Printable(item.key())), "unknown field");
      }
    }
    return Object(value, std::move(path));
  }

  bool Has(const char* key) const { return value_->contains(key); }
  std::string PathOf(absl::string_view key) const { return Join(path_, key); }
  const std::string& path() const { return path_; }

  // The key must be there.
  const json& Get(const char* key) const { return *value_->find(key); }

  absl::StatusOr<std::string> String(const char* key) const {
    if (!Has(key)) return At(PathOf(key), "missing");
    const json& value = Get(key);
    if (!value.is_string()) return At(PathOf(key), "expected a string");
    return value.get<std::string>();
  }

  absl::StatusOr<uint64_t> Integer(const char* key, uint64_t min, uint64_t max) const {
    if (!Has(key)) return At(PathOf(key), "missing");
    const json& value = Get(key);
    // The type is "unsigned" for every integer that is not negative and fits 64 bits.
    if (!value.is_number_unsigned() || value.get<uint64_t>() < min || value.get<uint64_t>() > max) {
      return At(PathOf(key), absl::StrCat("expected an integer from ", min, " to ", max));
    }
    return value.get<uint64_t>();
  }

  absl::StatusOr<bool> Bool(const char* key, bool otherwise) const {
    if (!Has(key)) return otherwise;
    const json& value = Get(key);
    if (!value.is_boolean()) return At(PathOf(key), "expected true or false");
    return value.get<bool>();
  }

  // The keys "path" or "fd" of this object.
  absl::StatusOr<FileRef> File() const {
    if (Has("path") == Has("fd")) return At(path_, "expected either \"path\" or \"fd\"");
    if (Has("path")) {
      HULL_ASSIGN_OR_RETURN(std::string name, String("path"));
      return FileRef{std::move(name)};
    }
    HULL_ASSIGN_OR_RETURN(const uint64_t fd, Integer("fd", 0, std::numeric_limits<int>::max()));
    return FileRef{static_cast<int>(fd)};
  }

 private:
  Object(const json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  // A key comes from the file: shown as it is, but not at any length or with control characters.
  static std::string Printable(const std::string& key) {
    std::string shown = key.substr(0, 64);
    std::replace_if(
        shown.begin(), shown.end(), [](char c) { return !absl::ascii_isprint(c); }, '?');
    return shown;
  }

  const json* value_;
  std::string path_;
};

absl::StatusOr<FileRef> ParseFile(const json& value, std::string path) {
  HULL_ASSIGN_OR_RETURN(const Object object,
                        Object::Create(value, std::move(path), {"path", "fd"}));
  return object.File();
}

absl::StatusOr<ConsoleSpec> ParseConsole(const json& value, std::string path) {
  HULL_ASSIGN_OR_RETURN(const Object object,
                        Object::Create(value, std::move(path), {"path", "fd", "input"}));
  ConsoleSpec console;
  HULL_ASSIGN_OR_RETURN(console.output, object.File());
  if (object.Has("input")) {
    HULL_ASSIGN_OR_RETURN(console.input, ParseFile(object.Get("input"), object.PathOf("input")));
  }
  return console;
}

absl::StatusOr<BlockSpec> ParseBlock(const json& value, std::string path) {
  HULL_ASSIGN_OR_RETURN(
      const Object object,
      Object::Create(value, std::move(path), {"id", "path", "fd", "read_only", "direct"}));
  BlockSpec block;
  HULL_ASSIGN_OR_RETURN(block.id, object.String("id"));
  HULL_ASSIGN_OR_RETURN(block.file, object.File());
  HULL_ASSIGN_OR_RETURN(block.read_only, object.Bool("read_only", false));
  HULL_ASSIGN_OR_RETURN(block.direct, object.Bool("direct", false));
  return block;
}

// A diskette or a disk of a pc machine.
template <typename Drive>
absl::StatusOr<Drive> ParseDrive(const json& value, std::string path) {
  HULL_ASSIGN_OR_RETURN(const Object object,
                        Object::Create(value, std::move(path), {"path", "fd", "read_only"}));
  Drive drive;
  HULL_ASSIGN_OR_RETURN(drive.file, object.File());
  HULL_ASSIGN_OR_RETURN(drive.read_only, object.Bool("read_only", false));
  return drive;
}

template <typename Drive>
absl::StatusOr<std::vector<Drive>> ParseDrives(const Object& root, const char* key) {
  std::vector<Drive> drives;
  if (!root.Has(key)) return drives;
  const json& value = root.Get(key);
  if (!value.is_array()) return At(key, "expected an array");
  for (size_t i = 0; i < value.size(); ++i) {
    HULL_ASSIGN_OR_RETURN(Drive drive, ParseDrive<Drive>(value[i], absl::StrCat(key, "[", i, "]")));
    drives.push_back(std::move(drive));
  }
  return drives;
}

absl::StatusOr<std::vector<BootDevice>> ParseBoot(const json& value) {
  if (!value.is_array()) return At("boot", "expected an array");
  std::vector<BootDevice> boot;
  for (size_t i = 0; i < value.size(); ++i) {
    const auto named = std::find_if(std::begin(kBootNames), std::end(kBootNames),
                                    [&](const BootName& name) { return value[i] == name.name; });
    if (named == std::end(kBootNames)) {
      return At(absl::StrCat("boot[", i, "]"), "expected \"floppy\", \"disk\" or \"cdrom\"");
    }
    boot.push_back(named->device);
  }
  return boot;
}

// The fields of `root` that only a pc machine has.
absl::StatusOr<PcSpec> ParsePc(const Object& root) {
  PcSpec pc;
  if (root.Has("video_firmware")) {
    HULL_ASSIGN_OR_RETURN(pc.video_firmware,
                          ParseFile(root.Get("video_firmware"), "video_firmware"));
  }
  HULL_ASSIGN_OR_RETURN(pc.diskettes, ParseDrives<DisketteSpec>(root, "diskettes"));
  HULL_ASSIGN_OR_RETURN(pc.disks, ParseDrives<DiskSpec>(root, "disks"));
  if (root.Has("cdrom")) {
    HULL_ASSIGN_OR_RETURN(pc.cdrom, ParseFile(root.Get("cdrom"), "cdrom"));
  }
  if (root.Has("boot")) {
    HULL_ASSIGN_OR_RETURN(pc.boot, ParseBoot(root.Get("boot")));
  }
  if (root.Has("control")) {
    HULL_ASSIGN_OR_RETURN(const Object control,
                          Object::Create(root.Get("control"), "control", {"fd"}));
    HULL_ASSIGN_OR_RETURN(const uint64_t fd,
                          control.Integer("fd", 0, std::numeric_limits<int>::max()));
    pc.control = static_cast<int>(fd);
  }
  return pc;
}

absl::StatusOr<VsockSpec> ParseVsock(const json& value, std::string path) {
  HULL_ASSIGN_OR_RETURN(
      const Object object,
      Object::Create(value, std::move(path), {"guest_cid", "host_socket", "connector"}));
  VsockSpec vsock;
  HULL_ASSIGN_OR_RETURN(const uint64_t cid,
                        object.Integer("guest_cid", kMinGuestCid, kMaxGuestCid));
  vsock.guest_cid = static_cast<uint32_t>(cid);
  if (object.Has("host_socket") == object.Has("connector")) {
    return At(object.path(), "expected either \"host_socket\" or \"connector\"");
  }
  if (object.Has("host_socket")) {
    HULL_ASSIGN_OR_RETURN(vsock.host_socket, object.String("host_socket"));
    return vsock;
  }
  HULL_ASSIGN_OR_RETURN(const Object connector, Object::Create(object.Get("connector"),
                                                               object.PathOf("connector"), {"fd"}));
  HULL_ASSIGN_OR_RETURN(const uint64_t fd,
                        connector.Integer("fd", 0, std::numeric_limits<int>::max()));
  vsock.connector = static_cast<int>(fd);
  return vsock;
}

absl::Status CheckPath(absl::string_view name, absl::string_view path, size_t limit) {
  if (name.empty()) return At(path, "expected a file name");
  if (name.find('\0') != absl::string_view::npos) return At(path, "a NUL in a file name");
  if (name.size() > limit) return At(path, absl::StrCat("longer than ", limit, " bytes"));
  return absl::OkStatus();
}

// Also that no descriptor is used for two things: each use would take it for its own.
absl::Status CheckFile(const FileRef& file, absl::string_view path, std::set<int>& descriptors) {
  if (const std::string* name = std::get_if<std::string>(&file.source)) {
    return CheckPath(*name, path, kMaxPathSize);
  }
  const int fd = std::get<int>(file.source);
  if (fd < 0) return At(path, "a negative descriptor");
  if (!descriptors.insert(fd).second) {
    return At(path, absl::StrCat("descriptor ", fd, " is used twice"));
  }
  return absl::OkStatus();
}

absl::Status CheckBlockId(absl::string_view id, absl::string_view path) {
  const bool characters_ok = std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (id.empty() || id.size() > kMaxBlockIdSize || !characters_ok) {
    return At(path, absl::StrCat("expected 1 to ", kMaxBlockIdSize,
                                 " letters, digits, \"-\", \"_\" or \".\""));
  }
  return absl::OkStatus();
}

absl::Status CheckBlock(const std::vector<BlockSpec>& disks, std::set<int>& descriptors) {
  if (disks.size() > kMaxBlockDevices) {
    return At("block", absl::StrCat("more than ", kMaxBlockDevices, " disks"));
  }
  std::set<absl::string_view> ids;
  for (size_t i = 0; i < disks.size(); ++i) {
    const std::string path = absl::StrCat("block[", i, "]");
    HULL_RETURN_IF_ERROR(CheckBlockId(disks[i].id, path + ".id"));
    if (!ids.insert(disks[i].id).second) {
      return At(path + ".id", absl::StrCat("\"", disks[i].id, "\" is used twice"));
    }
    HULL_RETURN_IF_ERROR(CheckFile(disks[i].file, path, descriptors));
  }
  return absl::OkStatus();
}

template <typename Drive>
absl::Status CheckDrives(const std::vector<Drive>& drives, size_t limit, const char* name,
                         std::set<int>& descriptors) {
  if (drives.size() > limit) return At(name, absl::StrCat("more than ", limit, " ", name));
  for (size_t i = 0; i < drives.size(); ++i) {
    HULL_RETURN_IF_ERROR(CheckFile(drives[i].file, absl::StrCat(name, "[", i, "]"), descriptors));
  }
  return absl::OkStatus();
}

absl::Status CheckBoot(const std::vector<BootDevice>& boot) {
  for (auto device = boot.begin(); device != boot.end(); ++device) {
    if (std::find(boot.begin(), device, *device) != device) {
      return At(absl::StrCat("boot[", device - boot.begin(), "]"), "named twice");
    }
  }
  return absl::OkStatus();
}

// Which of the other fields a pc machine must have, and which it must not.
absl::Status CheckPc(const MachineSpec& spec, std::set<int>& descriptors) {
  if (spec.vcpus != 1) return At("vcpus", "a pc machine has 1");
  if (spec.memory_bytes > kMaxPcMemoryBytes) {
    return At("memory_bytes", absl::StrCat(spec.memory_bytes, " is more than the ",
                                           kMaxPcMemoryBytes, " (3 GiB) that a pc machine has"));
  }
  if (!spec.block.empty()) return At("block", "not in a pc machine");
  if (spec.vsock.has_value()) return At("vsock", "not in a pc machine");
  if (spec.rng) return At("rng", "not in a pc machine");
  if (spec.pc->video_firmware.has_value()) {
    HULL_RETURN_IF_ERROR(CheckFile(*spec.pc->video_firmware, "video_firmware", descriptors));
  }
  HULL_RETURN_IF_ERROR(CheckDrives(spec.pc->diskettes, kMaxDiskettes, "diskettes", descriptors));
  HULL_RETURN_IF_ERROR(CheckDrives(spec.pc->disks, kMaxDisks, "disks", descriptors));
  if (spec.pc->cdrom.has_value()) {
    HULL_RETURN_IF_ERROR(CheckFile(*spec.pc->cdrom, "cdrom", descriptors));
  }
  HULL_RETURN_IF_ERROR(CheckBoot(spec.pc->boot));
  if (spec.pc->control.has_value()) {
    HULL_RETURN_IF_ERROR(CheckFile(FileRef{*spec.pc->control}, "control", descriptors));
  }
  return absl::OkStatus();
}

json FileToJson(const FileRef& file) {
  if (const std::string* name = std::get_if<std::string>(&file.source)) return {{"path", *name}};
  return {{"fd", std::get<int>(file.source)}};
}

template <typename Drive>
json DrivesToJson(const std::vector<Drive>& drives) {
  json array = json::array();
  for (const Drive& drive : drives) {
    json object = FileToJson(drive.file);
    object["read_only"] = drive.read_only;
    array.push_back(std::move(object));
  }
  return array;
}

json BootToJson(const std::vector<BootDevice>& boot) {
  json array = json::array();
  for (const BootDevice device : boot) {
    const auto named = std::find_if(std::begin(kBootNames), std::end(kBootNames),
                                    [&](const BootName& name) { return name.device == device; });
    array.push_back(named->name);
  }
  return array;
}

}  // namespace

std::string Describe(const FileRef& file) {
  if (const std::string* name = std::get_if<std::string>(&file.source)) {
    return absl::StrCat("\"", *name, "\"");
  }
  return absl::StrCat("descriptor ", std::get<int>(file.source));
}

absl::Status ValidateSpec(const MachineSpec& spec) {
  if (spec.vcpus < 1 || spec.vcpus > kMaxVcpus) {
    return At("vcpus", absl::StrCat("expected an integer from 1 to ", kMaxVcpus));
  }
  if (spec.memory_bytes < kMinMemoryBytes) {
    return At("memory_bytes", absl::StrCat(spec.memory_bytes, " is less than the ", kMinMemoryBytes,
                                           " bytes (24 MiB) that a guest needs"));
  }
  if (spec.memory_bytes % kMemoryGranularity != 0) {
    return At("memory_bytes", absl::StrCat("not a multiple of ", kMemoryGranularity));
  }
  if (spec.cmdline.size() > kMaxCmdlineSize) {
    return At("cmdline", absl::StrCat("longer than ", kMaxCmdlineSize, " bytes"));
  }
  if (std::any_of(spec.cmdline.begin(), spec.cmdline.end(),
                  [](unsigned char c) { return absl::ascii_iscntrl(c); })) {
    return At("cmdline", "a control character");
  }
  std::set<int> descriptors;
  if (spec.firmware.has_value()) {
    if (spec.kernel != FileRef{} || spec.initramfs.has_value() || !spec.cmdline.empty()) {
      return At("firmware", "not together with a kernel, an initramfs or a command line");
    }
    HULL_RETURN_IF_ERROR(CheckFile(*spec.firmware, "firmware", descriptors));
  } else if (spec.pc.has_value()) {
    return At("firmware", "missing; a pc machine starts with it");
  } else {
    HULL_RETURN_IF_ERROR(CheckFile(spec.kernel, "kernel", descriptors));
  }
  if (spec.pc.has_value()) HULL_RETURN_IF_ERROR(CheckPc(spec, descriptors));
  if (spec.initramfs.has_value()) {
    HULL_RETURN_IF_ERROR(CheckFile(*spec.initramfs, "initramfs", descriptors));
  }
  HULL_RETURN_IF_ERROR(CheckBlock(spec.block, descriptors));
  if (spec.console.has_value()) {
    HULL_RETURN_IF_ERROR(CheckFile(spec.console->output, "console", descriptors));
    // A terminal is one descriptor for both directions.
    if (spec.console->input.has_value() && spec.console->input != spec.console->output) {
      HULL_RETURN_IF_ERROR(CheckFile(*spec.console->input, "console.input", descriptors));
    }
  }
  if (spec.vsock.has_value()) {
    if (spec.vsock->guest_cid < kMinGuestCid || spec.vsock->guest_cid > kMaxGuestCid) {
      return At("vsock.guest_cid",
                absl::StrCat("expected an integer from ", kMinGuestCid, " to ", kMaxGuestCid));
    }
    if (spec.vsock->connector.has_value()) {
      HULL_RETURN_IF_ERROR(
          CheckFile(FileRef{*spec.vsock->connector}, "vsock.connector", descriptors));
    } else {
      HULL_RETURN_IF_ERROR(
          CheckPath(spec.vsock->host_socket, "vsock.host_socket", kMaxSocketPathSize));
    }
  }
  if (spec.pause.has_value()) {
    HULL_RETURN_IF_ERROR(CheckFile(FileRef{*spec.pause}, "pause", descriptors));
  }
  return absl::OkStatus();
}

absl::StatusOr<MachineSpec> ParseSpec(absl::string_view text) {
  if (text.size() > kMaxSpecSize) {
    return absl::InvalidArgumentError(absl::StrCat("larger than ", kMaxSpecSize, " bytes"));
  }
  HULL_ASSIGN_OR_RETURN(const json document, ParseStrictJson(text));
  if (!document.is_object()) return At("", "expected an object");
  // Before anything else: another version may have other fields.
  const auto version = document.find("version");
  if (version == document.end()) return At("version", "missing");
  if (*version != json(kSpecVersion)) {
    return At("version", absl::StrCat("only version ", kSpecVersion, " is supported"));
  }
  HULL_ASSIGN_OR_RETURN(
      const Object root,
      Object::Create(document, "",
                     {"version", "machine", "vcpus", "memory_bytes", "kernel", "initramfs",
                      "cmdline", "firmware", "console", "block", "vsock", "rng", "pause",
                      "video_firmware", "diskettes", "disks", "cdrom", "boot", "control"}));
  HULL_ASSIGN_OR_RETURN(const std::string machine, root.String("machine"));
  MachineSpec spec;
  if (machine == kPc) {
    HULL_ASSIGN_OR_RETURN(spec.pc, ParsePc(root));
  } else if (machine != kMicro) {
    return At("machine", absl::StrCat("\"", machine.substr(0, 64), "\" is not a machine model; ",
                                      "there are \"", kMicro, "\" and \"", kPc, "\""));
  } else {
    for (const char* const field : kPcFields) {
      if (root.Has(field)) return At(field, "only a pc machine has it");
    }
  }

  HULL_ASSIGN_OR_RETURN(const uint64_t vcpus, root.Integer("vcpus", 1, kMaxVcpus));
  spec.vcpus = static_cast<uint32_t>(vcpus);
  HULL_ASSIGN_OR_RETURN(spec.memory_bytes,
                        root.Integer("memory_bytes", 0, std::numeric_limits<int64_t>::max()));
  if (root.Has("firmware")) {
    HULL_ASSIGN_OR_RETURN(spec.firmware, ParseFile(root.Get("firmware"), "firmware"));
  }
  if (!root.Has("kernel") && !spec.firmware.has_value() && !spec.pc.has_value()) {
    return At("kernel", "missing");
  }
  if (root.Has("kernel")) {
    HULL_ASSIGN_OR_RETURN(spec.kernel, ParseFile(root.Get("kernel"), "kernel"));
  }
  if (root.Has("initramfs")) {
    HULL_ASSIGN_OR_RETURN(spec.initramfs, ParseFile(root.Get("initramfs"), "initramfs"));
  }
  if (root.Has("cmdline")) {
    HULL_ASSIGN_OR_RETURN(spec.cmdline, root.String("cmdline"));
  }
  if (root.Has("console")) {
    HULL_ASSIGN_OR_RETURN(spec.console, ParseConsole(root.Get("console"), "console"));
  }
  if (root.Has("block")) {
    const json& block = root.Get("block");
    if (!block.is_array()) return At("block", "expected an array");
    for (size_t i = 0; i < block.size(); ++i) {
      HULL_ASSIGN_OR_RETURN(BlockSpec disk, ParseBlock(block[i], absl::StrCat("block[", i, "]")));
      spec.block.push_back(std::move(disk));
    }
  }
  if (root.Has("vsock")) {
    HULL_ASSIGN_OR_RETURN(spec.vsock, ParseVsock(root.Get("vsock"), "vsock"));
  }
  if (root.Has("rng")) {
    HULL_RETURN_IF_ERROR(Object::Create(root.Get("rng"), "rng", {}).status());
    spec.rng = true;
  }
  if (root.Has("pause")) {
    HULL_ASSIGN_OR_RETURN(const Object pause, Object::Create(root.Get("pause"), "pause", {"fd"}));
    HULL_ASSIGN_OR_RETURN(const uint64_t fd,
                          pause.Integer("fd", 0, std::numeric_limits<int>::max()));
    spec.pause = static_cast<int>(fd);
  }
  HULL_RETURN_IF_ERROR(ValidateSpec(spec));
  return spec;
}

std::string SerializeSpec(const MachineSpec& spec) {
  json document = {
      {"version", kSpecVersion},
      {"machine", spec.pc.has_value() ? kPc : kMicro},
      {"vcpus", spec.vcpus},
      {"memory_bytes", spec.memory_bytes},
  };
  if (spec.firmware.has_value()) {
    document["firmware"] = FileToJson(*spec.firmware);
  } else {
    document["kernel"] = FileToJson(spec.kernel);
    document["cmdline"] = spec.cmdline;
  }
  if (spec.initramfs.has_value()) document["initramfs"] = FileToJson(*spec.initramfs);
  if (spec.console.has_value()) {
    json console = FileToJson(spec.console->output);
    if (spec.console->input.has_value()) console["input"] = FileToJson(*spec.console->input);
    document["console"] = std::move(console);
  }
  if (!spec.block.empty()) {
    json disks = json::array();
    for (const BlockSpec& block : spec.block) {
      json disk = FileToJson(block.file);
      disk["id"] = block.id;
      disk["read_only"] = block.read_only;
      disk["direct"] = block.direct;
      disks.push_back(std::move(disk));
    }
    document["block"] = std::move(disks);
  }
  if (spec.vsock.has_value()) {
    json vsock = {{"guest_cid", spec.vsock->guest_cid}};
    if (spec.vsock->connector.has_value()) {
      vsock["connector"] = {{"fd", *spec.vsock->connector}};
    } else {
      vsock["host_socket"] = spec.vsock->host_socket;
    }
    document["vsock"] = std::move(vsock);
  }
  if (spec.rng) document["rng"] = json::object();
  if (spec.pause.has_value()) document["pause"] = {{"fd", *spec.pause}};
  if (spec.pc.has_value()) {
    if (spec.pc->video_firmware.has_value()) {
      document["video_firmware"] = FileToJson(*spec.pc->video_firmware);
    }
    if (!spec.pc->diskettes.empty()) document["diskettes"] = DrivesToJson(spec.pc->diskettes);
    if (!spec.pc->disks.empty()) document["disks"] = DrivesToJson(spec.pc->disks);
    if (spec.pc->cdrom.has_value()) document["cdrom"] = FileToJson(*spec.pc->cdrom);
    if (!spec.pc->boot.empty()) document["boot"] = BootToJson(spec.pc->boot);
    if (spec.pc->control.has_value()) document["control"] = {{"fd", *spec.pc->control}};
  }
  // Should a file name not be UTF-8, it is replaced rather than refused by an exception.
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace hull::machine
