"""`hull run -t`: a real terminal at both ends."""

import os
import signal
import unittest

import harness
from pty_session import PtySession


class TerminalTest(harness.HullTestCase):

    def session(self, *args, rows=24, columns=80):
        session = PtySession([harness.HULL, *args], self.env, rows, columns)
        self.addCleanup(session.close)
        return session

    def assert_modes_restored(self, session):
        self.assertEqual(session.current_modes(), session.modes)

    def test_size_and_kind(self):
        session = self.session("run", "--rm", "-it", "busybox", "sh", "-c",
                               "stty size; tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; "
                               "echo $TERM; echo console > /dev/console; exit 7",
                               rows=33, columns=111)
        session.expect(b"33 111\r\n/dev/pts/0\r\nall\r\nxterm\r\nconsole\r\n")
        self.assertEqual(session.wait(), 7)
        self.assert_modes_restored(session)
        self.assert_nothing_left()

    def test_a_shell(self):
        session = self.session("run", "--rm", "-it", "busybox", "sh")
        session.expect(b"# ")
        session.type(b"echo $((6 * 7))\r")
        session.expect(b"\r\n42\r\n")
        session.type(b"exit 3\r")
        self.assertEqual(session.wait(), 3)
        self.assert_modes_restored(session)

    def test_control_c_goes_to_the_process(self):
        session = self.session("run", "--rm", "-it", "busybox", "sh", "-c",
                               "trap 'echo interrupted; exit 5' INT; echo ready; "
                               "while :; do sleep 0.1; done")
        session.expect(b"ready\r\n")
        session.type(b"\x03")
        session.expect(b"^Cinterrupted\r\n")
        self.assertEqual(session.wait(), 5)
        self.assert_modes_restored(session)

    def test_resize(self):
        session = self.session("run", "--rm", "-it", "busybox", "sh", "-c",
                               "trap 'stty size; exit 4' WINCH; echo ready; "
                               "while :; do sleep 0.1; done")
        session.expect(b"ready\r\n")
        session.resize(50, 132)
        session.expect(b"50 132\r\n")
        self.assertEqual(session.wait(), 4)

    def test_all_output_comes(self):
        session = self.session("run", "--rm", "-t", "busybox", "seq", "1", "20000")
        self.assertEqual(session.wait(), 0)
        # Without -i this terminal keeps its modes, and adds carriage returns of its own.
        self.assertEqual(session.shown.split(), [b"%d" % i for i in range(1, 20001)])

    def test_modes_are_restored_after_a_signal(self):
        session = self.session("run", "--rm", "-it", "busybox", "sh", "-c",
                               "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
        session.expect(b"ready\r\n")
        os.kill(session.pid, signal.SIGTERM)
        self.assertEqual(session.wait(), 9)
        self.assert_modes_restored(session)

    def test_a_command_that_is_not_there(self):
        session = self.session("run", "--rm", "-it", "busybox", "nosuchcommand")
        self.assertEqual(session.wait(), 127)
        self.assertIn(b"executable file not found", session.shown)
        self.assert_modes_restored(session)

    def test_without_i_what_is_typed_stays_here(self):
        session = self.session("run", "--rm", "-t", "busybox", "sh", "-c",
                               "echo ready; read -t 2 line; echo got:$line:")
        session.expect(b"ready")
        session.type(b"typed\r")
        session.expect(b"got::")
        self.assertEqual(session.wait(), 0)

    def test_a_client_that_is_killed_takes_its_container_along(self):
        session = self.session("run", "--rm", "-it", "busybox", "sh")
        session.expect(b"# ")
        os.kill(session.pid, signal.SIGKILL)
        self.assertEqual(session.wait(), 128 + signal.SIGKILL)
        self.assert_nothing_left(deadline=60)

    def test_detach_and_attach_again(self):
        session = self.session("run", "--rm", "-it", "--name", "detached", "busybox", "sh")
        session.expect(b"# ")
        session.type(b"a=kept-$((1 + 2))\r")
        session.expect(b"# ")
        session.type(b"\x10\x11")
        self.assertEqual(session.wait(), 0)
        self.assert_modes_restored(session)
        again = self.session("attach", "detached", rows=40, columns=100)
        again.type(b"echo $a; stty size\r")
        again.expect(b"kept-3\r\n40 100\r\n")
        again.type(b"exit 6\r")
        self.assertEqual(again.wait(), 6)
        self.assert_modes_restored(again)
        self.assert_nothing_left()

    def test_other_detach_keys(self):
        session = self.session("run", "--rm", "-it", "--detach-keys", "ctrl-x,x", "--name", "keys",
                               "busybox", "sh")
        session.expect(b"# ")
        session.type(b"\x10\x11echo $((20 + 1))\r")
        session.expect(b"21\r\n")
        session.type(b"\x18x")
        self.assertEqual(session.wait(), 0)
        self.assert_status(self.hull("rm", "-f", "keys"), 0)
        self.assert_error(self.hull("run", "-it", "--detach-keys", "bogus", "busybox"), "is no key")


if __name__ == "__main__":
    unittest.main()
