#include "images/oci/testing.h"

#include <archive.h>
#include <archive_entry.h>
#include <glog/logging.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "images/bounded_json.h"
#include "vmm/base/file_io.h"

namespace hull::images::testing {
namespace {

constexpr size_t kTarBlock = 512;

void PadToBlock(std::string* out) {
  out->resize((out->size() + kTarBlock - 1) / kTarBlock * kTarBlock, '\0');
}

// One ustar header with its data. `path` and `link` are cut to what the header holds.
void AppendMember(std::string* out, const TarEntry& entry, char type, absl::string_view path,
                  absl::string_view data) {
  std::array<char, kTarBlock> header{};
  const auto put = [&header](size_t offset, size_t size, absl::string_view text) {
    std::copy_n(text.begin(), std::min(size, text.size()), header.begin() + offset);
  };
  put(0, 100, path);
  put(100, 8, absl::StrFormat("%07o", entry.mode));
  put(108, 8, absl::StrFormat("%07o", entry.uid & 07777777));
  put(116, 8, absl::StrFormat("%07o", entry.gid & 07777777));
  put(124, 12, absl::StrFormat("%011o", data.size()));
  put(136, 12, absl::StrFormat("%011o", entry.mtime));
  put(148, 8, "        ");
  header[156] = type;
  put(157, 100, entry.link);
  put(257, 8, absl::string_view("ustar\00000", 8));
  put(329, 8, absl::StrFormat("%07o", entry.device_major));
  put(337, 8, absl::StrFormat("%07o", entry.device_minor));
  unsigned int sum = 0;
  for (const char c : header) sum += static_cast<uint8_t>(c);
  put(148, 8, absl::string_view(absl::StrFormat("%06o", sum)));
  header[154] = '\0';
  out->append(header.data(), header.size());
  out->append(data.data(), data.size());
  PadToBlock(out);
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
std::string PaxRecord(absl::string_view key, absl::string_view value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest;
  while (length != rest + absl::StrCat(length).size()) length = rest + absl::StrCat(length).size();
  return absl::StrCat(length, " ", key, "=", value, "\n");
}

}  // namespace

absl::StatusOr<size_t> StringSource::Read(std::span<uint8_t> buffer) {
  const size_t n = std::min(buffer.size(), data_.size() - position_);
  std::copy_n(data_.begin() + static_cast<ptrdiff_t>(position_), n, buffer.begin());
  position_ += n;
  return n;
}

Digest Sha256Of(absl::string_view data) {
  Sha256 hash;
  hash.Update(std::span(reinterpret_cast<const uint8_t*>(data.data()), data.size()));
  return hash.Finish();
}

std::string MakeTar(const std::vector<TarEntry>& entries) {
  std::string out;
  for (const TarEntry& entry : entries) {
    std::string records;
    constexpr size_t kFieldBytes = 100;
    if (entry.path.size() > kFieldBytes) records += PaxRecord("path", entry.path);
    if (entry.link.size() > kFieldBytes) records += PaxRecord("linkpath", entry.link);
    if (entry.uid > 07777777) records += PaxRecord("uid", absl::StrCat(entry.uid));
    if (entry.gid > 07777777) records += PaxRecord("gid", absl::StrCat(entry.gid));
    for (const auto& [key, value] : entry.pax) records += PaxRecord(key, value);
    if (!records.empty()) AppendMember(&out, TarEntry{}, 'x', "pax", records);
    AppendMember(&out, entry, entry.type, entry.path, entry.data);
  }
  out.append(2 * kTarBlock, '\0');
  return out;
}

std::string Compress(absl::string_view data, absl::string_view filter) {
  archive* const writer = archive_write_new();
  CHECK_EQ(archive_write_set_format_raw(writer), ARCHIVE_OK);
  CHECK_EQ(archive_write_add_filter_by_name(writer, std::string(filter).c_str()), ARCHIVE_OK);
  // The same bytes at any time, so that the same layer has the same digest.
  if (filter == "gzip") {
    CHECK_EQ(archive_write_set_filter_option(writer, "gzip", "timestamp", nullptr), ARCHIVE_OK);
  }
  std::string out(data.size() * 2 + 4096, '\0');
  size_t used = 0;
  CHECK_EQ(archive_write_open_memory(writer, out.data(), out.size(), &used), ARCHIVE_OK);
  archive_entry* const entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  CHECK_EQ(archive_write_header(writer, entry), ARCHIVE_OK);
  CHECK_EQ(archive_write_data(writer, data.data(), data.size()),
           static_cast<la_ssize_t>(data.size()));
  CHECK_EQ(archive_write_close(writer), ARCHIVE_OK);
  archive_entry_free(entry);
  archive_write_free(writer);
  out.resize(used);
  return out;
}

std::string TestLayout::BlobPath(const nlohmann::json& descriptor) {
  const std::string digest = descriptor["digest"];
  return absl::StrCat("blobs/sha256/", digest.substr(strlen("sha256:")));
}

nlohmann::json TestLayout::AddBlob(absl::string_view media_type, const std::string& content) {
  nlohmann::json descriptor = {{"mediaType", std::string(media_type)},
                               {"digest", Sha256Of(content).ToString()},
                               {"size", content.size()}};
  files[BlobPath(descriptor)] = content;
  return descriptor;
}

nlohmann::json TestLayout::AddImage(const std::vector<std::string>& layers, const std::string& name,
                                    absl::string_view suffix, const nlohmann::json& process) {
  nlohmann::json config = {{"architecture", "amd64"},
                           {"os", "linux"},
                           {"created", "2026-01-02T03:04:05Z"},
                           {"config", process},
                           {"rootfs", {{"type", "layers"}, {"diff_ids", nlohmann::json::array()}}}};
  nlohmann::json manifest = {{"schemaVersion", 2}, {"layers", nlohmann::json::array()}};
  for (const std::string& layer : layers) {
    config["rootfs"]["diff_ids"].push_back(Sha256Of(layer).ToString());
    manifest["layers"].push_back(
        AddBlob(absl::StrCat("application/vnd.oci.image.layer.v1.tar", suffix),
                suffix.empty() ? layer : Compress(layer, suffix.substr(1))));
  }
  manifest["config"] = AddBlob("application/vnd.oci.image.config.v1+json", DumpJson(config));
  nlohmann::json descriptor =
      AddBlob("application/vnd.oci.image.manifest.v1+json", DumpJson(manifest));
  if (!name.empty()) descriptor["annotations"] = {{"org.opencontainers.image.ref.name", name}};
  index["schemaVersion"] = 2;
  index["manifests"].push_back(descriptor);
  return descriptor;
}

std::map<std::string, std::string> TestLayout::AllFiles() const {
  std::map<std::string, std::string> all = files;
  // What the test has put there itself stays.
  all.emplace("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  all.emplace("index.json", DumpJson(index));
  return all;
}

void TestLayout::WriteDirectory(const std::string& path) const {
  for (const char* directory : {"", "/blobs", "/blobs/sha256"}) {
    CHECK_EQ(mkdir(absl::StrCat(path, directory).c_str(), 0755), 0) << path << directory;
  }
  for (const auto& [name, content] : AllFiles()) {
    CHECK(WriteFileAtomically(absl::StrCat(path, "/", name), content, 0644).ok());
  }
}

std::string TestLayout::ToTar() const { return TarOfFiles(AllFiles()); }

std::map<std::string, std::string> DockerArchive(const std::vector<std::string>& layers,
                                                 const std::vector<std::string>& names,
                                                 absl::string_view filter) {
  std::map<std::string, std::string> files;
  nlohmann::json config = {{"architecture", "amd64"},
                           {"os", "linux"},
                           {"config", {{"Cmd", {"sh"}}}},
                           {"rootfs", {{"type", "layers"}, {"diff_ids", nlohmann::json::array()}}}};
  nlohmann::json image = {
      {"Config", "config.json"}, {"RepoTags", names}, {"Layers", nlohmann::json::array()}};
  for (const std::string& layer : layers) {
    config["rootfs"]["diff_ids"].push_back(Sha256Of(layer).ToString());
    const std::string path = absl::StrCat(image["Layers"].size(), "/layer.tar");
    image["Layers"].push_back(path);
    files[path] = filter.empty() ? layer : Compress(layer, filter);
  }
  files["config.json"] = DumpJson(config);
  files["manifest.json"] = DumpJson(nlohmann::json::array({image}));
  return files;
}

std::string TarOfFiles(const std::map<std::string, std::string>& files) {
  std::vector<TarEntry> entries;
  for (const auto& [name, content] : files) {
    entries.push_back(TarEntry{.path = name, .data = content});
  }
  return MakeTar(entries);
}

}  // namespace hull::images::testing
