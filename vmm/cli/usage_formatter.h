// Help texts with a usage line of our own: CLI11's cannot say that a command follows an image.

#ifndef VMM_CLI_USAGE_FORMATTER_H_
#define VMM_CLI_USAGE_FORMATTER_H_

#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"

namespace hull::cli {

class UsageFormatter : public CLI::Formatter {
 public:
  // `usage` is what follows "Usage: hull ".
  explicit UsageFormatter(std::string usage) : usage_(std::move(usage)) { column_width(26); }

  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: hull " + usage_ + "\n";
  }
  // Flags come at once after the usage, so that the help of `run` fits a screen.
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    std::string text = is_positional ? "\n" + group + ":\n" : "";
    for (const CLI::Option* option : options) text += make_option(option, is_positional);
    return text;
  }
  // Flags are described in words: "TEXT" and the like after each name say nothing more.
  std::string make_option_opts(const CLI::Option*) const override { return ""; }

 private:
  const std::string usage_;
};

}  // namespace hull::cli

#endif  // VMM_CLI_USAGE_FORMATTER_H_
