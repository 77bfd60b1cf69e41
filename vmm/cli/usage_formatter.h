// Help texts with a usage line of our own: CLI11's cannot say that a command follows an image.

#ifndef VMM_CLI_USAGE_FORMATTER_H_
#define VMM_CLI_USAGE_FORMATTER_H_

#include <string>
#include <utility>

#include "CLI/CLI.hpp"

namespace hull::cli {

class UsageFormatter : public CLI::Formatter {
 public:
  // `usage` is what follows "Usage: hull ".
  explicit UsageFormatter(std::string usage) : usage_(std::move(usage)) { column_width(26); }

  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: hull " + usage_ + "\n";
  }
  // Flags are described in words: "TEXT" and the like after each name say nothing more.
  std::string make_option_opts(const CLI::Option*) const override { return ""; }

 private:
  const std::string usage_;
};

}  // namespace hull::cli

#endif  // VMM_CLI_USAGE_FORMATTER_H_
