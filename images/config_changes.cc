#include "images/config_changes.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "images/bounded_json.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

using Kind = ConfigChange::Kind;

struct Instruction {
  absl::string_view name;
  Kind kind;
};

constexpr Instruction kInstructions[] = {
    {"CMD", Kind::kCommand},
    {"ENTRYPOINT", Kind::kEntrypoint},
    {"ENV", Kind::kEnvironment},
    {"EXPOSE", Kind::kExposedPorts},
    {"LABEL", Kind::kLabels},
    {"STOPSIGNAL", Kind::kStopSignal},
    {"USER", Kind::kUser},
    {"VOLUME", Kind::kVolumes},
    {"WORKDIR", Kind::kWorkingDirectory},
};

std::string Shown(absl::string_view text) { return absl::CHexEscape(text.substr(0, 60)); }

// Words as a shell divides them: quotes keep spaces together, and a backslash the next character.
absl::StatusOr<std::vector<std::string>> SplitWords(absl::string_view text) {
  std::vector<std::string> words;
  std::optional<std::string> word;
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\0' && absl::ascii_isspace(static_cast<unsigned char>(c))) {
      if (word.has_value()) words.push_back(*std::exchange(word, std::nullopt));
      continue;
    }
    if (!word.has_value()) word.emplace();
    if (c == quote) {
      quote = '\0';
    } else if (quote == '\0' && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word->push_back(text[++i]);
    } else {
      word->push_back(c);
    }
  }
  if (quote != '\0') return absl::InvalidArgumentError("a quotation mark has no end");
  if (word.has_value()) words.push_back(*std::move(word));
  return words;
}

absl::StatusOr<std::vector<std::string>> ParseStrings(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(const nlohmann::json list, ParseJsonArray(text, "the value"));
  std::vector<std::string> values;
  HULL_RETURN_IF_ERROR(ReadStrings({{"list", list}}, "list", &values));
  return values;
}

// As a list, or a line for a shell. Nothing: none, also not the parent's.
absl::StatusOr<std::vector<std::string>> ParseCommand(absl::string_view text) {
  if (text.empty()) return std::vector<std::string>();
  if (text.front() == '[') return ParseStrings(text);
  return std::vector<std::string>{"/bin/sh", "-c", std::string(text)};
}

absl::Status CheckPair(absl::string_view pair) {
  const size_t equals = pair.find('=');
  if (equals != 0 && equals != absl::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("\"", Shown(pair), "\" is not NAME=VALUE"));
}

absl::StatusOr<std::vector<std::string>> ParsePairs(absl::string_view text) {
  // The old form with one name, a space and the rest of the line.
  const size_t end = text.find_first_of("= \t");
  if (end != absl::string_view::npos && text[end] != '=') {
    const std::string pair =
        absl::StrCat(text.substr(0, end), "=", absl::StripLeadingAsciiWhitespace(text.substr(end)));
    HULL_RETURN_IF_ERROR(CheckPair(pair));
    return std::vector<std::string>{pair};
  }
  HULL_ASSIGN_OR_RETURN(std::vector<std::string> pairs, SplitWords(text));
  for (const std::string& pair : pairs) HULL_RETURN_IF_ERROR(CheckPair(pair));
  return pairs;
}

absl::StatusOr<std::vector<std::string>> ParsePorts(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(const std::vector<std::string> words, SplitWords(text));
  std::vector<std::string> ports;
  for (const std::string& word : words) {
    absl::string_view number = word;
    absl::string_view protocol = "tcp";
    if (const size_t slash = number.find('/'); slash != absl::string_view::npos) {
      protocol = number.substr(slash + 1);
      number = number.substr(0, slash);
    }
    uint32_t port = 0;
    if (!absl::SimpleAtoi(number, &port) || port == 0 || port > UINT16_MAX ||
        (protocol != "tcp" && protocol != "udp" && protocol != "sctp")) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", Shown(word), "\" is not PORT or PORT/PROTOCOL"));
    }
    ports.push_back(absl::StrCat(port, "/", protocol));
  }
  return ports;
}

absl::StatusOr<std::vector<std::string>> ParsePaths(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(std::vector<std::string> paths,
                        absl::StartsWith(text, "[") ? ParseStrings(text) : SplitWords(text));
  for (const std::string& path : paths) {
    if (!absl::StartsWith(path, "/")) {
      return absl::InvalidArgumentError(absl::StrCat("\"", Shown(path), "\" is no absolute path"));
    }
  }
  return paths;
}

absl::StatusOr<std::vector<std::string>> ParseValues(Kind kind, absl::string_view text) {
  switch (kind) {
    case Kind::kCommand:
    case Kind::kEntrypoint:
      return ParseCommand(text);
    case Kind::kEnvironment:
    case Kind::kLabels:
      return ParsePairs(text);
    case Kind::kExposedPorts:
      return ParsePorts(text);
    case Kind::kVolumes:
      return ParsePaths(text);
    case Kind::kStopSignal:
    case Kind::kUser:
    case Kind::kWorkingDirectory:
      break;
  }
  return std::vector<std::string>{std::string(text)};
}

// The member, made if it is missing.
absl::StatusOr<nlohmann::json*> Member(nlohmann::json* config, const char* key,
                                       nlohmann::json::value_t type) {
  nlohmann::json& member = (*config)[key];
  if (member.is_null()) member = nlohmann::json(type);
  if (member.type() != type) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image's \"", key, "\" is not what it has to be"));
  }
  return &member;
}

absl::Status AddToSet(const std::vector<std::string>& values, const char* key,
                      nlohmann::json* config) {
  HULL_ASSIGN_OR_RETURN(nlohmann::json* const set,
                        Member(config, key, nlohmann::json::value_t::object));
  for (const std::string& value : values) (*set)[value] = nlohmann::json::object();
  return absl::OkStatus();
}

absl::Status SetLabels(const std::vector<std::string>& pairs, nlohmann::json* config) {
  HULL_ASSIGN_OR_RETURN(nlohmann::json* const labels,
                        Member(config, "Labels", nlohmann::json::value_t::object));
  for (const std::string& pair : pairs) {
    const size_t equals = pair.find('=');
    (*labels)[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  return absl::OkStatus();
}

absl::Status SetVariables(const std::vector<std::string>& pairs, nlohmann::json* config) {
  std::vector<std::string> variables;
  HULL_RETURN_IF_ERROR(ReadStrings(*config, "Env", &variables));
  for (const std::string& pair : pairs) {
    const std::string name = pair.substr(0, pair.find('=') + 1);
    const auto known =
        std::find_if(variables.begin(), variables.end(),
                     [&](const std::string& one) { return absl::StartsWith(one, name); });
    if (known == variables.end()) {
      variables.push_back(pair);
    } else {
      *known = pair;
    }
  }
  (*config)["Env"] = std::move(variables);
  return absl::OkStatus();
}

// A relative one is below the one that there is.
absl::Status SetWorkingDirectory(const std::string& path, nlohmann::json* config) {
  std::string directory;
  HULL_RETURN_IF_ERROR(ReadString(*config, "WorkingDir", &directory));
  if (absl::StartsWith(path, "/")) {
    directory = path;
  } else {
    directory = absl::StrCat(absl::StripSuffix(directory, "/"), "/", path);
  }
  (*config)["WorkingDir"] = directory;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ConfigChange> ParseConfigChange(absl::string_view text) {
  const absl::string_view line = absl::StripAsciiWhitespace(text);
  const size_t end = std::min(line.find_first_of("= \t"), line.size());
  const std::string name = absl::AsciiStrToUpper(line.substr(0, end));
  for (const Instruction& instruction : kInstructions) {
    if (name != instruction.name) continue;
    absl::string_view value = line.substr(end);
    absl::ConsumePrefix(&value, "=");
    value = absl::StripAsciiWhitespace(value);
    const bool command =
        instruction.kind == Kind::kCommand || instruction.kind == Kind::kEntrypoint;
    if (value.empty() && !command) {
      return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" needs a value"));
    }
    absl::StatusOr<std::vector<std::string>> values = ParseValues(instruction.kind, value);
    if (!values.ok()) return Annotate(values.status(), name);
    return ConfigChange{.kind = instruction.kind, .values = *std::move(values)};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", Shown(line),
                   "\" begins with none of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, "
                   "VOLUME and WORKDIR"));
}

absl::Status ApplyConfigChange(const ConfigChange& change, nlohmann::json* config) {
  if (!config->is_object()) return absl::InvalidArgumentError("\"config\" is not an object");
  switch (change.kind) {
    case Kind::kCommand:
      (*config)["Cmd"] = change.values;
      return absl::OkStatus();
    case Kind::kEntrypoint:
      (*config)["Entrypoint"] = change.values;
      return absl::OkStatus();
    case Kind::kEnvironment:
      return SetVariables(change.values, config);
    case Kind::kExposedPorts:
      return AddToSet(change.values, "ExposedPorts", config);
    case Kind::kLabels:
      return SetLabels(change.values, config);
    case Kind::kStopSignal:
      (*config)["StopSignal"] = change.values.front();
      return absl::OkStatus();
    case Kind::kUser:
      (*config)["User"] = change.values.front();
      return absl::OkStatus();
    case Kind::kVolumes:
      return AddToSet(change.values, "Volumes", config);
    case Kind::kWorkingDirectory:
      return SetWorkingDirectory(change.values.front(), config);
  }
  return absl::OkStatus();
}

}  // namespace hull::images
