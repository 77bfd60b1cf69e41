#include "vmm/cli/import_command.h"

#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "images/machine_config.h"
#include "images/store.h"
#include "vmm/base/posix_error.h"
#include "vmm/cli/child_program.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/load_progress.h"
#include "vmm/cli/message.h"
#include "vmm/cli/place.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/outcome.h"

namespace hull::cli {

int ImportCommand(const std::vector<std::string>& args) {
  std::string machine;
  std::string boot_name;
  std::string path;
  std::string name;
  bool quiet = false;
  CLI::App app("Makes an image of the disk of a pc machine, for DOS and the like.", "import");
  app.formatter(
      std::make_shared<UsageFormatter>("import --machine pc [--boot DEVICE] [-q] DISK NAME[:TAG]"));
  app.add_option("--machine", machine, "pc: the machine that the disk is for");
  app.add_option("--boot", boot_name, "floppy, disk or cdrom (default: what the disk looks like)");
  app.add_flag("-q,--quiet", quiet, "Show no progress");
  app.add_option("DISK", path, "File with the bytes of the disk")->required();
  app.add_option("NAME", name, "A name without a registry becomes localhost/NAME")->required();
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  if (machine != images::kPcMachine) {
    PrintError(machine.empty()
                   ? std::string("only disks of pc machines can be imported: hull import --machine "
                                 "pc DISK NAME (hull load takes container images)")
                   : absl::StrCat("--machine ", container::Printable(machine),
                                  ": only disks of pc machines can be imported"));
    return container::kHullFailed;
  }
  std::optional<images::BootDevice> boot;
  if (!boot_name.empty()) {
    const absl::StatusOr<images::BootDevice> parsed = images::ParseBootDevice(boot_name);
    if (!parsed.ok()) return ReportFailure(Annotate(parsed.status(), "--boot"));
    boot = *parsed;
  }
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  if (!PcRunsApart()) {
    std::vector<std::string> command = {"import"};
    command.insert(command.end(), args.begin(), args.end());
    if (const std::optional<int> status =
            RunElsewhere(*installation, Needs::kStore, command, /*forward_stdin=*/false)) {
      return *status;
    }
  }
  const absl::StatusOr<EndingSignals> interrupted = EndingSignals::Create();
  if (!interrupted.ok()) return ReportFailure(interrupted.status());
  LoadProgressLine progress;
  const absl::StatusOr<images::LoadedImage> imported =
      images::Store(installation->ImageStore())
          .Import(path, {.unpack_program = installation->UnpackProgram(),
                         .name = name,
                         .boot = boot,
                         .cancel_fd = interrupted->fd(),
                         .progress = [&progress, quiet](const images::LoadProgress& state) {
                           if (!quiet) progress.Show(state);
                         }});
  progress.Clear();
  if (const std::optional<int> status = interrupted->ExitStatus()) return *status;
  if (!imported.ok()) return ReportFailure(imported.status());
  return PrintOutput(absl::StrCat(imported->id.ToString(), "\n"));
}

}  // namespace hull::cli
