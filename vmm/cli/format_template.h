// The values of --format: the part of Go's templates that people use with podman.

#ifndef VMM_CLI_FORMAT_TEMPLATE_H_
#define VMM_CLI_FORMAT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hull::cli {

// Text with {{.Field}}, {{.Field.Of.Field}}, {{.}} and {{json .Field}} in it; \n and \t stand for
// themselves as one byte.
class FormatTemplate {
 public:
  // kInvalidArgument, fit for the user, for anything else in braces.
  static absl::StatusOr<FormatTemplate> Parse(absl::string_view text);

  // kInvalidArgument if `value` has not all of the fields.
  absl::StatusOr<std::string> Render(const nlohmann::json& value) const;

  // The names of the fields of a heading: the field's own, in capitals.
  std::string Heading() const;

 private:
  struct Part {
    std::string literal;             // if there is no field
    std::vector<std::string> field;  // path
    bool is_field = false;
    bool as_json = false;
  };
  std::vector<Part> parts_;
};

// Lines of cells that are separated by tabs, as columns: each as wide as its widest cell, with two
// spaces between.
std::string AlignColumns(const std::vector<std::string>& lines);

}  // namespace hull::cli

#endif  // VMM_CLI_FORMAT_TEMPLATE_H_
