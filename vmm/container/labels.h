// Labels: KEY=VALUE, for people and programs to find containers by.

#ifndef VMM_CONTAINER_LABELS_H_
#define VMM_CONTAINER_LABELS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// The image's labels and those of --label on top, each KEY=VALUE or KEY (an empty value), sorted,
// each key once. kInvalidArgument for one without a key or with a NUL byte.
absl::StatusOr<std::vector<std::string>> MergeLabels(
    const std::map<std::string, std::string>& image, const std::vector<std::string>& flags);

// Whether `labels`, as MergeLabels() gives them, have what a filter KEY or KEY=VALUE asks for.
bool HasLabel(const std::vector<std::string>& labels, absl::string_view filter);

}  // namespace hull::container

#endif  // VMM_CONTAINER_LABELS_H_
