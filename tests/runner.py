"""Runs the test tiers and adds up their cases. Called by tests/run."""

import argparse
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

REPO = pathlib.Path(__file__).resolve().parent.parent
BAZEL = shlex.split(os.environ.get("bazel_command", "bazel"))
HULL = REPO / ".hull" / "bin" / "hull"
# No end-to-end script takes a third of this, even beside a compiler.
SCRIPT_SECONDS = 1800
# What a hostile guest does is watched by the sanitizers, too.
HOSTILE_TESTS = ["//tests/integration:hostile_driver_test"]
TIERS = ["unit", "asan", "kvm", "e2e"]


# How the explanation of a test begins that was skipped for want of data which the repository has not.
NO_DATA = "test data is not there"


class Tally:
    """Cases that passed and cases that failed, with the names of the latter."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        # Cases that are neither, and why.
        self.without_data = []

    def add(self, passed, failed):
        self.passed += passed
        self.failed += failed


def say(text):
    print(text, flush=True)


def add_cases(tally, xml_path, target):
    """Adds those of a gtest or Bazel XML report; returns the names of the failed ones."""
    try:
        root = xml.etree.ElementTree.parse(xml_path).getroot()
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        failed = [f"{target}: no readable report ({error})"]
        tally.add(0, failed)
        return failed
    passed, failed = 0, []
    for case in root.iter("testcase"):
        name = f"{target}: {case.get('classname', '')}.{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.get("status") == "notrun":
            continue
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            skipped = case.find("skipped")
            why = "" if skipped is None else skipped.get("message", "")
            if NO_DATA in why:
                tally.without_data.append(f"{name}: {why[why.index(NO_DATA):]}")
            else:
                # A test that cannot run here has not passed.
                failed.append(f"{name} (skipped)")
        else:
            passed += 1
    tally.add(passed, failed)
    return failed


def query(expression):
    result = subprocess.run(BAZEL + ["query", "--noshow_progress", expression], cwd=REPO,
                            stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    return result.stdout.split()


def run_bazel_tests(tally, label, targets, options):
    """Bazel's tests; a target that does not build or has no report counts as one failure."""
    say(f"== {label}")
    logs = REPO / ".bazel" / "testlogs"
    reports = {target: logs.joinpath(*target[2:].split(":"), "test.xml") for target in targets}
    done = subprocess.run(
        BAZEL + ["test", "--keep_going", "--color=no", "--curses=no", "--noshow_progress",
                 "--test_output=errors", "--test_summary=none"] + options + ["--"] + targets,
        cwd=REPO, timeout=5400, check=False)
    all_failed = []
    for target, report in reports.items():
        all_failed += add_cases(tally, report, f"{label} {target}")
    if done.returncode != 0 and not all_failed:
        # A target that does not build leaves the report of an earlier run as it was.
        tally.add(0, [f"{label}: bazel test ended with status {done.returncode}"])


def check_format(tally):
    """Every C++ file is as clang-format would write it: one case."""
    files = subprocess.run(["git", "ls-files", "*.cc", "*.h"], cwd=REPO, stdout=subprocess.PIPE,
                           text=True, timeout=60, check=True).stdout.split()
    result = subprocess.run(["clang-format", "--dry-run", "--Werror", *files], cwd=REPO,
                            timeout=600, check=False)
    if result.returncode == 0:
        tally.add(1, [])
    else:
        tally.add(0, ["unit: files that clang-format would change (see above)"])


def tier_unit(tally, _):
    check_format(tally)
    excluded = " union ".join(f"attr(tags, '\\b{tag}\\b', tests(//...))" for tag in ["kvm", "e2e"])
    targets = query(f"tests(//...) except ({excluded})")
    run_bazel_tests(tally, "unit", targets, [])


def tier_asan(tally, _):
    excluded = " union ".join(
        f"attr(tags, '\\b{tag}\\b', tests(//...))" for tag in ["kvm", "e2e", "nosan"])
    targets = query(f"kind(cc_test, tests(//...)) except ({excluded})")
    run_bazel_tests(tally, "asan", targets, ["--config=asan"])


def kvm_targets(*excluded_tags):
    expression = "attr(tags, '\\bkvm\\b', tests(//...))"
    for tag in excluded_tags:
        expression += f" except attr(tags, '\\b{tag}\\b', tests(//...))"
    return query(expression)


def has_virtualization():
    """Whether the CPU has what a fast KVM stands on; without, KVM executes some guests only, one instruction
    after the other."""
    flags = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return flags is not None and bool({"vmx", "svm"} & set(flags[1].split()))


def tier_kvm(tally, _):
    targets = kvm_targets()
    emulated_host_only = []
    if os.path.exists("/dev/kvm"):
        if not has_virtualization():
            targets = kvm_targets("needs-virtualization")
            emulated_host_only = sorted(set(kvm_targets()) - set(targets))
        # What the device does is not a function of the sources: never from a cache.
        run_bazel_tests(tally, "kvm, this machine", targets, ["--cache_test_results=no"])
        run_bazel_tests(tally, "kvm, this machine, asan", HOSTILE_TESTS,
                        ["--config=asan", "--cache_test_results=no"])
    else:
        say("== kvm, this machine: there is no /dev/kvm here; only the emulated host is used")
        subprocess.run(BAZEL + ["build"] + targets, cwd=REPO, timeout=3600, check=True)
    # The same binaries in the emulated host, on a KVM that has hardware virtualisation (emulated).
    say("== kvm, emulated host")
    targets = kvm_targets()
    if emulated_host_only:
        subprocess.run(BAZEL + ["build"] + emulated_host_only, cwd=REPO, timeout=3600, check=True)
    reports = REPO / ".hull" / "test-reports"
    reports.mkdir(parents=True, exist_ok=True)
    for target in targets:
        package, name = target[2:].split(":")
        report = reports / f"{name}.xml"
        report.unlink(missing_ok=True)
        binary = REPO / ".bazel" / "bin" / package / name
        try:
            result = subprocess.run(
                [HULL, "host", "exec", "--", binary.resolve(), f"--gtest_output=xml:{report}"],
                cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=900, check=False)
        except subprocess.TimeoutExpired:
            tally.add(0, [f"kvm, emulated host {target}: no end within 900 s"])
            continue
        failed = add_cases(tally, report, f"kvm, emulated host {target}")
        if result.returncode != 0 and not failed:
            failed = [f"kvm, emulated host {target}: exit status {result.returncode}"]
            tally.add(0, failed)
        if failed:
            say(result.stdout)


class CountingResult(unittest.TextTestResult):
    """Counts successes, which unittest itself does not."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0

    def addSuccess(self, test):  # noqa: N802 (unittest's name)
        super().addSuccess(test)
        self.passed += 1


def run_scripts(tally, word):
    """The end-to-end tests that are shell scripts; the last line of each is its count."""
    for script in sorted((REPO / "tests" / "e2e").glob("*_test.sh")):
        if word not in script.name:
            continue
        say(f"== e2e {script.name}")
        with subprocess.Popen(["timeout", str(SCRIPT_SECONDS), script], stdout=subprocess.PIPE,
                              text=True, env=dict(os.environ, HULL=str(HULL))) as process:
            lines = []
            for line in process.stdout:
                say(line.rstrip("\n"))
                lines.append(line)
        count = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1].strip()) if lines else None
        if count is None:
            tally.add(0, [f"e2e {script.name}: ended with status {process.returncode}, no count"])
            continue
        failed = [f"e2e {script.name}"] * int(count[2])
        if process.returncode != 0 and not failed:
            failed = [f"e2e {script.name}: status {process.returncode}"]
        tally.add(int(count[1]), failed)


def tier_e2e(tally, word):
    say("== e2e")
    subprocess.run(BAZEL + ["build", "--noshow_progress", "//tests/e2e/..."], cwd=REPO, timeout=3600,
                   check=True)
    sys.path.insert(0, str(REPO / "tests" / "e2e"))
    loader = unittest.TestLoader()
    if word:
        loader.testNamePatterns = [f"*{word}*"]
    suite = loader.discover(str(REPO / "tests" / "e2e"), pattern="*_test.py")
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=CountingResult)
    result = runner.run(suite)
    failed = [f"e2e {test.id()}" for test, _ in result.failures + result.errors]
    failed += [f"e2e {test.id()} (skipped: {why})" for test, why in result.skipped]
    failed += [f"e2e {test.id()} (unexpected success)" for test in result.unexpectedSuccesses]
    tally.add(result.passed, failed)
    run_scripts(tally, word)


def main():
    parser = argparse.ArgumentParser(prog="hull test", description="Runs Hull's tests.")
    parser.add_argument("tier", nargs="*", choices=[[], *TIERS], metavar="TIER",
                        help="unit, asan, kvm, e2e; all of them without")
    parser.add_argument("-k", metavar="WORD", default="",
                        help="only the end-to-end tests whose name holds WORD")
    options = parser.parse_args()
    # A shell without job control starts what is in the background with these ignored, and the tests of
    # Ctrl-C would have programs that do as they are told. A handler is not inherited, "ignore" is.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    tally = Tally()
    tiers = options.tier or TIERS
    for tier in tiers:
        start = time.time()
        try:
            globals()[f"tier_{tier}"](tally, options.k)
        except (subprocess.SubprocessError, OSError) as error:
            # A tier that cannot run has failed.
            tally.add(0, [f"{tier}: {error}"])
        say(f"== {tier}: {time.time() - start:.0f} s")
    for name in tally.without_data:
        say(f"SKIPPED {name}")
    for name in tally.failed:
        say(f"FAILED {name}")
    say(f"{tally.passed} passed, {len(tally.failed)} failed")
    return 0 if tally.passed and not tally.failed else 1


if __name__ == "__main__":
    sys.exit(main())
