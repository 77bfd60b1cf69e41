#include "vmm/cli/place.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "images/store.h"
#include "nlohmann/json.hpp"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/format_template.h"
#include "vmm/cli/message.h"
#include "vmm/container/container_store.h"
#include "vmm/container/outcome.h"
#include "vmm/emulated_host/emulated_host.h"

namespace hull::cli {
namespace {

using Kind = Subjects::Kind;

// What a listing may be long.
constexpr off_t kMaxListingBytes = off_t{64} << 20;

int RunInEmulatedHost(const Installation& installation, const char* reason,
                      const std::vector<std::string>& args, bool forward_stdin,
                      const std::function<void(const emulated_host::ExitStatus&)>& mirror) {
  const absl::StatusOr<emulated_host::Config> config = emulated_host::Config::FromEnvironment();
  if (!config.ok()) return ReportFailure(config.status());
  emulated_host::RunOptions options = {.argv = {installation.executable},
                                       .forward_stdin = forward_stdin};
  options.argv.insert(options.argv.end(), args.begin(), args.end());
  const absl::StatusOr<emulated_host::ExitStatus> ended =
      emulated_host::RunInside(*config, reason, options);
  if (!ended.ok()) return ReportFailure(ended.status());
  mirror(*ended);
  return ended->signal != 0 ? container::SignalStatus(ended->signal) : ended->code;
}

bool IsPcImage(const Installation& installation, const std::string& name) {
  const absl::StatusOr<images::ResolvedImage> image =
      images::Store(installation.ImageStore()).Resolve(name);
  return image.ok() && image->machine.has_value();
}

bool HasPcImages(const Installation& installation) {
  const images::Store store(installation.ImageStore());
  const absl::StatusOr<std::vector<images::ImageInfo>> images = store.List();
  return images.ok() && std::any_of(images->begin(), images->end(), [&](const auto& image) {
           return IsPcImage(installation, image.manifest.ToString());
         });
}

// Nothing where there never was a container, so that looking makes no directories.
std::unique_ptr<container::ContainerStore> ContainersHere(const Installation& installation) {
  if (access(absl::StrCat(installation.root, "/containers").c_str(), F_OK) != 0) return nullptr;
  absl::StatusOr<std::unique_ptr<container::ContainerStore>> store =
      container::ContainerStore::Open({.root = installation.root, .run = installation.run});
  return store.ok() ? *std::move(store) : nullptr;
}

bool IsPcContainer(container::ContainerStore* store, const std::string& name) {
  if (store == nullptr) return false;
  const absl::StatusOr<std::string> id = store->Resolve(name);
  if (!id.ok()) return false;
  const absl::StatusOr<container::Config> config = store->ReadConfig(*id);
  return config.ok() && config->pc.has_value();
}

bool HasPcContainers(container::ContainerStore* store) {
  if (store == nullptr) return false;
  const absl::StatusOr<std::vector<container::ContainerInfo>> infos = store->List();
  return infos.ok() && std::any_of(infos->begin(), infos->end(),
                                   [](const auto& info) { return info.config.pc.has_value(); });
}

// Those of the names that are here.
std::vector<std::string> NamesHere(const Installation& installation, const Subjects& subjects) {
  const std::unique_ptr<container::ContainerStore> containers =
      subjects.kind == Kind::kImages ? nullptr : ContainersHere(installation);
  std::vector<std::string> here;
  for (const std::string& name : subjects.names) {
    if (IsPcContainer(containers.get(), name) ||
        (subjects.kind != Kind::kContainers && IsPcImage(installation, name))) {
      here.push_back(name);
    }
  }
  return here;
}

bool AnyHere(const Installation& installation, Kind kind) {
  if (kind != Kind::kContainers && HasPcImages(installation)) return true;
  return kind != Kind::kImages && HasPcContainers(ContainersHere(installation).get());
}

// Standard output goes to a file in memory while this exists.
class CapturedOutput {
 public:
  static absl::StatusOr<CapturedOutput> Create() {
    CapturedOutput output;
    output.file_.Reset(memfd_create("listing", MFD_CLOEXEC));
    output.saved_.Reset(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    if (!output.file_.valid() || !output.saved_.valid()) return PosixError("capture the output");
    if (dup2(output.file_.get(), STDOUT_FILENO) < 0) return PosixError("capture the output");
    return output;
  }
  CapturedOutput(CapturedOutput&&) = default;
  ~CapturedOutput() {
    if (saved_.valid()) dup2(saved_.get(), STDOUT_FILENO);
  }

  std::string Text() const {
    std::string text(static_cast<size_t>(
                         std::clamp<off_t>(lseek(file_.get(), 0, SEEK_END), 0, kMaxListingBytes)),
                     '\0');
    const ssize_t n = pread(file_.get(), text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return text;
  }

 private:
  CapturedOutput() = default;
  UniqueFd file_;
  UniqueFd saved_;
};

// Runs the command here, in a child (in which this returns nothing), and then in the emulated host
// if that runs. One that does not has no containers that run, and is not started for the others.
std::optional<int> RunInBoth(const Installation& installation,
                             const std::vector<std::string>& args) {
  std::string here;
  std::string there;
  int status = 0;
  {
    absl::StatusOr<CapturedOutput> output = CapturedOutput::Create();
    if (!output.ok()) return ReportFailure(output.status());
    const pid_t child = fork();
    if (child < 0) return ReportFailure(PosixError("fork"));
    if (child == 0) {
      // What is written goes to the file, whatever becomes of this object in the parent.
      [[maybe_unused]] const auto* kept = new CapturedOutput(*std::move(output));
      return std::nullopt;
    }
    int wait_status = 0;
    while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
    }
    status = WIFSIGNALED(wait_status) ? container::SignalStatus(WTERMSIG(wait_status))
                                      : WEXITSTATUS(wait_status);
    here = output->Text();
  }
  const absl::StatusOr<emulated_host::Config> config = emulated_host::Config::FromEnvironment();
  const absl::StatusOr<emulated_host::Status> host =
      config.ok() ? emulated_host::GetStatus(*config)
                  : absl::StatusOr<emulated_host::Status>(config.status());
  if (host.ok() && host->running) {
    const absl::StatusOr<CapturedOutput> output = CapturedOutput::Create();
    if (!output.ok()) return ReportFailure(output.status());
    const int status_there = RunInEmulatedHost(installation, "", args, /*forward_stdin=*/false,
                                               [](const emulated_host::ExitStatus&) {});
    if (status == 0) status = status_there;
    there = output->Text();
  }
  const int printed = PrintOutput(MergeListings(here, there));
  return status != 0 ? status : printed;
}

std::string Words(absl::string_view line) {
  return absl::StrJoin(absl::StrSplit(line, ' ', absl::SkipEmpty()), " ");
}

}  // namespace

bool PcRunsApart() {
  const absl::StatusOr<emulated_host::Decision> decision = emulated_host::Decide();
  if (!decision.ok() || decision->place == emulated_host::Place::kHere) return false;
  return !decision->asked_for && UniqueFd::Open("/dev/kvm", O_RDWR).ok();
}

std::string MergeListings(const std::string& here, const std::string& there) {
  if (here.empty() || there.empty()) return here + there;
  nlohmann::json list = nlohmann::json::parse(here, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json more = nlohmann::json::parse(there, nullptr, /*allow_exceptions=*/false);
  if (list.is_array() && more.is_array()) {
    list.insert(list.end(), more.begin(), more.end());
    return PrettyJson(list);
  }
  const size_t heading = there.find('\n');
  if (heading != std::string::npos &&
      Words(there.substr(0, heading)) == Words(here.substr(0, here.find('\n')))) {
    return absl::StrCat(here, there.substr(heading + 1));
  }
  return here + there;
}

std::optional<int> RunElsewhere(const Installation& installation, Needs needs,
                                const std::vector<std::string>& args, bool forward_stdin,
                                const Subjects& subjects) {
  const absl::StatusOr<emulated_host::Decision> decision = emulated_host::Decide();
  if (!decision.ok()) {
    // The store can be looked at without KVM; a variable that makes no sense is always told.
    if (needs == Needs::kStore && !absl::IsInvalidArgument(decision.status())) return std::nullopt;
    return ReportFailure(decision.status());
  }
  if (decision->place == emulated_host::Place::kHere) return std::nullopt;
  if (PcRunsApart()) {
    if (subjects.all && AnyHere(installation, subjects.kind)) return RunInBoth(installation, args);
    const std::vector<std::string> here = NamesHere(installation, subjects);
    if (!here.empty() && here.size() == subjects.names.size()) return std::nullopt;
    if (!here.empty()) {
      PrintError(absl::StrCat(absl::StrJoin(here, ", "),
                              ": of a pc machine, which runs here and not in the emulated host; "
                              "name it in a command of its own"));
      return container::kHullFailed;
    }
  }
  return RunInEmulatedHost(installation, decision->reason, args, forward_stdin,
                           [](const emulated_host::ExitStatus& ended) { ended.Mirror(); });
}

}  // namespace hull::cli
