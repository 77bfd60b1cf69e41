"""`hull container prune`, `hull system prune` and the other verbs of these two groups."""

import unittest

import harness


class PruneTest(harness.HullTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        started = cls.hull("run", "-d", "--name", "runs", "busybox", "sleep", "100000")
        assert started.status == 0, started

    def create(self, *args):
        result = self.hull("create", *args)
        self.assert_status(result, 0)
        return result.out.decode().strip()

    def container_names(self):
        return self.hull("ps", "-a", "--format", "{{.Names}}").out.decode().split()

    def images(self):
        return self.hull("images", "-n", "--format", "{{.Repository}}:{{.Tag}}").out.decode().split()

    def test_container_prune(self):
        created = self.create("--name", "created", "busybox")
        self.assert_status(self.hull("run", "--name", "exited", "busybox", "sh", "-c",
                                     "head -c 3000000 /dev/urandom >/f; sync"), 0)
        # Nobody says yes.
        asked = self.hull("container", "prune")
        self.assert_output(asked, "")
        self.assertIn(b"[y/N]", asked.err)
        self.assertEqual(sorted(self.container_names()), ["created", "exited", "runs"])
        pruned = self.hull("container", "prune", stdin=b"y\n")
        self.assert_status(pruned, 0)
        ids = pruned.out.decode().split()
        self.assertEqual(len(ids), 2)
        self.assertIn(created, ids)
        # At least what one of them wrote.
        self.assertRegex(pruned.err.decode(), r"total reclaimed space: ([3-9]|\d\d+)(\.\d+)? MB")
        self.assertEqual(self.container_names(), ["runs"])
        self.assert_output(self.hull("container", "prune", "--force"), "")
        self.assert_output(self.hull("exec", "runs", "echo", "still"), "still\n")

    def test_system_prune(self):
        old = self.create("--name", "old", "busybox")
        self.assert_status(self.hull("volume", "create", "unused"), 0)
        self.assert_status(self.hull("commit", "-q", "runs"), 0)
        self.assert_status(self.hull("commit", "-q", "runs", "named"), 0)
        self.assertIn("<none>:<none>", self.images())
        self.assert_output(self.hull("system", "prune"), "")
        pruned = self.hull("system", "prune", "-f")
        self.assert_status(pruned, 0)
        lines = pruned.out.decode().splitlines()
        self.assertEqual(lines[:3], ["Deleted Containers", old, "Deleted Images"])
        self.assertRegex(lines[3], "^sha256:[0-9a-f]{64}$")
        self.assertRegex(lines[4], r"^Total reclaimed space: [1-9][0-9.]* (kB|MB)$")
        self.assertEqual(len(lines), 5)
        self.assertEqual(sorted(self.images()), ["localhost/busybox:latest", "localhost/named:latest"])
        self.assert_status(self.hull("volume", "exists", "unused"), 0)
        # All but what a container has.
        every = self.hull("system", "prune", "-a", "--volumes", stdin=b"yes\n")
        self.assert_status(every, 0)
        self.assertIn(b"Deleted Volumes\nunused\nDeleted Images\nsha256:", every.out)
        self.assertEqual(self.images(), ["localhost/busybox:latest"])
        self.assert_status(self.hull("volume", "exists", "unused"), 1)
        self.assert_output(self.hull("system", "prune", "-a", "-f", "--volumes"),
                           "Total reclaimed space: 0 B\n")
        self.assertEqual(self.container_names(), ["runs"])

    def test_the_other_verbs_of_the_groups(self):
        self.assert_status(self.hull("container", "exists", "runs"), 0)
        self.assert_status(self.hull("container", "exists", "nobody"), 1)
        self.assert_output(self.hull("container", "ls", "-q", "--no-trunc"),
                           self.hull("ps", "-q", "--no-trunc").out.decode())
        self.assert_output(self.hull("container", "exec", "runs", "echo", "in"), "in\n")
        self.assert_error(self.hull("container", "nothing"), "unknown verb")
        self.assert_error(self.hull("system", "nothing"), "unknown verb")
        for group in ("container", "system"):
            self.assertIn(b"prune", self.hull(group, "--help").out)


if __name__ == "__main__":
    unittest.main()
