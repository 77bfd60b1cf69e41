#include "vmm/cli/image_transfer_commands.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "images/image_export.h"
#include "images/store.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/child_program.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/image_views.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/load_progress.h"
#include "vmm/cli/message.h"
#include "vmm/cli/place.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

// What is asked for appears as a whole or not at all: an archive is written under another name
// beside its own, a directory is emptied again, unless Keep() says that it is complete.
class SavedOutput {
 public:
  static absl::StatusOr<SavedOutput> Create(const std::string& path, bool directory) {
    if (directory) return CreateDirectory(path);
    if (path.empty()) {
      UniqueFd fd(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
      if (!fd.valid()) return PosixError("standard output");
      return SavedOutput(std::move(fd), "", "");
    }
    struct stat info;
    if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
      // A pipe, a device: written to as it is.
      HULL_ASSIGN_OR_RETURN(UniqueFd fd, UniqueFd::Open(path, O_WRONLY));
      return SavedOutput(std::move(fd), "", "");
    }
    std::string temporary = absl::StrCat(path, ".hull-save-", getpid());
    unlink(temporary.c_str());
    HULL_ASSIGN_OR_RETURN(UniqueFd fd,
                          UniqueFd::Open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0666));
    return SavedOutput(std::move(fd), std::move(temporary), path);
  }
  SavedOutput(SavedOutput&& other) noexcept
      : fd_(std::move(other.fd_)),
        temporary_(std::exchange(other.temporary_, "")),
        path_(std::move(other.path_)) {}
  ~SavedOutput() {
    if (temporary_.empty()) return;
    std::error_code ignored;
    if (path_.empty()) {
      for (const auto& entry : std::filesystem::directory_iterator(temporary_, ignored)) {
        std::filesystem::remove_all(entry.path(), ignored);
      }
    } else {
      unlink(temporary_.c_str());
    }
  }

  int fd() const { return fd_.get(); }
  absl::Status Keep() {
    if (!path_.empty() && rename(temporary_.c_str(), path_.c_str()) != 0) {
      return PosixError(absl::StrCat("rename to \"", path_, "\""));
    }
    temporary_.clear();
    return absl::OkStatus();
  }

 private:
  SavedOutput(UniqueFd fd, std::string temporary, std::string path)
      : fd_(std::move(fd)), temporary_(std::move(temporary)), path_(std::move(path)) {}

  static absl::StatusOr<SavedOutput> CreateDirectory(const std::string& path) {
    if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) {
      return PosixError(absl::StrCat("create \"", path, "\""));
    }
    HULL_ASSIGN_OR_RETURN(UniqueFd fd, UniqueFd::Open(path, O_RDONLY | O_DIRECTORY));
    std::error_code error;
    const bool empty = std::filesystem::is_empty(path, error);
    if (error || !empty) {
      return absl::FailedPreconditionError(
          absl::StrCat("\"", path, "\" is not an empty directory"));
    }
    return SavedOutput(std::move(fd), path, "");
  }

  UniqueFd fd_;
  std::string temporary_;  // a directory if path_ is empty; empty if nothing is to be taken away
  std::string path_;
};

absl::StatusOr<std::vector<images::ExportedImage>> OpenImages(
    const images::Store& store, const std::vector<std::string>& names) {
  std::vector<images::ExportedImage> opened;
  for (const std::string& name : names) {
    HULL_ASSIGN_OR_RETURN(const images::ResolvedImage image, store.Resolve(name));
    images::ExportedImage* found = nullptr;
    for (images::ExportedImage& other : opened) {
      if (other.files.digest == image.manifest) found = &other;
    }
    if (found == nullptr) {
      HULL_ASSIGN_OR_RETURN(images::ImageFiles files, store.OpenFiles(image.manifest));
      found = &opened.emplace_back(images::ExportedImage{.files = std::move(files), .names = {}});
    }
    if (!image.name.empty()) found->names.push_back(image.name);
  }
  return opened;
}

absl::Status Save(const Installation& installation, const std::vector<std::string>& names,
                  const std::string& path, std::optional<images::ExportFormat> asked,
                  int cancel_fd) {
  const images::Store store(installation.ImageStore());
  HULL_ASSIGN_OR_RETURN(const std::vector<images::ExportedImage> opened, OpenImages(store, names));
  const images::ExportFormat format = asked.value_or(images::DefaultExportFormat(opened));
  HULL_ASSIGN_OR_RETURN(SavedOutput output, SavedOutput::Create(path, images::IsDirectory(format)));
  HULL_RETURN_IF_ERROR(images::ExportImages(
      store, opened,
      {.format = format, .unpack_program = installation.UnpackProgram(), .cancel_fd = cancel_fd},
      output.fd()));
  return output.Keep();
}

std::vector<std::string> WithVerb(const char* verb, const std::vector<std::string>& args) {
  std::vector<std::string> command = {verb};
  command.insert(command.end(), args.begin(), args.end());
  return command;
}

}  // namespace

int LoadCommand(const std::vector<std::string>& args) {
  std::string path;
  std::string name;
  bool quiet = false;
  CLI::App app("Takes images of a docker-archive or an OCI layout into the store.", "load");
  app.formatter(std::make_shared<UsageFormatter>("load [FLAG...] [-i] PATH"));
  app.add_option("--name", name, "Name the image so, not as its archive does (one image only)");
  app.add_flag("-q,--quiet", quiet, "Show no progress");
  app.add_option("-i,--input,PATH", path,
                 "A directory, a tar file (may be compressed), or - for stdin (the default)");
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  if (path.empty()) {
    if (isatty(STDIN_FILENO) == 1) {
      PrintError("nothing to load: hull load PATH, or an archive on standard input");
      return container::kHullFailed;
    }
    path = "-";
  }
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  const bool from_stdin = path == "-" || path == "/dev/stdin";
  // Disks of pc machines are kept where those run.
  const bool disks_here =
      !from_stdin && PcRunsApart() &&
      images::Store(installation->ImageStore()).HoldsDisks(path, installation->UnpackProgram());
  if (!disks_here) {
    if (std::optional<int> status =
            RunElsewhere(*installation, Needs::kStore, WithVerb("load", args), from_stdin)) {
      return *status;
    }
  }
  const absl::StatusOr<EndingSignals> interrupted = EndingSignals::Create();
  if (!interrupted.ok()) return ReportFailure(interrupted.status());

  LoadProgressLine progress;
  const absl::StatusOr<std::vector<images::LoadedImage>> loaded =
      images::Store(installation->ImageStore())
          .Load(from_stdin ? "/dev/stdin" : path,
                {.unpack_program = installation->UnpackProgram(),
                 .name = name,
                 .cancel_fd = interrupted->fd(),
                 .progress = [&progress, quiet](const images::LoadProgress& state) {
                   if (!quiet) progress.Show(state);
                 }});
  progress.Clear();
  if (const std::optional<int> status = interrupted->ExitStatus()) return *status;
  if (!loaded.ok()) return ReportFailure(loaded.status());
  std::string out;
  for (const images::LoadedImage& image : *loaded) {
    for (const std::string& loaded_name : image.names) {
      absl::StrAppend(&out, "Loaded image: ", loaded_name, "\n");
    }
    if (image.names.empty()) absl::StrAppend(&out, "Loaded image: ", ShortImageId(image.id), "\n");
  }
  return PrintOutput(out);
}

int SaveCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::string path;
  std::string format_name;
  bool ignored = false;
  CLI::App app("Writes images so that other tools, or hull load, can read them.", "save");
  app.formatter(std::make_shared<UsageFormatter>("save [FLAG...] IMAGE..."));
  app.add_option("-o,--output", path, "File or directory to write (default: standard output)");
  app.add_option("--format", format_name,
                 "docker-archive (default; of disks oci-archive), oci-dir, docker-dir (skopeo's)");
  app.add_flag("-q,--quiet", ignored, "For podman's sake: nothing is shown anyway");
  app.add_flag("-m,--multi-image-archive", ignored, "The same: several images may always be given");
  app.add_option("IMAGE", names, "Name, digest or id; names are saved with the image")->required();
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  const std::optional<images::ExportFormat> format = images::ParseExportFormat(format_name);
  if (!format.has_value() && !format_name.empty()) {
    PrintError(absl::StrCat("--format ", format_name,
                            ": it is docker-archive, oci-archive, oci-dir or docker-dir"));
    return container::kHullFailed;
  }
  if (path.empty() && format.has_value() && images::IsDirectory(*format)) {
    PrintError(absl::StrCat("--format ", format_name, " writes a directory; name it with -o"));
    return container::kHullFailed;
  }
  if (path.empty() && isatty(STDOUT_FILENO) == 1) {
    PrintError("an image is not for a terminal; use -o FILE or redirect the output");
    return container::kHullFailed;
  }
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  if (std::optional<int> status =
          RunElsewhere(*installation, Needs::kStore, WithVerb("save", args), false,
                       Subjects::Of(Subjects::Kind::kImages, names))) {
    return *status;
  }
  const absl::StatusOr<EndingSignals> interrupted = EndingSignals::Create();
  if (!interrupted.ok()) return ReportFailure(interrupted.status());
  const absl::Status saved = Save(*installation, names, path, format, interrupted->fd());
  if (const std::optional<int> status = interrupted->ExitStatus()) return *status;
  if (!saved.ok()) {
    return ReportFailure(Annotate(
        saved, path.empty() ? std::string("save") : absl::StrCat("save to \"", path, "\"")));
  }
  return 0;
}

}  // namespace hull::cli
