#include "vmm/cli/screen_commands.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/message.h"
#include "vmm/cli/png.h"
#include "vmm/cli/usage_formatter.h"
#include "vmm/container/keys.h"
#include "vmm/container/outcome.h"
#include "vmm/container/pc_question.h"
#include "vmm/container/screen.h"

namespace hull::cli {
namespace {

// A machine answers within milliseconds, on a busy host or an emulated processor much later.
constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr uint32_t kDefaultDelayMs = 100;
constexpr uint32_t kMaxDelayMs = 60'000;
constexpr mode_t kPictureMode = 0644;

// A connection to the monitor of a pc machine that runs.
absl::StatusOr<UniqueFd> ConnectToPc(const Installation& installation, const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const std::unique_ptr<container::ContainerStore> store,
                        OpenContainers(installation));
  HULL_ASSIGN_OR_RETURN(const Named found, FindContainer(store.get(), name));
  if (!found.info.config.pc.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("container ", found.info.config.name,
                     " is no pc machine: it has neither a screen nor a keyboard"));
  }
  if (!found.info.alive) {
    return WrongState(found.info, "only a machine that runs has a screen and a keyboard");
  }
  return Connect(store.get(), found.info.config.id);
}

std::optional<int> Begin(CLI::App* app, const std::vector<std::string>& args,
                         const std::string& name, Installation* installation) {
  return BeginCommand(app, args, Needs::kStore, installation,
                      [&] { return Subjects::Of(Subjects::Kind::kContainers, {name}); });
}

absl::StatusOr<std::string> TextOf(const Installation& installation, const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd socket, ConnectToPc(installation, name));
  HULL_ASSIGN_OR_RETURN(const container::TextScreen screen,
                        container::AskForScreen(socket.get(), kPatience));
  if (screen.graphics()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the screen of ", name, " shows graphics, which hull screenshot makes a picture of"));
  }
  return container::ScreenText(screen);
}

absl::StatusOr<std::string> PictureOf(const Installation& installation, const std::string& name) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd socket, ConnectToPc(installation, name));
  HULL_ASSIGN_OR_RETURN(const container::Picture picture,
                        container::AskForPicture(socket.get(), kPatience));
  return EncodePng(picture);
}

absl::Status Type(const Installation& installation, const std::string& name,
                  const std::vector<container::KeyStroke>& strokes, absl::Duration delay) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd socket, ConnectToPc(installation, name));
  return container::TypeKeys(socket.get(), strokes, delay, kPatience);
}

}  // namespace

int ScreentextCommand(const std::vector<std::string>& args) {
  std::string name;
  CLI::App app("Prints the text on the screen of a pc machine.", "screentext");
  app.formatter(std::make_shared<UsageFormatter>("screentext CONTAINER"));
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  Installation installation;
  if (const std::optional<int> status = Begin(&app, args, name, &installation)) return *status;
  const absl::StatusOr<std::string> text = TextOf(installation, name);
  return text.ok() ? PrintOutput(*text) : ReportFailure(text.status());
}

int ScreenshotCommand(const std::vector<std::string>& args) {
  std::string name;
  std::string path;
  CLI::App app("Writes a picture of the screen of a pc machine.", "screenshot");
  app.formatter(std::make_shared<UsageFormatter>("screenshot CONTAINER FILE.png"));
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  app.add_option("FILE", path, "PNG file to write, or - for standard output")->required();
  Installation installation;
  if (const std::optional<int> status = Begin(&app, args, name, &installation)) return *status;
  if (path == "-" && isatty(STDOUT_FILENO) == 1) {
    PrintError("a picture is not for a terminal; name a file or redirect the output");
    return container::kHullFailed;
  }
  const absl::StatusOr<std::string> file = PictureOf(installation, name);
  if (!file.ok()) return ReportFailure(file.status());
  if (path == "-") return PrintOutput(*file);
  const absl::Status written = WriteFileAtomically(path, *file, kPictureMode);
  return written.ok() ? 0 : ReportFailure(written);
}

int SendkeysCommand(const std::vector<std::string>& args) {
  std::string name;
  std::string text;
  uint32_t delay_ms = kDefaultDelayMs;
  CLI::App app("Types on the keyboard of a pc machine, which is one of the US.", "sendkeys");
  app.formatter(std::make_shared<UsageFormatter>("sendkeys [--delay MS] CONTAINER KEYS"));
  app.add_option("--delay", delay_ms, "Milliseconds between two keys (default: 100)");
  app.add_option("CONTAINER", name, "Name, id or the beginning of an id")->required();
  app.add_option("KEYS", text,
                 absl::StrCat("Text with {enter}, {alt+f1}, {0x1e} (a scan code), {{} and "
                              "the like. Keys: ",
                              container::KeyNames()))
      ->required();
  Installation installation;
  if (const std::optional<int> status = Begin(&app, args, name, &installation)) return *status;
  const absl::StatusOr<std::vector<container::KeyStroke>> strokes = container::ParseKeys(text);
  if (!strokes.ok()) return ReportFailure(strokes.status());
  if (delay_ms > kMaxDelayMs) {
    PrintError(absl::StrCat("--delay: at most ", kMaxDelayMs));
    return container::kHullFailed;
  }
  const absl::Status typed = Type(installation, name, *strokes, absl::Milliseconds(delay_ms));
  return typed.ok() ? 0 : ReportFailure(typed);
}

}  // namespace hull::cli
