// measure.cc as the scripts use it: candidates on its standard input, figures on its output.

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr int64_t kMillisecond = 1'000'000;

class MeasureTest : public testing::Test {
 protected:
  struct Outcome {
    int status = -1;
    std::string error;
    std::vector<std::vector<std::string>> lines;  // Of the output, as fields.
  };

  MeasureTest() {
    std::string pattern = testing::TempDir() + "/measure-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  ~MeasureTest() override {
    for (const char* name : {"/candidates", "/out", "/err", "/log"}) {
      unlink((directory_ + name).c_str());
    }
    rmdir(directory_.c_str());
  }

  // A candidate that is a line for the shell.
  static std::string Shell(const std::string& name, int status, const std::string& line) {
    return name + "\t" + std::to_string(status) + "\t/bin/sh\t-c\t" + line + "\n";
  }

  Outcome Measure(const std::string& arguments, const std::string& candidates) const {
    std::ofstream(directory_ + "/candidates") << candidates;
    const std::string command = std::string(getenv("TEST_SRCDIR")) + "/hull/tests/bench/measure " +
                                arguments + " <" + directory_ + "/candidates >" + directory_ +
                                "/out 2>" + directory_ + "/err";
    const int status = system(command.c_str());
    Outcome outcome = {WIFEXITED(status) ? WEXITSTATUS(status) : -1, Content("/err"), {}};
    std::istringstream out(Content("/out"));
    for (std::string line; std::getline(out, line);) {
      std::istringstream fields(line);
      outcome.lines.emplace_back();
      for (std::string field; std::getline(fields, field, '\t');) {
        outcome.lines.back().push_back(field);
      }
    }
    return outcome;
  }

  std::string Content(const std::string& name) const {
    std::ostringstream content;
    content << std::ifstream(directory_ + name).rdbuf();
    return content.str();
  }

  std::string directory_;
};

TEST_F(MeasureTest, RunsTheCandidatesInTurnAndPrintsEachRun) {
  const std::string log = directory_ + "/log";
  const Outcome outcome =
      Measure("2 5000 0", Shell("slow", 3, "echo slow >>" + log + "; sleep 0.1; exit 3") +
                              Shell("quick", 0, "echo quick >>" + log));
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(Content("/log"), "slow\nquick\nslow\nquick\n");
  ASSERT_EQ(outcome.lines.size(), 4u);
  int64_t previous_end = 0;
  for (size_t i = 0; i < outcome.lines.size(); ++i) {
    const std::vector<std::string>& line = outcome.lines[i];
    ASSERT_EQ(line.size(), 4u);
    EXPECT_EQ(line[0], "run");
    EXPECT_EQ(line[1], i % 2 == 0 ? "slow" : "quick");
    const int64_t start = std::stoll(line[2]);
    const int64_t end = std::stoll(line[3]);
    EXPECT_GT(start, previous_end);
    EXPECT_GE(end - start, i % 2 == 0 ? 100 * kMillisecond : 1);
    previous_end = end;
  }
}

TEST_F(MeasureTest, KillsWhatHangsAndGoesOn) {
  const std::string log = directory_ + "/log";
  const Outcome outcome =
      Measure("1 200 0",
              Shell("stuck", 0, "echo $$ >" + log + "; exec sleep 1000") + "quick\t0\t/bin/true\n");
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  ASSERT_EQ(outcome.lines.size(), 2u);
  EXPECT_EQ(outcome.lines[0], (std::vector<std::string>{"hung", "stuck"}));
  EXPECT_EQ(outcome.lines[1][0], "run");
  EXPECT_EQ(outcome.lines[1][1], "quick");
  const int pid = std::stoi(Content("/log"));
  EXPECT_EQ(kill(pid, 0), -1) << "it is still there";
}

TEST_F(MeasureTest, AFailureIsNoFigure) {
  Outcome outcome = Measure("1 5000 0", "quick\t0\t/bin/true\n" + Shell("bad", 0, "exit 7"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.error, "measure: bad ended with status 7, not 0\n");
  EXPECT_TRUE(outcome.lines.empty());

  outcome = Measure("1 5000 0", Shell("killed", 0, "kill -KILL $$"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.error, "measure: killed ended with status 137, not 0\n");

  outcome = Measure("1 5000 0", "absent\t0\t/no/such/program\n");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.error, "measure: /no/such/program: No such file or directory\n");
}

TEST_F(MeasureTest, RefusesWhatItDoesNotUnderstand) {
  EXPECT_EQ(Measure("", "").status, 2);
  EXPECT_EQ(Measure("0 100 0", "").status, 2);
  EXPECT_EQ(Measure("1 0 0", "").status, 2);
  const Outcome outcome = Measure("1 100 0", "name without fields\n");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.error, "measure: not a candidate: name without fields\n");
}

}  // namespace
