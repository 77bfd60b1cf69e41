// What is shown of images: pure functions from what the store says to text and JSON, with podman's
// member names and columns.

#ifndef VMM_CLI_IMAGE_VIEWS_H_
#define VMM_CLI_IMAGE_VIEWS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "images/store.h"
#include "nlohmann/json.hpp"

namespace hull::cli {

// "4.19 MB" (powers of 1000, three digits, as podman), "3 weeks ago".
std::string HumanSize(uint64_t bytes);
std::string HumanAge(int64_t seconds);
// The first 12 digits of an image's id.
std::string ShortImageId(const images::Digest& id);

// An image as `podman image inspect` shows it; `hull inspect` uses it too.
absl::StatusOr<nlohmann::json> InspectImage(const images::ImageDetails& image);

// An element of `images --format json`; `containers` is how many use the image.
absl::StatusOr<nlohmann::json> SummarizeImage(const images::ImageDetails& image, size_t containers);

// One step of how an image came to be.
struct HistoryEntry {
  std::string id;       // of the image for the newest, else "<missing>": only the image has one
  std::string created;  // RFC 3339, or empty
  std::string created_by;
  std::string comment;
  uint64_t size = 0;  // bytes of the uncompressed layer; 0 for a step without one
};

// The newest first. An image that has no history of its own has an entry for each layer.
absl::StatusOr<std::vector<HistoryEntry>> ImageHistory(const images::ImageDetails& image);

struct HistoryView {
  bool quiet = false;       // ids only
  bool full = false;        // ids and commands are not cut
  std::string format = {};  // "", "table", "json", or a template
};

// `now` is in seconds since 1970.
absl::StatusOr<std::string> RenderHistory(const std::vector<HistoryEntry>& history,
                                          const HistoryView& view, int64_t now);

// A condition that `images --filter` puts on rows.
struct ImageFilter {
  enum class Kind { kReference, kDangling, kLabel, kId };
  Kind kind = Kind::kReference;
  std::string value;  // pattern, "true" or "false", "key" or "key=value", digits
};

// "reference=PATTERN", "dangling=BOOL", "label=KEY[=VALUE]", "id=DIGITS". kInvalidArgument.
absl::StatusOr<ImageFilter> ParseImageFilter(const std::string& text);
// `labels` are those of the image.
bool Matches(const ImageFilter& filter, const images::ImageInfo& row,
             const std::map<std::string, std::string>& labels);

}  // namespace hull::cli

#endif  // VMM_CLI_IMAGE_VIEWS_H_
