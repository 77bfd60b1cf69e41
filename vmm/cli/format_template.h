// The part of Go's text/template that people use in --format: "{{.Field}}", "{{.Field.Inner}}",
// "{{json .}}" and "{{json .Field}}" in plain text, and the escapes \t and \n of it.

#ifndef VMM_CLI_FORMAT_TEMPLATE_H_
#define VMM_CLI_FORMAT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hull::cli {

// `format` with the members of `object` in it: text as it is, everything else as JSON.
// kInvalidArgument, with what is wrong, for what is not such a template or names no member.
absl::StatusOr<std::string> RenderTemplate(absl::string_view format, const nlohmann::json& object);

// Columns as wide as what is in them, two spaces between; no space at the end of a line.
std::string RenderTable(const std::vector<std::vector<std::string>>& rows);

// JSON for people: four spaces a level, a line break at the end.
std::string PrettyJson(const nlohmann::json& value);

}  // namespace hull::cli

#endif  // VMM_CLI_FORMAT_TEMPLATE_H_
