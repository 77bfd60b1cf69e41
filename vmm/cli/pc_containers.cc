#include "vmm/cli/pc_containers.h"

#include <iterator>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "images/machine_config.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/pc_disk.h"

namespace hull::cli {
namespace {

// Above 3 GiB a PC's memory would be in two parts (vmm/machine/PC.md).
constexpr uint64_t kMaxPcMemoryBytes = uint64_t{3} << 30;

}  // namespace

absl::Status CompletePcConfig(const RunFlags& flags, const images::ResolvedImage& image,
                              container::Config* config) {
  const struct {
    bool given;
    const char* flag;
    const char* why;
  } kUseless[] = {
      {!flags.command.empty(), "a command", "it boots from its disk"},
      {flags.entrypoint.has_value(), "--entrypoint", "it boots from its disk"},
      {flags.cpus.count != 1, "--cpus above 1", "it has one CPU"},
      {!flags.env.empty(), "--env", "it has no environment"},
      {!flags.env_files.empty(), "--env-file", "it has no environment"},
      {!flags.working_directory.empty(), "--workdir", "it has no processes"},
      {!flags.user.empty(), "--user", "it has no users"},
      {!flags.hostname.empty(), "--hostname", "it has no host name"},
      {flags.stop_signal.has_value(), "--stop-signal",
       "it has no processes; stop ends the machine"},
      {flags.storage_bytes.has_value(), "--storage-size", "its disk is as large as its image says"},
      {!flags.mounts.empty(), "a mount", "no agent mounts anything in it"},
      {flags.console, "--console", "what it writes to COM1 is shown anyway"},
      {flags.interactive != flags.terminal, flags.terminal ? "-t without -i" : "-i without -t",
       "it has a screen and a keyboard, which -it makes of this terminal"},
  };
  for (const auto& useless : kUseless) {
    if (!useless.given) continue;
    return absl::InvalidArgumentError(absl::StrCat(config->image, " is a pc machine, for which ",
                                                   useless.flag, " makes no sense: ", useless.why));
  }
  if (flags.memory_bytes > kMaxPcMemoryBytes) {
    return absl::InvalidArgumentError("--memory: a pc machine has at most 3g");
  }
  const std::string boot = images::BootDeviceName(image.machine->boot);
  config->pc = container::PcMachine{.boot = boot};
  config->process.args = {boot};
  config->storage_bytes = 0;
  config->process.attach_stdin = flags.interactive;
  config->process.terminal = flags.terminal;
  // Nobody writes to it.
  if (image.machine->boot == images::BootDevice::kCdrom) config->read_only = true;
  return absl::OkStatus();
}

absl::Status MakePcDisk(const container::ContainerStore& store, const container::Config& config) {
  if (!config.pc.has_value() || config.read_only) return absl::OkStatus();
  return container::CopyDisk(config.root_image,
                             container::PcDiskPath(store.StateDirectory(config.id)));
}

void ShowPcScreen(const container::Config& config, const std::string& detach_keys,
                  container::AttachOptions* options) {
  if (!config.pc.has_value() || !options->attach_stdin || !options->terminal) return;
  options->pc_name = config.name;
  options->detach_hint = detach_keys.empty() ? "nothing" : absl::AsciiStrToUpper(detach_keys);
}

absl::Status RefusePc(const container::ContainerInfo& info, absl::string_view what) {
  if (!info.config.pc.has_value()) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("container ", info.config.name, " is a pc machine, which has no ", what));
}

}  // namespace hull::cli
