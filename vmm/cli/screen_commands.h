// The verbs that look at the screen of a pc machine and type on its keyboard.

#ifndef VMM_CLI_SCREEN_COMMANDS_H_
#define VMM_CLI_SCREEN_COMMANDS_H_

#include <string>
#include <vector>

namespace hull::cli {

// Each takes what follows its verb and returns the exit status.
int ScreentextCommand(const std::vector<std::string>& args);
int ScreenshotCommand(const std::vector<std::string>& args);
int SendkeysCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_SCREEN_COMMANDS_H_
