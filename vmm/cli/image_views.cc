#include "vmm/cli/image_views.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "images/image_config.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/format_template.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

constexpr size_t kShownIdDigits = 12;

// The texts were checked when the image was loaded; what is missing or of another type is shown as
// if it were empty.
nlohmann::json ParseDocument(const std::string& text) {
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_object() ? value : nlohmann::json::object();
}

std::string TextOf(const nlohmann::json& object, const char* key) {
  const auto member = object.find(key);
  if (member == object.end() || !member->is_string()) return "";
  return member->get<std::string>();
}

nlohmann::json ValueOf(const nlohmann::json& object, const char* key, nlohmann::json otherwise) {
  const auto member = object.find(key);
  return member == object.end() || member->is_null() ? std::move(otherwise) : *member;
}

nlohmann::json RepoDigests(const images::ImageDetails& image) {
  nlohmann::json digests = nlohmann::json::array();
  for (const std::string& name : image.names) {
    std::string digest =
        absl::StrCat(name.substr(0, name.rfind(':')), "@", image.info.manifest.ToString());
    if (std::find(digests.begin(), digests.end(), digest) == digests.end()) {
      digests.push_back(std::move(digest));
    }
  }
  return digests;
}

// Of the layers, the bottom one first: uncompressed if that is known.
std::vector<uint64_t> LayerSizes(const images::ImageDetails& image) {
  if (!image.layer_bytes.empty()) return image.layer_bytes;
  std::vector<uint64_t> sizes;
  const nlohmann::json manifest = ParseDocument(image.manifest);
  for (const nlohmann::json& layer : ValueOf(manifest, "layers", nlohmann::json::array())) {
    const nlohmann::json size = layer.is_object() ? ValueOf(layer, "size", 0) : nlohmann::json(0);
    sizes.push_back(size.is_number_unsigned() ? size.get<uint64_t>() : 0);
  }
  return sizes;
}

}  // namespace

std::string HumanSize(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return absl::StrFormat("%.3g %s", value, kUnits[unit]);
}

std::string HumanAge(int64_t seconds) {
  struct Unit {
    int64_t seconds;
    const char* name;
  };
  constexpr Unit kUnits[] = {{365 * 86400, "year"}, {30 * 86400, "month"}, {7 * 86400, "week"},
                             {86400, "day"},        {3600, "hour"},        {60, "minute"},
                             {1, "second"}};
  for (const Unit& unit : kUnits) {
    const int64_t count = seconds / unit.seconds;
    if (count > 0) return absl::StrCat(count, " ", unit.name, count == 1 ? "" : "s", " ago");
  }
  return "now";
}

std::string ShortImageId(const images::Digest& id) { return id.hex().substr(0, kShownIdDigits); }

absl::StatusOr<nlohmann::json> InspectImage(const images::ImageDetails& image) {
  HULL_ASSIGN_OR_RETURN(const images::ImageConfig config, images::ParseImageConfig(image.config));
  const nlohmann::json document = ParseDocument(image.config);
  const nlohmann::json manifest = ParseDocument(image.manifest);
  nlohmann::json layers = nlohmann::json::array();
  for (const images::Digest& diff_id : config.diff_ids) layers.push_back(diff_id.ToString());
  HULL_ASSIGN_OR_RETURN(const std::vector<HistoryEntry> history, ImageHistory(image));
  std::string type = TextOf(manifest, "mediaType");
  if (type.empty()) type = "application/vnd.oci.image.manifest.v1+json";
  return nlohmann::json{{"Id", image.info.id.hex()},
                        {"Digest", image.info.manifest.ToString()},
                        {"RepoTags", image.names},
                        {"RepoDigests", RepoDigests(image)},
                        {"Parent", ""},
                        {"Comment", history.empty() ? "" : history.front().comment},
                        {"Created", config.created},
                        {"Config", ValueOf(document, "config", nlohmann::json::object())},
                        {"Version", TextOf(document, "docker_version")},
                        {"Author", TextOf(document, "author")},
                        {"Architecture", config.architecture},
                        {"Os", config.os},
                        {"Size", image.info.size},
                        {"VirtualSize", image.info.size},
                        {"RootFS", {{"Type", "layers"}, {"Layers", std::move(layers)}}},
                        {"Labels", config.process.labels},
                        {"Annotations", ValueOf(manifest, "annotations", nlohmann::json::object())},
                        {"ManifestType", type},
                        {"User", config.process.user},
                        {"History", ValueOf(document, "history", nlohmann::json::array())},
                        {"NamesHistory", image.names}};
}

absl::StatusOr<nlohmann::json> SummarizeImage(const images::ImageDetails& image,
                                              size_t containers) {
  HULL_ASSIGN_OR_RETURN(const images::ImageConfig config, images::ParseImageConfig(image.config));
  nlohmann::json object = {{"Id", image.info.id.hex()},
                           {"ParentId", ""},
                           {"RepoTags", image.names},
                           {"RepoDigests", RepoDigests(image)},
                           {"Size", image.info.size},
                           {"SharedSize", 0},
                           {"VirtualSize", image.info.size},
                           {"Labels", config.process.labels},
                           {"Containers", containers},
                           {"Names", image.names},
                           {"Digest", image.info.manifest.ToString()},
                           {"History", image.names},
                           {"Created", image.info.created},
                           {"CreatedAt", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ",
                                                          absl::FromUnixSeconds(image.info.created),
                                                          absl::UTCTimeZone())}};
  if (image.names.empty()) object["Dangling"] = true;
  return object;
}

absl::StatusOr<std::vector<HistoryEntry>> ImageHistory(const images::ImageDetails& image) {
  const nlohmann::json document = ParseDocument(image.config);
  const std::vector<uint64_t> sizes = LayerSizes(image);
  std::vector<HistoryEntry> entries;
  size_t layer = 0;
  for (const nlohmann::json& step : ValueOf(document, "history", nlohmann::json::array())) {
    if (!step.is_object()) {
      return absl::InvalidArgumentError("the image's history has what is not an object");
    }
    HistoryEntry entry{.id = "<missing>",
                       .created = TextOf(step, "created"),
                       .created_by = TextOf(step, "created_by"),
                       .comment = TextOf(step, "comment")};
    const bool empty = ValueOf(step, "empty_layer", false) == nlohmann::json(true);
    if (!empty && layer < sizes.size()) entry.size = sizes[layer++];
    entries.push_back(std::move(entry));
  }
  // Layers that no step tells of.
  for (; layer < sizes.size(); ++layer) {
    entries.push_back({.id = "<missing>",
                       .created = TextOf(document, "created"),
                       .created_by = {},
                       .comment = {},
                       .size = sizes[layer]});
  }
  std::reverse(entries.begin(), entries.end());
  if (!entries.empty()) entries.front().id = image.info.id.hex();
  return entries;
}

absl::StatusOr<std::string> RenderHistory(const std::vector<HistoryEntry>& history,
                                          const HistoryView& view, int64_t now) {
  constexpr size_t kShownCommand = 45;  // podman's
  const absl::string_view missing = "<missing>";
  nlohmann::json list = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {
      {"ID", "CREATED", "CREATED BY", "SIZE", "COMMENT"}};
  std::string lines;
  for (const HistoryEntry& entry : history) {
    std::string id = entry.id;
    if (id != missing) id = view.full ? absl::StrCat("sha256:", id) : id.substr(0, kShownIdDigits);
    absl::Time created;
    std::string age = "-";
    if (absl::ParseTime(absl::RFC3339_full, entry.created, &created, nullptr)) {
      age = HumanAge(now - absl::ToUnixSeconds(created));
    }
    // The image's own text: it must not reach the terminal as it is.
    std::string command = container::Printable(entry.created_by);
    if (!view.full && command.size() > kShownCommand) {
      command = absl::StrCat(command.substr(0, kShownCommand - 3), "...");
    }
    const std::string comment = container::Printable(entry.comment);
    if (view.quiet) {
      absl::StrAppend(&lines, id, "\n");
    } else if (view.format == "json") {
      list.push_back({{"id", entry.id},
                      {"created", entry.created},
                      {"createdBy", entry.created_by},
                      {"size", entry.size},
                      {"comment", entry.comment}});
    } else if (view.format.empty() || view.format == "table") {
      table.push_back({id, age, command, HumanSize(entry.size), comment});
    } else {
      HULL_ASSIGN_OR_RETURN(const std::string line,
                            RenderTemplate(view.format, {{"ID", id},
                                                         {"Created", age},
                                                         {"CreatedSince", age},
                                                         {"CreatedAt", entry.created},
                                                         {"CreatedBy", command},
                                                         {"Size", HumanSize(entry.size)},
                                                         {"Comment", comment}}));
      absl::StrAppend(&lines, line, "\n");
    }
  }
  if (view.quiet) return lines;
  if (view.format == "json") return PrettyJson(list);
  return view.format.empty() || view.format == "table" ? RenderTable(table) : lines;
}

absl::StatusOr<ImageFilter> ParseImageFilter(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  ImageFilter filter;
  if (equals != std::string::npos) filter.value = text.substr(equals + 1);
  if (key == "reference") {
    filter.kind = ImageFilter::Kind::kReference;
  } else if (key == "dangling") {
    filter.kind = ImageFilter::Kind::kDangling;
    if (filter.value != "true" && filter.value != "false") {
      return absl::InvalidArgumentError("--filter dangling= is true or false");
    }
  } else if (key == "label") {
    filter.kind = ImageFilter::Kind::kLabel;
  } else if (key == "id") {
    filter.kind = ImageFilter::Kind::kId;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "--filter ", text, ": it is reference=, dangling=, label= or id= with a value"));
  }
  if (filter.value.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--filter ", text, ": it has no value"));
  }
  return filter;
}

bool Matches(const ImageFilter& filter, const images::ImageInfo& row,
             const std::map<std::string, std::string>& labels) {
  switch (filter.kind) {
    case ImageFilter::Kind::kReference: {
      if (row.repository.empty()) return false;
      const std::string short_name = row.repository.substr(row.repository.rfind('/') + 1);
      for (const std::string& name : {row.repository, short_name}) {
        for (const std::string& form : {name, absl::StrCat(name, ":", row.tag)}) {
          if (fnmatch(filter.value.c_str(), form.c_str(), 0) == 0) return true;
        }
      }
      return false;
    }
    case ImageFilter::Kind::kDangling:
      return row.repository.empty() == (filter.value == "true");
    case ImageFilter::Kind::kLabel: {
      const size_t equals = filter.value.find('=');
      const auto label = labels.find(filter.value.substr(0, equals));
      return label != labels.end() &&
             (equals == std::string::npos || label->second == filter.value.substr(equals + 1));
    }
    case ImageFilter::Kind::kId:
      return absl::StartsWith(row.id.hex(), filter.value);
  }
  return false;
}

}  // namespace hull::cli
