#include "vmm/emulated_host/repaired_qemu.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "vmm/base/unique_fd.h"

namespace hull::emulated_host {
namespace {

// "SIZE MTIME PATH\n" of the program that execvp would take; empty if there is none.
std::string Identity(absl::string_view name, absl::string_view path) {
  for (const absl::string_view directory : absl::StrSplit(path, ':', absl::SkipEmpty())) {
    const std::string file = absl::StrCat(directory, "/", name);
    struct stat status;
    if (access(file.c_str(), X_OK) != 0 || stat(file.c_str(), &status) != 0) continue;
    return absl::StrCat(status.st_size, " ", status.st_mtim.tv_sec, " ", file, "\n");
  }
  return "";
}

}  // namespace

std::string ChooseQemu(absl::string_view name, absl::string_view path,
                       absl::string_view directory) {
  const std::string installed = Identity(name, path);
  const std::string copy = absl::StrCat(directory, "/bin/", name);
  std::array<char, PATH_MAX + 64> made_of;
  const UniqueFd file(open(absl::StrCat(directory, "/of").c_str(), O_RDONLY | O_CLOEXEC));
  if (installed.empty() || !file.valid() || access(copy.c_str(), X_OK) != 0) {
    return std::string(name);
  }
  const ssize_t size = read(file.get(), made_of.data(), made_of.size());
  if (size < 0 || absl::string_view(made_of.data(), static_cast<size_t>(size)) != installed) {
    return std::string(name);
  }
  return copy;
}

}  // namespace hull::emulated_host
