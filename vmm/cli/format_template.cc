#include "vmm/cli/format_template.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace hull::cli {
namespace {

using nlohmann::json;

constexpr size_t kShown = 60;

std::string ToJson(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

// As Go prints a value.
std::string ToText(const json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>();
  if (value.is_array()) {
    std::vector<std::string> elements;
    for (const json& element : value) elements.push_back(ToText(element));
    return absl::StrCat("[", absl::StrJoin(elements, " "), "]");
  }
  if (value.is_object()) {
    std::vector<std::string> elements;
    for (const auto& [key, element] : value.items()) {
      elements.push_back(absl::StrCat(key, ":", ToText(element)));
    }
    return absl::StrCat("map[", absl::StrJoin(elements, " "), "]");
  }
  return ToJson(value);
}

std::string Unescape(absl::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] == '\\' && (next == 'n' || next == 't' || next == '\\')) {
      plain += next == 'n' ? '\n' : next == 't' ? '\t' : '\\';
      ++i;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

absl::StatusOr<FormatTemplate> FormatTemplate::Parse(absl::string_view text) {
  FormatTemplate format;
  while (!text.empty()) {
    const size_t open = text.find("{{");
    if (open > 0) format.parts_.push_back({.literal = Unescape(text.substr(0, open)), .field = {}});
    if (open == absl::string_view::npos) break;
    const size_t close = text.find("}}", open);
    const absl::string_view shown = text.substr(open, kShown);
    text.remove_prefix(open + 2);
    if (close == absl::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("--format: \"", absl::CHexEscape(shown), "\" has no end: }} is missing"));
    }
    absl::string_view inner = absl::StripAsciiWhitespace(text.substr(0, close - open - 2));
    text.remove_prefix(close - open);
    Part part = {.literal = {}, .field = {}, .is_field = true};
    part.as_json = absl::ConsumePrefix(&inner, "json ");
    inner = absl::StripAsciiWhitespace(inner);
    bool good = absl::ConsumePrefix(&inner, ".");
    if (good && !inner.empty()) part.field = absl::StrSplit(inner, '.');
    for (const std::string& name : part.field) {
      good = good && !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
               return absl::ascii_isalnum(c) || c == '_';
             });
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrCat("--format: \"", absl::CHexEscape(shown),
                       "\" is not what Hull knows of templates: {{.Field}}, {{.Field.Of.Field}}, "
                       "{{json .Field}}"));
    }
    format.parts_.push_back(std::move(part));
  }
  return format;
}

absl::StatusOr<std::string> FormatTemplate::Render(const json& value) const {
  std::string text;
  for (const Part& part : parts_) {
    if (!part.is_field) {
      text += part.literal;
      continue;
    }
    const json* at = &value;
    for (const std::string& name : part.field) {
      const auto found = at->is_object() ? at->find(name) : at->end();
      if (!at->is_object() || found == at->end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("--format: there is no field .", absl::StrJoin(part.field, ".")));
      }
      at = &*found;
    }
    text += part.as_json ? ToJson(*at) : ToText(*at);
  }
  return text;
}

std::string FormatTemplate::Heading() const {
  std::string text;
  for (const Part& part : parts_) {
    if (!part.is_field) {
      text += part.literal;
    } else if (!part.field.empty()) {
      text += absl::AsciiStrToUpper(part.field.back());
    }
  }
  return text;
}

std::string AlignColumns(const std::vector<std::string>& lines) {
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> widths;
  for (const std::string& line : lines) {
    rows.push_back(absl::StrSplit(line, '\t'));
    widths.resize(std::max(widths.size(), rows.back().size()));
    for (size_t i = 0; i < rows.back().size(); ++i) {
      widths[i] = std::max(widths[i], rows.back()[i].size());
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace hull::cli
