#include "vmm/cli/copy_command.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "guest-agent/archive/tar_format.h"
#include "guest-agent/archive/tree.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/archiver_session.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/copy_plan.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/pc_containers.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

using container::ContainerStore;
using Direction = ArchiverSession::Direction;

// A word and a line break.
constexpr size_t kMaxKindAnswer = 64;

// One end of a copy, found.
struct End {
  CopyPlace place;
  std::optional<Named> container = {};
};

absl::StatusOr<FileKind> KindOnHost(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) {
    return S_ISDIR(info.st_mode)   ? FileKind::kDirectory
           : S_ISREG(info.st_mode) ? FileKind::kFile
                                   : FileKind::kOther;
  }
  if (errno == ENOENT || errno == ENOTDIR) return FileKind::kMissing;
  return PosixError(absl::StrCat("look at \"", path, "\""));
}

absl::StatusOr<FileKind> KindInContainer(ContainerStore* store, const Named& container,
                                         const std::string& path) {
  const absl::StatusOr<std::string> answer =
      AskArchiver(store, container, {"stat", path}, kMaxKindAnswer);
  if (absl::IsNotFound(answer.status())) return FileKind::kMissing;
  if (!answer.ok()) return answer.status();
  if (*answer == "directory\n") return FileKind::kDirectory;
  return *answer == "file\n" ? FileKind::kFile : FileKind::kOther;
}

absl::StatusOr<FileKind> KindOf(ContainerStore* store, const End& end, const std::string& path) {
  return end.container.has_value() ? KindInContainer(store, *end.container, path)
                                   : KindOnHost(path);
}

// The containers that a copy is about.
Subjects ContainersOf(const std::string& source, const std::string& target) {
  std::vector<std::string> names;
  for (const std::string& argument : {source, target}) {
    const absl::StatusOr<CopyPlace> place = ParseCopyPlace(argument);
    if (place.ok() && place->container.has_value()) names.push_back(*place->container);
  }
  return Subjects::Of(Subjects::Kind::kContainers, std::move(names));
}

absl::string_view Where(const End& end) {
  return end.container.has_value() ? "container" : "the host";
}

absl::StatusOr<CopyTarget> LookAtTarget(ContainerStore* store, const End& end) {
  CopyTarget target;
  HULL_ASSIGN_OR_RETURN(target.kind, KindOf(store, end, end.place.path));
  if (target.kind == FileKind::kMissing) {
    HULL_ASSIGN_OR_RETURN(target.parent, KindOf(store, end, ParentOf(end.place.path)));
  } else {
    target.parent = FileKind::kDirectory;
  }
  return target;
}

absl::Status PackOnHost(const std::string& path, const std::string& prefix, int to) {
  archive::DescriptorSink sink(to);
  const auto writer = std::make_unique<archive::TarWriter>(&sink);
  archive::Why why;
  if (archive::Pack(AT_FDCWD, path.c_str(), prefix, {}, writer.get(), &why)) {
    return absl::OkStatus();
  }
  return absl::UnknownError(std::string(why.view()));
}

// What the guest sends is taken for what a stranger sends: nothing outside of the plan's directory
// is made or changed, no link is followed, and no file has rights but its owner's usual ones.
absl::Status UnpackOnHost(const CopyPlan& plan, int from) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd root, UniqueFd::Open(plan.directory, O_PATH | O_DIRECTORY));
  archive::DescriptorSource source(from);
  const auto reader = std::make_unique<archive::TarReader>(&source);
  archive::Why why;
  const archive::UnpackOptions options = {
      .prefix = plan.prefix,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
      .plain = true};
  if (archive::Unpack(root.get(), options, reader.get(), &why)) return absl::OkStatus();
  return absl::UnknownError(
      container::Printable(absl::string_view(why.view().data(), why.view().size())));
}

// The other end's error is the cause of ours, which is only that it does not go on.
absl::Status FinishBoth(absl::Status own, ArchiverSession* session) {
  const absl::Status theirs = session->Finish();
  return theirs.ok() ? own : theirs;
}

absl::Status Copy(ContainerStore* store, const End& from, const End& to, bool archive) {
  FileKind source_kind = FileKind::kDirectory;
  if (!from.place.stream) {
    HULL_ASSIGN_OR_RETURN(source_kind, KindOf(store, from, from.place.path));
    if (source_kind == FileKind::kMissing) {
      return absl::NotFoundError(
          absl::StrCat("\"", from.place.path, "\" could not be found on ", Where(from)));
    }
  }
  CopyPlan plan = {.directory = to.place.path, .prefix = "."};
  if (to.place.stream) {
    plan.prefix = CopyName(from.place.path);
  } else {
    HULL_ASSIGN_OR_RETURN(const CopyTarget target, LookAtTarget(store, to));
    if (from.place.stream && target.kind != FileKind::kDirectory) {
      return absl::FailedPreconditionError(
          "destination must be a directory when copying from stdin");
    }
    if (!from.place.stream) {
      HULL_ASSIGN_OR_RETURN(
          plan, PlanCopy(from.place.path, source_kind, to.place.path, target, Where(to)));
    }
  }
  std::optional<ArchiverSession> sender;
  if (from.container.has_value()) {
    HULL_ASSIGN_OR_RETURN(
        ArchiverSession session,
        ArchiverSession::Start(store, *from.container, {"pack", from.place.path, plan.prefix},
                               Direction::kFromContainer));
    sender.emplace(std::move(session));
  }
  if (!to.container.has_value()) {
    const absl::Status received = to.place.stream ? RelayArchive(sender->fd(), STDOUT_FILENO)
                                                  : UnpackOnHost(plan, sender->fd());
    // A guest that is cut off complains of that, which is of no interest.
    if (!received.ok()) {
      const absl::Status theirs = sender->Finish();
      return absl::StrContains(received.message(), "ends too early") && !theirs.ok() ? theirs
                                                                                     : received;
    }
    return sender->Finish();
  }
  const std::string& user = to.container->info.config.process.user;
  const std::string owner = !archive ? "" : user.empty() ? "0" : user;
  HULL_ASSIGN_OR_RETURN(
      ArchiverSession receiver,
      ArchiverSession::Start(store, *to.container, {"unpack", plan.directory, owner},
                             Direction::kToContainer));
  absl::Status sent;
  if (sender.has_value()) {
    sent = FinishBoth(RelayArchive(sender->fd(), receiver.fd()), &*sender);
  } else if (from.place.stream) {
    sent = RelayArchive(STDIN_FILENO, receiver.fd());
  } else {
    sent = PackOnHost(from.place.path, plan.prefix, receiver.fd());
  }
  return FinishBoth(sent, &receiver);
}

absl::StatusOr<End> Find(ContainerStore* store, const std::string& argument) {
  End end;
  HULL_ASSIGN_OR_RETURN(end.place, ParseCopyPlace(argument));
  if (!end.place.container.has_value()) return end;
  HULL_ASSIGN_OR_RETURN(Named container, FindContainer(store, *end.place.container));
  HULL_RETURN_IF_ERROR(RefusePc(container.info, kNoFiles));
  end.container = std::move(container);
  return end;
}

absl::Status Run(const Installation& installation, const std::string& source,
                 const std::string& target, bool archive) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<ContainerStore> store, OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const End from, Find(store.get(), source));
  HULL_ASSIGN_OR_RETURN(const End to, Find(store.get(), target));
  if (!from.container.has_value() && !to.container.has_value()) {
    return absl::InvalidArgumentError(
        "one of the two has to be CONTAINER:PATH (see hull cp --help)");
  }
  return Copy(store.get(), from, to, archive);
}

}  // namespace

int CopyCommand(const std::vector<std::string>& args) {
  std::string source;
  std::string target;
  bool archive = true;
  bool pause = false;
  CLI::App app("Copies files between a container that runs and this machine, or another one.",
               "cp");
  app.formatter(std::make_shared<UsageFormatter>(
      "cp [-a=B] CONTAINER:PATH PATH|-  or  cp [-a=B] PATH|- CONTAINER:PATH"));
  app.add_flag("-a,--archive", archive,
               "In a container files are its user's (default; --archive=false: as they were)");
  app.add_flag("--pause", pause, "")->group("");
  app.add_option("SOURCE", source, "CONTAINER:PATH, PATH, or -, an archive")->required();
  app.add_option("TARGET", target, "Likewise")->required();
  Installation installation;
  if (const std::optional<int> status = BeginCommand(
          &app, args, Needs::kStore, &installation, [&] { return ContainersOf(source, target); },
          [&] { return source == "-"; })) {
    return *status;
  }
  const absl::Status copied = Run(installation, source, target, archive);
  return copied.ok() ? 0 : ReportFailure(copied);
}

}  // namespace hull::cli
