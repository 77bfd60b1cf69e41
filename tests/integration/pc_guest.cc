#include "tests/integration/pc_guest.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace hull {

namespace {

constexpr absl::Duration kReplyTimeout = absl::Seconds(60);
constexpr absl::Duration kLookAgain = absl::Milliseconds(300);
constexpr size_t kTextHeader = 10;
constexpr uint8_t kShift = 0x2a;
constexpr uint8_t kRelease = 0x80;

// The code in set 1 of a key, on a keyboard of the US.
struct Key {
  char character;
  uint8_t code;
  bool shift;
};
constexpr Key kKeys[] = {
    {'\n', 0x1c, false}, {' ', 0x39, false}, {'-', 0x0c, false},  {'.', 0x34, false},
    {',', 0x33, false},  {'/', 0x35, false}, {'\\', 0x2b, false}, {';', 0x27, false},
    {'>', 0x34, true},   {':', 0x27, true},  {'*', 0x09, true},   {'?', 0x35, true},
};

std::vector<uint8_t> CodesOf(char character) {
  constexpr absl::string_view kDigits = "1234567890";
  constexpr absl::string_view kRows[] = {"qwertyuiop", "asdfghjkl", "zxcvbnm"};
  constexpr uint8_t kRowStarts[] = {0x10, 0x1e, 0x2c};
  uint8_t code = 0;
  bool shift = false;
  const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(character)));
  if (const size_t digit = kDigits.find(character); digit != absl::string_view::npos) {
    code = static_cast<uint8_t>(0x02 + digit);
  }
  for (size_t row = 0; row < 3; ++row) {
    const size_t at = kRows[row].find(lower);
    if (at == absl::string_view::npos) continue;
    code = static_cast<uint8_t>(kRowStarts[row] + at);
    shift = lower != character;
  }
  for (const Key& key : kKeys) {
    if (key.character != character) continue;
    code = key.code;
    shift = key.shift;
  }
  EXPECT_NE(code, 0) << "there is no key for " << character;
  std::vector<uint8_t> codes = {code, static_cast<uint8_t>(code | kRelease)};
  if (shift) {
    codes.insert(codes.begin(), kShift);
    codes.push_back(kShift | kRelease);
  }
  return codes;
}

}  // namespace

PcGuest::PcGuest(const std::string& more, const std::string& firmware) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) abort();
  control_ = UniqueFd(ends[0]);
  const UniqueFd theirs(ends[1]);
  const std::string path = directory_.Path("machine.json");
  std::ofstream(path) << absl::StrCat(
      R"({"version":1,"machine":"pc","memory_bytes":33554432,"vcpus":1,)",
      R"("firmware":{"path":")", firmware, R"("},)",
      R"("video_firmware":{"path":"/usr/share/seabios/vgabios-isavga.bin"},)",
      R"("control":{"fd":)", theirs.get(), "}", more, "}");
  vmm_ = std::make_unique<VmmProcess>(std::vector<std::string>{"--spec", path});
}

std::vector<uint8_t> PcGuest::Ask(const std::vector<uint8_t>& request) {
  if (send(control_.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return {};
  pollfd readable = {control_.get(), POLLIN, 0};
  if (poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(kReplyTimeout))) != 1) {
    return {};
  }
  std::vector<uint8_t> reply(65536);
  const ssize_t size = recv(control_.get(), reply.data(), reply.size(), 0);
  reply.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return reply;
}

std::vector<std::string> PcGuest::Screen() {
  const std::vector<uint8_t> reply = Ask({'T'});
  std::vector<std::string> rows;
  if (reply.size() < kTextHeader) return rows;
  const size_t columns = reply[1] | reply[2] << 8;
  const size_t count = reply[3] | reply[4] << 8;
  EXPECT_EQ(reply.size(), kTextHeader + 2 * columns * count);
  for (size_t row = 0; row < count; ++row) {
    std::string line;
    for (size_t column = 0; column < columns; ++column) {
      const uint8_t byte = reply[kTextHeader + 2 * (row * columns + column)];
      line.push_back(byte >= ' ' && byte < 0x7f ? static_cast<char>(byte) : ' ');
    }
    rows.emplace_back(absl::StripTrailingAsciiWhitespace(line));
  }
  return rows;
}

template <typename Predicate>
bool PcGuest::AwaitScreen(Predicate predicate, absl::string_view text, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  std::vector<std::string> rows;
  while (absl::Now() < deadline) {
    rows = Screen();
    if (predicate(rows)) return true;
    if (rows.empty()) break;  // The machine is over.
    absl::SleepFor(kLookAgain);
  }
  ADD_FAILURE() << "\"" << text << "\" did not appear; the screen is:\n"
                << absl::StrJoin(rows, "\n");
  return false;
}

bool PcGuest::Await(absl::string_view text, absl::Duration timeout) {
  return AwaitScreen(
      [text](const std::vector<std::string>& rows) {
        return std::any_of(rows.begin(), rows.end(),
                           [text](const std::string& row) { return absl::StrContains(row, text); });
      },
      text, timeout);
}

bool PcGuest::AwaitPrompt(absl::string_view text, absl::Duration timeout) {
  return AwaitScreen(
      [text](const std::vector<std::string>& rows) {
        const auto last = std::find_if(rows.rbegin(), rows.rend(),
                                       [](const std::string& row) { return !row.empty(); });
        return last != rows.rend() && *last == text;
      },
      text, timeout);
}

void PcGuest::Send(std::vector<uint8_t> codes) {
  const absl::Time deadline = absl::Now() + kReplyTimeout;
  while (!codes.empty() && absl::Now() < deadline) {
    std::vector<uint8_t> request = codes;
    request.insert(request.begin(), 'K');
    const std::vector<uint8_t> reply = Ask(request);
    ASSERT_EQ(reply.size(), 3u);
    codes.erase(codes.begin(), codes.begin() + (reply[1] | reply[2] << 8));
  }
  ASSERT_TRUE(codes.empty()) << "the guest does not read its keyboard";
}

void PcGuest::Type(absl::string_view text) {
  for (const char character : text) {
    ASSERT_NO_FATAL_FAILURE(Send(CodesOf(character)));
    // The BIOS keeps 15 keys that DOS has not read.
    absl::SleepFor(absl::Milliseconds(100));
  }
}

}  // namespace hull
