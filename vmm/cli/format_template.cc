#include "vmm/cli/format_template.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "vmm/base/status_macros.h"

namespace hull::cli {
namespace {

absl::StatusOr<const nlohmann::json*> Lookup(absl::string_view path, const nlohmann::json& object) {
  if (!absl::ConsumePrefix(&path, ".")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--format: \"", path, "\" is not understood; {{.Field}} and {{json .}} are"));
  }
  const nlohmann::json* value = &object;
  if (path.empty()) return value;
  for (const absl::string_view key : absl::StrSplit(path, '.')) {
    const auto member = value->is_object() ? value->find(std::string(key)) : value->end();
    if (member == value->end()) {
      return absl::InvalidArgumentError(absl::StrCat("--format: there is no field \"", key, "\""));
    }
    value = &*member;
  }
  return value;
}

std::string Dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<std::string> RenderTemplate(absl::string_view format, const nlohmann::json& object) {
  const std::string text = absl::StrReplaceAll(format, {{"\\t", "\t"}, {"\\n", "\n"}});
  std::string out;
  absl::string_view rest = text;
  while (true) {
    const size_t start = rest.find("{{");
    absl::StrAppend(&out, rest.substr(0, start));
    if (start == absl::string_view::npos) return out;
    rest.remove_prefix(start + 2);
    const size_t end = rest.find("}}");
    if (end == absl::string_view::npos) {
      return absl::InvalidArgumentError("--format: a \"{{\" has no \"}}\"");
    }
    absl::string_view action = absl::StripAsciiWhitespace(rest.substr(0, end));
    rest.remove_prefix(end + 2);
    const bool json = absl::ConsumePrefix(&action, "json ");
    HULL_ASSIGN_OR_RETURN(const nlohmann::json* value,
                          Lookup(absl::StripAsciiWhitespace(action), object));
    if (value->is_string() && !json) {
      out += value->get_ref<const std::string&>();
    } else {
      out += Dump(*value);
    }
  }
}

std::string RenderTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      line.append(widths[i] - row[i].size() + 2, ' ');
    }
    absl::StrAppend(&table, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return table;
}

std::string PrettyJson(const nlohmann::json& value) {
  return value.dump(4, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace hull::cli
