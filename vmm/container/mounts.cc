#include "vmm/container/mounts.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/limits.h"
#include "vmm/container/names.h"

namespace hull::container {
namespace {

// Longer ones no kernel takes.
constexpr size_t kMaxTargetBytes = 4095;
constexpr size_t kShown = 100;

absl::Status Wrong(absl::string_view what, absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": \"", absl::CHexEscape(text.substr(0, kShown)), "\""));
}

// Which options a mount takes beside those of all.
struct OptionRules {
  bool tmpfs = false;
};

absl::StatusOr<std::string> ParseTarget(absl::string_view text) {
  if (!absl::StartsWith(text, "/"))
    return Wrong("a mount's target has to be an absolute path", text);
  if (text.size() > kMaxTargetBytes || text.find('\0') != absl::string_view::npos) {
    return Wrong("no path", text);
  }
  std::string target;
  for (const absl::string_view part : absl::StrSplit(text, '/', absl::SkipEmpty())) {
    if (part == "..") return Wrong("a mount's target may have no \"..\"", text);
    if (part != ".") absl::StrAppend(&target, "/", part);
  }
  if (target.empty()) return Wrong("nothing can be mounted over the root", text);
  return target;
}

absl::StatusOr<std::string> ParseVolumeName(absl::string_view text) {
  if (absl::StartsWith(text, "/") || absl::StartsWith(text, ".") || absl::StartsWith(text, "~")) {
    return absl::UnimplementedError(absl::StrCat(
        "\"", absl::CHexEscape(text.substr(0, kShown)),
        "\" is a directory of the host, and those cannot be mounted yet: use a volume (its name "
        "has no slash), or hull cp"));
  }
  HULL_RETURN_IF_ERROR(ValidateVolumeName(text));
  return std::string(text);
}

absl::StatusOr<uint32_t> ParseMode(absl::string_view text) {
  uint32_t mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7' || mode > 07777) return Wrong("a mode is an octal number", text);
    mode = mode * 8 + static_cast<uint32_t>(c - '0');
  }
  if (text.empty() || mode > 07777) return Wrong("a mode is an octal number to 7777", text);
  return mode;
}

// One option of -v or --tmpfs.
absl::Status ApplyOption(absl::string_view option, const OptionRules& rules, Mount* mount) {
  const std::pair<absl::string_view, std::pair<bool*, bool>> flags[] = {
      {"ro", {&mount->read_only, true}},      {"rw", {&mount->read_only, false}},
      {"exec", {&mount->allow_exec, true}},   {"noexec", {&mount->allow_exec, false}},
      {"suid", {&mount->allow_suid, true}},   {"nosuid", {&mount->allow_suid, false}},
      {"dev", {&mount->allow_devices, true}}, {"nodev", {&mount->allow_devices, false}},
  };
  for (const auto& [name, effect] : flags) {
    if (option != name) continue;
    *effect.first = effect.second;
    return absl::OkStatus();
  }
  if (option == (rules.tmpfs ? "tmpcopyup" : "copy")) {
    mount->copy_image = true;
    return absl::OkStatus();
  }
  if (option == (rules.tmpfs ? "notmpcopyup" : "nocopy")) {
    mount->copy_image = false;
    return absl::OkStatus();
  }
  // Labels of SELinux: the files are on a disk of the container's own kernel.
  if (!rules.tmpfs && (option == "z" || option == "Z")) return absl::OkStatus();
  if (rules.tmpfs && absl::StartsWith(option, "size=")) {
    HULL_ASSIGN_OR_RETURN(mount->tmpfs_bytes, ParseSize(option.substr(5)));
    return absl::OkStatus();
  }
  if (rules.tmpfs && absl::StartsWith(option, "mode=")) {
    HULL_ASSIGN_OR_RETURN(mount->tmpfs_mode, ParseMode(option.substr(5)));
    return absl::OkStatus();
  }
  return Wrong("unknown option of a mount", option);
}

absl::StatusOr<bool> ParseBool(absl::string_view key, absl::string_view value, bool given) {
  if (!given || value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return Wrong(absl::StrCat(key, " is true or false"), value);
}

Mount Tmpfs() {
  Mount mount;
  mount.type = MountType::kTmpfs;
  mount.allow_exec = false;
  return mount;
}

}  // namespace

absl::Status ValidateVolumeName(absl::string_view name) {
  if (ValidateName(name).ok()) return absl::OkStatus();
  return Wrong(
      "a volume's name starts with a letter or digit and goes on with letters, digits, '_', '.' "
      "and '-'",
      name);
}

absl::StatusOr<Mount> ParseVolumeFlag(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  Mount mount;
  // Without a name there is a target alone: what follows it cannot be one.
  const bool named = parts.size() > 1 && absl::StartsWith(parts[1], "/");
  const size_t target = named ? 1 : 0;
  if (parts.size() > target + 2) return Wrong("too many parts in a volume", text);
  if (!named && parts.size() == 2 && !absl::StartsWith(parts[0], "/")) {
    return Wrong("a volume is [NAME:]/TARGET[:OPTIONS]", text);
  }
  if (named) {
    HULL_ASSIGN_OR_RETURN(mount.volume, ParseVolumeName(parts[0]));
  }
  HULL_ASSIGN_OR_RETURN(mount.target, ParseTarget(parts[target]));
  if (parts.size() > target + 1) {
    for (const absl::string_view option : absl::StrSplit(parts[target + 1], ',')) {
      HULL_RETURN_IF_ERROR(ApplyOption(option, {.tmpfs = false}, &mount));
    }
  }
  return mount;
}

absl::StatusOr<Mount> ParseTmpfsFlag(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  Mount mount = Tmpfs();
  HULL_ASSIGN_OR_RETURN(mount.target, ParseTarget(parts[0]));
  if (parts.size() > 1) {
    for (const absl::string_view option : absl::StrSplit(parts[1], ',')) {
      HULL_RETURN_IF_ERROR(ApplyOption(option, {.tmpfs = true}, &mount));
    }
  }
  return mount;
}

absl::StatusOr<Mount> ParseMountFlag(absl::string_view text) {
  const std::vector<absl::string_view> fields = absl::StrSplit(text, ',');
  Mount mount;
  for (const absl::string_view field : fields) {
    if (!absl::StartsWith(field, "type=")) continue;
    const absl::string_view type = field.substr(5);
    if (type == "bind") {
      return absl::UnimplementedError(
          "directories of the host cannot be mounted yet: use type=volume, or hull cp");
    }
    if (type != "volume" && type != "tmpfs") return Wrong("unknown type of a mount", type);
    mount = type == "tmpfs" ? Tmpfs() : Mount();
  }
  const bool tmpfs = mount.type == MountType::kTmpfs;
  for (const absl::string_view field : fields) {
    const std::vector<absl::string_view> pair = absl::StrSplit(field, absl::MaxSplits('=', 1));
    const absl::string_view key = pair[0];
    const bool given = pair.size() > 1;
    const absl::string_view value = given ? pair[1] : "";
    if (key == "type") continue;
    if (key == "destination" || key == "dst" || key == "target") {
      HULL_ASSIGN_OR_RETURN(mount.target, ParseTarget(value));
    } else if (!tmpfs && (key == "source" || key == "src")) {
      HULL_ASSIGN_OR_RETURN(mount.volume, ParseVolumeName(value));
    } else if (key == "readonly" || key == "ro") {
      HULL_ASSIGN_OR_RETURN(mount.read_only, ParseBool(key, value, given));
    } else if (tmpfs && key == "tmpfs-size") {
      HULL_ASSIGN_OR_RETURN(mount.tmpfs_bytes, ParseSize(value));
    } else if (tmpfs && key == "tmpfs-mode") {
      HULL_ASSIGN_OR_RETURN(mount.tmpfs_mode, ParseMode(value));
    } else if (tmpfs && !given && (key == "tmpcopyup" || key == "notmpcopyup")) {
      mount.copy_image = key == "tmpcopyup";
    } else {
      return Wrong("unknown option of a mount", field);
    }
  }
  if (mount.target.empty()) return Wrong("a mount needs a target=", text);
  return mount;
}

absl::Status ValidateMounts(const std::vector<Mount>& mounts) {
  if (mounts.size() > kMaxMounts) {
    return absl::InvalidArgumentError(
        absl::StrCat("a container has at most ", kMaxMounts, " mounts"));
  }
  size_t volumes = 0;
  absl::flat_hash_set<absl::string_view> targets;
  absl::flat_hash_set<absl::string_view> names;
  for (const Mount& mount : mounts) {
    if (!targets.insert(mount.target).second) return Wrong("mounted over twice", mount.target);
    if (mount.type != MountType::kVolume) continue;
    if (++volumes > kMaxVolumes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a container has at most ", kMaxVolumes, " volumes"));
    }
    if (!mount.volume.empty() && !names.insert(mount.volume).second) {
      return Wrong("a volume can be mounted once in a container", mount.volume);
    }
  }
  return absl::OkStatus();
}

}  // namespace hull::container
