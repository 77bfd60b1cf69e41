// Prints everything that can be seen of a tree of files, a line for each in the order of their
// names, so that two trees can be compared: `tree_snapshot ROOT [NAME...]`, where NAME are
// directories of the root that are left out. What is on another file system is not entered. Static,
// as it runs on the host and in containers.
//
// path type mode uid gid size mtime device target|SHA-256|- first-path-of-the-same-file
// NAME=VALUE...
//
// Bytes other than letters, digits and ._/- are written as %XX.

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

[[noreturn]] void Die(const std::string& what) {
  perror(what.c_str());
  exit(1);
}

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (isalnum(byte) || c == '.' || c == '_' || c == '/' || c == '-') {
      out.push_back(c);
    } else {
      char escaped[4];
      snprintf(escaped, sizeof(escaped), "%%%02X", byte);
      out += escaped;
    }
  }
  return out.empty() ? "%" : out;
}

std::string HashOf(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) Die(path);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  static std::array<char, size_t{1} << 18> buffer;
  while (true) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0) Die(path);
    if (n == 0) break;
    EVP_DigestUpdate(context, buffer.data(), static_cast<size_t>(n));
  }
  close(fd);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  EVP_DigestFinal_ex(context, digest.data(), &size);
  EVP_MD_CTX_free(context);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    char byte[3];
    snprintf(byte, sizeof(byte), "%02x", digest[i]);
    hex += byte;
  }
  return hex;
}

std::string Attributes(const std::string& path) {
  std::array<char, 65536> names;
  const ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0) Die(path);
  std::vector<std::string> list;
  for (const char* name = names.data(); name < names.data() + size;
       name += std::string(name).size() + 1) {
    std::array<char, 65536> value;
    const ssize_t n = lgetxattr(path.c_str(), name, value.data(), value.size());
    if (n < 0) Die(path);
    list.push_back(" " + Escape(name) + "=" +
                   Escape(std::string(value.data(), static_cast<size_t>(n))));
  }
  std::sort(list.begin(), list.end());
  std::string joined;
  for (const std::string& item : list) joined += item;
  return joined;
}

class Snapshot {
 public:
  Snapshot(std::string root, std::vector<std::string> left_out)
      : root_(std::move(root)), left_out_(std::move(left_out)) {
    struct stat info;
    if (lstat(root_.c_str(), &info) != 0) Die(root_);
    device_ = info.st_dev;
  }

  void Walk(const std::string& directory) {
    const std::string full = root_ + directory;
    DIR* const stream = opendir(full.c_str());
    if (stream == nullptr) Die(full);
    std::vector<std::string> names;
    while (const dirent* entry = readdir(stream)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    closedir(stream);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (directory.empty() &&
          std::find(left_out_.begin(), left_out_.end(), name) != left_out_.end()) {
        continue;
      }
      Print(directory + "/" + name);
    }
  }

 private:
  void Print(const std::string& path) {
    const std::string full = root_ + path;
    struct stat info;
    if (lstat(full.c_str(), &info) != 0) Die(full);
    std::string content = "-";
    std::string same = "-";
    long long size = 0;
    if (S_ISREG(info.st_mode)) {
      content = HashOf(full);
      size = info.st_size;
    } else if (S_ISLNK(info.st_mode)) {
      std::array<char, 65536> target;
      const ssize_t n = readlink(full.c_str(), target.data(), target.size());
      if (n < 0) Die(full);
      content = Escape(std::string(target.data(), static_cast<size_t>(n)));
    }
    if (!S_ISDIR(info.st_mode) && info.st_nlink > 1) {
      same = first_.emplace(std::make_pair(info.st_dev, info.st_ino), Escape(path)).first->second;
    }
    const bool device = S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode);
    printf("%s %o %o %u %u %lld %lld %u:%u %s %s%s\n", Escape(path).c_str(), info.st_mode & S_IFMT,
           info.st_mode & 07777U, info.st_uid, info.st_gid, size,
           static_cast<long long>(info.st_mtime), device ? major(info.st_rdev) : 0,
           device ? minor(info.st_rdev) : 0, content.c_str(), same.c_str(),
           Attributes(full).c_str());
    if (S_ISDIR(info.st_mode) && info.st_dev == device_) Walk(path);
  }

  const std::string root_;
  const std::vector<std::string> left_out_;
  dev_t device_ = 0;
  std::map<std::pair<dev_t, ino_t>, std::string> first_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  std::string root = argv[1];
  if (root == "/") root.clear();
  Snapshot(root.empty() ? "/." : root, {argv + 2, argv + argc}).Walk("");
  return fflush(stdout) == 0 ? 0 : 1;
}
