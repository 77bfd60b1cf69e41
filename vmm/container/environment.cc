#include "vmm/container/environment.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
namespace {

constexpr absl::string_view kWhiteSpace = " \t\v\f\r\n";

bool IsNamed(absl::string_view variable, absl::string_view name) {
  return variable.size() > name.size() && variable[name.size()] == '=' &&
         absl::StartsWith(variable, name);
}

}  // namespace

void Environment::Set(absl::string_view name, absl::string_view value) {
  std::string variable = absl::StrCat(name, "=", value);
  for (std::string& existing : variables_) {
    if (IsNamed(existing, name)) {
      existing = std::move(variable);
      return;
    }
  }
  variables_.push_back(std::move(variable));
}

bool Environment::Has(absl::string_view name) const {
  for (const std::string& existing : variables_) {
    if (IsNamed(existing, name)) return true;
  }
  return false;
}

absl::Status Environment::Add(absl::string_view entry) {
  const size_t equals = entry.find('=');
  absl::string_view name = entry.substr(0, equals);
  while (!name.empty() && absl::StrContains(kWhiteSpace, name[0])) name.remove_prefix(1);
  if (name.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::CHexEscape(entry.substr(0, 60)),
                                                   "\" is not an environment variable: write "
                                                   "NAME=VALUE, or NAME to pass this shell's"));
  }
  if (name.find_first_of(kWhiteSpace) != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the variable name \"", absl::CHexEscape(name.substr(0, 60)), "\" has white space in it"));
  }
  if (entry.find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the variable ", absl::CHexEscape(name.substr(0, 60)), " has a NUL byte"));
  }
  if (equals != absl::string_view::npos) {
    Set(name, entry.substr(equals + 1));
  } else if (absl::EndsWith(name, "*")) {
    const absl::string_view prefix = name.substr(0, name.size() - 1);
    for (const std::string& variable : host_) {
      const size_t host_equals = variable.find('=');
      if (absl::StartsWith(variable, prefix) && host_equals != std::string::npos &&
          host_equals >= prefix.size()) {
        Set(absl::string_view(variable).substr(0, host_equals),
            absl::string_view(variable).substr(host_equals + 1));
      }
    }
  } else {
    for (const std::string& variable : host_) {
      if (IsNamed(variable, name)) {
        Set(name, absl::string_view(variable).substr(name.size() + 1));
        break;
      }
    }
  }
  if (variables_.size() > kMaxVariables) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kMaxVariables, " environment variables"));
  }
  return absl::OkStatus();
}

absl::Status Environment::AddFile(absl::string_view name, absl::string_view content) {
  size_t line_number = 0;
  while (!content.empty()) {
    ++line_number;
    const size_t newline = content.find('\n');
    absl::string_view line = content.substr(0, newline);
    content.remove_prefix(newline == absl::string_view::npos ? content.size() : newline + 1);
    // A file written on Windows: the CR belongs to the end of the line.
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    while (!line.empty() && absl::StrContains(kWhiteSpace, line[0])) line.remove_prefix(1);
    if (line.empty() || line[0] == '#') continue;
    absl::Status added = Add(line);
    if (!added.ok()) {
      return Annotate(added, absl::StrCat("env file ", name, ", line ", line_number));
    }
  }
  return absl::OkStatus();
}

}  // namespace hull::container
