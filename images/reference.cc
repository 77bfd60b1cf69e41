#include "images/reference.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

constexpr absl::string_view kDefaultTag = "latest";
constexpr absl::string_view kLocalDomain = "localhost";
constexpr absl::string_view kDockerDomain = "docker.io";
constexpr absl::string_view kOldDockerDomain = "index.docker.io";
constexpr absl::string_view kDockerLibrary = "library/";
constexpr size_t kMaxTagBytes = 128;

absl::Status Invalid(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(text.substr(0, 300)), "\" is not an image name: ", why));
}

// Lower-case letters and digits, in groups parted by one '.', one or two '_', or any number of '-'.
bool IsPathComponent(absl::string_view component) {
  size_t i = 0;
  const auto skip_alphanumerics = [&] {
    const size_t start = i;
    while (i < component.size() &&
           (absl::ascii_islower(component[i]) || absl::ascii_isdigit(component[i]))) {
      ++i;
    }
    return i > start;
  };
  if (!skip_alphanumerics()) return false;
  while (i < component.size()) {
    const char separator = component[i];
    const size_t start = i;
    while (i < component.size() && component[i] == separator) ++i;
    const size_t run = i - start;
    const bool valid =
        (separator == '.' && run == 1) || (separator == '_' && run <= 2) || separator == '-';
    if (!valid || !skip_alphanumerics()) return false;
  }
  return true;
}

bool IsDomain(absl::string_view domain) {
  const size_t colon = domain.find(':');
  if (colon != absl::string_view::npos) {
    const absl::string_view port = domain.substr(colon + 1);
    if (port.empty() || port.size() > 5) return false;
    for (const char c : port) {
      if (!absl::ascii_isdigit(c)) return false;
    }
  }
  for (const absl::string_view label : absl::StrSplit(domain.substr(0, colon), '.')) {
    if (label.empty() || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label) {
      if (!absl::ascii_isalnum(c) && c != '-') return false;
    }
  }
  return true;
}

bool IsTag(absl::string_view tag) {
  if (tag.empty() || tag.size() > kMaxTagBytes || tag.front() == '.' || tag.front() == '-') {
    return false;
  }
  for (const char c : tag) {
    if (!absl::ascii_isalnum(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

}  // namespace

std::string Reference::Repository() const { return absl::StrCat(domain, "/", path); }

std::string Reference::FullName() const { return absl::StrCat(domain, "/", path, ":", tag); }

absl::StatusOr<Reference> ParseReference(absl::string_view text) {
  if (text.empty()) return Invalid(text, "it is empty");
  Reference reference;
  absl::string_view rest = text;
  if (const size_t at = rest.find('@'); at != absl::string_view::npos) {
    absl::StatusOr<Digest> digest = Digest::Parse(rest.substr(at + 1));
    if (!digest.ok()) return Invalid(text, digest.status().message());
    reference.digest = *std::move(digest);
    rest = rest.substr(0, at);
  }
  const size_t last_slash = rest.rfind('/');
  const size_t colon = rest.rfind(':');
  // A colon before the last slash belongs to a port.
  if (colon != absl::string_view::npos &&
      (last_slash == absl::string_view::npos || colon > last_slash)) {
    reference.tag = std::string(rest.substr(colon + 1));
    if (!IsTag(reference.tag)) {
      return Invalid(text, "a tag is 1 to 128 of A-Z a-z 0-9 _ . - and starts with none of . -");
    }
    rest = rest.substr(0, colon);
  } else {
    reference.tag = std::string(kDefaultTag);
  }
  if (const size_t slash = rest.find('/'); slash != absl::string_view::npos) {
    const absl::string_view first = rest.substr(0, slash);
    if (first == kLocalDomain || first.find_first_of(".:") != absl::string_view::npos) {
      if (!IsDomain(first)) return Invalid(text, "its registry is not a host name");
      reference.domain = std::string(first);
      rest = rest.substr(slash + 1);
    }
  }
  for (const absl::string_view component : absl::StrSplit(rest, '/')) {
    if (!IsPathComponent(component)) {
      return Invalid(text, "a name is lower-case letters and digits, parted by . _ - or /");
    }
  }
  reference.path = std::string(rest);
  if (reference.domain == kOldDockerDomain) reference.domain = std::string(kDockerDomain);
  if (reference.domain == kDockerDomain && reference.path.find('/') == std::string::npos) {
    reference.path.insert(0, kDockerLibrary.data(), kDockerLibrary.size());
  }
  // With room for the longest of the domains that may be put before it.
  const size_t domain_size = reference.domain.empty() ? kDockerDomain.size() + kDockerLibrary.size()
                                                      : reference.domain.size();
  if (domain_size + 1 + reference.path.size() + 1 + reference.tag.size() > kMaxReferenceBytes) {
    return Invalid(text, absl::StrCat("it is longer than ", kMaxReferenceBytes, " characters"));
  }
  return reference;
}

Reference Qualify(Reference reference) {
  if (reference.domain.empty()) reference.domain = std::string(kLocalDomain);
  return reference;
}

Reference QualifyAsDocker(Reference reference) {
  if (!reference.domain.empty()) return reference;
  reference.domain = std::string(kDockerDomain);
  if (reference.path.find('/') == std::string::npos) {
    reference.path.insert(0, kDockerLibrary.data(), kDockerLibrary.size());
  }
  return reference;
}

std::vector<Reference> LocalCandidates(const Reference& reference) {
  if (!reference.domain.empty()) return {reference};
  return {Qualify(reference), QualifyAsDocker(reference)};
}

}  // namespace hull::images
