#!/usr/bin/env python3
"""Every call by which `hull` and its monitor get something from the host is made to fail, one a run.

  hull_faults_test.py FAULTY_HULL HULL_UNPACK FAKE_VMM

Each run ends soon, with the container's status or with 125 and a line that says why, and leaves no process, and
no file, socket or control group that the next command does not take away. The VMM is the one of the monitor's tests,
which stands in for a guest; hull-vmm has a test of its own (vmm_faults_test.cc).
"""

import collections
import ctypes
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAMS = [pathlib.Path(argument).resolve() for argument in sys.argv[1:4]]
# `tests/e2e/oci.py` of the runfiles.
sys.path.insert(0, str(pathlib.Path.cwd() / "tests" / "e2e"))
import oci  # noqa: E402

# Far more than there are calls: a run that never gets to its end is a fault of the test.
MAX_CALLS = 20000
TIMEOUT_S = 60
PR_SET_CHILD_SUBREAPER = 36
# What fake_vmm's process exits with, having printed what it read and, on standard error, "done".
CONTAINER_STATUS = 7
HULL_FAILED = 125
# Calls without which something stays that the next start replaces or takes away.
REMOVAL = {"unlink", "unlinkat", "rmdir", "opendir", "fdopendir"}


class HullFaultsTest(unittest.TestCase):

    def setUp(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        # TEST_TMPDIR is longer than a run directory may be.
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="hull-faults-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.base)
        bin_directory = self.base / "bin"
        bin_directory.mkdir()
        for program, name in zip(PROGRAMS, ["hull", "hull-unpack", "hull-vmm"]):
            shutil.copy(program, bin_directory / name)
        share = self.base / "share"
        share.mkdir()
        # What fake_vmm gets as its kernel is what it is to do.
        (share / "vmlinux").write_text("cat")
        (share / "initramfs.cpio").write_text("")
        self.environment = {
            "PATH": os.environ["PATH"], "HULL_EMULATED_HOST": "never",
            "HULL_ROOT": str(self.base / "root"), "HULL_RUN": str(self.base / "run"),
            "HULL_LIBEXEC": str(bin_directory), "HULL_SHARE": str(share)}
        self.counter = bin_directory / "fail-at"
        self.fault = bin_directory / "fault"
        oci.Layout(self.base / "image", [oci.layer(oci.directory("bin"), oci.entry("bin/cat", "x"))])
        done = self.hull(0, "load", "-q", "--name", "box", str(self.base / "image"))
        self.assertEqual(done.returncode, 0, done.stderr)

    def hull(self, failing_call, *arguments):
        self.counter.write_bytes(struct.pack("QQ", failing_call, 0))
        self.fault.write_text("")
        try:
            return subprocess.run([self.base / "bin" / "hull", *arguments], env=self.environment,
                                  input="in\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, errors="replace", timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            self.fail(f"{failing_call}: {arguments} does not end: {self.fault.read_text()}{error.stderr}")

    def calls(self):
        return struct.unpack("QQ", self.counter.read_bytes())[1]

    def await_processes(self, what):
        """Waits for all that a run left behind to end by itself."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.002)
            except ChildProcessError:
                return
        self.fail(f"{what}: a process stays")

    def files(self):
        found = {str(path.relative_to(self.base)) for name in ["root", "run"]
                 for path in (self.base / name).rglob("*")}
        groups = pathlib.Path("/sys/fs/cgroup/hull")
        if groups.is_dir():
            found |= {f"control group {path.name}" for path in groups.iterdir() if path.is_dir()}
        return found

    def clean(self, commands):
        """Runs them without a fault; returns what they said."""
        return [(done.returncode, done.stdout, done.stderr)
                for done in (self.hull(0, *command) for command in commands)]

    def sweep(self, start, expected, clean, detached):
        """Fails each call of `hull START` in turn. `expected` are the statuses of what goes on all the same;
        `clean` are commands that are then run without a fault. What is detached may go on without its client."""
        self.assertIn(self.hull(0, *start).returncode, expected, "without a fault it works")
        self.clean(clean)
        self.await_processes("no fault")
        before = self.files()
        harmless, failures = collections.Counter(), 0
        for number in range(1, MAX_CALLS):
            done = self.hull(number, *start)
            if self.calls() < number:
                self.assertIn(done.returncode, expected)
                break
            fault = self.fault.read_text().strip() or f"fault: {number} of a child that has none"
            function = fault.split(" ")[2].partition("(")[0]
            with self.subTest(fault=fault, arguments=start):
                lines = done.stderr.splitlines()
                if done.returncode in expected:
                    harmless[function] += 1
                else:
                    failures += 1
                    # Abseil's mutexes have memory of their own, without which they say so and abort.
                    abseil = "low_level_alloc.cc" in done.stderr
                    self.assertTrue(abseil or done.returncode == HULL_FAILED,
                                    f"status {done.returncode}: {done.stderr}")
                    self.assertTrue(abseil or lines and lines[-1].startswith("hull: "), f"no message but {lines}")
                    self.assertGreater(len(lines[-1]), len("hull: ...... "), lines)
                # What a fault has ended may still be on its way out.
                if not detached:
                    self.await_processes(fault)
                said = self.clean(clean)
                self.await_processes(fault)
                left = self.files() - before
                if function in REMOVAL and left:
                    self.hull(0, *start)
                    if not detached:
                        self.await_processes(fault)
                    said = self.clean(clean)
                    self.await_processes(fault)
                    left = self.files() - before
                self.assertEqual(left, set(), said)
        else:
            self.fail("the end was not reached")
        self.assertGreater(failures, 50, "faults were not injected")
        print(f"{' '.join(start)}: {number - 1} calls, {failures} end the start; others do not matter:",
              ", ".join(f"{name} {count}" for name, count in sorted(harmless.items())))

    def test_run(self):
        self.sweep(["run", "--rm", "-i", "box", "cat"], {CONTAINER_STATUS}, [["ps", "-aq"]],
                   detached=False)

    def test_run_detached(self):
        self.sweep(["run", "-d", "--name", "c", "box", "cat"], {0}, [["rm", "-f", "-a"]],
                   detached=True)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
