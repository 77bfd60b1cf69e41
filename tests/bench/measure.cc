// Runs candidates in turn and prints what each run cost on CLOCK_MONOTONIC.
//
//   measure ROUNDS DEADLINE_MS PAUSE_MS < CANDIDATES
//
// PAUSE_MS passes before each run, so that what a run left the kernel to do (the end of a VM's
// memory, say) is not counted as part of the next. CANDIDATES: one a line, fields separated by
// tabs: name, expected exit status, argv.... Each round runs every candidate once, in order. At the
// end it prints one line a run, fields separated by tabs: "run", name, start and end in
// nanoseconds. In the emulated host with the instruction clock, one nanosecond is one executed
// instruction of everything that ran meanwhile: guest, VMM, kernel. The program is static, and
// prints nothing before the last run has ended, so that it adds little (the row "nothing" in the
// benchmark's table shows how much: a posix_spawn of a static `true`).
//
// A candidate that ends with another status ends the benchmark: a failure is not a figure. One that
// has not ended after DEADLINE_MS is killed, and its line is "hung", name instead.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern char** environ;

namespace {

struct Candidate {
  std::string name;
  int expected_status = 0;
  std::vector<std::string> argv;
};

int64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{1'000'000'000} * now.tv_sec + now.tv_nsec;
}

std::vector<Candidate> ReadCandidates() {
  std::vector<Candidate> candidates;
  char* line = nullptr;
  size_t capacity = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, stdin)) > 0) {
    std::string text(line, static_cast<size_t>(length));
    if (text.back() == '\n') text.pop_back();
    std::vector<std::string> fields;
    size_t start = 0;
    while (true) {
      const size_t tab = text.find('\t', start);
      fields.push_back(text.substr(start, tab - start));
      if (tab == std::string::npos) break;
      start = tab + 1;
    }
    if (fields.size() < 3) {
      std::fprintf(stderr, "measure: not a candidate: %s\n", text.c_str());
      std::exit(2);
    }
    candidates.push_back(
        {fields[0], std::atoi(fields[1].c_str()), {fields.begin() + 2, fields.end()}});
  }
  std::free(line);
  return candidates;
}

struct Run {
  const Candidate* candidate = nullptr;
  int64_t start = 0;
  int64_t end = 0;  // 0: it hung
};

Run RunOnce(const Candidate& candidate, const posix_spawn_file_actions_t& actions,
            int deadline_ms) {
  std::vector<char*> argv;
  for (const std::string& argument : candidate.argv) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const int64_t start = Nanoseconds();
  pid_t pid;
  const int error = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  if (error != 0) {
    std::fprintf(stderr, "measure: %s: %s\n", argv[0], strerror(error));
    std::exit(1);
  }
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  pollfd ended = {pidfd, POLLIN, 0};
  const bool hung = poll(&ended, 1, deadline_ms) != 1;
  if (hung) kill(pid, SIGKILL);
  int status;
  if (waitpid(pid, &status, 0) != pid) {
    std::perror("measure: waitpid");
    std::exit(1);
  }
  const int64_t end = Nanoseconds();
  close(pidfd);
  if (hung) return {&candidate, 0, 0};
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code != candidate.expected_status) {
    std::fprintf(stderr, "measure: %s ended with status %d, not %d\n", candidate.name.c_str(), code,
                 candidate.expected_status);
    std::exit(1);
  }
  return {&candidate, start, end};
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc == 4 ? std::atoi(argv[1]) : 0;
  const int deadline_ms = argc == 4 ? std::atoi(argv[2]) : 0;
  const int pause_ms = argc == 4 ? std::atoi(argv[3]) : -1;
  if (rounds < 1 || deadline_ms < 1 || pause_ms < 0) {
    std::fputs("usage: measure ROUNDS DEADLINE_MS PAUSE_MS < CANDIDATES\n", stderr);
    return 2;
  }
  const std::vector<Candidate> candidates = ReadCandidates();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  // Not the terminal's or the session's pipe: its reader's instructions would be counted.
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<Run> runs;
  for (int round = 0; round < rounds; ++round) {
    for (const Candidate& candidate : candidates) {
      usleep(static_cast<useconds_t>(pause_ms) * 1000);
      runs.push_back(RunOnce(candidate, actions, deadline_ms));
    }
  }
  for (const Run& run : runs) {
    if (run.end == 0) {
      std::printf("hung\t%s\n", run.candidate->name.c_str());
    } else {
      std::printf("run\t%s\t%" PRId64 "\t%" PRId64 "\n", run.candidate->name.c_str(), run.start,
                  run.end);
    }
  }
  posix_spawn_file_actions_destroy(&actions);
  return 0;
}
