"""What the end-to-end tests share: a private Hull, and a look at what it leaves behind.

The tests use the built binaries as a user does. On a machine without hardware virtualisation hull
passes every command to the emulated host by itself, so the same tests exercise that path too.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
PREFIX = REPO / ".hull"
HULL = PREFIX / "bin" / "hull"
HULL_VMM = PREFIX / "bin" / "hull-vmm"
# Generous: two cores emulate everything, perhaps beside a compiler.
TIMEOUT = 120


class Result:
    """One finished command: status as a shell shows it, output as bytes."""

    def __init__(self, args, returncode, stdout, stderr):
        self.args = args
        self.status = returncode if returncode >= 0 else 128 - returncode
        self.out = stdout
        self.err = stderr

    def __str__(self):
        return (f"{' '.join(map(str, self.args))}\nstatus {self.status}\n"
                f"stdout: {self.out[-2000:]!r}\nstderr: {self.err[-2000:]!r}")


class HullTestCase(unittest.TestCase):
    """A store of its own for each test class (and with it an emulated host of its own)."""

    @classmethod
    def setUpClass(cls):
        cls.tmp = pathlib.Path(tempfile.mkdtemp(prefix="hull-e2e-"))
        cls.root = cls.tmp / "root"
        cls.env = dict(os.environ, HULL_ROOT=str(cls.root))
        cls.env.pop("HULL_RUN", None)
        cls.emulated = not any(flag in pathlib.Path("/proc/cpuinfo").read_text().split()
                               for flag in ("svm", "vmx"))
        if cls.emulated:
            start = cls.hull("host", "start")
            assert start.status == 0, start

    @classmethod
    def tearDownClass(cls):
        if cls.emulated:
            stop = cls.hull("host", "stop")
            assert stop.status == 0, stop
        shutil.rmtree(cls.tmp)

    # -- running ---------------------------------------------------------------------------------

    @classmethod
    def hull(cls, *args, stdin=b"", timeout=TIMEOUT, env=None, cwd=None):
        """Runs one hull command to its end."""
        return cls.command([HULL, *args], stdin=stdin, timeout=timeout, env=env, cwd=cwd)

    @classmethod
    def command(cls, args, stdin=b"", timeout=TIMEOUT, env=None, cwd=None):
        done = subprocess.run([str(a) for a in args], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, cwd=cwd,
                              env=dict(cls.env, **(env or {})), check=False)
        return Result(args, done.returncode, done.stdout, done.stderr)

    @classmethod
    def spawn(cls, *args, stdin=subprocess.DEVNULL, env=None):
        """Starts one hull command; the caller ends it (see finish)."""
        return subprocess.Popen([str(a) for a in (HULL, *args)], stdin=stdin,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=dict(cls.env, **(env or {})))

    def finish(self, process, timeout=TIMEOUT):
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.fail(f"no end within {timeout} s; stdout {out[-500:]!r} stderr {err[-500:]!r}")
        return Result(process.args, process.returncode, out, err)

    @classmethod
    def on_host(cls, script, timeout=TIMEOUT, env=None):
        """Runs a shell script where the VMs run: here, or in the emulated host."""
        if cls.emulated:
            return cls.hull("host", "exec", "--", "/bin/bash", "-c", script, timeout=timeout,
                            env=env)
        return cls.command(["/bin/bash", "-c", script], timeout=timeout, env=env)

    def inspect(self, name):
        result = self.hull("inspect", name)
        self.assert_status(result, 0)
        (container,) = json.loads(result.out)
        return container

    # -- checking --------------------------------------------------------------------------------

    def assert_status(self, result, status):
        self.assertEqual(result.status, status, str(result))

    def assert_output(self, result, out, status=0):
        self.assert_status(result, status)
        self.assertEqual(result.out, out.encode() if isinstance(out, str) else out, str(result))

    def assert_error(self, result, *words, status=125):
        """A failure of Hull's own: this status, nothing on stdout, one `hull:` line that says why."""
        self.assert_status(result, status)
        self.assertEqual(result.out, b"", str(result))
        text = result.err.decode(errors="replace")
        self.assertRegex(text, r"(?m)^hull(-vmm)?: ", str(result))
        for word in words:
            self.assertIn(word.lower(), text.lower(), str(result))

    def leftovers(self):
        """Everything of Hull's that runs or lies about where the VMs run."""
        # The pattern's bracket keeps the search from finding itself.
        script = f"""
            for p in /proc/[0-9]*; do
              exe=$(readlink $p/exe) || continue
              case $exe in
                */hull-vmm*|*/hull-unpack*) echo "process ${{p#/proc/}} $exe";;
                */bin/hull|*/bin/hull\\ *) tr '\\0' ' ' <$p/cmdline | grep -q '^[^ ]*hull  *monitor' &&
                  echo "monitor ${{p#/proc/}}";;
              esac
            done
            for d in '{self.root}/run' '{self.root}/containers'; do
              [ -d "$d" ] && find "$d" -mindepth 1 \\( -type s -o -type d -o -type f \\) \\
                -not -name '*.lock' -not -path '*/emulated-host*' | sed 's/^/file /'
            done
            # The store's own two mounts belong to the emulated host's session.
            cut -d ' ' -f 2 /proc/self/mounts | grep -F '{self.root}/' | grep -vxF '{self.root}/run' |
              sed 's/^/mount /'
            true
        """
        result = self.on_host(script)
        self.assert_status(result, 0)
        return result.out.decode().splitlines()

    def assert_nothing_left(self, deadline=20):
        """Teardown may end a moment after the command: wait for it, but not for long."""
        end = time.monotonic() + deadline
        while True:
            left = self.leftovers()
            if not left:
                return
            if time.monotonic() > end:
                self.fail("left behind:\n" + "\n".join(left))
            time.sleep(0.5)

    def wait_for(self, condition, what, deadline=60):
        end = time.monotonic() + deadline
        while not condition():
            if time.monotonic() > end:
                self.fail(f"no {what} within {deadline} s")
            time.sleep(0.2)


def send(process, number):
    """Signals a process that this test started."""
    if process.poll() is None:
        process.send_signal(number)


SIGINT, SIGTERM, SIGKILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
