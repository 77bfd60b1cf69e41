#include "vmm/container/container_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/names.h"

namespace hull::container {
namespace {

constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;
// How long a monitor that has ended its container may take for its last files, and how often
// somebody who wants the container looks.
constexpr absl::Duration kFinishPatience = absl::Seconds(30);
constexpr absl::Duration kFinishPause = absl::Milliseconds(1);

// Written into containers.lock, on a file system that does not outlive a boot, once everything that
// was alive before that boot has been collected.
constexpr absl::string_view kRecovered = "recovered\n";

// Between the short id and a process's id, in the name of a run directory that is taken away.
constexpr absl::string_view kGone = ".gone-";

absl::Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), kDirectoryMode) == 0 || errno == EEXIST) return absl::OkStatus();
  if (errno != ENOENT) return PosixError(absl::StrCat("create directory \"", path, "\""));
  const size_t slash = path.rfind('/');
  if (slash == 0 || slash == std::string::npos) {
    return PosixError(ENOENT, absl::StrCat("create directory \"", path, "\""));
  }
  HULL_RETURN_IF_ERROR(MakeDirectory(path.substr(0, slash)));
  if (mkdir(path.c_str(), kDirectoryMode) == 0 || errno == EEXIST) return absl::OkStatus();
  return PosixError(absl::StrCat("create directory \"", path, "\""));
}

bool Exists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

// Whoever may write to the directory decides what this user's next command runs.
absl::Status CheckNobodyElses(const std::string& path, absl::string_view variable) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : PosixError(absl::StrCat("inspect \"", path, "\""));
  }
  if (info.st_uid != geteuid()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "\"", path, "\" belongs to user ", info.st_uid, ", not to user ", geteuid(),
        ", and so would what Hull keeps in it: give it another owner, or set ", variable));
  }
  if ((info.st_mode & 022) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("\"", path, "\" can be written by other users, who could change what Hull ",
                     "runs: chmod go-w it, or set ", variable));
  }
  return absl::OkStatus();
}

absl::Status Flock(const UniqueFd& file, int operation, absl::string_view path) {
  while (flock(file.get(), operation) != 0) {
    if (errno != EINTR) return PosixError(absl::StrCat("lock \"", path, "\""));
  }
  return absl::OkStatus();
}

// The names in a directory, without "." and "..". A missing directory has none.
absl::StatusOr<std::vector<std::string>> ListDirectory(int dir_fd, const std::string& path) {
  std::vector<std::string> names;
  absl::StatusOr<UniqueFd> fd = UniqueFd::OpenAt(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (absl::IsNotFound(fd.status())) return names;
  if (!fd.ok()) return fd.status();
  DIR* dir = fdopendir(fd->get());
  if (dir == nullptr) return PosixError(absl::StrCat("read directory \"", path, "\""));
  (void)fd->Release();  // closedir() closes it
  while (const dirent* entry = readdir(dir)) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      names.emplace_back(entry->d_name);
    }
  }
  closedir(dir);
  return names;
}

// Removes a file, or a directory with what is in it. What is gone already is no error; symbolic
// links are not followed.
absl::Status RemoveTree(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  const int error = errno;
  // A monitor in its sandbox may not remove a file here, and a directory is taken for none yet.
  const absl::StatusOr<std::vector<std::string>> names =
      error == EISDIR || error == EACCES ? ListDirectory(AT_FDCWD, path)
                                         : PosixError(error, absl::StrCat("remove \"", path, "\""));
  if (!names.ok() && error == EACCES)
    return PosixError(error, absl::StrCat("remove \"", path, "\""));
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    HULL_RETURN_IF_ERROR(RemoveTree(absl::StrCat(path, "/", name)));
  }
  if (rmdir(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return PosixError(absl::StrCat("remove \"", path, "\""));
}

absl::Status SyncDirectory(const std::string& path) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd dir, UniqueFd::Open(path, O_RDONLY | O_DIRECTORY));
  if (fsync(dir.get()) != 0) return PosixError(absl::StrCat("fsync \"", path, "\""));
  return absl::OkStatus();
}

// Replaces a file at one moment, as readers see it; after a power cut it may be anything.
absl::Status ReplaceFile(const std::string& path, absl::string_view data) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  {
    HULL_ASSIGN_OR_RETURN(const UniqueFd file,
                          UniqueFd::Open(temporary, O_WRONLY | O_CREAT | O_TRUNC, kFileMode));
    HULL_RETURN_IF_ERROR(Annotate(WriteFull(file.get(), data), absl::StrCat("\"", path, "\"")));
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return PosixError(absl::StrCat("rename to \"", path, "\""));
  }
  return absl::OkStatus();
}

int64_t NowUnixMs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// What the lock file of a container says.
struct LockContent {
  std::string id;
  std::string name;
};

class DirectoryStore : public ContainerStore {
 public:
  DirectoryStore(StorePaths paths, UniqueFd global)
      : paths_(std::move(paths)), global_(std::move(global)) {}

  absl::StatusOr<UniqueFd> Create(const Config& config) override {
    // While creators hold the global lock shared, no collector mistakes a container that is being
    // made, and has no lock yet, for a dead one.
    HULL_RETURN_IF_ERROR(Flock(global_, LOCK_SH, GlobalLockPath()));
    absl::StatusOr<UniqueFd> lock = CreateLocked(config);
    flock(global_.get(), LOCK_UN);
    return lock;
  }

  absl::StatusOr<UniqueFd> Acquire(absl::string_view id) override {
    const absl::Time end = absl::Now() + kFinishPatience;
    while (true) {
      // As in Create(): no collector looks at a run directory that is being made.
      HULL_RETURN_IF_ERROR(Flock(global_, LOCK_SH, GlobalLockPath()));
      absl::StatusOr<UniqueFd> lock = AcquireLocked(id);
      flock(global_.get(), LOCK_UN);
      if (!absl::IsAlreadyExists(lock.status())) return lock;
      // Without a lock the directory is on its way out, or was left behind.
      if (IsAlive(std::string(ShortId(id))) || absl::Now() > end) {
        return absl::FailedPreconditionError(
            absl::StrCat("container ", ShortId(id), " is running, or another command works on it"));
      }
      absl::SleepFor(kFinishPause);
      HULL_RETURN_IF_ERROR(CollectDead());
    }
  }

  absl::StatusOr<ContainerInfo> Look(absl::string_view id) override {
    if (!IsId(id)) return absl::InvalidArgumentError("not a container's id");
    ContainerInfo info;
    HULL_ASSIGN_OR_RETURN(info.config, ReadConfig(id));
    HULL_ASSIGN_OR_RETURN(info.state, ReadState(id));
    info.alive = IsAlive(std::string(ShortId(id)));
    if (info.alive || !IsLive(info.state.status)) return info;
    // It ended between the two looks, or its monitor died without a word.
    HULL_ASSIGN_OR_RETURN(info.state, ReadState(id));
    if (IsLive(info.state.status)) info.state = Died(info.state);
    return info;
  }

  absl::StatusOr<std::vector<ContainerInfo>> List() override {
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Ids());
    std::vector<ContainerInfo> containers;
    for (const std::string& id : ids) {
      absl::StatusOr<ContainerInfo> info = Look(id);
      if (info.ok()) containers.push_back(*std::move(info));
    }
    std::sort(containers.begin(), containers.end(), [](const auto& a, const auto& b) {
      return std::tie(a.config.created_unix_ms, a.config.id) <
             std::tie(b.config.created_unix_ms, b.config.id);
    });
    return containers;
  }

  absl::StatusOr<std::string> Resolve(absl::string_view name) override {
    if (name.empty()) return absl::InvalidArgumentError("name or ID cannot be empty");
    if (ValidateName(name).ok()) {
      std::string id = ReadName(name);
      if (!id.empty() && HasName(id, name)) return id;
      if (IsId(name) && Exists(ContainerPath(name))) return std::string(name);
    }
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Ids());
    std::string found;
    for (const std::string& id : ids) {
      if (!absl::StartsWith(id, name)) continue;
      if (!found.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("more than one result for container ID ", name, ": give more digits"));
      }
      found = id;
    }
    if (!found.empty()) return found;
    return absl::NotFoundError(absl::StrCat("no container with name or ID \"",
                                            absl::CHexEscape(name.substr(0, kMaxNameBytes)),
                                            "\" found: no such container"));
  }

  absl::Status Rename(absl::string_view id, const std::string& name) override {
    // Rare, and so simply alone: nobody creates, starts, collects or renames meanwhile.
    HULL_RETURN_IF_ERROR(Flock(global_, LOCK_EX, GlobalLockPath()));
    absl::Status status = RenameLocked(id, name);
    flock(global_.get(), LOCK_UN);
    return status;
  }

  absl::StatusOr<Config> ReadConfig(absl::string_view id) override {
    const std::string path = absl::StrCat(ContainerPath(id), "/config.json");
    HULL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
    absl::StatusOr<Config> config = ParseConfig(text);
    if (!config.ok()) return Annotate(config.status(), absl::StrCat("\"", path, "\""));
    return config;
  }

  absl::Status WriteState(const Config& config, const State& state) override {
    const std::string path = StatePath(config.id);
    // One that never ran outlives a power cut, whatever happens to it after its end.
    if (config.remove && state.status != Status::kCreated) {
      return ReplaceFile(path, SerializeState(state));
    }
    return WriteFileAtomically(path, SerializeState(state), kFileMode);
  }

  std::string RunDirectory(absl::string_view id) const override {
    return absl::StrCat(paths_.run, "/", ShortId(id));
  }

  std::string StateDirectory(absl::string_view id) const override { return ContainerPath(id); }

  absl::Status Finish(const Config& config, bool discard) override {
    if (config.remove || discard) {
      // It may have another name by now.
      const absl::StatusOr<Config> now = ReadConfig(config.id);
      HULL_RETURN_IF_ERROR(RemoveState(config.id, now.ok() ? now->name : config.name));
    }
    // Last: it holds the lock, and the lock file names the rest to a collector.
    return Release(config.id);
  }

  absl::Status Release(absl::string_view id) override {
    // Whoever acquires the container next makes a directory of this name, in which nothing may be
    // removed then.
    const std::string directory = RunDirectory(id);
    const std::string gone = absl::StrCat(directory, kGone, getpid());
    if (rename(directory.c_str(), gone.c_str()) != 0) {
      return errno == ENOENT ? absl::OkStatus()
                             : PosixError(absl::StrCat("rename \"", directory, "\""));
    }
    return RemoveTree(gone);
  }

  absl::StatusOr<std::vector<std::string>> ImageDigests() override {
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Ids());
    std::vector<std::string> digests;
    for (const std::string& id : ids) {
      const absl::StatusOr<Config> config = ReadConfig(id);
      if (config.ok()) digests.push_back(config->image_digest);
    }
    return digests;
  }

  absl::Status CollectDead() override {
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> entries,
                          ListDirectory(AT_FDCWD, paths_.run));
    std::vector<std::string> dead;
    for (const std::string& entry : entries) {
      if (IsRunEntry(entry) && !IsAlive(entry)) dead.push_back(entry);
    }
    struct stat info;
    const bool recovered = fstat(global_.get(), &info) == 0 && info.st_size > 0;
    if (dead.empty() && recovered) return absl::OkStatus();

    // Whoever holds it now creates or collects; what is dead is still there for the next command.
    if (flock(global_.get(), LOCK_EX | LOCK_NB) != 0) return absl::OkStatus();
    absl::Status status;
    for (const std::string& entry : dead) status.Update(CollectRunEntry(entry));
    if (!recovered) status.Update(Recover());
    flock(global_.get(), LOCK_UN);
    return status;
  }

 private:
  std::string GlobalLockPath() const { return absl::StrCat(paths_.run, "/containers.lock"); }
  std::string ContainerPath(absl::string_view id) const {
    return absl::StrCat(paths_.root, "/containers/", id);
  }
  std::string StatePath(absl::string_view id) const {
    return absl::StrCat(ContainerPath(id), "/state.json");
  }
  std::string NamePath(absl::string_view name) const {
    return absl::StrCat(paths_.root, "/names/", name);
  }
  std::string LockPath(absl::string_view run_entry) const {
    return absl::StrCat(paths_.run, "/", run_entry, "/lock");
  }

  absl::StatusOr<std::vector<std::string>> Ids() const {
    HULL_ASSIGN_OR_RETURN(std::vector<std::string> ids,
                          ListDirectory(AT_FDCWD, absl::StrCat(paths_.root, "/containers")));
    std::erase_if(ids, [](const std::string& id) { return !IsId(id); });
    return ids;
  }

  absl::StatusOr<State> ReadState(absl::string_view id) const {
    const absl::StatusOr<std::string> text = ReadFile(StatePath(id), kMaxConfigBytes);
    if (absl::IsNotFound(text.status())) return State{.status = Status::kCreated};
    if (!text.ok()) return text.status();
    absl::StatusOr<State> state = ParseState(*text);
    if (!state.ok()) return Annotate(state.status(), absl::StrCat("\"", StatePath(id), "\""));
    return state;
  }

  static State Died(State state) {
    state.status = Status::kFailed;
    state.finished_unix_ms = NowUnixMs();
    state.monitor_pid = 0;
    state.vmm_pid = 0;
    state.exit_status = 125;
    state.error = "the container's monitor was killed, or the host went down";
    return state;
  }

  // A link may be left of an earlier name.
  bool HasName(absl::string_view id, absl::string_view name) {
    const absl::StatusOr<Config> config = ReadConfig(id);
    return config.ok() && config->name == name;
  }

  // A container's run directory, or one that is being taken away.
  static bool IsRunEntry(absl::string_view entry) {
    return entry.size() == kShortIdLength ||
           absl::StartsWith(entry.substr(std::min(kShortIdLength, entry.size())), kGone);
  }

  absl::StatusOr<UniqueFd> AcquireLocked(absl::string_view id) {
    HULL_ASSIGN_OR_RETURN(const Config config, ReadConfig(id));
    return MakeRunDirectory(config);
  }

  absl::Status RenameLocked(absl::string_view id, const std::string& name) {
    HULL_ASSIGN_OR_RETURN(Config config, ReadConfig(id));
    const std::string old_name = std::exchange(config.name, name);
    if (old_name == name) return absl::OkStatus();
    HULL_RETURN_IF_ERROR(ReserveName(config));
    // From here on the old name is nobody's, whatever happens to its link.
    HULL_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(ContainerPath(id), "/config.json"),
                                             SerializeConfig(config), kFileMode));
    return RemoveName(id, old_name);
  }

  // A name that reads as the short id of another container would stand for two.
  absl::Status CheckNoOthersId(const Config& config) const {
    if (config.name.size() != kShortIdLength) return absl::OkStatus();
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Ids());
    for (const std::string& id : ids) {
      if (id != config.id && ShortId(id) == config.name) return NameInUse(config.name, id);
    }
    return absl::OkStatus();
  }

  static absl::Status NameInUse(absl::string_view name, absl::string_view owner) {
    return absl::AlreadyExistsError(absl::StrCat("the name \"", name, "\" is in use by container ",
                                                 ShortId(owner), ": choose another --name"));
  }

  absl::Status RemoveName(absl::string_view id, absl::string_view name) const {
    if (!HasLink(id, name) || ReadName(name) != id) return absl::OkStatus();
    if (unlink(NamePath(name).c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    return PosixError(absl::StrCat("remove \"", NamePath(name), "\""));
  }

  // ---- Creation ----

  absl::StatusOr<UniqueFd> CreateLocked(const Config& config) {
    HULL_ASSIGN_OR_RETURN(UniqueFd lock, MakeRunDirectory(config));
    absl::Status status = MakeState(config);
    if (!status.ok()) {
      // The first error is the one to tell.
      Finish(config, /*discard=*/true).IgnoreError();
      return status;
    }
    return lock;
  }

  absl::StatusOr<UniqueFd> MakeRunDirectory(const Config& config) {
    const std::string directory = RunDirectory(config.id);
    // Its name reserves the short form of the id as well.
    if (mkdir(directory.c_str(), kDirectoryMode) != 0) {
      return PosixError(absl::StrCat("create directory \"", directory, "\""));
    }
    const std::string path = LockPath(ShortId(config.id));
    absl::StatusOr<UniqueFd> lock = UniqueFd::Open(path, O_RDWR | O_CREAT | O_EXCL, kFileMode);
    absl::Status status = lock.status();
    // Waits for nobody but a collector that is just probing it.
    if (status.ok()) status = Flock(*lock, LOCK_EX, path);
    if (status.ok()) {
      status = WriteFull(lock->get(), absl::StrCat(config.id, "\n", config.name, "\n"));
    }
    if (!status.ok()) {
      RemoveTree(directory).IgnoreError();
      return status;
    }
    return lock;
  }

  absl::Status MakeState(const Config& config) {
    const std::string path = ContainerPath(config.id);
    HULL_RETURN_IF_ERROR(MakeDirectory(path));
    HULL_RETURN_IF_ERROR(ReserveName(config));
    const std::string text = SerializeConfig(config);
    if (text.size() > kMaxConfigBytes) {
      return absl::InvalidArgumentError("the command and its environment are too large");
    }
    const std::string file = absl::StrCat(path, "/config.json");
    if (config.remove) return ReplaceFile(file, text);
    HULL_RETURN_IF_ERROR(WriteFileAtomically(file, text, kFileMode));
    return SyncDirectory(absl::StrCat(paths_.root, "/containers"));
  }

  // A name that is just the short id needs no link: nobody else can have that id.
  static bool HasLink(absl::string_view id, absl::string_view name) { return name != ShortId(id); }

  absl::Status ReserveName(const Config& config) {
    if (!HasLink(config.id, config.name)) return absl::OkStatus();
    HULL_RETURN_IF_ERROR(CheckNoOthersId(config));
    const std::string link = NamePath(config.name);
    HULL_RETURN_IF_ERROR(MakeDirectory(absl::StrCat(paths_.root, "/names")));
    if (symlink(config.id.c_str(), link.c_str()) == 0) return absl::OkStatus();
    if (errno != EEXIST) return PosixError(absl::StrCat("create \"", link, "\""));

    // A container's directory is made before its link and removed after it, so a link to nothing is
    // what a power cut left, and one to a container of another name is what a rename did. Taking it
    // over needs the lock for this process alone, as a container that is being made has a link
    // before it has a configuration.
    HULL_RETURN_IF_ERROR(Flock(global_, LOCK_EX, GlobalLockPath()));
    const std::string owner = ReadName(config.name);
    if (!owner.empty() && HasName(owner, config.name)) return NameInUse(config.name, owner);
    if (unlink(link.c_str()) != 0 && errno != ENOENT) {
      return PosixError(absl::StrCat("remove \"", link, "\""));
    }
    if (symlink(config.id.c_str(), link.c_str()) == 0) return absl::OkStatus();
    return PosixError(absl::StrCat("create \"", link, "\""));
  }

  // The id that a name stands for, or empty.
  std::string ReadName(absl::string_view name) const {
    char target[kIdLength + 1];
    const ssize_t n = readlink(NamePath(name).c_str(), target, sizeof(target));
    if (n < 0) return "";
    std::string id(target, static_cast<size_t>(n));
    return IsId(id) ? id : "";
  }

  // ---- Removal and collection ----

  absl::Status RemoveState(absl::string_view id, absl::string_view name) {
    HULL_RETURN_IF_ERROR(RemoveName(id, name));
    // The state first: a container without one is cleared away, however far this gets.
    if (unlink(StatePath(id).c_str()) != 0 && errno != ENOENT) {
      return PosixError(absl::StrCat("remove \"", StatePath(id), "\""));
    }
    return RemoveTree(ContainerPath(id));
  }

  bool IsAlive(const std::string& run_entry) const {
    absl::StatusOr<UniqueFd> lock = UniqueFd::Open(LockPath(run_entry), O_RDONLY);
    // Without a lock it is being made or was never finished; under the global lock, the latter.
    if (!lock.ok()) return !absl::IsNotFound(lock.status());
    return flock(lock->get(), LOCK_SH | LOCK_NB) != 0;
  }

  // Under the exclusive global lock.
  absl::Status CollectRunEntry(const std::string& entry) {
    if (IsAlive(entry)) return absl::OkStatus();
    absl::StatusOr<std::string> text = ReadFile(LockPath(entry), kIdLength + kMaxNameBytes + 2);
    if (text.ok()) {
      const size_t newline = text->find('\n');
      const LockContent content = {
          .id = text->substr(0, newline),
          .name = newline == std::string::npos
                      ? ""
                      : std::string(absl::StripSuffix(text->substr(newline + 1), "\n"))};
      // An id that was not written to its end: there is nothing beyond the run directory yet.
      if (IsId(content.id) && ShortId(content.id) == entry) {
        HULL_RETURN_IF_ERROR(CollectState(content));
      }
    }
    return RemoveTree(absl::StrCat(paths_.run, "/", entry));
  }

  // Makes the state of a container without processes true, or removes it.
  absl::Status CollectState(const LockContent& content) {
    const absl::StatusOr<Config> config = ReadConfig(content.id);
    // A newer Hull's: its own commands know what to do with it.
    if (absl::IsFailedPrecondition(config.status())) return absl::OkStatus();
    const bool started = Exists(StatePath(content.id));
    if (!config.ok() && started) return absl::OkStatus();  // damaged: for a person to look at
    if (!config.ok() || !started) {
      return RemoveState(content.id, config.ok() ? config->name : content.name);
    }
    const absl::StatusOr<State> state = ReadState(content.id);
    if (absl::IsFailedPrecondition(state.status())) return absl::OkStatus();
    if (state.ok() && state->status == Status::kCreated) return absl::OkStatus();
    if (config->remove) return RemoveState(content.id, config->name);
    if (state.ok() && !IsLive(state->status)) return absl::OkStatus();
    return WriteState(*config, Died(state.ok() ? *state : State()));
  }

  // Once a boot: looks at every container, as those that were alive before it have no run
  // directory any more. Under the exclusive global lock.
  absl::Status Recover() {
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Ids());
    for (const std::string& id : ids) {
      if (Exists(RunDirectory(id))) continue;
      HULL_RETURN_IF_ERROR(CollectState({.id = id, .name = std::string(ShortId(id))}));
    }
    HULL_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListDirectory(AT_FDCWD, absl::StrCat(paths_.root, "/names")));
    for (const std::string& name : names) {
      const std::string owner = ReadName(name);
      if (!owner.empty() && !Exists(ContainerPath(owner))) unlink(NamePath(name).c_str());
    }
    return WriteFull(global_.get(), kRecovered);
  }

  const StorePaths paths_;
  const UniqueFd global_;  // containers.lock
};

}  // namespace

absl::StatusOr<std::unique_ptr<ContainerStore>> ContainerStore::Open(StorePaths paths) {
  if (paths.run.size() > kMaxRunPathBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the run directory \"", paths.run,
                                                   "\" has too long a path for the sockets in "
                                                   "it: set HULL_RUN to one of at most ",
                                                   kMaxRunPathBytes, " bytes"));
  }
  const std::string lock_path = absl::StrCat(paths.run, "/containers.lock");
  constexpr int kFlags = O_RDWR | O_CREAT | O_APPEND;
  absl::StatusOr<UniqueFd> global = UniqueFd::Open(lock_path, kFlags, kFileMode);
  if (absl::IsNotFound(global.status())) {
    HULL_RETURN_IF_ERROR(MakeDirectory(paths.run));
    global = UniqueFd::Open(lock_path, kFlags, kFileMode);
  }
  if (!global.ok()) return global.status();
  HULL_RETURN_IF_ERROR(CheckNobodyElses(paths.run, "HULL_RUN"));
  HULL_RETURN_IF_ERROR(CheckNobodyElses(paths.root, "HULL_ROOT"));
  return std::make_unique<DirectoryStore>(std::move(paths), *std::move(global));
}

}  // namespace hull::container
