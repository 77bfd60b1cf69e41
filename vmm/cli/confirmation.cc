#include "vmm/cli/confirmation.h"

#include <unistd.h>

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "vmm/cli/message.h"

namespace hull::cli {

bool Confirmed(absl::string_view question) {
  PrintError(absl::StrCat(question, " [y/N] "));
  std::string answer;
  char c = '\0';
  while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n' && answer.size() < 10) answer.push_back(c);
  answer = absl::AsciiStrToLower(absl::StripAsciiWhitespace(answer));
  return answer == "y" || answer == "yes";
}

}  // namespace hull::cli
