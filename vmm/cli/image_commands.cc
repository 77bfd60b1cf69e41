#include "vmm/cli/image_commands.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "images/image_config.h"
#include "images/store.h"
#include "vmm/base/status_macros.h"
#include "vmm/cli/command_line.h"
#include "vmm/cli/confirmation.h"
#include "vmm/cli/format_template.h"
#include "vmm/cli/image_transfer_commands.h"
#include "vmm/cli/image_views.h"
#include "vmm/cli/message.h"
#include "vmm/cli/place.h"
#include "vmm/cli/registry_commands.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/container_store.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

// podman-rmi(1) and podman-image-exists(1).
constexpr int kNoSuchImage = 1;
constexpr int kImageInUse = 2;

constexpr char kImageHelp[] =
    R"(Manages images.

Usage: hull image VERB [ARG...]

  exists    Tell by the exit status whether an image is here
  history   Show how an image came to be (also: hull history)
  inspect   Show everything about images
  load      Take images of an archive into the store (also: hull load)
  ls        List images (also: hull images)
  prune     Remove images that have no name
  pull      Fetch an image (also: hull pull)
  push      Send an image elsewhere (also: hull push)
  rm        Remove images (also: hull rmi)
  save      Write images to an archive (also: hull save)
  tag       Give an image a further name (also: hull tag)
  untag     Take names from an image (also: hull untag)
)";

// Parses `args`, finds the installation, and goes to where the store is. If the command is done
// with that: its exit status.
std::optional<int> Begin(CLI::App* app, std::vector<std::string> verb,
                         const std::vector<std::string>& args, Installation* installation,
                         const std::function<Subjects()>& subjects, bool forward_stdin = false) {
  if (const std::optional<int> status = ParseCommandLine(app, args)) return *status;
  absl::StatusOr<Installation> found = Installation::FromEnvironment();
  if (!found.ok()) return ReportFailure(found.status());
  *installation = *std::move(found);
  verb.insert(verb.end(), args.begin(), args.end());
  return RunElsewhere(*installation, Needs::kStore, verb, forward_stdin, subjects());
}

Subjects ImagesNamed(std::vector<std::string> names) {
  return Subjects::Of(Subjects::Kind::kImages, std::move(names));
}

absl::StatusOr<std::vector<images::Digest>> ImagesInUse(const Installation& installation) {
  HULL_ASSIGN_OR_RETURN(
      const std::unique_ptr<container::ContainerStore> store,
      container::ContainerStore::Open({.root = installation.root, .run = installation.run}));
  HULL_RETURN_IF_ERROR(store->CollectDead());
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> digests, store->ImageDigests());
  std::vector<images::Digest> in_use;
  for (const std::string& digest : digests) {
    HULL_ASSIGN_OR_RETURN(images::Digest parsed, images::Digest::Parse(digest));
    in_use.push_back(std::move(parsed));
  }
  return in_use;
}

absl::StatusOr<images::ImageDetails> DescribeByName(const images::Store& store,
                                                    const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const images::ResolvedImage image, store.Resolve(name));
  return store.Describe(image.manifest);
}

struct ListFlags {
  bool quiet = false;
  bool digests = false;
  bool no_trunc = false;
  bool no_heading = false;
  std::string format;
  std::string sort = "created";
  std::vector<std::string> filters;
  std::string name;
};

// The rows that the filters let through.
absl::StatusOr<std::vector<images::ImageInfo>> SelectRows(const images::Store& store,
                                                          const ListFlags& flags) {
  std::vector<ImageFilter> filters;
  bool labels_matter = false;
  for (const std::string& text : flags.filters) {
    HULL_ASSIGN_OR_RETURN(ImageFilter filter, ParseImageFilter(text));
    labels_matter = labels_matter || filter.kind == ImageFilter::Kind::kLabel;
    filters.push_back(std::move(filter));
  }
  if (!flags.name.empty()) {
    filters.push_back({.kind = ImageFilter::Kind::kReference, .value = flags.name});
  }
  HULL_ASSIGN_OR_RETURN(const std::vector<images::ImageInfo> rows, store.List());
  std::vector<images::ImageInfo> selected;
  for (const images::ImageInfo& row : rows) {
    std::map<std::string, std::string> labels;
    if (labels_matter) {
      HULL_ASSIGN_OR_RETURN(const std::string text, store.ReadConfig(row.manifest));
      HULL_ASSIGN_OR_RETURN(images::ImageConfig config, images::ParseImageConfig(text));
      labels = std::move(config.process.labels);
    }
    const bool matches =
        std::all_of(filters.begin(), filters.end(),
                    [&](const ImageFilter& filter) { return Matches(filter, row, labels); });
    if (matches) selected.push_back(row);
  }
  return selected;
}

absl::Status SortRows(const std::string& key, std::vector<images::ImageInfo>* rows) {
  using Row = images::ImageInfo;
  bool (*less)(const Row&, const Row&) = nullptr;
  if (key == "created") {
    less = [](const Row& a, const Row& b) { return a.created > b.created; };
  } else if (key == "size") {
    less = [](const Row& a, const Row& b) { return a.size < b.size; };
  } else if (key == "id") {
    less = [](const Row& a, const Row& b) { return a.id.hex() < b.id.hex(); };
  } else if (key == "repository") {
    less = [](const Row& a, const Row& b) { return a.repository < b.repository; };
  } else if (key == "tag") {
    less = [](const Row& a, const Row& b) { return a.tag < b.tag; };
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("--sort ", key, ": it is created, id, repository, size or tag"));
  }
  std::stable_sort(rows->begin(), rows->end(), less);
  return absl::OkStatus();
}

// The members that --format can name.
nlohmann::json RowObject(const images::ImageInfo& row, const ListFlags& flags, int64_t now) {
  const absl::Time created = absl::FromUnixSeconds(row.created);
  return {
      {"Repository", row.repository.empty() ? "<none>" : row.repository},
      {"Tag", row.tag.empty() ? "<none>" : row.tag},
      {"ID", flags.no_trunc ? row.id.ToString() : ShortImageId(row.id)},
      {"Id", row.id.hex()},
      {"Digest", row.manifest.ToString()},
      {"Created", row.created == 0 ? "-" : HumanAge(now - row.created)},
      {"CreatedSince", row.created == 0 ? "-" : HumanAge(now - row.created)},
      {"CreatedAt", absl::FormatTime("%Y-%m-%d %H:%M:%S +0000 UTC", created, absl::UTCTimeZone())},
      {"Size", HumanSize(row.size)}};
}

absl::StatusOr<std::string> RenderRows(const std::vector<images::ImageInfo>& rows,
                                       const ListFlags& flags, int64_t now) {
  std::string out;
  if (!flags.format.empty() && flags.format != "table") {
    absl::string_view format = flags.format;
    absl::ConsumePrefix(&format, "table ");
    for (const images::ImageInfo& row : rows) {
      HULL_ASSIGN_OR_RETURN(const std::string line,
                            RenderTemplate(format, RowObject(row, flags, now)));
      absl::StrAppend(&out, line, "\n");
    }
    return out;
  }
  std::vector<std::vector<std::string>> table;
  if (!flags.no_heading) {
    table.push_back({"REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"});
  }
  for (const images::ImageInfo& row : rows) {
    const nlohmann::json object = RowObject(row, flags, now);
    std::vector<std::string> cells;
    for (const char* key : {"Repository", "Tag", "Digest", "ID", "Created", "Size"}) {
      cells.push_back(object[key].get<std::string>());
    }
    table.push_back(std::move(cells));
  }
  if (!flags.digests) {
    for (std::vector<std::string>& cells : table) cells.erase(cells.begin() + 2);
  }
  return RenderTable(table);
}

// One line for each image, not for each name.
std::vector<images::Digest> Unique(const std::vector<images::ImageInfo>& rows) {
  std::vector<images::Digest> manifests;
  for (const images::ImageInfo& row : rows) {
    if (std::find(manifests.begin(), manifests.end(), row.manifest) == manifests.end()) {
      manifests.push_back(row.manifest);
    }
  }
  return manifests;
}

absl::StatusOr<std::string> ListAsJson(const Installation& installation, const images::Store& store,
                                       const std::vector<images::ImageInfo>& rows) {
  HULL_ASSIGN_OR_RETURN(const std::vector<images::Digest> in_use, ImagesInUse(installation));
  nlohmann::json list = nlohmann::json::array();
  for (const images::Digest& manifest : Unique(rows)) {
    const absl::StatusOr<images::ImageDetails> image = store.Describe(manifest);
    if (absl::IsNotFound(image.status())) continue;  // removed in this moment
    if (!image.ok()) return image.status();
    const auto containers = std::count(in_use.begin(), in_use.end(), manifest);
    HULL_ASSIGN_OR_RETURN(nlohmann::json summary,
                          SummarizeImage(*image, static_cast<size_t>(containers)));
    list.push_back(std::move(summary));
  }
  return PrettyJson(list);
}

absl::StatusOr<std::string> ListImages(const Installation& installation, const ListFlags& flags) {
  const images::Store store(installation.ImageStore());
  HULL_ASSIGN_OR_RETURN(std::vector<images::ImageInfo> rows, SelectRows(store, flags));
  HULL_RETURN_IF_ERROR(SortRows(flags.sort, &rows));
  if (flags.format == "json") return ListAsJson(installation, store, rows);
  if (!flags.quiet) return RenderRows(rows, flags, time(nullptr));
  std::vector<std::string> ids;
  for (const images::ImageInfo& row : rows) {
    std::string id = flags.no_trunc ? row.id.ToString() : ShortImageId(row.id);
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(std::move(id));
  }
  std::string out;
  for (const std::string& id : ids) absl::StrAppend(&out, id, "\n");
  return out;
}

int PrintResult(const absl::StatusOr<std::string>& text) {
  return text.ok() ? PrintOutput(*text) : ReportFailure(text.status());
}

absl::Status RemoveImage(const images::Store& store, const std::string& name,
                         const std::vector<images::Digest>& in_use, bool force, std::string* out) {
  HULL_ASSIGN_OR_RETURN(const images::RemovedImage removed, store.Remove(name, in_use, force));
  for (const std::string& untagged : removed.untagged) {
    absl::StrAppend(out, "Untagged: ", untagged, "\n");
  }
  if (removed.deleted) absl::StrAppend(out, "Deleted: ", removed.manifest.ToString(), "\n");
  return absl::OkStatus();
}

// Of several removals the worst counts (podman-rmi(1)).
int RemovalStatus(const absl::Status& removed) {
  if (removed.ok()) return 0;
  if (absl::IsNotFound(removed)) return kNoSuchImage;
  return absl::IsFailedPrecondition(removed) ? kImageInUse : container::kHullFailed;
}

int PruneCommand(const std::vector<std::string>& args) {
  bool all = false;
  bool force = false;
  CLI::App app("Removes images that have no name and that no container uses.", "image prune");
  app.formatter(std::make_shared<UsageFormatter>("image prune [-a] [-f]"));
  app.add_flag("-a,--all", all, "All images that no container uses, also those with names");
  app.add_flag("-f,--force", force, "Do not ask");
  Installation installation;
  if (const std::optional<int> status = Begin(
          &app, {"image", "prune"}, args, &installation,
          [&] { return force ? Subjects::All(Subjects::Kind::kImages) : Subjects(); },
          /*forward_stdin=*/true)) {
    return *status;
  }
  if (!force && !Confirmed(all ? "Remove all images that no container uses?"
                               : "Remove all images that have no name and no container?")) {
    return 0;
  }
  const absl::StatusOr<std::vector<images::RemovedImage>> pruned = PruneImages(installation, all);
  if (!pruned.ok()) return ReportFailure(pruned.status());
  std::string out;
  for (const images::RemovedImage& image : *pruned) {
    absl::StrAppend(&out, image.manifest.ToString(), "\n");
  }
  return PrintOutput(out);
}

int ExistsCommand(const std::vector<std::string>& args) {
  std::string name;
  CLI::App app("Exits with 0 if the image is in the store, with 1 if not.", "image exists");
  app.formatter(std::make_shared<UsageFormatter>("image exists IMAGE"));
  app.add_option("IMAGE", name, "Name, digest or id")->required();
  Installation installation;
  if (const std::optional<int> status = Begin(&app, {"image", "exists"}, args, &installation,
                                              [&] { return ImagesNamed({name}); })) {
    return *status;
  }
  const absl::Status found = images::Store(installation.ImageStore()).Resolve(name).status();
  if (absl::IsNotFound(found)) return kNoSuchImage;
  return found.ok() ? 0 : ReportFailure(found);
}

int InspectCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  std::string format;
  CLI::App app("Shows everything about images, as a JSON list.", "image inspect");
  app.formatter(std::make_shared<UsageFormatter>("image inspect [-f FORMAT] IMAGE..."));
  app.add_option("-f,--format", format, "json, or text with {{.Field}} and {{json .Field}}");
  app.add_option("IMAGE", names, "Name, digest or id")->required();
  Installation installation;
  if (const std::optional<int> status = Begin(&app, {"image", "inspect"}, args, &installation,
                                              [&] { return ImagesNamed(names); })) {
    return *status;
  }
  const auto inspect = [&]() -> absl::StatusOr<std::string> {
    nlohmann::json list = nlohmann::json::array();
    std::string text;
    for (const std::string& name : names) {
      HULL_ASSIGN_OR_RETURN(nlohmann::json object, InspectImageByName(installation, name));
      if (!format.empty() && format != "json") {
        HULL_ASSIGN_OR_RETURN(const std::string line, RenderTemplate(format, object));
        absl::StrAppend(&text, line, "\n");
      }
      list.push_back(std::move(object));
    }
    return format.empty() || format == "json" ? PrettyJson(list) : text;
  };
  return PrintResult(inspect());
}

}  // namespace

absl::StatusOr<std::vector<images::RemovedImage>> PruneImages(const Installation& installation,
                                                              bool all) {
  HULL_ASSIGN_OR_RETURN(const std::vector<images::Digest> in_use, ImagesInUse(installation));
  return images::Store(installation.ImageStore()).Prune(all, in_use);
}

absl::StatusOr<nlohmann::json> InspectImageByName(const Installation& installation,
                                                  const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const images::ImageDetails image,
                        DescribeByName(images::Store(installation.ImageStore()), name));
  return InspectImage(image);
}

int ImagesCommand(const std::vector<std::string>& args) {
  ListFlags flags;
  bool ignored = false;
  CLI::App app("Lists the images on this machine.", "images");
  app.formatter(std::make_shared<UsageFormatter>("images [FLAG...] [REPOSITORY[:TAG]]"));
  app.add_flag("-q,--quiet", flags.quiet, "Print image ids only");
  app.add_flag("--digests", flags.digests, "Show the digests of the manifests");
  app.add_flag("--no-trunc", flags.no_trunc, "Show ids in full");
  app.add_flag("-n,--noheading", flags.no_heading, "Show no heading");
  app.add_option("--format", flags.format,
                 "json, table, or text with {{.Repository}} and the like");
  app.add_option("-f,--filter", flags.filters,
                 "reference=PATTERN, dangling=BOOL, label=KEY[=VALUE], id=DIGITS");
  app.add_option("--sort", flags.sort, "created (default), id, repository, size, tag");
  app.add_flag("-a,--all", ignored, "For podman's sake: there are no hidden images");
  app.add_option("NAME", flags.name, "Only images of this name; may be a pattern");
  Installation installation;
  if (const std::optional<int> status = Begin(&app, {"images"}, args, &installation, [] {
        return Subjects::All(Subjects::Kind::kImages);
      })) {
    return *status;
  }
  return PrintResult(ListImages(installation, flags));
}

int RmiCommand(const std::vector<std::string>& args) {
  std::vector<std::string> names;
  bool force = false;
  bool all = false;
  bool ignore = false;
  CLI::App app("Removes images from the store.", "rmi");
  app.formatter(std::make_shared<UsageFormatter>("rmi [FLAG...] IMAGE..."));
  app.add_flag("-f,--force", force, "With an id: also if the image has several names");
  app.add_flag("-a,--all", all, "All images that no container uses");
  app.add_flag("-i,--ignore", ignore, "An image that is not there is no error");
  app.add_option("IMAGE", names, "Name, digest or id");
  Installation installation;
  if (const std::optional<int> status = Begin(&app, {"rmi"}, args, &installation, [&] {
        return all ? Subjects::All(Subjects::Kind::kImages) : ImagesNamed(names);
      }))
    return *status;
  if (names.empty() != all) {
    PrintError(all ? "--all takes no names" : "which image? (see hull rmi --help)");
    return container::kHullFailed;
  }
  const absl::StatusOr<std::vector<images::Digest>> in_use = ImagesInUse(installation);
  if (!in_use.ok()) return ReportFailure(in_use.status());
  const images::Store store(installation.ImageStore());
  if (all) {
    const absl::StatusOr<std::vector<images::ImageInfo>> rows = store.List();
    if (!rows.ok()) return ReportFailure(rows.status());
    for (const images::Digest& manifest : Unique(*rows)) names.push_back(manifest.ToString());
    force = true;
  }
  int status = 0;
  for (const std::string& name : names) {
    std::string out;
    const absl::Status removed = RemoveImage(store, name, *in_use, force, &out);
    status = std::max(status, PrintOutput(out));
    if (ignore && absl::IsNotFound(removed)) continue;
    if (!removed.ok()) ReportFailure(removed);
    status = std::max(status, RemovalStatus(removed));
  }
  return status;
}

int TagCommand(const std::vector<std::string>& args) {
  std::string name;
  std::vector<std::string> new_names;
  CLI::App app("Gives an image further names.", "tag");
  app.formatter(std::make_shared<UsageFormatter>("tag IMAGE NAME[:TAG]..."));
  app.add_option("IMAGE", name, "Name, digest or id")->required();
  app.add_option("NAME", new_names, "A name without a registry becomes localhost/NAME")->required();
  Installation installation;
  if (const std::optional<int> status =
          Begin(&app, {"tag"}, args, &installation, [&] { return ImagesNamed({name}); }))
    return *status;
  const absl::Status tagged =
      images::Store(installation.ImageStore()).Tag(name, new_names).status();
  return tagged.ok() ? 0 : ReportFailure(tagged);
}

int UntagCommand(const std::vector<std::string>& args) {
  std::string name;
  std::vector<std::string> names;
  CLI::App app("Takes names from an image, which stays.", "untag");
  app.formatter(std::make_shared<UsageFormatter>("untag IMAGE [NAME[:TAG]...]"));
  app.add_option("IMAGE", name, "Name, digest or id")->required();
  app.add_option("NAME", names, "Names to take; all of them without");
  Installation installation;
  if (const std::optional<int> status =
          Begin(&app, {"untag"}, args, &installation, [&] { return ImagesNamed({name}); }))
    return *status;
  const absl::Status untagged =
      images::Store(installation.ImageStore()).Untag(name, names).status();
  return untagged.ok() ? 0 : ReportFailure(untagged);
}

int HistoryCommand(const std::vector<std::string>& args) {
  std::string name;
  std::string format;
  bool quiet = false;
  bool no_trunc = false;
  CLI::App app("Shows how an image came to be, the newest step first.", "history");
  app.formatter(std::make_shared<UsageFormatter>("history [FLAG...] IMAGE"));
  app.add_flag("-q,--quiet", quiet, "Print ids only");
  app.add_flag("--no-trunc", no_trunc, "Show ids and commands in full");
  app.add_option("--format", format, "json, table, or text with {{.CreatedBy}} and the like");
  app.add_option("IMAGE", name, "Name, digest or id")->required();
  Installation installation;
  if (const std::optional<int> status =
          Begin(&app, {"history"}, args, &installation, [&] { return ImagesNamed({name}); })) {
    return *status;
  }
  const auto show = [&]() -> absl::StatusOr<std::string> {
    HULL_ASSIGN_OR_RETURN(const images::ImageDetails image,
                          DescribeByName(images::Store(installation.ImageStore()), name));
    HULL_ASSIGN_OR_RETURN(const std::vector<HistoryEntry> history, ImageHistory(image));
    return RenderHistory(history, {.quiet = quiet, .full = no_trunc, .format = format},
                         time(nullptr));
  };
  return PrintResult(show());
}

int ImageCommand(const std::vector<std::string>& args) {
  struct Verb {
    const char* name;
    int (*run)(const std::vector<std::string>& args);
  };
  constexpr Verb kVerbs[] = {
      {"exists", ExistsCommand}, {"history", HistoryCommand}, {"inspect", InspectCommand},
      {"list", ImagesCommand},   {"load", LoadCommand},       {"ls", ImagesCommand},
      {"prune", PruneCommand},   {"pull", PullCommand},       {"push", PushCommand},
      {"rm", RmiCommand},        {"save", SaveCommand},       {"tag", TagCommand},
      {"untag", UntagCommand}};
  if (args.empty() || args.front() == "--help" || args.front() == "-h") {
    return PrintOutput(kImageHelp);
  }
  for (const Verb& verb : kVerbs) {
    if (args.front() == verb.name) return verb.run({args.begin() + 1, args.end()});
  }
  PrintError(absl::StrCat("unknown verb image ", container::Printable(args.front()),
                          ": hull image --help lists them"));
  return container::kHullFailed;
}

}  // namespace hull::cli
