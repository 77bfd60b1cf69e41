#include "guest-agent/archiver.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <new>
#include <string_view>

#include "guest-agent/accounts.h"
#include "guest-agent/archive/tar_format.h"
#include "guest-agent/archive/tree.h"
#include "guest-agent/credentials.h"
#include "guest-agent/failure.h"
#include "guest-agent/fd.h"

namespace hull::agent {
namespace {

using archive::Why;

// Directories of the agent's own root: see container_root.cc.
constexpr char kImage[] = "/image";
constexpr char kUpper[] = "/writable/upper";

// What a container's root has that is not its own: the mount points, and the files that the host
// writes.
constexpr std::string_view kNotTheContainers[] = {
    "/dev", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/run", "/sys",
};

// Of the one thing that this process does; zero until it is used.
template <typename T, typename... Arguments>
T* MakeOnce(Arguments... arguments) {
  alignas(T) static char storage[sizeof(T)];
  return new (storage) T(arguments...);
}

bool Refuse(Why* why, int error, std::string_view what, std::string_view path) {
  why->Assign({what, " ", path, ": ", ErrorText(error)});
  return false;
}

archive::TarWriter* Output() {
  auto* const sink = MakeOnce<archive::DescriptorSink>(STDOUT_FILENO);
  return MakeOnce<archive::TarWriter>(sink);
}

bool Stat(const char* path, Why* why) {
  struct stat info;
  if (stat(path, &info) != 0) {
    // The words that podman has for it, and scripts look for.
    if (errno == ENOENT || errno == ENOTDIR) {
      why->Assign({"\"", path, "\" could not be found on container"});
      return false;
    }
    return Refuse(why, errno, "cannot look at", path);
  }
  const std::string_view kind = S_ISDIR(info.st_mode)   ? "directory\n"
                                : S_ISREG(info.st_mode) ? "file\n"
                                                        : "other\n";
  archive::DescriptorSink sink(STDOUT_FILENO);
  return sink.Write(reinterpret_cast<const uint8_t*>(kind.data()), kind.size()) ||
         Refuse(why, errno, "cannot write about", path);
}

bool PackPath(const char* path, const char* prefix, Why* why) {
  return archive::Pack(AT_FDCWD, path, prefix, {.one_mount = true}, Output(), why);
}

bool UnpackInto(const char* directory, std::string_view owner, Why* why) {
  archive::UnpackOptions options;
  if (!owner.empty()) {
    // As the container's main process has them.
    Failure failure;
    Identity* const identity = MakeOnce<Identity>();
    if (!LookUpUser(owner, identity, &failure)) {
      why->Assign({failure.message.view()});
      return false;
    }
    options.owner = {identity->uid, identity->gid};
  }
  const Fd root(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return Refuse(why, errno, "cannot enter", directory);
  auto* const source = MakeOnce<archive::DescriptorSource>(STDIN_FILENO);
  return archive::Unpack(root.get(), options, MakeOnce<archive::TarReader>(source), why);
}

// Makes the agent's own root this process's, in which the layers of the container's are to be seen:
// in a copy of the container's mount namespace, the container's root is taken away from over it.
// The container keeps all that it has.
bool EnterAgentRoot(Why* why) {
  const Fd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (self.valid() && unshare(CLONE_NEWNS) == 0 &&
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
      umount2("/", MNT_DETACH) == 0 && setns(self.get(), CLONE_NEWNS) == 0) {
    return true;
  }
  return Refuse(why, errno, "cannot reach the layers of", "the container");
}

class ChangeWriter final : public archive::ChangeSink {
 public:
  bool OnChange(char kind, std::string_view path) override {
    archive::DescriptorSink sink(STDOUT_FILENO);
    const uint8_t kind_byte = static_cast<uint8_t>(kind);
    const uint8_t end = 0;
    return sink.Write(&kind_byte, 1) &&
           sink.Write(reinterpret_cast<const uint8_t*>(path.data()), path.size()) &&
           sink.Write(&end, 1);
  }
};

bool Changes(Why* why) {
  // It stays reachable by this descriptor, without what is mounted below.
  const Fd merged(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!merged.valid()) return Refuse(why, errno, "cannot read", "/");
  if (!EnterAgentRoot(why)) return false;
  const Fd upper(open(kUpper, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd lower(open(kImage, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!upper.valid() || !lower.valid()) return Refuse(why, errno, "cannot read", "the layers");
  ChangeWriter writer;
  return archive::ListChanges(upper.get(), lower.get(), merged.get(), &writer, why);
}

bool Layer(Why* why) {
  // As above.
  const Fd merged(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!merged.valid()) return Refuse(why, errno, "cannot read", "/");
  return EnterAgentRoot(why) && archive::Pack(AT_FDCWD, kUpper, ".",
                                              {.upper_layer = true,
                                               .merged = merged.get(),
                                               .left_out = kNotTheContainers,
                                               .left_out_count = std::size(kNotTheContainers)},
                                              Output(), why);
}

bool Run(int argc, char** argv, Why* why) {
  const std::string_view verb(argc > 1 ? argv[1] : "");
  if (verb == "stat" && argc == 3) return Stat(argv[2], why);
  if (verb == "pack" && argc == 4) return PackPath(argv[2], argv[3], why);
  if (verb == "unpack" && argc == 4) return UnpackInto(argv[2], argv[3], why);
  if (verb == "export" && argc == 2) return PackPath("/", ".", why);
  if (verb == "changes" && argc == 2) return Changes(why);
  if (verb == "layer" && argc == 2) return Layer(why);
  why->Assign({"the agent does not know how to ", verb});
  return false;
}

}  // namespace

int ArchiverMain(int argc, char** argv) {
  umask(0);
  Why why;
  if (Run(argc, argv, &why)) return 0;
  why.Append("\n");
  archive::DescriptorSink sink(STDERR_FILENO);
  // Nobody is left to tell if this fails.
  (void)sink.Write(reinterpret_cast<const uint8_t*>(why.view().data()), why.view().size());
  return 1;
}

}  // namespace hull::agent
