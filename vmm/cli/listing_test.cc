// What `ps` and `logs` make of containers and log entries.

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/cli/logs_command.h"
#include "vmm/cli/place.h"
#include "vmm/cli/ps_command.h"
#include "vmm/container/container_store.h"
#include "vmm/container/log_format.h"

namespace hull::cli {
namespace {

using container::LogStream;

TEST(PlaceTest, ListingsOfTwoPlacesAreOne) {
  EXPECT_EQ(MergeListings("", "b\n"), "b\n");
  EXPECT_EQ(MergeListings("a\n", ""), "a\n");
  EXPECT_EQ(MergeListings("a\n", "b\n"), "a\nb\n");
  // One heading, however far its columns are apart.
  EXPECT_EQ(MergeListings("ID  NAMES\n1   a\n", "ID    NAMES\n234   b\n"),
            "ID  NAMES\n1   a\n234   b\n");
  EXPECT_EQ(MergeListings("[{\"a\": 1}]\n", "[{\"b\": 2}]\n"),
            MergeListings("[{\"a\": 1}, {\"b\": 2}]\n", "[]\n"));
}

TEST(PsTest, SpansOfTimeAreThoseOfPodman) {
  EXPECT_EQ(HumanDuration(absl::Milliseconds(900)), "Less than a second");
  EXPECT_EQ(HumanDuration(absl::Seconds(1)), "1 second");
  EXPECT_EQ(HumanDuration(absl::Seconds(59)), "59 seconds");
  EXPECT_EQ(HumanDuration(absl::Seconds(60)), "About a minute");
  EXPECT_EQ(HumanDuration(absl::Minutes(2)), "2 minutes");
  EXPECT_EQ(HumanDuration(absl::Hours(1)), "About an hour");
  EXPECT_EQ(HumanDuration(absl::Hours(47)), "47 hours");
  EXPECT_EQ(HumanDuration(absl::Hours(48)), "2 days");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 15)), "2 weeks");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 61)), "2 months");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 800)), "2 years");
  EXPECT_EQ(HumanDuration(absl::Seconds(-5)), "Less than a second");
}

bool Matches(const std::vector<std::string>& filters) {
  container::ContainerInfo info;
  info.config.id = "0123456789ab" + std::string(52, 'f');
  info.config.name = "web-1";
  info.config.image = "docker.io/library/busybox:latest";
  info.config.image_digest = "sha256:abcdefabcdef" + std::string(52, '0');
  info.config.labels = {"tier=front"};
  info.state = {.status = container::Status::kExited, .exit_status = 3};
  const absl::StatusOr<ContainerFilter> filter = ContainerFilter::Parse(filters);
  EXPECT_TRUE(filter.ok()) << filter.status();
  return filter.ok() && filter->Matches(info);
}

TEST(PsTest, FiltersOfOneKindAreAlternatives) {
  for (const char* filter :
       {"id=0123", "id=^0123", "name=web", "name=^web-1$", "name=1$", "status=exited", "exited=3",
        "ancestor=busybox", "ancestor=library/busybox", "ancestor=busybox:latest",
        "ancestor=docker.io/library/busybox:latest", "ancestor=abcdefabcdef", "label=tier",
        "label=tier=front"}) {
    EXPECT_TRUE(Matches({filter})) << filter;
  }
  for (const char* filter :
       {"id=123", "name=^eb", "name=^web$", "status=running", "exited=0", "ancestor=box",
        "ancestor=busybox:old", "ancestor=abc", "label=tie", "label=tier=back"}) {
    EXPECT_FALSE(Matches({filter})) << filter;
  }
  EXPECT_TRUE(Matches({"name=other", "name=web", "status=exited"}));
  EXPECT_FALSE(Matches({"name=web", "status=running"}));
  EXPECT_FALSE(Matches({"label=tier", "label=other"}));
  for (const char* filter : {"", "foo=bar", "status=lost", "exited=x", "name"}) {
    if (std::string(filter) == "name") continue;  // an empty pattern, which all names contain
    EXPECT_FALSE(ContainerFilter::Parse({filter}).ok()) << filter;
  }
}

TEST(LogsTest, Moments) {
  const absl::Time now = absl::FromUnixSeconds(1'000'000);
  EXPECT_EQ(*ParseMoment("1970-01-02T00:00:00Z", now), absl::FromUnixSeconds(86400));
  EXPECT_EQ(*ParseMoment("1970-01-02T00:00:00.5+01:00", now),
            absl::FromUnixMillis(86400'500 - 3600'000));
  EXPECT_EQ(*ParseMoment("12.5", now), absl::FromUnixMillis(12500));
  EXPECT_EQ(*ParseMoment("10m", now), now - absl::Minutes(10));
  EXPECT_EQ(*ParseMoment("1h30m", now), now - absl::Minutes(90));
  EXPECT_TRUE(ParseMoment("2026-11-24", now).ok());
  for (const char* text : {"", "yesterday", "-5", "1e300", "2026-13-01", "inf"}) {
    EXPECT_FALSE(ParseMoment(text, now).ok()) << text;
  }
}

std::string Printed(LogPrinter* printer) {
  std::string text;
  for (const LogPrinter::Piece& piece : printer->Take()) {
    text += (piece.to_stderr ? "E:" : "O:") + piece.text;
  }
  return text;
}

TEST(LogsTest, PartsBecomeLinesAgain) {
  LogPrinter printer({.timestamps = true});
  printer.Add({.stream = LogStream::kStandardOutput, .ends_line = false, .content = "a"});
  printer.Add({.stream = LogStream::kStandardError, .ends_line = true, .content = "oops"});
  printer.Add({.stream = LogStream::kStandardOutput, .ends_line = true, .content = "b"});
  printer.Add({.stream = LogStream::kDropped, .content = "7"});
  EXPECT_EQ(Printed(&printer),
            "O:1970-01-01T00:00:00.000000000Z aE:1970-01-01T00:00:00.000000000Z oops\nO:b\n"
            "E:hull: 7 lines were dropped here, as the log could not be written\n");
  EXPECT_EQ(Printed(&printer), "");
}

TEST(LogsTest, TheTailAndTheTimes) {
  LogPrinter printer({.since_unix_ns = 10, .until_unix_ns = 20});
  for (const int64_t ns : {9, 10, 15, 20, 21}) {
    const std::string content = std::to_string(ns);
    printer.Add({.unix_ns = ns, .ends_line = false, .content = content});
    printer.Add({.unix_ns = ns, .ends_line = true, .content = "."});
    printer.KeepTail(2);
  }
  EXPECT_EQ(Printed(&printer), "O:15.\n20.\n");
  printer.Add({.unix_ns = 12, .content = "x"});
  printer.KeepTail(0);
  EXPECT_EQ(Printed(&printer), "");
}

}  // namespace
}  // namespace hull::cli
