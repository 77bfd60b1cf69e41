#include "vmm/cli/image_commands.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "images/store.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/load_progress.h"
#include "vmm/cli/message.h"
#include "vmm/cli/place.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/container_store.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

std::vector<std::string> WithVerb(const char* verb, const std::vector<std::string>& args) {
  std::vector<std::string> command = {verb};
  command.insert(command.end(), args.begin(), args.end());
  return command;
}

constexpr size_t kShownIdDigits = 12;

std::string Row(const std::string& repository, const std::string& tag, const std::string& id,
                const std::string& created, const std::string& size, int repository_width) {
  return absl::StrFormat("%-*s  %-12s  %-12s  %-14s  %s\n", repository_width, repository, tag, id,
                         created, size);
}

std::string ImagesTable(const std::vector<images::ImageInfo>& images, int64_t now) {
  size_t width = 10;
  for (const images::ImageInfo& image : images) width = std::max(width, image.repository.size());
  std::string table =
      Row("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", static_cast<int>(width));
  for (const images::ImageInfo& image : images) {
    table += Row(image.repository.empty() ? "<none>" : image.repository,
                 image.tag.empty() ? "<none>" : image.tag, image.id.hex().substr(0, kShownIdDigits),
                 image.created == 0 ? "-" : HumanAge(now - image.created), HumanSize(image.size),
                 static_cast<int>(width));
  }
  return table;
}

absl::Status RemoveImage(const images::Store& store, const std::string& name,
                         const std::vector<images::Digest>& in_use, bool force, std::string* out) {
  HULL_ASSIGN_OR_RETURN(const images::RemovedImage removed, store.Remove(name, in_use, force));
  for (const std::string& untagged : removed.untagged) {
    absl::StrAppend(out, "Untagged: ", untagged, "\n");
  }
  if (removed.deleted) absl::StrAppend(out, "Deleted: ", removed.manifest.ToString(), "\n");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<images::Digest>> ImagesInUse(const Installation& installation) {
  HULL_ASSIGN_OR_RETURN(
      const std::unique_ptr<container::ContainerStore> store,
      container::ContainerStore::Open({.root = installation.root, .run = installation.run}));
  HULL_RETURN_IF_ERROR(store->CollectDead());
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> digests, store->ImageDigests());
  std::vector<images::Digest> in_use;
  for (const std::string& digest : digests) {
    HULL_ASSIGN_OR_RETURN(images::Digest parsed, images::Digest::Parse(digest));
    in_use.push_back(std::move(parsed));
  }
  return in_use;
}

}  // namespace

std::string HumanSize(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return absl::StrFormat("%.3g %s", value, kUnits[unit]);
}

std::string HumanAge(int64_t seconds) {
  struct Unit {
    int64_t seconds;
    const char* name;
  };
  constexpr Unit kUnits[] = {{365 * 86400, "year"}, {30 * 86400, "month"}, {7 * 86400, "week"},
                             {86400, "day"},        {3600, "hour"},        {60, "minute"},
                             {1, "second"}};
  for (const Unit& unit : kUnits) {
    const int64_t count = seconds / unit.seconds;
    if (count > 0) return absl::StrCat(count, " ", unit.name, count == 1 ? "" : "s", " ago");
  }
  return "now";
}

int ImagesCommand(const std::vector<std::string>& args) {
  bool quiet = false;
  CLI::App app("Lists the images on this machine.", "images");
  app.formatter(std::make_shared<UsageFormatter>("images [-q]"));
  app.add_flag("-q,--quiet", quiet, "Print image ids only");
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  if (std::optional<int> status =
          RunElsewhere(*installation, Needs::kStore, WithVerb("images", args), false)) {
    return *status;
  }
  const absl::StatusOr<std::vector<images::ImageInfo>> images =
      images::Store(installation->ImageStore()).List();
  if (!images.ok()) return ReportFailure(images.status());
  if (!quiet) return PrintOutput(ImagesTable(*images, time(nullptr)));
  std::string ids;
  for (const images::ImageInfo& image : *images) {
    absl::StrAppend(&ids, image.id.hex().substr(0, kShownIdDigits), "\n");
  }
  return PrintOutput(ids);
}

int LoadCommand(const std::vector<std::string>& args) {
  std::string path;
  std::string name;
  CLI::App app("Takes images of an OCI layout into the store.", "load");
  app.formatter(std::make_shared<UsageFormatter>("load [--name NAME[:TAG]] PATH"));
  app.add_option("--name", name, "Name the image so, not as its layout does (one image only)");
  app.add_option("PATH", path,
                 "Layout: a directory, a tar file (may be compressed), or - for stdin")
      ->required();
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  const bool from_stdin = path == "-" || path == "/dev/stdin";
  if (std::optional<int> status =
          RunElsewhere(*installation, Needs::kStore, WithVerb("load", args), from_stdin)) {
    return *status;
  }

  // A load that is interrupted takes away what it made.
  sigset_t ending;
  sigemptyset(&ending);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&ending, signal);
  sigprocmask(SIG_BLOCK, &ending, nullptr);
  const UniqueFd interrupted(signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!interrupted.valid()) return ReportFailure(PosixError("create a signal descriptor"));

  LoadProgressLine progress;
  const absl::StatusOr<std::vector<images::LoadedImage>> loaded =
      images::Store(installation->ImageStore())
          .Load(from_stdin ? "/dev/stdin" : path,
                {.unpack_program = installation->Program("hull-unpack"),
                 .users = installation->users,
                 .user_claims = installation->UserClaims(),
                 .name = name,
                 .cancel_fd = interrupted.get(),
                 .progress = [&progress](const images::LoadProgress& state) {
                   progress.Show(state);
                 }});
  progress.Clear();
  signalfd_siginfo info;
  if (read(interrupted.get(), &info, sizeof(info)) == sizeof(info)) {
    return container::SignalStatus(static_cast<int>(info.ssi_signo));
  }
  if (!loaded.ok()) return ReportFailure(loaded.status());
  std::string out;
  for (const images::LoadedImage& image : *loaded) {
    for (const std::string& loaded_name : image.names) {
      absl::StrAppend(&out, "Loaded image: ", loaded_name, "\n");
    }
    if (image.names.empty()) {
      absl::StrAppend(&out, "Loaded image: ", image.id.hex().substr(0, kShownIdDigits), "\n");
    }
  }
  return PrintOutput(out);
}

int RmiCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  bool force = false;
  CLI::App app("Removes images from the store.", "rmi");
  app.formatter(std::make_shared<UsageFormatter>("rmi [-f] IMAGE..."));
  app.add_flag("-f,--force", force, "With an id: also if the image has several names");
  app.add_option("IMAGE", names, "Name, digest or id")->required();
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  const absl::StatusOr<Installation> installation = Installation::FromEnvironment();
  if (!installation.ok()) return ReportFailure(installation.status());
  if (std::optional<int> status =
          RunElsewhere(*installation, Needs::kStore, WithVerb("rmi", args), false)) {
    return *status;
  }
  const absl::StatusOr<std::vector<images::Digest>> in_use = ImagesInUse(*installation);
  if (!in_use.ok()) return ReportFailure(in_use.status());
  const images::Store store(installation->ImageStore());
  int status = 0;
  for (const std::string& name : names) {
    std::string out;
    const absl::Status removed = RemoveImage(store, name, *in_use, force, &out);
    const int printed = PrintOutput(out);
    if (!removed.ok()) status = ReportFailure(removed);
    if (status == 0) status = printed;
  }
  return status;
}

}  // namespace hull::cli
