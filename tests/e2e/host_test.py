"""`hull host`: the emulated host's own verbs, and what survives its stop."""

import os
import pathlib
import time
import unittest

import harness
import oci


class HostTest(harness.HullTestCase):

    def setUp(self):
        if not self.emulated:
            self.fail("this machine has hardware virtualisation; run these tests with "
                      "HULL_EMULATED_HOST=always")

    def test_status(self):
        result = self.hull("host", "status")
        self.assert_status(result, 0)
        self.assertIn(b"running", result.out)

    def test_images_survive_a_stop(self):
        layout = oci.Layout(self.tmp / "kept", [oci.layer(*oci.busybox_entries())], name="kept:1")
        self.assert_status(self.hull("load", layout.path), 0)
        self.assert_status(self.hull("host", "stop"), 0)
        self.assertNotEqual(self.hull("host", "status").out.find(b"stopped"), -1)
        # Starts again by itself.
        self.assert_output(self.hull("run", "--rm", "kept:1", "echo", "kept"), "kept\n")

    def test_exit_status_of_the_inner_command(self):
        self.assert_status(self.hull("host", "shell", "-c", "exit 23"), 23)
        self.assert_status(self.hull("host", "exec", "--", "/bin/sh", "-c", "kill -TERM $$"), 143)

    def test_stop_leaves_nothing(self):
        self.assert_status(self.hull("host", "stop"), 0)
        self.assertEqual(self.processes_of_this_host(), [])
        self.assertEqual([path for path in self.root.rglob("*") if path.is_socket()], [])
        # Stopping what is stopped is no error.
        self.assert_status(self.hull("host", "stop"), 0)

    def test_two_that_find_it_down(self):
        self.assert_status(self.hull("host", "stop"), 0)
        processes = [self.spawn("run", "--rm", "busybox", "echo", str(i)) for i in range(3)]
        for i, process in enumerate(processes):
            self.assert_output(self.finish(process), f"{i}\n")
        machines = [name for name in self.processes_of_this_host() if "qemu" in name]
        self.assertEqual(len(machines), 1, machines)

    def processes_of_this_host(self):
        """Command lines that name this test's store, but for the test's own."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(self.root) in line and int(process.name) != os.getpid():
                found.append(line)
        return found

    def test_second_command_needs_no_new_start(self):
        # The bound of an already prepared machine; a start of the emulated host is not part of it.
        self.hull("run", "--rm", "busybox", "true")
        start = time.monotonic()
        self.assert_output(self.hull("run", "--rm", "busybox", "echo", "hi"), "hi\n")
        print(f"hull run in the emulated host: {time.monotonic() - start:.1f} s of wall time")


if __name__ == "__main__":
    unittest.main()
