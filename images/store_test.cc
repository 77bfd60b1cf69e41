// The store, with the real hull-unpack (its path is the program's argument) and real layouts.

#include "images/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "images/bounded_json.h"
#include "images/image_export.h"
#include "images/machine_config.h"
#include "images/oci/testing.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/file_io.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {

UnpackProgram unpack_program;

namespace {

using testing::Compress;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MakeTar;
using testing::TestLayout;

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/store-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Store store() const { return Store(directory_ + "/root/images"); }
  static LoadOptions Options(const std::string& name = "") {
    LoadOptions options;
    options.unpack_program = unpack_program;
    options.name = name;
    return options;
  }
  std::string WriteTar(const std::string& name, const TestLayout& layout) const {
    const std::string path = directory_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, layout.ToTar(), 0644).ok());
    return path;
  }
  absl::StatusOr<std::vector<LoadedImage>> Load(const TestLayout& layout,
                                                const LoadOptions& options = Options()) const {
    return store().Load(WriteTar("layout.tar", layout), options);
  }
  // What is in the store besides its locks, as "names/a", "sha256/…" and "staging/…".
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    const std::string root = directory_ + "/root/images";
    for (const char* part : {"names", "sha256", "staging"}) {
      std::error_code error;
      for (const auto& entry : std::filesystem::directory_iterator(root + "/" + part, error)) {
        files.push_back(absl::StrCat(part, "/", entry.path().filename().string()));
      }
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  bool Fsck(const std::string& image) const {
    return system(absl::StrCat("fsck.erofs ", image, " >/dev/null 2>&1").c_str()) == 0;
  }

  std::string directory_;
};

std::string SmallLayer() { return MakeTar({{.path = "bin/sh", .data = "sh", .mode = 0755}}); }

TestLayout OneImage(const std::string& name) {
  TestLayout layout;
  layout.AddImage({SmallLayer()}, name, "+gzip",
                  {{"Cmd", {"sh"}}, {"Env", {"PATH=/bin"}}, {"User", "7"}});
  return layout;
}

TEST_F(StoreTest, LoadResolveListRemove) {
  const absl::StatusOr<std::vector<LoadedImage>> loaded = Load(OneImage("app:v1"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->size(), 1u);
  const LoadedImage& image = loaded->front();
  EXPECT_THAT(image.names, ElementsAre("localhost/app:v1"));
  EXPECT_FALSE(image.was_present);

  const absl::StatusOr<ResolvedImage> resolved = store().Resolve("app:v1");
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->name, "localhost/app:v1");
  EXPECT_EQ(resolved->manifest, image.manifest);
  EXPECT_EQ(resolved->id, image.id);
  EXPECT_THAT(resolved->process.cmd, ElementsAre("sh"));
  EXPECT_THAT(resolved->process.env, ElementsAre("PATH=/bin"));
  EXPECT_EQ(resolved->process.user, "7");
  EXPECT_TRUE(Fsck(resolved->rootfs_path));
  EXPECT_THAT(*store().ReadConfig(image.manifest), HasSubstr("\"amd64\""));

  // By every other name that stands for it.
  for (const std::string& name :
       {std::string("localhost/app:v1"), image.manifest.ToString(), image.id.ToString(),
        image.id.hex().substr(0, 12), "app@" + image.manifest.ToString()}) {
    const absl::StatusOr<ResolvedImage> other = store().Resolve(name);
    ASSERT_TRUE(other.ok()) << name << ": " << other.status();
    EXPECT_EQ(other->manifest, image.manifest) << name;
  }

  const absl::StatusOr<std::vector<ImageInfo>> list = store().List();
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 1u);
  EXPECT_EQ(list->front().repository, "localhost/app");
  EXPECT_EQ(list->front().tag, "v1");
  EXPECT_EQ(list->front().created, 1767323045);
  EXPECT_GE(list->front().size, 4096u);

  const absl::StatusOr<RemovedImage> removed = store().Remove("app:v1", {}, false);
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_THAT(removed->untagged, ElementsAre("localhost/app:v1"));
  EXPECT_TRUE(removed->deleted);
  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(store().Resolve("app:v1").status()));
}

TEST_F(StoreTest, AnEmptyStoreIsNotCreatedByReading) {
  EXPECT_TRUE(store().List()->empty());
  const absl::Status status = store().Resolve("foo").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.message(), HasSubstr("image \"foo\" not found locally; try: hull pull foo"));
  EXPECT_TRUE(absl::IsNotFound(store().Remove("foo", {}, false).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store().Resolve("../x").status()));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/root"));
}

TEST_F(StoreTest, EveryFormOfALayoutGivesTheSameImage) {
  const TestLayout layout = OneImage("app");
  const std::string tar = WriteTar("layout.tar", layout);
  layout.WriteDirectory(directory_ + "/layout");
  ASSERT_TRUE(WriteFileAtomically(tar + ".gz", Compress(layout.ToTar(), "gzip"), 0644).ok());
  ASSERT_TRUE(WriteFileAtomically(tar + ".zst", Compress(layout.ToTar(), "zstd"), 0644).ok());
  const std::string fifo = directory_ + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::string first;
  for (const std::string& path : {tar, directory_ + "/layout", tar + ".gz", tar + ".zst", fifo}) {
    std::thread writer([&] {
      if (path != fifo) return;
      const UniqueFd fd = UniqueFd::Open(fifo, O_WRONLY).value();
      EXPECT_TRUE(WriteFull(fd.get(), layout.ToTar()).ok());
    });
    const absl::StatusOr<std::vector<LoadedImage>> loaded = store().Load(path, Options());
    writer.join();
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const std::string rootfs = ReadFile(store().Resolve("app")->rootfs_path, 1 << 20).value();
    if (first.empty()) first = rootfs;
    EXPECT_EQ(rootfs, first) << path;
    ASSERT_TRUE(store().Remove("app", {}, false).ok());
    EXPECT_THAT(Files(), IsEmpty());
  }
}

TEST_F(StoreTest, NamesMoveAndUnnamedImagesStay) {
  ASSERT_TRUE(Load(OneImage("app")).ok());
  const Digest old = store().Resolve("app")->manifest;
  TestLayout other;
  other.AddImage({SmallLayer(), SmallLayer()}, "app");
  ASSERT_TRUE(Load(other).ok());
  EXPECT_NE(store().Resolve("app")->manifest, old);
  const std::vector<ImageInfo> list = store().List().value();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].repository, "");
  EXPECT_EQ(list[0].manifest, old);
  EXPECT_TRUE(store().Resolve(old.ToString()).ok());
}

TEST_F(StoreTest, SecondLoadOnlyAddsNames) {
  ASSERT_TRUE(Load(OneImage("app")).ok());
  const absl::StatusOr<std::vector<LoadedImage>> again = Load(OneImage("app"), Options("other:2"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->front().was_present);
  EXPECT_EQ(store().Resolve("other:2")->manifest, store().Resolve("app")->manifest);

  const std::string id = store().Resolve("app")->id.hex().substr(0, 12);
  EXPECT_THAT(store().Remove(id, {}, false).status().ToString(), HasSubstr("several names"));
  // One name of two goes although the image is in use; the image itself does not.
  const Digest manifest = store().Resolve("app")->manifest;
  EXPECT_FALSE(store().Remove("app", {manifest}, false)->deleted);
  const absl::Status in_use = store().Remove("other:2", {manifest}, false).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(in_use));
  EXPECT_THAT(in_use.ToString(), HasSubstr("in use by a container"));
  EXPECT_TRUE(absl::IsFailedPrecondition(store().Remove(id, {manifest}, true).status()));
  EXPECT_TRUE(store().Resolve("other:2").ok());
  EXPECT_TRUE(store().Remove(id, {}, true)->deleted);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(StoreTest, LayoutsWithSeveralImages) {
  TestLayout layout;
  layout.AddImage({SmallLayer()}, "quay.io/one:1");
  layout.AddImage({SmallLayer(), SmallLayer()}, "two");
  EXPECT_THAT(Load(layout, Options("x")).status().ToString(), HasSubstr("--name"));
  ASSERT_TRUE(Load(layout).ok());
  EXPECT_TRUE(store().Resolve("quay.io/one:1").ok());
  EXPECT_TRUE(store().Resolve("two").ok());
}

TEST_F(StoreTest, NamesThatAreNoneAreRefused) {
  const absl::Status status = Load(OneImage("Not A Name")).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.ToString(), HasSubstr("--name"));
  EXPECT_TRUE(absl::IsInvalidArgument(Load(OneImage("app"), Options("Bad Name")).status()));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(StoreTest, BuiltinImagesLoadThemselves) {
  const std::string share = directory_ + "/share";
  ASSERT_EQ(mkdir(share.c_str(), 0755), 0);
  ASSERT_TRUE(WriteFileAtomically(share + "/busybox.tar", OneImage("whatever").ToTar(), 0644).ok());
  for (const char* name : {"busybox:v2", "quay.io/busybox", "other", "x/busybox"}) {
    EXPECT_TRUE(absl::IsNotFound(store().ResolveOrLoadBuiltin(name, share, Options()).status()))
        << name;
  }
  const absl::StatusOr<ResolvedImage> image =
      store().ResolveOrLoadBuiltin("busybox", share, Options());
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->name, "localhost/busybox:latest");
  // The second time the file is not needed.
  std::filesystem::remove_all(share);
  EXPECT_TRUE(store().ResolveOrLoadBuiltin("busybox", share, Options()).ok());
}

// Every way in which a layout can be wrong: an error that says which, and nothing left.
TEST_F(StoreTest, BadLayoutsLeaveNothing) {
  const auto expect_failure = [this](const TestLayout& layout, const std::string& what) {
    const absl::Status status = Load(layout).status();
    EXPECT_THAT(status.ToString(), HasSubstr(what));
    EXPECT_THAT(Files(), IsEmpty()) << what;
  };
  {
    TestLayout layout = OneImage("a");
    layout.files["index.json"] = "{\"schemaVersion\":2,\"manifests\":[";
    expect_failure(layout, "not a JSON object");
  }
  {
    TestLayout layout = OneImage("a");
    layout.index["manifests"][0]["size"] = 9;
    expect_failure(layout, "longer than the 9 bytes");
  }
  {
    TestLayout layout;
    const nlohmann::json descriptor = layout.AddImage({SmallLayer()}, "a");
    const auto manifest = nlohmann::json::parse(layout.files[TestLayout::BlobPath(descriptor)]);
    TestLayout missing = layout;
    missing.files.erase(TestLayout::BlobPath(manifest["layers"][0]));
    expect_failure(missing, "is missing in the image layout");
    TestLayout no_config = layout;
    no_config.files.erase(TestLayout::BlobPath(manifest["config"]));
    expect_failure(no_config, "is missing in the image layout");
    TestLayout flipped = layout;
    std::string& blob = flipped.files[TestLayout::BlobPath(manifest["layers"][0])];
    blob[blob.size() / 2] ^= 1;
    expect_failure(flipped, "layer 1 of 1");
    expect_failure(flipped, "does not match its digest");
    TestLayout truncated = layout;
    truncated.files[TestLayout::BlobPath(manifest["layers"][0])].resize(20);
    expect_failure(truncated, "truncated");
  }
  for (const auto& [entry, what] : std::vector<std::pair<testing::TarEntry, std::string>>{
           {{.path = "../evil", .data = "x"}, "entry \"../evil\""},
           {{.path = "/evil", .data = "x"}, "absolute"},
           {{.path = "hard", .type = '1', .link = "../../etc/passwd"}, "hard link target"},
           {{.path = "hard", .type = '1', .link = "/etc/passwd"}, "hard link target"},
           {{.path = std::string(900'000, 'n')}, "900000 bytes"}}) {
    TestLayout layout;
    layout.AddImage({SmallLayer(), MakeTar({entry})}, "a");
    expect_failure(layout, what);
    expect_failure(layout, "layer 2 of 2");
  }
  {
    TestLayout layout;
    layout.AddImage({MakeTar({{.path = "out", .type = '2', .link = "/tmp"},
                              {.path = "out/evil", .data = "x"}})},
                    "a");
    expect_failure(layout, "symbolic link");
  }
  // A tar file that ends too early, and things that are no layout at all.
  const std::string path = directory_ + "/bad.tar";
  const std::string tar = OneImage("a").ToTar();
  for (const size_t size : {size_t{0}, size_t{100}, size_t{600}, tar.size() / 2}) {
    ASSERT_TRUE(WriteFileAtomically(path, tar.substr(0, size), 0644).ok());
    EXPECT_FALSE(store().Load(path, Options()).ok()) << size;
    EXPECT_THAT(Files(), IsEmpty());
  }
  EXPECT_TRUE(absl::IsNotFound(store().Load(directory_ + "/none", Options()).status()));
  EXPECT_FALSE(store().Load("/dev/null", Options()).ok());
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(StoreTest, ImagesForOtherMachinesAreRefused) {
  TestLayout layout;
  const nlohmann::json manifest =
      layout.AddBlob("application/vnd.oci.image.config.v1+json",
                     R"({"architecture":"arm64","os":"linux","rootfs":{"type":"layers"}})");
  layout.index = {{"schemaVersion", 2},
                  {"manifests",
                   {layout.AddBlob("application/vnd.oci.image.manifest.v1+json",
                                   DumpJson({{"schemaVersion", 2},
                                             {"config", manifest},
                                             {"layers", nlohmann::json::array()}}))}}};
  EXPECT_THAT(Load(layout).status().ToString(), HasSubstr("linux/arm64"));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(StoreTest, BombsLeaveNothing) {
  TestLayout layout;
  layout.AddImage({MakeTar({{.path = "zeros", .data = std::string(size_t{8} << 20, '\0')}})}, "a");
  LoadOptions options = Options();
  options.free_expanded_bytes = 1 << 20;
  EXPECT_THAT(Load(layout, options).status().ToString(), HasSubstr("decompression bomb"));
  options = Options();
  options.max_expanded_bytes = 1 << 20;
  EXPECT_TRUE(absl::IsResourceExhausted(Load(layout, options).status()));
  // And when the layout itself is compressed.
  const std::string path = directory_ + "/bomb.tar.gz";
  ASSERT_TRUE(WriteFileAtomically(path, Compress(layout.ToTar(), "gzip"), 0644).ok());
  options.max_expanded_bytes = 4096;
  EXPECT_TRUE(absl::IsResourceExhausted(store().Load(path, options).status()));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(StoreTest, AFileSizeLimitInTheMiddleOfALoadLeavesNothing) {
  TestLayout layout;
  layout.AddImage({MakeTar({{.path = "big", .data = std::string(size_t{4} << 20, 'x')}})}, "a");
  const std::string path = WriteTar("layout.tar", layout);
  const pid_t pid = fork();
  if (pid == 0) {
    const rlimit limit{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    const absl::Status status = store().Load(path, Options()).status();
    const bool expected =
        absl::StrContains(status.message(), "write the root file system image: File too large");
    _exit(expected ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(Files(), IsEmpty());
}

// A mount namespace of our own, with or without privileges.
bool EnterMountNamespace() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(CLONE_NEWNS) == 0) return true;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  const auto write = [](const char* path, const std::string& text) {
    return WriteFull(UniqueFd::Open(path, O_WRONLY).value().get(), text).ok();
  };
  return write("/proc/self/setgroups", "deny") &&
         write("/proc/self/uid_map", absl::StrCat(uid, " ", uid, " 1")) &&
         write("/proc/self/gid_map", absl::StrCat(gid, " ", gid, " 1"));
}

TEST_F(StoreTest, AFullDiskInTheMiddleOfALoadLeavesNothing) {
  TestLayout layout;
  layout.AddImage({MakeTar({{.path = "big", .data = std::string(size_t{4} << 20, 'x')}})}, "a");
  const std::string path = WriteTar("layout.tar", layout);
  const std::string small = WriteTar("small.tar", OneImage("small"));
  ASSERT_EQ(mkdir((directory_ + "/root").c_str(), 0700), 0);
  constexpr int kNoNamespace = 77;
  const pid_t pid = fork();
  if (pid == 0) {
    if (!EnterMountNamespace() || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", (directory_ + "/root").c_str(), "tmpfs", 0, "size=1m") != 0) {
      _exit(kNoNamespace);
    }
    const absl::Status status = store().Load(path, Options()).status();
    if (!absl::IsResourceExhausted(status)) _exit(1);
    if (!absl::StrContains(status.message(), "No space left on device")) _exit(2);
    if (!Files().empty()) _exit(3);
    // There is room again for an image that fits.
    _exit(store().Load(small, Options()).ok() ? 0 : 4);
  }
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNoNamespace) GTEST_SKIP() << "no mount namespace to be had here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(StoreTest, TwoLoadsAtOnceConvertOnce) {
  TestLayout layout;
  layout.AddImage({MakeTar({{.path = "big", .data = std::string(size_t{4} << 20, 'x')}})}, "a");
  const std::string path = WriteTar("layout.tar", layout);
  std::vector<absl::StatusOr<std::vector<LoadedImage>>> results(3, absl::UnknownError("not run"));
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&result, &path, this] { result = store().Load(path, Options()); });
  }
  for (std::thread& thread : threads) thread.join();
  int converted = 0;
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok()) << result.status();
    if (!result->front().was_present) ++converted;
  }
  EXPECT_EQ(converted, 1);
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(StoreTest, CancelEndsTheWaitAndTheWork) {
  const std::string path = WriteTar("layout.tar", OneImage("a"));
  ASSERT_TRUE(store().Load(path, Options("other")).ok());
  EventFd cancel = EventFd::Create().value();
  LoadOptions options = Options();
  options.cancel_fd = cancel.fd();
  {
    const UniqueFd lock = UniqueFd::Open(directory_ + "/root/images/load.lock", O_RDWR).value();
    ASSERT_EQ(flock(lock.get(), LOCK_EX), 0);
    // Cancelled from the progress callback: exactly when the load has begun to wait.
    options.progress = [&cancel](const LoadProgress& progress) {
      EXPECT_EQ(progress.stage, LoadProgress::Stage::kWaiting);
      cancel.Signal();
    };
    EXPECT_TRUE(absl::IsCancelled(store().Load(path, options).status()));
  }
  options.progress = nullptr;
  EXPECT_TRUE(absl::IsCancelled(store().Load(path, options).status()));
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(StoreTest, AKilledLoadIsCleanedUpByTheNext) {
  // The input is a pipe that stays open, so that the load is killed in its middle for certain.
  const std::string fifo = directory_ + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    store().Load(fifo, Options()).IgnoreError();
    _exit(0);
  }
  const UniqueFd writer = UniqueFd::Open(fifo, O_WRONLY).value();
  ASSERT_TRUE(WriteFull(writer.get(), OneImage("a").ToTar().substr(0, 2000)).ok());
  while (Files().empty()) usleep(1000);
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_FALSE(Files().empty());
  EXPECT_TRUE(store().List()->empty());
  ASSERT_TRUE(Load(OneImage("a")).ok());
  EXPECT_EQ(Files().size(), 2u);
  EXPECT_TRUE(store().Resolve("a").ok());
}

// Writes one image of the store to `path` and returns the error.
absl::Status Save(const Store& store, const std::string& name, ExportFormat format,
                  const std::string& path) {
  const absl::StatusOr<ResolvedImage> image = store.Resolve(name);
  if (!image.ok()) return image.status();
  std::vector<ExportedImage> images;
  images.push_back({.files = store.OpenFiles(image->manifest).value(), .names = {image->name}});
  UniqueFd output;
  if (IsDirectory(format)) {
    std::filesystem::create_directory(path);
    output = UniqueFd::Open(path, O_RDONLY | O_DIRECTORY).value();
  } else {
    output = UniqueFd::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644).value();
  }
  return ExportImages(store, images,
                      {.format = format, .unpack_program = unpack_program, .cancel_fd = -1},
                      output.get());
}

constexpr const char* kFormats[] = {"oci-archive", "oci-dir", "docker-archive", "docker-dir"};

TEST_F(StoreTest, WhatIsSavedLoadsAsTheSameImage) {
  for (const char* compression : {"", "+gzip", "+zstd"}) {
    TestLayout layout;
    const std::string second = MakeTar({{.path = "f", .data = std::string(5000, 'x')}});
    // One layer twice, and one that is not a whole number of blocks.
    layout.AddImage({SmallLayer(), second, SmallLayer()}, "app:1", compression);
    ASSERT_TRUE(Load(layout).ok());
    const ResolvedImage before = store().Resolve("app:1").value();
    const std::string rootfs = ReadFile(before.rootfs_path, 1 << 20).value();
    const ImageDetails details = store().Describe(before.manifest).value();
    EXPECT_THAT(details.layer_bytes,
                ElementsAre(SmallLayer().size(), second.size(), SmallLayer().size()));
    EXPECT_THAT(details.names, ElementsAre("localhost/app:1"));
    for (const char* name : kFormats) {
      const ExportFormat format = *ParseExportFormat(name);
      const std::string path = absl::StrCat(directory_, "/saved-", name, compression);
      const absl::Status saved = Save(store(), "app:1", format, path);
      ASSERT_TRUE(saved.ok()) << name << ": " << saved;
      const Store other(absl::StrCat(directory_, "/other-", name, compression));
      const absl::StatusOr<std::vector<LoadedImage>> loaded = other.Load(path, Options());
      ASSERT_TRUE(loaded.ok()) << name << ": " << loaded.status();
      ASSERT_EQ(loaded->size(), 1u);
      EXPECT_EQ(loaded->front().id, before.id) << name;
      if (format == ExportFormat::kDirTransport) {
        EXPECT_THAT(loaded->front().names, IsEmpty());
      } else {
        EXPECT_THAT(loaded->front().names, ElementsAre("localhost/app:1")) << name;
      }
      // A docker-archive has no manifest of its own, and no compressed layers.
      if (format != ExportFormat::kDockerArchive) {
        EXPECT_EQ(loaded->front().manifest, before.manifest) << name;
        EXPECT_EQ(ReadFile(other.Resolve(before.id.hex())->rootfs_path, 1 << 20).value(), rootfs);
      }
      EXPECT_TRUE(Fsck(other.Resolve(before.id.hex())->rootfs_path));
    }
    ASSERT_TRUE(store().Remove("app:1", {}, false).ok());
  }
}

TEST_F(StoreTest, ADockerArchiveIsTheSameImageEveryTime) {
  const std::map<std::string, std::string> files = testing::DockerArchive(
      {SmallLayer(), MakeTar({{.path = "x", .data = "y"}})}, {"busybox:1", "localhost/b:2"});
  const std::string path = directory_ + "/docker.tar";
  ASSERT_TRUE(WriteFileAtomically(path, testing::TarOfFiles(files), 0644).ok());
  const absl::StatusOr<std::vector<LoadedImage>> loaded = store().Load(path, Options());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->front().names, ElementsAre("docker.io/library/busybox:1", "localhost/b:2"));
  EXPECT_EQ(loaded->front().id, testing::Sha256Of(files.at("config.json")));
  EXPECT_TRUE(store().Load(path, Options())->front().was_present);
  EXPECT_THAT(store().Resolve("busybox:1")->process.cmd, ElementsAre("sh"));
}

TEST_F(StoreTest, AnIdOfTwoFormsOfAnImageIsEither) {
  TestLayout layout;
  layout.AddImage({SmallLayer()}, "gzip", "+gzip");
  layout.AddImage({SmallLayer()}, "plain", "");
  ASSERT_TRUE(Load(layout).ok());
  const ResolvedImage gzip = store().Resolve("gzip").value();
  const ResolvedImage plain = store().Resolve("plain").value();
  ASSERT_EQ(gzip.id, plain.id);
  ASSERT_FALSE(gzip.manifest == plain.manifest);
  EXPECT_EQ(store().Resolve(gzip.id.hex().substr(0, 12))->id, gzip.id);
  EXPECT_EQ(store().Resolve(plain.manifest.ToString())->manifest, plain.manifest);
  EXPECT_TRUE(store().Remove(gzip.id.hex(), {}, false)->deleted);
  EXPECT_EQ(store().List()->size(), 1u);
}

TEST_F(StoreTest, BadDockerArchivesLeaveNothing) {
  const auto expect_failure = [this](const std::map<std::string, std::string>& files,
                                     const std::string& what) {
    const std::string path = directory_ + "/docker.tar";
    ASSERT_TRUE(WriteFileAtomically(path, testing::TarOfFiles(files), 0644).ok());
    EXPECT_THAT(store().Load(path, Options()).status().ToString(), HasSubstr(what));
    EXPECT_THAT(Files(), IsEmpty()) << what;
  };
  const std::string layer = SmallLayer();
  std::map<std::string, std::string> files = testing::DockerArchive({layer}, {"a"});
  files["0/layer.tar"] = MakeTar({{.path = "other", .data = "x"}});
  expect_failure(files, "layer 1 of 1");
  files["0/layer.tar"] = Compress(MakeTar({{.path = "other", .data = "x"}}), "gzip");
  expect_failure(files, "its uncompressed content does not match its digest");
  files["0/layer.tar"] = "";
  expect_failure(files, "layer 1 of 1");
  files.erase("0/layer.tar");
  expect_failure(files, "missing");
  files = testing::DockerArchive({layer}, {"Not A Name"});
  expect_failure(files, "--name");
  files = testing::DockerArchive({MakeTar({{.path = "../evil", .data = "x"}})}, {"a"});
  expect_failure(files, "entry \"../evil\"");
}

TEST_F(StoreTest, SavingWhatCannotBeSaved) {
  ASSERT_TRUE(Load(OneImage("a")).ok());
  const ResolvedImage image = store().Resolve("a").value();
  std::vector<ExportedImage> two;
  for (int i = 0; i < 2; ++i) {
    two.push_back({.files = store().OpenFiles(image.manifest).value(), .names = {}});
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ExportImages(
      store(), two, {.format = ExportFormat::kDirTransport, .unpack_program = {}}, -1)));
  EventFd cancel = EventFd::Create().value();
  cancel.Signal();
  const UniqueFd null = UniqueFd::Open("/dev/null", O_WRONLY).value();
  EXPECT_TRUE(absl::IsCancelled(ExportImages(store(), two,
                                             {.format = ExportFormat::kOciArchive,
                                              .unpack_program = unpack_program,
                                              .cancel_fd = cancel.fd()},
                                             null.get())));
  const UniqueFd full = UniqueFd::Open("/dev/full", O_WRONLY).value();
  EXPECT_TRUE(absl::IsResourceExhausted(ExportImages(
      store(), two, {.format = ExportFormat::kOciArchive, .unpack_program = unpack_program},
      full.get())));
  // Layers that were cut short, or never kept.
  const std::string layers =
      image.rootfs_path.substr(0, image.rootfs_path.rfind('/')) + "/layers.blob";
  ASSERT_EQ(truncate(layers.c_str(), 10), 0);
  EXPECT_THAT(Save(store(), "a", ExportFormat::kOciArchive, directory_ + "/x").ToString(),
              HasSubstr("truncated"));
  EXPECT_FALSE(Save(store(), "a", ExportFormat::kDockerArchive, directory_ + "/x").ok());
  ASSERT_EQ(unlink(layers.c_str()), 0);
  EXPECT_THAT(store().OpenFiles(image.manifest).status().ToString(), HasSubstr("older Hull"));
  EXPECT_THAT(Files(), ElementsAre("names/localhost%a:latest", "sha256/" + image.manifest.hex()));
}

TEST_F(StoreTest, TagsAreMadeMovedAndTaken) {
  EXPECT_TRUE(absl::IsNotFound(store().Tag("a", {"b"}).status()));
  ASSERT_TRUE(Load(OneImage("a")).ok());
  TestLayout other;
  other.AddImage({SmallLayer(), SmallLayer()}, "other");
  ASSERT_TRUE(Load(other).ok());
  const Digest manifest = store().Resolve("a")->manifest;
  EXPECT_THAT(store().Tag("a", {"b:1", "quay.io/c", "other"}).value(),
              ElementsAre("localhost/b:1", "quay.io/c:latest", "localhost/other:latest"));
  for (const char* name : {"b:1", "quay.io/c", "other"}) {
    EXPECT_EQ(store().Resolve(name)->manifest, manifest) << name;
  }
  // All names are right, or none is given.
  EXPECT_TRUE(absl::IsInvalidArgument(store().Tag("a", {"d", "Not A Name"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      store().Tag("a", {absl::StrCat("d@", manifest.ToString())}).status()));
  EXPECT_TRUE(absl::IsNotFound(store().Resolve("d").status()));
  EXPECT_THAT(store().Untag("a", {"b:1", "nothing"}).status().ToString(), HasSubstr("no name"));
  EXPECT_TRUE(store().Resolve("b:1").ok());
  EXPECT_THAT(store().Untag("a", {"b:1"}).value(), ElementsAre("localhost/b:1"));
  EXPECT_EQ(store().Untag("a", {})->size(), 3u);
  EXPECT_TRUE(store().Resolve(manifest.ToString()).ok());
}

TEST_F(StoreTest, PruneTakesWhatHasNoName) {
  EXPECT_TRUE(store().Prune(true, {})->empty());
  ASSERT_TRUE(Load(OneImage("a")).ok());
  const Digest first = store().Resolve("a")->manifest;
  TestLayout other;
  other.AddImage({SmallLayer(), SmallLayer()}, "a");
  ASSERT_TRUE(Load(other).ok());
  const Digest second = store().Resolve("a")->manifest;
  EXPECT_TRUE(store().Prune(false, {first})->empty());
  EXPECT_EQ(store().Prune(false, {})->size(), 1u);
  EXPECT_EQ(store().List()->size(), 1u);
  EXPECT_TRUE(store().Prune(true, {second})->empty());
  const std::vector<RemovedImage> pruned = store().Prune(true, {}).value();
  ASSERT_EQ(pruned.size(), 1u);
  EXPECT_THAT(pruned[0].untagged, ElementsAre("localhost/a:latest"));
  EXPECT_THAT(Files(), IsEmpty());
}

// A diskette of 160 KiB.
std::string Diskette() {
  std::string disk(160 * 1024, '\0');
  disk.replace(0, 5, "\xebHull");
  return disk;
}

class ImportTest : public StoreTest {
 protected:
  std::string Write(const std::string& name, const std::string& content) const {
    const std::string path = directory_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, content, 0644).ok());
    const timespec times[2] = {{.tv_sec = 1'700'000'000, .tv_nsec = 0},
                               {.tv_sec = 1'700'000'000, .tv_nsec = 0}};
    EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    return path;
  }
  absl::StatusOr<LoadedImage> Import(const std::string& path,
                                     std::optional<BootDevice> boot = std::nullopt,
                                     const std::string& name = "dos") const {
    return store().Import(
        path, {.unpack_program = unpack_program, .name = name, .boot = boot, .progress = {}});
  }
};

TEST_F(ImportTest, ADiskBecomesAnImage) {
  const std::string path = Write("disk.img", Diskette());
  const absl::StatusOr<LoadedImage> imported = Import(path);
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_THAT(imported->names, ElementsAre("localhost/dos:latest"));
  EXPECT_FALSE(imported->was_present);
  const absl::StatusOr<ResolvedImage> resolved = store().Resolve("dos");
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  ASSERT_TRUE(resolved->machine.has_value());
  EXPECT_EQ(resolved->machine->boot, BootDevice::kFloppy);
  EXPECT_EQ(ReadFile(resolved->rootfs_path, 1 << 20).value(), Diskette());
  EXPECT_THAT(resolved->process.cmd, IsEmpty());
  EXPECT_EQ(store().List()->front().created, 1'700'000'000);
  EXPECT_LT(store().List()->front().size, 100'000u);
  const ImageDetails details = store().Describe(resolved->manifest).value();
  EXPECT_THAT(details.manifest, HasSubstr("application/vnd.hull.machine.disk.v1.raw+zstd"));
  EXPECT_THAT(details.manifest, HasSubstr(R"("io.hull.machine":"pc")"));
  EXPECT_THAT(details.layer_bytes, ElementsAre(Diskette().size()));

  // The same disk is the same image.
  const absl::StatusOr<LoadedImage> again = Import(path, BootDevice::kFloppy, "other:1");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->was_present);
  EXPECT_EQ(again->manifest, imported->manifest);
  // To boot it from somewhere else is another.
  EXPECT_NE(Import(path, BootDevice::kDisk, "hard")->manifest, imported->manifest);
  EXPECT_EQ(store().Remove("dos", {}, false)->deleted, false);
  EXPECT_EQ(store().Remove("other:1", {}, false)->deleted, true);
  EXPECT_EQ(store().Remove("hard", {}, false)->deleted, true);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(ImportTest, WhatIsImportedIsSavedAndLoadedAsTheSameImage) {
  ASSERT_TRUE(Import(Write("disk.img", Diskette())).ok());
  const ResolvedImage before = store().Resolve("dos").value();
  for (const char* name : {"oci-archive", "oci-dir", "docker-dir"}) {
    const std::string path = absl::StrCat(directory_, "/saved-", name);
    const absl::Status saved = Save(store(), "dos", *ParseExportFormat(name), path);
    ASSERT_TRUE(saved.ok()) << name << ": " << saved;
    const Store other(absl::StrCat(directory_, "/other-", name));
    EXPECT_TRUE(other.HoldsDisks(path, unpack_program)) << name;
    const absl::StatusOr<std::vector<LoadedImage>> loaded = other.Load(path, Options("dos"));
    ASSERT_TRUE(loaded.ok()) << name << ": " << loaded.status();
    const ResolvedImage after = other.Resolve("dos").value();
    EXPECT_EQ(after.manifest, before.manifest) << name;
    EXPECT_EQ(after.id, before.id) << name;
    EXPECT_EQ(after.machine, before.machine) << name;
    EXPECT_EQ(ReadFile(after.rootfs_path, 1 << 20).value(), Diskette()) << name;
  }
  EXPECT_THAT(Save(store(), "dos", ExportFormat::kDockerArchive, directory_ + "/docker").ToString(),
              HasSubstr("--format oci-archive"));
}

TEST_F(ImportTest, DisksAreToldFromImages) {
  EXPECT_FALSE(store().HoldsDisks(WriteTar("layout.tar", OneImage("app")), unpack_program));
  EXPECT_FALSE(store().HoldsDisks(Write("disk.img", Diskette()), unpack_program));
  EXPECT_FALSE(store().HoldsDisks(directory_ + "/missing", unpack_program));
}

TEST_F(ImportTest, ABootDeviceIsGuessed) {
  const auto boot = [this](const std::string& content) {
    const absl::StatusOr<LoadedImage> imported = Import(Write("disk.img", content));
    EXPECT_TRUE(imported.ok()) << imported.status();
    return store().Resolve("dos")->machine->boot;
  };
  EXPECT_EQ(boot(std::string(512 * 100, 'x')), BootDevice::kDisk);
  std::string cdrom(2048 * 20, '\0');
  cdrom.replace(16 * 2048, 6,
                "\x01"
                "CD001");
  EXPECT_EQ(boot(cdrom), BootDevice::kCdrom);
}

TEST_F(ImportTest, SparseStaysSparse) {
  const std::string path = Write("disk.img", "x");
  ASSERT_EQ(truncate(path.c_str(), off_t{64} << 20), 0);
  ASSERT_TRUE(Import(path).ok());
  struct stat info;
  ASSERT_EQ(stat(store().Resolve("dos")->rootfs_path.c_str(), &info), 0);
  EXPECT_EQ(info.st_size, off_t{64} << 20);
  EXPECT_LT(info.st_blocks * 512, 1 << 20);
}

TEST_F(ImportTest, WhatIsNoDiskIsRefusedAndLeavesNothing) {
  const auto refused = [this](const std::string& path,
                              std::optional<BootDevice> boot = std::nullopt,
                              const std::string& name = "dos") {
    const absl::Status status = Import(path, boot, name).status();
    EXPECT_FALSE(status.ok()) << path;
    EXPECT_THAT(Files(), IsEmpty());
    return status.ToString();
  };
  const std::string diskette = Write("disk.img", Diskette());
  EXPECT_THAT(refused(Write("empty", "")), HasSubstr("the disk is empty"));
  EXPECT_THAT(refused(directory_), HasSubstr("it is not a file"));
  EXPECT_THAT(refused("/dev/null"), HasSubstr("it is not a file"));
  EXPECT_THAT(refused(directory_ + "/missing"), HasSubstr("No such file"));
  EXPECT_THAT(refused(Write("odd", "abc")), HasSubstr("512-byte sectors"));
  EXPECT_THAT(refused(Write("big", std::string(4096, 'x')), BootDevice::kFloppy),
              HasSubstr("no diskette of 4096 bytes"));
  EXPECT_THAT(refused(diskette, std::nullopt, "Not a name"), HasSubstr("Not a name"));
  const std::string huge = Write("huge", "x");
  if (truncate(huge.c_str(), (off_t{2} << 40) + 512) == 0) {
    EXPECT_THAT(refused(huge), HasSubstr("2 TiB"));
  }
}

// An image whose documents say that it is a disk of the machine.
TestLayout DiskImage(const std::string& blob, const std::string& plain,
                     const nlohmann::json& machine) {
  TestLayout layout;
  const nlohmann::json config = {
      {"architecture", "amd64"},
      {"os", "bios"},
      {"machine", machine},
      {"rootfs", {{"type", "layers"}, {"diff_ids", {testing::Sha256Of(plain).ToString()}}}}};
  const nlohmann::json manifest = {{"schemaVersion", 2},
                                   {"config", layout.AddBlob(kMachineConfigType, DumpJson(config))},
                                   {"layers", {layout.AddBlob(kDiskLayerType, blob)}}};
  layout.index = {
      {"schemaVersion", 2},
      {"manifests",
       {layout.AddBlob("application/vnd.oci.image.manifest.v1+json", DumpJson(manifest))}}};
  return layout;
}

TEST_F(ImportTest, BadDiskImagesLeaveNothing) {
  const nlohmann::json floppy = {{"model", "pc"}, {"boot", "floppy"}};
  const std::string blob = Compress(Diskette(), "zstd");
  const auto refused = [this](const TestLayout& layout) {
    const absl::Status status = Load(layout, Options("dos")).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(Files(), IsEmpty());
    return status.ToString();
  };
  EXPECT_THAT(refused(DiskImage(blob, Diskette(), {{"model", "apple"}, {"boot", "floppy"}})),
              HasSubstr("no model"));
  EXPECT_THAT(refused(DiskImage(blob, Diskette(), {{"model", "pc"}, {"boot", "tape"}})),
              HasSubstr("no device to boot from"));
  EXPECT_THAT(refused(DiskImage(blob, Diskette(), nullptr)), HasSubstr("machine"));
  EXPECT_THAT(refused(DiskImage(blob, "another disk", floppy)), HasSubstr("the disk"));
  EXPECT_THAT(refused(DiskImage("rubbish", Diskette(), floppy)), HasSubstr("decompress"));
  EXPECT_THAT(refused(DiskImage(Compress("x", "zstd"), "x", floppy)), HasSubstr("no diskette"));
  EXPECT_TRUE(Load(DiskImage(blob, Diskette(), floppy), Options("dos")).ok());
}

TEST_F(StoreTest, LoadsOfDifferentImagesAtOnce) {
  constexpr int kLoads = 4;
  std::vector<std::thread> threads;
  std::vector<absl::Status> results(kLoads);
  for (int i = 0; i < kLoads; ++i) {
    TestLayout layout;
    layout.AddImage({MakeTar({{.path = "f", .data = std::string(300'000 + i, 'x')}})},
                    absl::StrCat("app:", i));
    const std::string path = WriteTar(absl::StrCat("layout", i, ".tar"), layout);
    threads.emplace_back(
        [this, path, &result = results[i]] { result = store().Load(path, Options()).status(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) EXPECT_TRUE(result.ok()) << result;
  EXPECT_EQ(store().List()->size(), size_t{kLoads});
  EXPECT_EQ(Files().size(), size_t{2 * kLoads});
}

// Wherever a load is killed, what is seen is whole, and the next load works and cleans up.
TEST_F(StoreTest, ALoadKilledAtAnyMomentLeavesNothingHalfWritten) {
  TestLayout layout;
  layout.AddImage({MakeTar({{.path = "big", .data = std::string(size_t{2} << 20, 'x')}})}, "a");
  const std::string path = WriteTar("layout.tar", layout);
  constexpr int kRounds = 25;
  int killed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const pid_t pid = fork();
    if (pid == 0) {
      _exit(store().Load(path, Options()).ok() ? 0 : 1);
    }
    usleep(static_cast<useconds_t>(round) * 1500);
    kill(pid, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) ++killed;
    const absl::StatusOr<std::vector<ImageInfo>> list = store().List();
    ASSERT_TRUE(list.ok()) << list.status();
    for (const ImageInfo& image : *list) {
      const absl::StatusOr<ResolvedImage> resolved = store().Resolve(image.manifest.ToString());
      ASSERT_TRUE(resolved.ok()) << resolved.status();
      EXPECT_TRUE(Fsck(resolved->rootfs_path));
    }
    ASSERT_TRUE(store().Load(path, Options()).ok());
    EXPECT_EQ(Files().size(), 2u);
    EXPECT_TRUE(Fsck(store().Resolve("a")->rootfs_path));
    ASSERT_TRUE(store().Remove("a", {}, false).ok());
    EXPECT_THAT(Files(), IsEmpty());
  }
  EXPECT_GT(killed, 0);
}

TEST_F(StoreTest, AMissingOrBrokenHelperIsReported) {
  LoadOptions options = Options();
  options.unpack_program.path = directory_ + "/nothing";
  EXPECT_THAT(Load(OneImage("a"), options).status().ToString(), HasSubstr("/nothing"));
  options.unpack_program.path = "/bin/true";
  EXPECT_THAT(Load(OneImage("a"), options).status().ToString(), HasSubstr("no result"));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(StoreTest, DamagedRecordsAreNamed) {
  ASSERT_TRUE(Load(OneImage("a")).ok());
  const std::string rootfs = store().Resolve("a")->rootfs_path;
  const std::string record = rootfs.substr(0, rootfs.rfind('/')) + "/image.json";
  ASSERT_TRUE(WriteFileAtomically(record, "{\"version\": 3}", 0600).ok());
  EXPECT_THAT(store().Resolve("a").status().ToString(), HasSubstr("another version of Hull"));
  EXPECT_THAT(store().List().status().ToString(), HasSubstr(record));
  EXPECT_TRUE(store().Remove("a", {}, false).ok());
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace hull::images

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  if (argc != 2) return 2;
  hull::images::unpack_program = {
      .path = std::filesystem::absolute(argv[1]),
      .user_claims = ::testing::TempDir() + "/not/yet/there/users.lock"};
  return RUN_ALL_TESTS();
}
