// What the host asks the agent to start, decoded and checked: see protocol/agent.proto for the
// meaning of each field. Strings are NUL-terminated and live in the arena of the HostMessageDecoder
// that produced them.

#ifndef GUEST_AGENT_START_REQUEST_H_
#define GUEST_AGENT_START_REQUEST_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hull::agent {

inline constexpr size_t kMaxArgs = 16384;
inline constexpr size_t kMaxEnvironment = 16384;
// Variables that the agent itself may add: PATH and HOME.
inline constexpr size_t kAddedEnvironment = 2;
inline constexpr size_t kMaxFiles = 16;
inline constexpr size_t kMaxMounts = 32;
inline constexpr size_t kMaxAdditionalGids = 64;
inline constexpr size_t kMaxRlimits = 16;

struct FileRequest {
  const char* path;
  std::string_view content;
  uint32_t mode;
};

struct RootRequest {
  const char* device;
  const char* filesystem_type;
  bool read_only;
  // Of the disk that takes the container's writes; null: they are kept in memory.
  const char* layer_device;
  const char* layer_filesystem_type;
  uint64_t tmpfs_bytes;  // in memory: 0: the kernel's default
};

struct MountRequest {
  const char* target;
  const char* device;  // null: none
  const char* filesystem_type;
  const char* options;
  bool read_only;
  bool allow_suid;
  bool allow_devices;
  bool allow_exec;
  bool copy_image;
};

struct RlimitRequest {
  uint32_t resource;
  uint64_t soft;
  uint64_t hard;
};

struct CapabilitySets {
  uint64_t bounding;
  uint64_t effective;
  uint64_t permitted;
  uint64_t inheritable;
  uint64_t ambient;
};

// Each at most 65535, as <asm/termios.h> has them; 0: unknown.
struct WindowSize {
  uint16_t rows;
  uint16_t columns;
};

// Has no initialisers, so that one in static storage costs neither space in the program's file nor
// pages that are never used (constinit, else it is written to at the start): Clear() it first.
struct StartRequest {
  std::string_view hostname;
  RootRequest root;
  FileRequest files[kMaxFiles];
  size_t file_count;
  MountRequest mounts[kMaxMounts];
  size_t mount_count;

  uint32_t process_id;
  uint64_t stream_token;
  bool attach_stdin;
  bool discard_output;
  bool archiver;
  bool has_terminal;
  WindowSize terminal;
  const char* args[kMaxArgs + 1];  // ends with a null pointer, as execve(2) wants it
  size_t arg_count;
  const char* environment[kMaxEnvironment + kAddedEnvironment + 1];  // likewise
  size_t environment_count;
  const char* working_directory;
  std::string_view user;
  uint32_t additional_gids[kMaxAdditionalGids];
  size_t additional_gid_count;
  uint32_t umask;
  RlimitRequest rlimits[kMaxRlimits];
  size_t rlimit_count;
  CapabilitySets capabilities;
  bool no_new_privileges;

  // Everything empty, what has a default at its default.
  void Clear() {
    hostname = {};
    root = {};
    file_count = 0;
    mount_count = 0;
    process_id = 0;
    stream_token = 0;
    attach_stdin = false;
    discard_output = false;
    archiver = false;
    has_terminal = false;
    terminal = {};
    args[0] = nullptr;
    arg_count = 0;
    environment[0] = nullptr;
    environment_count = 0;
    working_directory = "/";
    user = {};
    additional_gid_count = 0;
    umask = 022;
    rlimit_count = 0;
    capabilities = {};
    no_new_privileges = false;
  }
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_START_REQUEST_H_
