"""`hull exec`, `hull top` and `hull stats`: further processes in a container, and what runs in it."""

import json
import signal
import unittest

import harness
from pty_session import PtySession


class ExecTest(harness.HullTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        started = cls.hull("run", "-d", "--name", "box", "-e", "FROM_RUN=1", "-w", "/tmp", "busybox",
                           "sh", "-c", "sleep 100000 & echo started; wait")
        assert started.status == 0, started

    @classmethod
    def tearDownClass(cls):
        removed = cls.hull("rm", "-f", "box")
        assert removed.status == 0, removed
        super().tearDownClass()

    def exec(self, *args, **kwargs):
        return self.hull("exec", *args, **kwargs)

    def test_streams_and_status(self):
        result = self.exec("box", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assert_output(result, "out\n", status=7)
        self.assertEqual(result.err, b"err\n", str(result))

    def test_it_is_in_the_container(self):
        self.assert_output(self.exec("box", "sh", "-c",
                                     "for n in pid mnt net uts ipc; do "
                                     "[ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || "
                                     "echo other $n; done; grep -c started /proc/1/cmdline; "
                                     "echo x > /from-exec; pwd; echo $FROM_RUN; id -u"),
                           "1\n/tmp\n1\n0\n")
        self.assert_output(self.exec("box", "cat", "/from-exec"), "x\n")

    def test_environment_directory_and_user(self):
        file = self.tmp / "exec-env"
        file.write_text("FILE=f\n")
        self.assert_output(self.exec("-e", "A=1 2", "-e", "HERE", "--env-file", file, "-w", "/etc",
                                     "-u", "1000:5", "box", "sh", "-c",
                                     "echo $A $HERE $FILE $FROM_RUN; pwd; id -u; id -g",
                                     env={"HERE": "h"}),
                           "1 2 h f 1\n/etc\n1000\n5\n")

    def test_statuses(self):
        self.assert_error(self.exec("box", "nosuchcommand"), "not found in $PATH", status=127)
        self.assert_error(self.exec("box", "/tmp"), "is a directory", status=126)
        self.assert_error(self.exec("-u", "nobodyatall", "box", "true"), "unable to find user")
        self.assert_error(self.exec("-w", "/missing", "box", "true"), "/missing")
        self.assert_error(self.exec("nosuchcontainer", "true"), "nosuchcontainer")
        self.assert_error(self.exec("box"), "which command")
        self.assert_error(self.exec(), "which container")
        self.assert_error(self.exec("--bogus", "box", "true"), "--bogus")
        self.assert_status(self.exec("box", "sh", "-c", "kill -9 $$"), 137)
        self.assert_status(self.exec("--help"), 0)

    def test_standard_input(self):
        self.assert_output(self.exec("-i", "box", "cat", stdin=b"hello\n" * 100000),
                           b"hello\n" * 100000)
        self.assert_output(self.exec("box", "cat", stdin=b"ignored"), "")

    def test_many_at_once(self):
        clients = [self.spawn("exec", "box", "sh", "-c", f"echo {i}; sleep 1; exit {i}")
                   for i in range(8)]
        results = [self.finish(client) for client in clients]
        for i, result in enumerate(results):
            self.assert_output(result, f"{i}\n", status=i)

    def test_a_signal_reaches_the_process(self):
        client = self.spawn("exec", "box", "sh", "-c",
                            "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
        self.assertEqual(client.stdout.readline(), b"ready\n")
        harness.send(client, signal.SIGTERM)
        self.assert_status(self.finish(client), 9)

    def test_detached(self):
        self.assert_output(self.exec("-d", "box", "sh", "-c", "echo lost; echo kept > /detached"), "")
        self.wait_for(lambda: self.exec("box", "cat", "/detached").out == b"kept\n", "file")
        self.assert_error(self.exec("-d", "box", "nosuchcommand"), "not found", status=127)

    def test_a_killed_client_hangs_up(self):
        client = self.spawn("exec", "box", "sh", "-c", "echo ready; while echo x; do :; done; "
                            "echo ended > /hung-up")
        self.assertEqual(client.stdout.readline(), b"ready\n")
        client.kill()
        client.communicate()
        # Its writes fail: SIGPIPE ends the shell, and nothing of it is left.
        self.wait_for(lambda: b"while echo" not in self.hull("top", "box").out, "end of the process")
        self.assert_output(self.exec("box", "echo", "alive"), "alive\n")

    def test_terminal(self):
        session = PtySession([harness.HULL, "exec", "-it", "box", "sh"], self.env, 30, 90)
        self.addCleanup(session.close)
        session.expect(b"# ")
        session.type(b"stty size; tty; echo $TERM\r")
        session.expect(b"30 90\r\n/dev/pts/0\r\nxterm\r\n")
        session.resize(31, 91)
        # The size goes another way than what is typed, and may arrive behind it.
        session.type(b"until stty size | grep '^31 91$'; do sleep 0.1; done\r")
        session.expect(b"31 91\r\n")
        session.type(b"exit 4\r")
        self.assertEqual(session.wait(), 4)
        self.assertEqual(session.current_modes(), session.modes)

    def test_top(self):
        result = self.hull("top", "box")
        self.assert_status(result, 0)
        lines = result.out.decode().splitlines()
        self.assertEqual(lines[0].split(),
                         ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"])
        self.assertRegex(lines[1], r"^root +1 +0 .* sh -c sleep 100000 & echo started; wait$")
        self.assertTrue(any(line.endswith(" sleep 100000") for line in lines), str(result))
        self.assert_error(self.hull("top", "nosuchcontainer"), "nosuchcontainer")

    def test_stats(self):
        result = self.hull("stats", "--no-stream", "--format", "json", "box")
        self.assert_status(result, 0)
        (stats,) = json.loads(result.out)
        self.assertEqual(stats["name"], "box")
        self.assertEqual(stats["memory_limit_bytes"], 128 << 20)
        self.assertLess(stats["memory_used_bytes"], stats["memory_total_bytes"])
        self.assertGreater(stats["memory_used_bytes"], 0)
        self.assertGreater(stats["host_guest_memory_bytes"], 1 << 20)
        self.assertGreater(stats["host_vmm_memory_bytes"], 0)
        self.assertLess(stats["host_vmm_memory_bytes"], 16 << 20)
        self.assertGreater(stats["block_read_bytes"], 0)
        self.assertGreaterEqual(stats["processes"], 2)
        table = self.hull("stats", "--no-stream")
        self.assert_status(table, 0)
        self.assertIn(b"MEM USAGE / LIMIT", table.out)
        self.assertIn(b"box", table.out)

    def test_a_container_that_ends_takes_its_processes_along(self):
        self.assert_status(self.hull("run", "-d", "--name", "short", "busybox", "sleep", "100000"), 0)
        client = self.spawn("exec", "short", "sh", "-c", "echo ready; sleep 100000")
        self.assertEqual(client.stdout.readline(), b"ready\n")
        self.assert_status(self.hull("kill", "short"), 0)
        self.assert_status(self.finish(client), 137)
        self.assert_error(self.exec("short", "true"), "running")
        self.assert_status(self.hull("rm", "short"), 0)

    def test_in_a_foreground_container(self):
        container = self.spawn("run", "--rm", "-i", "--name", "front", "busybox", "cat",
                               stdin=-1)
        self.wait_for(lambda: self.exec("front", "true").status == 0, "container")
        self.assert_output(self.exec("front", "echo", "hi"), "hi\n")
        container.stdin.write(b"from the front\n")
        self.assert_output(self.finish(container), "from the front\n")


if __name__ == "__main__":
    unittest.main()
