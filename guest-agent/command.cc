#include "guest-agent/command.h"

namespace hull::agent {

std::string_view FindVariable(std::span<const char* const> environment, std::string_view name) {
  std::string_view value;
  for (const char* variable : environment) {
    const std::string_view text(variable);
    if (text.size() > name.size() && text.starts_with(name) && text[name.size()] == '=') {
      value = WithoutPrefix(text, name.size() + 1);
    }
  }
  return value;
}

void CompleteEnvironment(StartRequest* request, std::string_view home, AddedVariables* added) {
  const std::span<const char* const> given(request->environment, request->environment_count);
  const bool has_path = FindVariable(given, "PATH").data() != nullptr;
  const bool has_home = FindVariable(given, "HOME").data() != nullptr;
  if (!has_path) {
    added->path.Assign({"PATH=", kDefaultPath});
    request->environment[request->environment_count++] = added->path.c_str();
  }
  if (!has_home) {
    added->home.Assign({"HOME=", home});
    request->environment[request->environment_count++] = added->home.c_str();
  }
  request->environment[request->environment_count] = nullptr;
}

bool CommandCandidates::Next(PathText* candidate) {
  while (!done_) {
    if (!in_path_) {
      done_ = true;
      candidate->Assign({name_});
    } else {
      const size_t colon = rest_.find(':');
      const std::string_view directory = Prefix(rest_, colon);
      done_ = colon == std::string_view::npos;
      if (!done_) rest_ = WithoutPrefix(rest_, colon + 1);
      candidate->Assign({directory.empty() ? std::string_view(".") : directory, "/", name_});
    }
    if (!candidate->truncated()) return true;
  }
  return false;
}

}  // namespace hull::agent
