#include "vmm/cli/registry_commands.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "images/reference.h"
#include "nlohmann/json.hpp"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/child_program.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/image_location.h"
#include "vmm/cli/message.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

using Output = ChildProgram::Output;

constexpr size_t kMaxManifestBytes = size_t{4} << 20;

// How a registry is talked to; skopeo has the same flags.
struct RegistryFlags {
  bool quiet = false;
  std::string tls_verify;
  std::string credentials;
  std::string auth_file;
  std::string cert_dir;

  void AddTo(CLI::App* app) {
    app->add_option("--tls-verify", tls_verify,
                    "false: plain HTTP and any certificate will do (default: true)")
        ->check(CLI::IsMember({"true", "false"}));
    app->add_option("--authfile", auth_file, "Where hull login has put credentials");
    app->add_option("--cert-dir", cert_dir, "Directory of certificates and keys");
  }

  // For the side ("src", "dest") of a copy.
  std::vector<std::string> ForCopy(absl::string_view side) const {
    std::vector<std::string> flags;
    const auto add = [&flags](std::string flag, const std::string& value) {
      if (!value.empty()) flags.push_back(absl::StrCat("--", flag, "=", value));
    };
    add(absl::StrCat(side, "-tls-verify"), tls_verify);
    add(absl::StrCat(side, "-creds"), credentials);
    add(absl::StrCat(side, "-cert-dir"), cert_dir);
    add("authfile", auth_file);
    return flags;
  }
};

// A directory for an image on its way between skopeo and the store, which may be in the emulated
// host: both see the user's files at the same paths. It goes with this object; what a killed
// command left is taken away by the next one, as nobody holds its lock any more.
class TransferDirectory {
 public:
  static absl::StatusOr<TransferDirectory> Create() {
    const char* const temporary = getenv("TMPDIR");
    const std::string base = absl::StrCat(
        temporary == nullptr || *temporary == '\0' ? "/var/tmp" : temporary, "/hull-", geteuid());
    if (mkdir(base.c_str(), 0700) != 0 && errno != EEXIST) {
      return PosixError(absl::StrCat("create \"", base, "\""));
    }
    HULL_ASSIGN_OR_RETURN(const UniqueFd parent,
                          UniqueFd::Open(base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    struct stat info;
    if (fstat(parent.get(), &info) != 0) return PosixError(absl::StrCat("stat \"", base, "\""));
    // Others may write to the directory around it, too.
    if (info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
      return absl::PermissionDeniedError(
          absl::StrCat("\"", base, "\" is not this user's alone; remove it, or set TMPDIR"));
    }
    HULL_RETURN_IF_ERROR(Lock(parent, LOCK_EX, base));
    RemoveStale(base);
    std::string path = absl::StrCat(base, "/transfer-XXXXXX");
    if (mkdtemp(path.data()) == nullptr) return PosixError(absl::StrCat("create \"", path, "\""));
    HULL_ASSIGN_OR_RETURN(UniqueFd lock, UniqueFd::Open(path, O_RDONLY | O_DIRECTORY));
    HULL_RETURN_IF_ERROR(Lock(lock, LOCK_EX, path));
    return TransferDirectory(std::move(path), std::move(lock));
  }
  TransferDirectory(TransferDirectory&& other) noexcept
      : path_(std::exchange(other.path_, "")), lock_(std::move(other.lock_)) {}
  ~TransferDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  std::string Image() const { return path_ + "/image"; }

 private:
  TransferDirectory(std::string path, UniqueFd lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  static absl::Status Lock(const UniqueFd& fd, int operation, const std::string& path) {
    while (flock(fd.get(), operation) != 0) {
      if (errno != EINTR) return PosixError(absl::StrCat("lock \"", path, "\""));
    }
    return absl::OkStatus();
  }

  static void RemoveStale(const std::string& base) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(base, ignored)) {
      absl::StatusOr<UniqueFd> fd =
          UniqueFd::Open(entry.path().string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (fd.ok() && flock(fd->get(), LOCK_EX | LOCK_NB) != 0) continue;
      std::filesystem::remove_all(entry.path(), ignored);
    }
  }

  std::string path_;
  UniqueFd lock_;
};

absl::Status SkopeoMissing(const absl::Status& status) {
  if (!absl::IsNotFound(status)) return status;
  return absl::NotFoundError(
      "this needs the program skopeo, which is not here; try: apt-get install skopeo");
}

// Runs `skopeo copy`, whose progress goes to standard error unless `flags` say otherwise.
absl::Status Copy(std::vector<std::string> copy_flags, const RegistryFlags& flags,
                  const std::string& from, const std::string& to, const std::string& registry,
                  int cancel_fd) {
  ChildProgram skopeo{
      .argv = {"skopeo", "--override-os", "linux", "--override-arch", "amd64", "copy"},
      .input = false,
      .out = flags.quiet ? Output::kDrop : Output::kToStandardError,
      .err = Output::kCapture};
  skopeo.argv.insert(skopeo.argv.end(), copy_flags.begin(), copy_flags.end());
  skopeo.argv.insert(skopeo.argv.end(), {"--", from, to});
  const absl::StatusOr<ChildResult> copied = RunChild(skopeo, cancel_fd);
  if (!copied.ok()) return SkopeoMissing(copied.status());
  if (copied->ok()) return absl::OkStatus();
  return absl::UnavailableError(DescribeSkopeoFailure(copied->err, registry));
}

// Runs this program again, where the store is, whether that is here or in the emulated host. Its
// own message has said what went wrong if it fails.
absl::StatusOr<ChildResult> RunHull(std::vector<std::string> args, int cancel_fd) {
  args.insert(args.begin(), "/proc/self/exe");
  return RunChild(
      {.argv = std::move(args), .input = false, .out = Output::kCapture, .err = Output::kInherit},
      cancel_fd);
}

int StatusOfChild(const ChildResult& result) {
  if (WIFSIGNALED(result.wait_status)) return container::SignalStatus(WTERMSIG(result.wait_status));
  return WEXITSTATUS(result.wait_status);
}

absl::StatusOr<std::string> IdOfFetched(const std::string& directory) {
  HULL_ASSIGN_OR_RETURN(const std::string text,
                        ReadFile(directory + "/manifest.json", kMaxManifestBytes));
  const nlohmann::json manifest = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json::json_pointer kDigest("/config/digest");
  if (!manifest.is_object() || !manifest.contains(kDigest) || !manifest[kDigest].is_string()) {
    return absl::UnimplementedError(
        "it has a manifest of a form that is no longer in use (schema 1), or none");
  }
  const std::string digest = manifest[kDigest].get<std::string>();
  return std::string(absl::StripPrefix(digest, "sha256:"));
}

// A result, or the exit status of something that has already said what went wrong.
int Finish(const EndingSignals& signals, const absl::StatusOr<int>& result,
           const std::string& what) {
  if (const std::optional<int> status = signals.ExitStatus()) return *status;
  if (!result.ok()) return ReportFailure(Annotate(result.status(), what));
  return *result;
}

absl::StatusOr<int> Pull(const ImageLocation& location, const RegistryFlags& flags, int cancel_fd) {
  if (!location.archive.empty()) {
    HULL_ASSIGN_OR_RETURN(const ChildResult loaded,
                          RunHull({"load", "-i", location.archive}, cancel_fd));
    return loaded.ok() ? PrintOutput(loaded.out) : StatusOfChild(loaded);
  }
  HULL_ASSIGN_OR_RETURN(const TransferDirectory directory, TransferDirectory::Create());
  HULL_RETURN_IF_ERROR(Copy(flags.ForCopy("src"), flags, location.skopeo,
                            absl::StrCat("dir:", directory.Image()), location.registry, cancel_fd));
  HULL_ASSIGN_OR_RETURN(const std::string id, IdOfFetched(directory.Image()));
  std::vector<std::string> load = {"load", "-i", directory.Image()};
  if (!location.name.empty()) load.insert(load.end(), {"--name", location.name});
  if (flags.quiet) load.push_back("--quiet");
  HULL_ASSIGN_OR_RETURN(const ChildResult loaded, RunHull(std::move(load), cancel_fd));
  return loaded.ok() ? PrintOutput(id + "\n") : StatusOfChild(loaded);
}

// The full name that `text` stands for among the names of the image; empty if there is none.
absl::StatusOr<std::string> NameAmong(const std::string& text, const std::string& names_json) {
  const nlohmann::json names =
      nlohmann::json::parse(names_json, nullptr, /*allow_exceptions=*/false);
  if (!names.is_array()) return absl::InternalError("the names of the image cannot be read");
  HULL_ASSIGN_OR_RETURN(const images::Reference reference, images::ParseReference(text));
  for (const images::Reference& candidate : images::LocalCandidates(reference)) {
    const std::string full_name = candidate.FullName();
    if (std::find(names.begin(), names.end(), full_name) != names.end()) return full_name;
  }
  return std::string();
}

absl::StatusOr<int> Push(const std::string& image, std::string destination,
                         std::vector<std::string> copy_flags, const RegistryFlags& flags,
                         int cancel_fd) {
  if (destination.empty()) {
    HULL_ASSIGN_OR_RETURN(
        const ChildResult inspected,
        RunHull({"image", "inspect", "--format", "{{json .RepoTags}}", image}, cancel_fd));
    if (!inspected.ok()) return StatusOfChild(inspected);
    HULL_ASSIGN_OR_RETURN(destination, NameAmong(image, inspected.out));
    if (destination.empty()) {
      return absl::InvalidArgumentError(
          "an id says no registry; name the destination: hull push IMAGE REGISTRY/NAME:TAG");
    }
  }
  HULL_ASSIGN_OR_RETURN(const ImageLocation location, ParseImageLocation(destination));
  HULL_ASSIGN_OR_RETURN(const TransferDirectory directory, TransferDirectory::Create());
  HULL_ASSIGN_OR_RETURN(
      const ChildResult saved,
      RunHull({"save", "--format", "docker-dir", "-o", directory.Image(), image}, cancel_fd));
  if (!saved.ok()) return StatusOfChild(saved);
  const std::vector<std::string> registry_flags = flags.ForCopy("dest");
  copy_flags.insert(copy_flags.end(), registry_flags.begin(), registry_flags.end());
  // Elsewhere the form itself may want another manifest (docker-archive:) or OCI's (oci:).
  if (!location.registry.empty()) copy_flags.push_back("--preserve-digests");
  HULL_RETURN_IF_ERROR(Copy(std::move(copy_flags), flags, absl::StrCat("dir:", directory.Image()),
                            location.skopeo, location.registry, cancel_fd));
  return 0;
}

// `skopeo login` and `logout` with these arguments; they may ask on the terminal.
int RunSkopeo(std::vector<std::string> argv, const std::string& registry) {
  const std::string what = absl::StrCat(argv[1], " ", registry);
  const absl::StatusOr<ChildResult> ended = RunChild(
      {.argv = std::move(argv), .input = true, .out = Output::kInherit, .err = Output::kCapture},
      -1);
  if (!ended.ok()) return ReportFailure(Annotate(SkopeoMissing(ended.status()), what));
  if (WIFSIGNALED(ended->wait_status)) return StatusOfChild(*ended);
  if (ended->ok()) return 0;
  PrintError(absl::StrCat(what, ": ", DescribeSkopeoFailure(ended->err, registry)));
  return container::kHullFailed;
}

}  // namespace

int PullCommand(const std::vector<std::string>& args) {
  std::string text;
  RegistryFlags flags;
  CLI::App app("Fetches an image from a registry, or from wherever skopeo can.", "pull");
  app.formatter(std::make_shared<UsageFormatter>("pull [FLAG...] NAME[:TAG|@DIGEST]"));
  app.add_flag("-q,--quiet", flags.quiet, "Show no progress");
  app.add_option("--creds", flags.credentials, "USER[:PASSWORD] for the registry");
  flags.AddTo(&app);
  app.add_option("NAME", text,
                 "Without a registry docker.io's; or TRANSPORT:… (oci:, docker-archive:, dir: …)")
      ->required();
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  const std::string what = absl::StrCat("pull ", container::Printable(text));
  const absl::StatusOr<ImageLocation> location = ParseImageLocation(text);
  if (!location.ok()) return ReportFailure(Annotate(location.status(), what));
  const absl::StatusOr<EndingSignals> signals = EndingSignals::Create();
  if (!signals.ok()) return ReportFailure(signals.status());
  return Finish(*signals, Pull(*location, flags, signals->fd()), what);
}

int PushCommand(const std::vector<std::string>& args) {
  std::string image;
  std::string destination;
  std::string digest_file;
  RegistryFlags flags;
  CLI::App app("Sends an image to a registry, or to wherever skopeo can.", "push");
  app.formatter(std::make_shared<UsageFormatter>("push [FLAG...] IMAGE [DESTINATION]"));
  app.add_flag("-q,--quiet", flags.quiet, "Show no progress");
  app.add_option("--creds", flags.credentials, "USER[:PASSWORD] for the registry");
  app.add_option("--digestfile", digest_file, "Write the digest of what was pushed to this file");
  flags.AddTo(&app);
  app.add_option("IMAGE", image, "Name, digest or id")->required();
  app.add_option("DESTINATION", destination,
                 "REGISTRY/NAME[:TAG] (default: the image's own name), or TRANSPORT:…");
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  const absl::StatusOr<EndingSignals> signals = EndingSignals::Create();
  if (!signals.ok()) return ReportFailure(signals.status());
  std::vector<std::string> copy_flags;
  if (!digest_file.empty()) copy_flags.push_back(absl::StrCat("--digestfile=", digest_file));
  return Finish(*signals, Push(image, destination, std::move(copy_flags), flags, signals->fd()),
                absl::StrCat("push ", container::Printable(image)));
}

int LoginCommand(const std::vector<std::string>& args) {
  std::string registry;
  std::string user;
  std::string password;
  bool password_stdin = false;
  bool get_login = false;
  RegistryFlags flags;
  CLI::App app("Proves to a registry who you are, and remembers it for pull and push.", "login");
  app.formatter(std::make_shared<UsageFormatter>("login [FLAG...] REGISTRY"));
  app.add_option("-u,--username", user, "Asked for otherwise");
  app.add_option("-p,--password", password, "Others see it in ps; better asked for, or from stdin");
  app.add_flag("--password-stdin", password_stdin, "Read the password from standard input");
  app.add_flag("--get-login", get_login, "Only print who is logged in");
  flags.AddTo(&app);
  app.add_option("REGISTRY", registry, "Host name, with a port if it has one")->required();
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  std::vector<std::string> argv = {"skopeo", "login"};
  if (!user.empty()) argv.insert(argv.end(), {"--username", user});
  if (!password.empty()) argv.insert(argv.end(), {"--password", password});
  if (password_stdin) argv.push_back("--password-stdin");
  if (get_login) argv.push_back("--get-login");
  if (!flags.tls_verify.empty()) argv.push_back("--tls-verify=" + flags.tls_verify);
  if (!flags.auth_file.empty()) argv.push_back("--authfile=" + flags.auth_file);
  if (!flags.cert_dir.empty()) argv.push_back("--cert-dir=" + flags.cert_dir);
  argv.insert(argv.end(), {"--", registry});
  return RunSkopeo(std::move(argv), registry);
}

int LogoutCommand(const std::vector<std::string>& args) {
  std::string registry;
  std::string auth_file;
  bool all = false;
  CLI::App app("Forgets what login has remembered.", "logout");
  app.formatter(std::make_shared<UsageFormatter>("logout [FLAG...] [REGISTRY]"));
  app.add_flag("-a,--all", all, "Of all registries");
  app.add_option("--authfile", auth_file, "Where hull login has put credentials");
  app.add_option("REGISTRY", registry, "Host name, with a port if it has one");
  if (const std::optional<int> status = ParseCommandLine(&app, args)) return *status;
  if (registry.empty() != all) {
    PrintError(all ? "--all takes no registry" : "which registry? (see hull logout --help)");
    return container::kHullFailed;
  }
  std::vector<std::string> argv = {"skopeo", "logout"};
  if (all) argv.push_back("--all");
  if (!auth_file.empty()) argv.push_back("--authfile=" + auth_file);
  if (!registry.empty()) argv.insert(argv.end(), {"--", registry});
  return RunSkopeo(std::move(argv), registry);
}

}  // namespace hull::cli
