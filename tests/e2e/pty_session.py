"""A command with a terminal of its own, as a person would use it."""

import fcntl
import os
import pty
import select
import struct
import termios
import time

import harness


class PtySession:
    """A command whose standard streams are a pty, which is its controlling terminal. The test holds the
    other side, and the pty's own side too, to look at its modes after the command's end."""

    def __init__(self, args, env, rows=24, columns=80):
        self.shown = b""
        self.master, self.terminal = pty.openpty()
        self.resize(rows, columns)
        self.modes = termios.tcgetattr(self.terminal)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.terminal, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.terminal, fd)
            os.execve(str(args[0]), [str(arg) for arg in args], env)

    def close(self):
        if self.pid:
            os.kill(self.pid, harness.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.terminal)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data):
        os.write(self.master, data)

    def expect(self, text, timeout=harness.TIMEOUT):
        """Reads until `text` has been shown; returns what was shown before it."""
        end = time.monotonic() + timeout
        while text not in self.shown:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"{text!r} was not shown within {timeout} s, "
                                     f"but {self.shown[-2000:]!r}")
            self.shown += os.read(self.master, 65536)
        before, _, self.shown = self.shown.partition(text)
        return before

    def wait(self, timeout=harness.TIMEOUT):
        """The exit status, as a shell has it. What is shown meanwhile is kept."""
        end = time.monotonic() + timeout
        while True:
            while select.select([self.master], [], [], 0.05)[0]:
                self.shown += os.read(self.master, 65536)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if time.monotonic() > end:
                raise AssertionError(f"no end within {timeout} s; shown: {self.shown[-2000:]!r}")

    def current_modes(self):
        return termios.tcgetattr(self.terminal)
