"""`hull commit`: an image of what a container has become."""

import json
import unittest

import harness

CHANGE = """
set -e
mkdir /made; echo new >/made/file; chown 12:34 /made/file; chmod 4751 /made/file
ln /made/file /made/second; ln -s file /made/link; mkfifo /made/pipe
echo changed >>/etc/passwd
rm /etc/group
# Its content is in no upper layer under the new name, nor is what was put into it before.
mkdir -p /bin/sub; echo moved >/bin/sub/file; mv /bin /moved-bin; /moved-bin/busybox mkdir /bin
/moved-bin/busybox cp /moved-bin/busybox /bin/busybox
/moved-bin/busybox --install -s /bin
# A directory that hides the image's of its name.
rm -rf /root; mkdir /root; echo only >/root/only
echo not-committed >/dev/shm/x
"""


class CommitTest(harness.HullTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        started = cls.hull("run", "-d", "--name", "c", "busybox", "sleep", "100000")
        assert started.status == 0, started
        changed = cls.hull("exec", "c", "sh", "-c", CHANGE)
        assert changed.status == 0, changed

    def config(self, image):
        result = self.hull("image", "inspect", image)
        self.assert_status(result, 0)
        return json.loads(result.out)[0]

    def in_image(self, image, script):
        result = self.hull("run", "--rm", image, "sh", "-c", script)
        self.assert_status(result, 0)
        return result.out.decode()

    def test_the_new_image_has_what_the_container_had(self):
        before = self.hull("exec", "c", "busybox", "find", "/moved-bin", "/root", "/made")
        result = self.hull("commit", "-q", "-m", "a message", "-a", "me", "c", "mine:1")
        self.assert_status(result, 0)
        image_id = result.out.decode().strip()
        self.assertRegex(image_id, "^[0-9a-f]{64}$")
        self.assertEqual(self.config("mine:1")["Id"].removeprefix("sha256:"), image_id)
        listed = self.in_image("mine:1", "find /moved-bin /root /made")
        self.assertEqual(sorted(listed.split()), sorted(before.out.decode().split()))
        self.assertEqual(
            self.in_image("mine:1", """
                stat -c '%a %u:%g %h' /made/file; readlink /made/link; test -p /made/pipe && echo fifo
                cat /made/second /root/only /moved-bin/sub/file; tail -n 1 /etc/passwd
                ls /etc/group /dev/shm/x 2>&1; ls /root
                test /made/file -ef /made/second && echo linked"""),
            "4751 12:34 2\nfile\nfifo\nnew\nonly\nmoved\nchanged\n"
            "ls: /etc/group: No such file or directory\nls: /dev/shm/x: No such file or directory\n"
            "only\nlinked\n")
        history = self.hull("history", "--no-trunc", "mine:1")
        self.assertIn(b"sleep 100000", history.out, str(history))
        # The parent's layers are its own, so that they are shared where images are sent.
        parent, child = self.config("busybox"), self.config("mine:1")
        self.assertEqual(child["RootFS"]["Layers"][:-1], parent["RootFS"]["Layers"])

    def test_diff_tells_what_is_in_the_layer(self):
        diff = self.hull("diff", "c")
        self.assert_status(diff, 0)
        lines = diff.out.decode().splitlines()
        for line in ("A /moved-bin", "A /moved-bin/busybox", "A /moved-bin/sub/file", "C /bin",
                     "C /bin/busybox", "A /made/second", "C /etc/passwd", "D /etc/group", "A /root/only"):
            self.assertIn(line, lines)
        self.assertEqual(len(set(lines)), len(lines))

    def test_what_a_change_says(self):
        result = self.hull("commit", "-q", "-c", 'CMD ["sh", "-c", "echo $A $B; pwd; id -u"]',
                           "--change", "ENV A=1 B='2 3'", "-c", "WORKDIR=/made", "-c", "USER 12",
                           "-c", "LABEL l=v", "-c", "EXPOSE 80", "c", "changed")
        self.assert_status(result, 0)
        self.assert_output(self.hull("run", "--rm", "changed"), "1 2 3\n/made\n12\n")
        config = self.config("changed")["Config"]
        self.assertEqual(config["Labels"]["l"], "v")
        self.assertEqual(list(config["ExposedPorts"]), ["80/tcp"])

    def test_without_a_name_and_again(self):
        first = self.hull("commit", "-q", "c")
        self.assert_status(first, 0)
        self.assert_output(self.hull("run", "--rm", first.out.decode().strip(), "cat", "/root/only"),
                           "only\n")
        # Of a container of a committed image, with the name of its own.
        self.assert_status(self.hull("commit", "-q", "c", "again"), 0)
        self.assert_status(self.hull("run", "-d", "--name", "d", "again", "sleep", "100000"), 0)
        self.assert_status(self.hull("exec", "d", "sh", "-c", "echo 2 >/two; rm /root/only"), 0)
        self.assert_status(self.hull("commit", "-q", "d", "again"), 0)
        self.assert_output(self.hull("run", "--rm", "again", "sh", "-c", "cat /two; ls /root"), "2\n")
        paused = self.hull("pause", "d")
        self.assert_status(paused, 0)
        self.assert_error(self.hull("commit", "d", "no"), "unpause it first")
        self.assert_status(self.hull("rm", "-f", "d"), 0)

    def test_what_cannot_be_is_said(self):
        self.assert_status(self.hull("create", "--name", "created", "busybox"), 0)
        for args, words in ((("created", "x"), "start it first"),
                            (("nobody", "x"), "no such container"),
                            (("-c", "RUN ls", "c", "x"), "WORKDIR"),
                            (("c", "UPPER CASE"), "UPPER CASE")):
            self.assert_error(self.hull("commit", *args), words)
        self.assert_status(self.hull("rm", "created"), 0)
        warned = self.hull("commit", "-q", "-p", "c", "warned")
        self.assert_status(warned, 0)
        self.assertIn(b"not paused", warned.err)
        self.assertNotIn(b" x ", self.hull("images").out)


if __name__ == "__main__":
    unittest.main()
