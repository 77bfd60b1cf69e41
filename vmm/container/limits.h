// How much of the host a container may have: the values of --memory and --cpus.

#ifndef VMM_CONTAINER_LIMITS_H_
#define VMM_CONTAINER_LIMITS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// A guest smaller than this cannot hold the kernel and the agent.
inline constexpr uint64_t kMinMemoryBytes = uint64_t{24} << 20;
// Enough for a shell and small services. The guest's kernel touches a page descriptor for each page
// it is given, so every start pays for the size; what the container does not use costs nothing
// else.
inline constexpr uint64_t kDefaultMemoryBytes = uint64_t{128} << 20;

// Of the disk that takes a container's writes: thin, so that the size costs nothing by itself.
inline constexpr uint64_t kDefaultStorageBytes = uint64_t{10} << 30;
inline constexpr uint64_t kMinStorageBytes = uint64_t{64} << 20;
inline constexpr uint64_t kMaxStorageBytes = uint64_t{4} << 40;

inline constexpr uint32_t kMinCpus = 1;
inline constexpr uint32_t kMaxCpus = 32;
inline constexpr uint32_t kDefaultCpus = 1;
// Less than this of a processor a control group cannot give.
inline constexpr uint64_t kMinCpuMillis = 10;

// A size as podman writes it: digits, a fraction if wanted ("1.5g"), then one of b, k, m, g, t, p
// in either case (powers of 1024; "kb", "kib" and the like mean the same), nothing for bytes.
// Fractions of a byte are dropped. kInvalidArgument for anything else and for what exceeds 2^63-1.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);

// The value of --memory in bytes, a whole number of 4 KiB pages (rounded down): at least
// kMinMemoryBytes, at most `host_bytes`, the memory this host has. kInvalidArgument says which.
absl::StatusOr<uint64_t> ParseMemory(absl::string_view text, uint64_t host_bytes);

// The size of a disk in bytes, a whole number of MiB (rounded down): kMinStorageBytes to
// kMaxStorageBytes. kInvalidArgument says which.
absl::StatusOr<uint64_t> ParseStorageSize(absl::string_view text);

// A container's processors: how many there are, and how much of the host's they may use together.
struct Cpus {
  uint32_t count = kDefaultCpus;
  uint64_t millis = kDefaultCpus * 1000;  // thousandths of one's time

  friend bool operator==(const Cpus&, const Cpus&) = default;
};

// The value of --cpus: a number from 0.01 to kMaxCpus; digits after the third do not matter. There
// are as many CPUs as it takes, so that 1.5 is two with three quarters of the time each.
absl::StatusOr<Cpus> ParseCpus(absl::string_view text);

}  // namespace hull::container

#endif  // VMM_CONTAINER_LIMITS_H_
