#include "vmm/cli/commit_command.h"

#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "guest-agent/archive/tar_format.h"
#include "images/config_changes.h"
#include "images/digest.h"
#include "images/image_commit.h"
#include "images/reference.h"
#include "images/store.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/archiver_session.h"
#include "vmm/cli/child_program.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/load_progress.h"
#include "vmm/cli/message.h"
#include "vmm/cli/pc_containers.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

using container::ContainerStore;

struct CommitFlags {
  std::string container;
  std::string image;
  std::vector<std::string> changes;
  std::string message;
  std::string author;
  bool pause = false;
  bool quiet = false;
};

// What of the flags can be wrong, before the guest has anything to do.
absl::Status Check(const CommitFlags& flags, images::CommitOptions* options) {
  if (!flags.image.empty()) {
    HULL_ASSIGN_OR_RETURN(const images::Reference reference, images::ParseReference(flags.image));
    if (reference.digest.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", container::Printable(flags.image), "\": the new image's digest is not known yet"));
    }
  }
  for (const std::string& text : flags.changes) {
    absl::StatusOr<images::ConfigChange> change = images::ParseConfigChange(text);
    if (!change.ok()) return Annotate(change.status(), "--change");
    options->changes.push_back(*std::move(change));
  }
  return absl::OkStatus();
}

// The guest's archive, of which nothing is looked at here.
absl::Status ReceiveLayer(ContainerStore* store, const Named& container,
                          images::ImageCommit* commit) {
  HULL_ASSIGN_OR_RETURN(ArchiverSession session,
                        ArchiverSession::Start(store, container, {"layer"},
                                               ArchiverSession::Direction::kFromContainer));
  archive::DescriptorSource source(session.fd());
  std::vector<uint8_t> piece(size_t{64} << 10);
  absl::Status received;
  long n = 0;
  while (received.ok() && (n = source.Read(piece.data(), piece.size())) > 0) {
    // SAFETY: any object may be seen as characters.
    received = commit->AddLayerBytes(
        {reinterpret_cast<const char*>(piece.data()), static_cast<size_t>(n)});
  }
  if (n < 0) received = PosixError(static_cast<int>(-n), "read the container's layer");
  const absl::Status sent = session.Finish();
  return received.ok() ? sent : received;
}

absl::StatusOr<images::LoadedImage> Commit(const Installation& installation,
                                           const CommitFlags& flags, images::CommitOptions* options,
                                           LoadProgressLine* progress,
                                           std::optional<int>* interrupted_status) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ContainerStore> store, OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const Named container, FindContainer(store.get(), flags.container));
  HULL_RETURN_IF_ERROR(RefusePc(container.info, kNoFiles));
  if (!Runs(container.info)) {
    return WrongState(container.info,
                      container.info.alive
                          ? "its own machine tells what has changed: unpause it first"
                          : "its own machine tells what has changed: start it first");
  }
  HULL_ASSIGN_OR_RETURN(const images::Digest parent,
                        images::Digest::Parse(container.info.config.image_digest));
  const images::Store image_store(installation.ImageStore());
  HULL_ASSIGN_OR_RETURN(images::ImageCommit commit,
                        images::ImageCommit::Begin(image_store, parent));
  HULL_RETURN_IF_ERROR(ReceiveLayer(store.get(), container, &commit));
  // Until here a signal simply ends this process.
  HULL_ASSIGN_OR_RETURN(const EndingSignals interrupted, EndingSignals::Create());
  options->created_by = absl::StrJoin(container.info.config.process.args, " ");
  options->load = {.unpack_program = installation.UnpackProgram(),
                   .name = flags.image,
                   .cancel_fd = interrupted.fd(),
                   .progress = [progress, &flags](const images::LoadProgress& state) {
                     if (!flags.quiet) progress->Show(state);
                   }};
  absl::StatusOr<images::LoadedImage> image = commit.Finish(*options);
  progress->Clear();
  *interrupted_status = interrupted.ExitStatus();
  return image;
}

}  // namespace

int CommitCommand(const std::vector<std::string>& args) {
  CommitFlags flags;
  CLI::App app("Makes an image of a container that runs: its image's, and what it has changed.",
               "commit");
  app.formatter(std::make_shared<UsageFormatter>("commit [FLAG...] CONTAINER [IMAGE]"));
  app.add_option("-c,--change", flags.changes,
                 "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR, as in "
                 "a Dockerfile")
      ->type_size(1)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("-m,--message", flags.message, "For the image's history");
  app.add_option("-a,--author", flags.author, "Likewise");
  app.add_flag("-p,--pause", flags.pause,
               "For podman's sake: a machine that pauses sends no files");
  app.add_flag("-q,--quiet", flags.quiet, "Show no progress");
  app.add_option("CONTAINER", flags.container, "Name, id or the beginning of an id")->required();
  app.add_option("IMAGE", flags.image, "The new image's name (default: none)");
  Installation installation;
  if (const std::optional<int> status = BeginCommand(&app, args, Needs::kStore, &installation, [&] {
        return Subjects::Of(Subjects::Kind::kContainers, {flags.container});
      })) {
    return *status;
  }
  images::CommitOptions options;
  options.author = flags.author;
  options.comment = flags.message;
  options.created = absl::FormatTime("%Y-%m-%dT%H:%M:%E9SZ", absl::Now(), absl::UTCTimeZone());
  const absl::Status checked = Check(flags, &options);
  if (!checked.ok()) return ReportFailure(checked);
  if (flags.pause) {
    PrintError(
        "--pause: the container is not paused, as its own machine reads its files; what it "
        "writes meanwhile may be in the image or not");
  }
  LoadProgressLine progress;
  std::optional<int> interrupted;
  const absl::StatusOr<images::LoadedImage> image =
      Commit(installation, flags, &options, &progress, &interrupted);
  if (interrupted.has_value()) return *interrupted;
  if (!image.ok()) return ReportFailure(image.status());
  return PrintOutput(absl::StrCat(image->id.hex(), "\n"));
}

}  // namespace hull::cli
