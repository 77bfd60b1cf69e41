#include "vmm/container/container_store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/file_io.h"
#include "vmm/container/names.h"

namespace hull::container {
namespace {

using testing::HasSubstr;

class ContainerStoreTest : public testing::Test {
 protected:
  ContainerStoreTest() {
    // TEST_TMPDIR is longer than a run directory may be.
    char directory[] = "/tmp/hull-store-XXXXXX";
    base_ = mkdtemp(directory);
    paths_ = {.root = base_ + "/root", .run = base_ + "/run"};
    store_ = *ContainerStore::Open(paths_);
    EXPECT_TRUE(store_->CollectDead().ok());
  }
  ~ContainerStoreTest() override { EXPECT_EQ(system(("rm -r " + base_).c_str()), 0); }

  static Config Make(const std::string& name = "", bool remove = false) {
    Config config;
    config.id = *NewId();
    config.name = name.empty() ? std::string(ShortId(config.id)) : name;
    config.image_digest = "sha256:x";
    config.process.args = {"true"};
    config.remove = remove;
    return config;
  }

  bool Exists(const std::string& path) const { return access(path.c_str(), F_OK) == 0; }
  std::string ContainerPath(const Config& config) const {
    return paths_.root + "/containers/" + config.id;
  }
  std::string NamePath(const std::string& name) const { return paths_.root + "/names/" + name; }
  bool HasNothingOf(const Config& config) const {
    return !Exists(ContainerPath(config)) && !Exists(store_->RunDirectory(config.id)) &&
           !IsLink(NamePath(config.name));
  }
  static bool IsLink(const std::string& path) {
    struct stat info;
    return lstat(path.c_str(), &info) == 0;
  }
  State ReadState(const Config& config) const {
    return *ParseState(*ReadFile(ContainerPath(config) + "/state.json", kMaxConfigBytes));
  }

  std::string base_;
  StorePaths paths_;
  std::unique_ptr<ContainerStore> store_;
};

TEST_F(ContainerStoreTest, ADirectoryThatOthersMayWriteToIsNotUsed) {
  for (const std::string& path : {paths_.root, paths_.run}) {
    mkdir(path.c_str(), 0700);
    ASSERT_EQ(chmod(path.c_str(), 0770), 0);
    const auto store = ContainerStore::Open(paths_);
    EXPECT_TRUE(absl::IsFailedPrecondition(store.status())) << store.status();
    EXPECT_THAT(std::string(store.status().message()),
                HasSubstr("\"" + path + "\" can be written"));
    ASSERT_EQ(chmod(path.c_str(), 0755), 0);
    EXPECT_TRUE(ContainerStore::Open(paths_).ok());
  }
}

TEST_F(ContainerStoreTest, NeitherIsOneOfAnotherUser) {
  if (geteuid() != 0) return;  // only root can give a file away
  constexpr uid_t kOther = 12345;
  for (const std::string& path : {paths_.root, paths_.run}) {
    mkdir(path.c_str(), 0700);
    if (chown(path.c_str(), kOther, kOther) != 0) return;  // a sandbox that knows one user alone
    const auto store = ContainerStore::Open(paths_);
    EXPECT_TRUE(absl::IsFailedPrecondition(store.status())) << store.status();
    EXPECT_THAT(std::string(store.status().message()), HasSubstr("belongs to user 12345"));
    ASSERT_EQ(chown(path.c_str(), 0, 0), 0);
  }
}

TEST_F(ContainerStoreTest, MakesAndRemovesAContainer) {
  const Config config = Make("web", /*remove=*/true);
  const absl::StatusOr<UniqueFd> lock = store_->Create(config);
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_EQ(*store_->ReadConfig(config.id), config);
  EXPECT_TRUE(Exists(store_->RunDirectory(config.id)));
  EXPECT_THAT(*store_->ImageDigests(), testing::ElementsAre("sha256:x"));
  EXPECT_TRUE(store_->WriteState(config, {}).ok());
  EXPECT_TRUE(store_->Finish(config, /*discard=*/false).ok());
  EXPECT_TRUE(HasNothingOf(config));
}

TEST_F(ContainerStoreTest, KeepsOneThatIsNotToBeRemoved) {
  const Config config = Make("web");
  const absl::StatusOr<UniqueFd> lock = store_->Create(config);
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(store_->WriteState(config, {.status = Status::kExited, .exit_status = 3}).ok());
  EXPECT_TRUE(store_->Finish(config, /*discard=*/false).ok());
  EXPECT_FALSE(Exists(store_->RunDirectory(config.id)));
  EXPECT_EQ(ReadState(config).exit_status, 3);
  EXPECT_TRUE(absl::IsAlreadyExists(store_->Create(Make("web")).status()));
}

TEST_F(ContainerStoreTest, ANameBelongsToOne) {
  const Config first = Make("web", true);
  const absl::StatusOr<UniqueFd> lock = store_->Create(first);
  const Config second = Make("web", true);
  const absl::Status taken = store_->Create(second).status();
  EXPECT_TRUE(absl::IsAlreadyExists(taken));
  EXPECT_THAT(std::string(taken.message()), HasSubstr(std::string(ShortId(first.id))));
  EXPECT_FALSE(Exists(ContainerPath(second)));
  EXPECT_FALSE(Exists(store_->RunDirectory(second.id)));
  EXPECT_TRUE(store_->Finish(first, false).ok());
  EXPECT_TRUE(store_->Create(Make("web", true)).ok());
}

TEST_F(ContainerStoreTest, ANameThatAPowerCutLeftIsTakenOver) {
  ASSERT_EQ(system(("mkdir -p " + paths_.root + "/names").c_str()), 0);
  ASSERT_EQ(symlink(NewId()->c_str(), NamePath("web").c_str()), 0);
  EXPECT_TRUE(store_->Create(Make("web")).ok());
  ASSERT_EQ(symlink("nonsense", NamePath("odd").c_str()), 0);
  EXPECT_TRUE(store_->Create(Make("odd")).ok());
}

TEST_F(ContainerStoreTest, OnlyTheDeadAreCollected) {
  const Config alive = Make("alive", true);
  const absl::StatusOr<UniqueFd> lock = store_->Create(alive);
  const Config dead = Make("dead", true);
  ASSERT_TRUE(store_->Create(dead).ok());  // its lock is closed at once
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_TRUE(HasNothingOf(dead));
  EXPECT_TRUE(Exists(ContainerPath(alive)));
  EXPECT_TRUE(Exists(store_->RunDirectory(alive.id)));
}

TEST_F(ContainerStoreTest, OneThatNeverStartedIsRemovedEvenWithoutRm) {
  const Config config = Make("half");
  ASSERT_TRUE(store_->Create(config).ok());
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_TRUE(HasNothingOf(config));
}

TEST_F(ContainerStoreTest, OneThatRanIsKeptAndItsStateIsMadeTrue) {
  const Config config = Make("web");
  {
    const absl::StatusOr<UniqueFd> lock = store_->Create(config);
    ASSERT_TRUE(store_->WriteState(config, {.started_unix_ms = 5, .monitor_pid = 77}).ok());
  }
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_FALSE(Exists(store_->RunDirectory(config.id)));
  const State state = ReadState(config);
  EXPECT_EQ(state.status, Status::kFailed);
  EXPECT_EQ(state.started_unix_ms, 5);
  EXPECT_GT(state.finished_unix_ms, 5);
  EXPECT_EQ(state.monitor_pid, 0);
  EXPECT_EQ(state.exit_status, 125);
}

TEST_F(ContainerStoreTest, EveryHalfMadeContainerIsCollected) {
  // As if the creating process had been killed after each step.
  const std::string half = *NewId();
  const std::string run = store_->RunDirectory(half);
  ASSERT_EQ(mkdir(run.c_str(), 0700), 0);
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_FALSE(Exists(run));

  for (const std::string& content :
       {std::string(), half.substr(0, 20), half + "\n", half + "\nweb\n"}) {
    ASSERT_EQ(mkdir(run.c_str(), 0700), 0);
    ASSERT_TRUE(WriteFileAtomically(run + "/lock", content, 0600).ok());
    EXPECT_TRUE(store_->CollectDead().ok());
    EXPECT_FALSE(Exists(run)) << content;
  }

  ASSERT_EQ(mkdir(run.c_str(), 0700), 0);
  ASSERT_TRUE(WriteFileAtomically(run + "/lock", half + "\nweb\n", 0600).ok());
  ASSERT_EQ(
      system(("mkdir -p " + paths_.root + "/containers/" + half + " " + paths_.root + "/names")
                 .c_str()),
      0);
  ASSERT_EQ(symlink(half.c_str(), NamePath("web").c_str()), 0);
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_FALSE(Exists(run));
  EXPECT_FALSE(Exists(paths_.root + "/containers/" + half));
  EXPECT_FALSE(IsLink(NamePath("web")));
}

TEST_F(ContainerStoreTest, AfterABootEverythingIsLookedAt) {
  const Config removed = Make("gone", true);
  const Config kept = Make("kept");
  ASSERT_TRUE(store_->Create(removed).ok());
  {
    const absl::StatusOr<UniqueFd> lock = store_->Create(kept);
    ASSERT_TRUE(store_->WriteState(kept, {}).ok());
  }
  store_.reset();
  ASSERT_EQ(system(("rm -r " + paths_.run).c_str()), 0);  // as a tmpfs at a reboot
  store_ = *ContainerStore::Open(paths_);
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_TRUE(HasNothingOf(removed));
  EXPECT_EQ(ReadState(kept).status, Status::kFailed);
}

TEST_F(ContainerStoreTest, ACreatedContainerIsKeptUntilItHasRun) {
  const Config config = Make("web", /*remove=*/true);
  {
    const absl::StatusOr<UniqueFd> lock = store_->Create(config);
    ASSERT_TRUE(store_->WriteState(config, {.status = Status::kCreated}).ok());
    ASSERT_TRUE(store_->Release(config.id).ok());
  }
  EXPECT_TRUE(store_->CollectDead().ok());
  absl::StatusOr<ContainerInfo> info = store_->Look(config.id);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->state.status, Status::kCreated);
  EXPECT_FALSE(info->alive);

  // A start that does not get far changes nothing.
  { ASSERT_TRUE(store_->Acquire(config.id).ok()); }
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_EQ(store_->Look(config.id)->state.status, Status::kCreated);

  // Once it has run, --rm counts.
  { ASSERT_TRUE(store_->Acquire(config.id).ok()); }
  ASSERT_TRUE(store_->WriteState(config, {.status = Status::kRunning}).ok());
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_TRUE(HasNothingOf(config));
}

TEST_F(ContainerStoreTest, OnlyOneHasTheLock) {
  const Config config = Make("web");
  absl::StatusOr<UniqueFd> lock = store_->Create(config);
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Acquire(config.id).status()));
  ASSERT_TRUE(store_->WriteState(config, {.status = Status::kExited}).ok());
  ASSERT_TRUE(store_->Finish(config, /*discard=*/false).ok());
  // Whoever still has the old lock keeps nobody away: its directory is gone.
  absl::StatusOr<UniqueFd> next = store_->Acquire(config.id);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(store_->Look(config.id)->alive);
  EXPECT_TRUE(absl::IsNotFound(store_->Acquire(*NewId()).status()));
}

TEST_F(ContainerStoreTest, ARunDirectoryThatWasBeingTakenAwayIsCollected) {
  const Config config = Make("web");
  absl::StatusOr<UniqueFd> lock = store_->Create(config);
  ASSERT_TRUE(store_->WriteState(config, {.status = Status::kExited}).ok());
  const std::string gone = store_->RunDirectory(config.id) + ".gone-77";
  ASSERT_EQ(rename(store_->RunDirectory(config.id).c_str(), gone.c_str()), 0);
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_TRUE(Exists(gone));  // its holder is still at it
  lock->Reset();
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_FALSE(Exists(gone));
  EXPECT_EQ(store_->Look(config.id)->state.status, Status::kExited);
}

TEST_F(ContainerStoreTest, LooksTellTheTruthBeforeAnybodyCollects) {
  const Config config = Make("web");
  {
    const absl::StatusOr<UniqueFd> lock = store_->Create(config);
    ASSERT_TRUE(store_->WriteState(config, {.started_unix_ms = 5, .vmm_pid = 7}).ok());
    EXPECT_EQ(store_->Look(config.id)->state.status, Status::kRunning);
    EXPECT_TRUE(store_->Look(config.id)->alive);
  }
  const absl::StatusOr<ContainerInfo> info = store_->Look(config.id);
  EXPECT_EQ(info->state.status, Status::kFailed);
  EXPECT_EQ(info->state.vmm_pid, 0);
  EXPECT_FALSE(info->alive);
  EXPECT_EQ(store_->List()->size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(store_->Look(*NewId()).status()));
}

TEST_F(ContainerStoreTest, NamesIdsAndTheirBeginnings) {
  Config first = Make("web");
  first.id = "aa11" + std::string(60, '0');
  Config second = Make("aa");
  second.id = "aa22" + std::string(60, '0');
  for (const Config& config : {first, second}) {
    ASSERT_TRUE(store_->Create(config).ok());
    ASSERT_TRUE(store_->WriteState(config, {.status = Status::kExited}).ok());
  }
  EXPECT_EQ(*store_->Resolve("web"), first.id);
  EXPECT_EQ(*store_->Resolve("aa"), second.id);  // a name before an id
  EXPECT_EQ(*store_->Resolve(first.id), first.id);
  EXPECT_EQ(*store_->Resolve("aa1"), first.id);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Resolve("a").status()));
  for (const char* name : {"ab", "we", "../web", "", "aa11/"}) {
    EXPECT_FALSE(store_->Resolve(name).ok()) << name;
  }
  EXPECT_THAT(std::string(store_->Resolve("ab").status().message()),
              HasSubstr("no container with name or ID \"ab\" found"));
}

TEST_F(ContainerStoreTest, ARenamedContainerHasOneName) {
  const Config config = Make("old");
  const Config other = Make("other");
  std::vector<UniqueFd> locks;  // both run
  for (const Config& each : {config, other}) {
    locks.push_back(*store_->Create(each));
    ASSERT_TRUE(store_->WriteState(each, {}).ok());
  }
  EXPECT_TRUE(absl::IsAlreadyExists(store_->Rename(config.id, "other")));
  EXPECT_TRUE(absl::IsAlreadyExists(store_->Rename(config.id, std::string(ShortId(other.id)))));
  ASSERT_TRUE(store_->Rename(config.id, "new").ok());
  EXPECT_EQ(*store_->Resolve("new"), config.id);
  EXPECT_FALSE(store_->Resolve("old").ok());
  EXPECT_EQ(store_->Look(config.id)->config.name, "new");
  ASSERT_TRUE(store_->Rename(other.id, "old").ok());
  EXPECT_EQ(*store_->Resolve("old"), other.id);

  // A rename that was cut off leaves a link that stands for nobody and is taken over.
  ASSERT_EQ(symlink(config.id.c_str(), NamePath("half").c_str()), 0);
  EXPECT_FALSE(store_->Resolve("half").ok());
  ASSERT_TRUE(store_->Rename(other.id, "half").ok());
  EXPECT_EQ(*store_->Resolve("half"), other.id);

  // The monitor, which knows the first name alone, takes the new one away, too.
  EXPECT_TRUE(store_->Finish(config, /*discard=*/true).ok());
  EXPECT_FALSE(IsLink(NamePath("new")));
  EXPECT_FALSE(Exists(ContainerPath(config)));
}

TEST_F(ContainerStoreTest, ARemovalThatWasCutOffIsFinished) {
  const Config config = Make("web");
  { ASSERT_TRUE(store_->Create(config).ok()); }
  ASSERT_TRUE(WriteFileAtomically(ContainerPath(config) + "/log", "x", 0600).ok());
  ASSERT_EQ(unlink((ContainerPath(config) + "/config.json").c_str()), 0);
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_TRUE(HasNothingOf(config));
}

TEST_F(ContainerStoreTest, TheContainersOfANewerHullAreLeftAlone) {
  const Config config = Make("new");
  ASSERT_TRUE(store_->Create(config).ok());
  const std::string path = ContainerPath(config) + "/config.json";
  std::string text = *ReadFile(path, kMaxConfigBytes);
  const std::string version = "\"version\":" + std::to_string(kConfigVersion);
  text.replace(text.find(version), version.size(), "\"version\":9");
  ASSERT_TRUE(WriteFileAtomically(path, text, 0600).ok());
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_EQ(*ReadFile(path, kMaxConfigBytes), text);
}

TEST_F(ContainerStoreTest, TheRunDirectoryLeavesRoomForSockets) {
  StorePaths paths = paths_;
  paths.run = "/tmp/" + std::string(kMaxRunPathBytes, 'x');
  const absl::Status status = ContainerStore::Open(paths).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("HULL_RUN"));
}

TEST_F(ContainerStoreTest, ManyAtOnceGetOneNameOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 16; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      const auto store = *ContainerStore::Open(paths_);
      const absl::StatusOr<UniqueFd> lock = store->Create(Make("web"));
      store->CollectDead().IgnoreError();
      if (lock.ok()) pause();  // keeps it
      _exit(absl::IsAlreadyExists(lock.status()) ? 0 : 1);
    }
    children.push_back(pid);
  }
  // All but one end.
  for (int i = 0; i < 15; ++i) {
    int status = -1;
    const pid_t pid = wait(&status);
    EXPECT_EQ(status, 0);
    std::erase(children, pid);
  }
  ASSERT_EQ(children.size(), 1u);
  ASSERT_EQ(waitpid(children[0], nullptr, WNOHANG), 0);
  kill(children[0], SIGKILL);
  waitpid(children[0], nullptr, 0);
  EXPECT_TRUE(store_->CollectDead().ok());
  EXPECT_EQ(store_->ImageDigests()->size(), 0u);
}

}  // namespace
}  // namespace hull::container
