#include "vmm/cli/completion.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace hull::cli {
namespace {

constexpr absl::string_view kFlagLine = "\tflag";
constexpr absl::string_view kTakesValue = "=";
constexpr absl::string_view kUsage = "usage: ";

// The verbs that have no use for every container. Others are offered all.
constexpr struct {
  absl::string_view verb;
  ContainerState state;
} kStates[] = {
    {"attach", ContainerState::kRunning},     {"commit", ContainerState::kRunning},
    {"cp", ContainerState::kRunning},         {"diff", ContainerState::kRunning},
    {"exec", ContainerState::kRunning},       {"export", ContainerState::kRunning},
    {"kill", ContainerState::kAlive},         {"pause", ContainerState::kRunning},
    {"screenshot", ContainerState::kRunning}, {"screentext", ContainerState::kRunning},
    {"sendkeys", ContainerState::kRunning},   {"start", ContainerState::kNotRunning},
    {"stats", ContainerState::kRunning},      {"stop", ContainerState::kRunning},
    {"top", ContainerState::kRunning},        {"unpause", ContainerState::kPaused},
    {"wait", ContainerState::kAlive},
};

ContainerState StateFor(absl::string_view verb) {
  for (const auto& [name, state] : kStates) {
    if (name == verb) return state;
  }
  return ContainerState::kAny;
}

bool IsVerb(absl::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), absl::ascii_islower);
}

// "  stop, top    Text" gives stop and top; a line of a text that is only indented gives nothing,
// as its first word is further right.
void AddVerbsOfRow(absl::string_view line, std::vector<std::string>* verbs) {
  if (!absl::ConsumePrefix(&line, "  ") || absl::StartsWith(line, " ")) return;
  for (absl::string_view word : absl::StrSplit(line, ' ')) {
    const bool more = absl::ConsumeSuffix(&word, ",");
    if (!IsVerb(word)) return;
    verbs->emplace_back(word);
    if (!more) return;
  }
}

// What follows the command in a line of its usage, of which only the first says so; or "". A verb
// of a group may call itself by its other name there: `hull image rm` is "hull rmi".
absl::string_view UsageAfter(absl::string_view command, absl::string_view line) {
  line = absl::StripLeadingAsciiWhitespace(line);
  const bool first = absl::StartsWithIgnoreCase(line, kUsage);
  if (first) line.remove_prefix(kUsage.size());
  if (absl::ConsumePrefix(&line, command)) return line;
  if (!first) return "";
  while (IsVerb(line.substr(0, line.find(' ')))) {
    line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
  }
  return line;
}

// "start|stop [FLAG...]" gives start and stop.
void AddVerbsOfUsage(absl::string_view usage, std::vector<std::string>* verbs) {
  for (const absl::string_view word : absl::StrSplit(usage.substr(0, usage.find(' ')), '|')) {
    if (IsVerb(word)) verbs->emplace_back(word);
  }
}

// "[-t [-a]] CONTAINER [NAME[:TAG]...]" gives "CONTAINER" and "NAME...".
std::vector<std::string> Operands(absl::string_view usage) {
  std::string plain;
  size_t skipped = 0;  // depth in brackets that are left out with what is in them
  for (size_t i = 0; i < usage.size(); ++i) {
    const absl::string_view inside = usage.substr(i + 1);
    if (skipped > 0) {
      if (usage[i] == '[') ++skipped;
      if (usage[i] == ']') --skipped;
    } else if (usage[i] == '[' && (absl::StartsWith(inside, "-") || absl::StartsWith(inside, ":") ||
                                   absl::StartsWith(inside, "FLAG"))) {
      skipped = 1;
    } else {
      plain += usage[i] == '[' || usage[i] == ']' ? ' ' : usage[i];
    }
  }
  std::vector<std::string> operands;
  for (const absl::string_view word : absl::StrSplit(plain, ' ', absl::SkipEmpty())) {
    if (word == "or") break;  // another usage follows
    if (word == "...") {
      if (!operands.empty()) operands.back() += "...";
    } else if (!absl::StartsWith(word, "-")) {
      operands.emplace_back(word);
    }
  }
  return operands;
}

bool Names(const VerbDescription::Flag& flag, absl::string_view name) {
  return std::find(flag.names.begin(), flag.names.end(), name) != flag.names.end();
}

const VerbDescription::Flag* FindFlag(const VerbDescription& verb, absl::string_view name) {
  const auto found =
      std::find_if(verb.flags.begin(), verb.flags.end(),
                   [&](const VerbDescription::Flag& flag) { return Names(flag, name); });
  return found == verb.flags.end() ? nullptr : &*found;
}

class Completer {
 public:
  Completer(const std::vector<std::string>& words, const CompletionSources& sources)
      : words_(words), word_(words.back()), sources_(sources) {}

  std::vector<std::string> Run() {
    if (words_.size() == 1) {
      Offer(sources_.verbs);
    } else {
      CompleteAfter({words_.front()}, sources_.verbs, 1);
    }
    std::sort(candidates_.begin(), candidates_.end());
    candidates_.erase(std::unique(candidates_.begin(), candidates_.end()), candidates_.end());
    return std::move(candidates_);
  }

 private:
  // `path` is a verb if `known` has its last word; `at` is the first word after it.
  void CompleteAfter(const std::vector<std::string>& path, const std::vector<std::string>& known,
                     size_t at) {
    if (std::find(known.begin(), known.end(), path.back()) == known.end()) return;
    const VerbDescription verb = sources_.describe(path);
    if (verb.verbs.empty()) {
      CompleteArguments(path, verb, at);
    } else if (at + 1 == words_.size()) {
      Offer(verb.verbs);
    } else if (path.size() == 1) {
      CompleteAfter({path.front(), words_[at]}, verb.verbs, at + 1);
    }
  }

  void CompleteArguments(const std::vector<std::string>& path, const VerbDescription& verb,
                         size_t at) {
    // What follows the operand before a command belongs to that.
    const bool has_command =
        std::find(verb.operands.begin(), verb.operands.end(), "CMD") != verb.operands.end();
    size_t operand = 0;
    bool flags = true;
    for (; at + 1 < words_.size(); ++at) {
      const std::string& word = words_[at];
      if (flags && word == "--") {
        flags = false;
      } else if (flags && word.size() > 1 && word[0] == '-') {
        const VerbDescription::Flag* const flag = TakesNext(verb, word);
        if (flag == nullptr) continue;
        if (at + 2 == words_.size()) return CompleteValue(*flag, "", word_);
        ++at;
      } else {
        ++operand;
        flags = flags && !has_command;
      }
    }
    if (flags && absl::StartsWith(word_, "-")) return CompleteFlag(verb);
    CompleteOperand(path, verb, operand);
  }

  // The flag of "--name" or "-it" that has its value in the next word.
  static const VerbDescription::Flag* TakesNext(const VerbDescription& verb,
                                                absl::string_view word) {
    if (absl::StartsWith(word, "--")) {
      const VerbDescription::Flag* const flag = FindFlag(verb, word);
      return flag != nullptr && flag->takes_value ? flag : nullptr;
    }
    for (size_t i = 1; i < word.size(); ++i) {
      const VerbDescription::Flag* const flag =
          FindFlag(verb, absl::StrCat("-", word.substr(i, 1)));
      if (flag != nullptr && flag->takes_value) return i + 1 == word.size() ? flag : nullptr;
    }
    return nullptr;
  }

  void CompleteFlag(const VerbDescription& verb) {
    const size_t equals = word_.find('=');
    if (equals != std::string::npos) {
      const VerbDescription::Flag* const flag = FindFlag(verb, word_.substr(0, equals));
      if (flag == nullptr || !flag->takes_value) return;
      return CompleteValue(*flag, word_.substr(0, equals + 1), word_.substr(equals + 1));
    }
    for (const VerbDescription::Flag& flag : verb.flags) Offer(flag.names);
  }

  void CompleteValue(const VerbDescription::Flag& flag, absl::string_view before,
                     absl::string_view value) {
    if (Names(flag, "--volume")) {
      if (absl::StrContains(value, ':')) return;
      for (const std::string& name : sources_.volumes(value)) {
        candidates_.push_back(absl::StrCat(before, name, ":"));
      }
      return;
    }
    for (const char* name : {"--env-file", "--cidfile", "--iidfile", "--output", "--input",
                             "--authfile", "--cert-dir"}) {
      if (Names(flag, name)) candidates_.emplace_back(kFilesCandidate);
    }
  }

  void CompleteOperand(const std::vector<std::string>& path, const VerbDescription& verb,
                       size_t number) {
    if (verb.operands.empty()) return;
    absl::string_view operand = verb.operands.back();
    if (number < verb.operands.size()) {
      operand = verb.operands[number];
    } else if (!absl::EndsWith(operand, "...")) {
      return;
    }
    absl::ConsumeSuffix(&operand, "...");
    const std::string& name = path.back();
    // Either way round: which one it is shows only when both are there.
    if (absl::StrContains(operand, "CONTAINER:PATH") || (name == "cp" && operand == "PATH|-")) {
      if (absl::StrContains(word_, ':')) return;
      for (const std::string& container : sources_.containers(StateFor(name), word_)) {
        candidates_.push_back(absl::StrCat(container, ":"));
      }
      candidates_.emplace_back(kFilesCandidate);
      return;
    }
    for (const absl::string_view kind : absl::StrSplit(operand, '|')) {
      if (kind == "CONTAINER") Append(sources_.containers(StateFor(name), word_));
      if (kind == "IMAGE" || kind == "REPOSITORY") Append(sources_.images(word_));
      if (kind == "NAME" && path.front() == "volume" && name != "create") {
        Append(sources_.volumes(word_));
      }
      if (kind == "PATH" || absl::StartsWith(kind, "FILE")) {
        candidates_.emplace_back(kFilesCandidate);
      }
    }
  }

  void Offer(const std::vector<std::string>& all) {
    for (const std::string& candidate : all) {
      if (absl::StartsWith(candidate, word_)) candidates_.push_back(candidate);
    }
  }

  void Append(std::vector<std::string> names) {
    candidates_.insert(candidates_.end(), std::make_move_iterator(names.begin()),
                       std::make_move_iterator(names.end()));
  }

  const std::vector<std::string>& words_;
  const std::string& word_;
  const CompletionSources& sources_;
  std::vector<std::string> candidates_;
};

}  // namespace

std::string DescribeVerb(const CLI::App& app) {
  std::string text = absl::StrCat(app.help(), "\n");
  for (const CLI::Option* option : app.get_options()) {
    if (!option->nonpositional()) continue;
    absl::StrAppend(&text, kFlagLine);
    for (const std::string& name : option->get_snames()) absl::StrAppend(&text, "\t-", name);
    for (const std::string& name : option->get_lnames()) absl::StrAppend(&text, "\t--", name);
    if (option->get_items_expected_max() > 0) absl::StrAppend(&text, "\t", kTakesValue);
    absl::StrAppend(&text, "\n");
  }
  return text;
}

VerbDescription ParseDescription(const std::vector<std::string>& path, absl::string_view text) {
  VerbDescription verb;
  const std::string command = absl::StrCat("hull ", absl::StrJoin(path, " "), " ");
  bool is_group = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, kFlagLine)) {
      VerbDescription::Flag flag;
      for (const absl::string_view name : absl::StrSplit(line, '\t', absl::SkipEmpty())) {
        if (name == kTakesValue) {
          flag.takes_value = true;
        } else {
          flag.names.emplace_back(name);
        }
      }
      verb.flags.push_back(std::move(flag));
    } else if (const absl::string_view usage = UsageAfter(command, line); !usage.empty()) {
      if (absl::StartsWith(usage, "VERB")) {
        is_group = true;
      } else {
        AddVerbsOfUsage(usage, &verb.verbs);
        if (verb.verbs.empty()) verb.operands = Operands(usage);
      }
    } else if (is_group) {
      AddVerbsOfRow(line, &verb.verbs);
    }
  }
  return verb;
}

std::vector<std::string> Complete(const std::vector<std::string>& words,
                                  const CompletionSources& sources) {
  return Completer(words, sources).Run();
}

std::string ImageNameFor(absl::string_view repository, absl::string_view tag,
                         absl::string_view prefix) {
  absl::string_view tail = repository;
  for (const absl::string_view implied : {"docker.io/library/", "docker.io/", "localhost/"}) {
    if (absl::ConsumePrefix(&tail, implied)) break;
  }
  for (const absl::string_view name : {tail, repository}) {
    if (tag == "latest" && absl::StartsWith(name, prefix)) return std::string(name);
    std::string tagged = absl::StrCat(name, ":", tag);
    if (absl::StartsWith(tagged, prefix)) return tagged;
  }
  return "";
}

}  // namespace hull::cli
