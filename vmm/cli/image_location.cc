#include "vmm/cli/image_location.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "images/reference.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

constexpr absl::string_view kDocker = "docker://";
constexpr absl::string_view kTransports[] = {
    "containers-storage:", "dir:", "docker-archive:", "docker-daemon:", "docker://",
    "oci-archive:",        "oci:", "ostree:",         "sif:",           "tarball:"};

// The full name that `text` gives, or nothing.
std::string NameOf(const std::string& text) {
  const absl::StatusOr<images::Reference> reference = images::ParseReference(text);
  if (!reference.ok() || reference->digest.has_value()) return "";
  return images::Qualify(*reference).FullName();
}

absl::StatusOr<ImageLocation> ParseRegistryName(const std::string& text) {
  HULL_ASSIGN_OR_RETURN(images::Reference reference, images::ParseReference(text));
  reference = images::QualifyAsDocker(std::move(reference));
  ImageLocation location{.skopeo = {}, .registry = reference.domain, .name = {}, .archive = {}};
  if (reference.digest.has_value()) {
    // skopeo takes no tag beside a digest.
    location.skopeo =
        absl::StrCat(kDocker, reference.Repository(), "@", reference.digest->ToString());
    // "NAME:TAG@DIGEST" says which tag it is; "NAME@DIGEST" does not.
    const std::string named = text.substr(0, text.find('@'));
    if (named.rfind(':') != std::string::npos &&
        named.find('/', named.rfind(':')) == std::string::npos) {
      location.name = reference.FullName();
    }
    return location;
  }
  location.name = reference.FullName();
  location.skopeo = absl::StrCat(kDocker, location.name);
  return location;
}

// The message of a line of logrus: `time="…" level=fatal msg="…"`.
std::string MessageOf(absl::string_view line) {
  constexpr absl::string_view kKey = " msg=\"";
  const size_t start = line.find(kKey);
  if (start == absl::string_view::npos) return std::string(absl::StripAsciiWhitespace(line));
  line.remove_prefix(start + kKey.size());
  line = absl::StripSuffix(absl::StripAsciiWhitespace(line), "\"");
  return absl::StrReplaceAll(line, {{"\\\"", "\""}, {"\\n", " "}, {"\\\\", "\\"}});
}

struct Advice {
  absl::string_view sign;  // in what skopeo writes
  absl::string_view text;
};

constexpr Advice kAdvice[] = {
    {"server gave HTTP response to HTTPS client",
     "the registry speaks plain HTTP; --tls-verify=false, if you trust the network to it"},
    {"x509:", "its certificate is not trusted; --cert-dir, or --tls-verify=false"},
    {"unauthorized", "not allowed, or no such image; try: hull login REGISTRY"},
    {"authentication required", "try: hull login REGISTRY"},
    {"denied", "not allowed, or no such image; try: hull login REGISTRY"},
    {"manifest unknown", "there is no such image or tag"},
    {"name unknown", "there is no such image"},
    {"connection refused", "nothing answers at REGISTRY"},
    {"no such host", "REGISTRY is not known; is there a network?"},
    {"i/o timeout", "REGISTRY does not answer; is there a network?"},
    {"network is unreachable", "there is no network"},
    {"no image found in manifest list", "there is no image for linux/amd64"},
};

}  // namespace

bool HasTransport(absl::string_view text) {
  for (const absl::string_view transport : kTransports) {
    if (absl::StartsWith(text, transport)) return true;
  }
  return false;
}

absl::StatusOr<ImageLocation> ParseImageLocation(const std::string& text) {
  if (absl::StartsWith(text, kDocker)) return ParseRegistryName(text.substr(kDocker.size()));
  if (!HasTransport(text)) return ParseRegistryName(text);
  ImageLocation location{.skopeo = text, .registry = {}, .name = {}, .archive = {}};
  const size_t colon = text.find(':');
  const std::string transport = text.substr(0, colon);
  const std::string rest = text.substr(colon + 1);
  if (transport == "docker-daemon" || transport == "containers-storage") {
    location.name = NameOf(rest);
    return location;
  }
  // PATH[:NAME]; a path with a colon in it is not told from that by skopeo either.
  const size_t second = rest.find(':');
  const std::string path = rest.substr(0, second);
  if (transport == "docker-archive" && second == std::string::npos) location.archive = path;
  if (second != std::string::npos && transport != "dir") {
    location.name = NameOf(rest.substr(second + 1));
    return location;
  }
  const std::string trimmed(absl::StripSuffix(path, "/"));
  location.name = NameOf(absl::AsciiStrToLower(trimmed.substr(trimmed.rfind('/') + 1)));
  return location;
}

std::string DescribeSkopeoFailure(absl::string_view error, absl::string_view registry) {
  std::string last;
  for (const absl::string_view line : absl::StrSplit(error, '\n', absl::SkipWhitespace())) {
    last = MessageOf(line);
  }
  if (last.empty()) last = "skopeo failed without a word";
  std::string described = container::Printable(last);
  for (const Advice& advice : kAdvice) {
    if (!absl::StrContains(last, advice.sign)) continue;
    const std::string place = registry.empty() ? "it" : std::string(registry);
    return absl::StrCat(described, " (", absl::StrReplaceAll(advice.text, {{"REGISTRY", place}}),
                        ")");
  }
  return described;
}

}  // namespace hull::cli
