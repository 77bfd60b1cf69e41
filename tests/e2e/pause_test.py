"""`hull pause` and `hull unpause`: the whole microVM, and what other verbs do about one that is paused."""

import unittest

import harness


class PauseTest(harness.HullTestCase):

    def start(self, name):
        self.assert_status(self.hull("run", "-d", "--name", name, "busybox", "sh", "-c",
                                     "n=0; while :; do n=$((n + 1)); echo $n; usleep 20000; done"), 0)
        self.wait_for(lambda: len(self.lines(name)) > 2, "the first lines")

    def lines(self, name):
        result = self.hull("logs", name)
        self.assert_status(result, 0)
        return result.out.split()

    def status(self, name):
        return self.hull("inspect", "-f", "{{.State.Status}} {{.State.Paused}}", name).out.decode()

    def test_a_paused_container_does_nothing_until_it_is_unpaused(self):
        self.start("p1")
        self.assert_output(self.hull("pause", "p1"), "p1\n")
        self.assertEqual(self.status("p1"), "paused true\n")
        listed = self.hull("ps", "--format", "{{.Names}} {{.Status}}", "--filter", "status=paused")
        self.assert_output(listed, "p1 Paused\n")
        # What was on its way when it paused arrives, and then nothing.
        last = []
        def quiet():
            nonlocal last
            now = self.lines("p1")
            same, last = now == last, now
            return same
        self.wait_for(quiet, "the end of the output")
        self.assert_output(self.hull("run", "--rm", "busybox", "echo", "other"), "other\n")
        self.assertEqual(self.lines("p1"), last)

        self.assert_error(self.hull("pause", "p1"), "is already paused: container state improper")
        self.assert_error(self.hull("exec", "p1", "true"), "only create exec sessions on running")
        self.assert_error(self.hull("top", "p1"), "top can only be used on running containers")
        self.assert_error(self.hull("stop", "p1"), "is in state paused", "can only stop")
        self.assert_error(self.hull("start", "p1"), "is in state paused")
        self.assert_status(self.hull("rm", "p1"), 2)

        self.assert_output(self.hull("unpause", "p1"), "p1\n")
        self.assertEqual(self.status("p1"), "running false\n")
        self.wait_for(lambda: len(self.lines("p1")) > len(last) + 2, "further lines")
        self.assert_output(self.hull("exec", "p1", "echo", "again"), "again\n")
        self.assert_error(self.hull("unpause", "p1"), "is not paused, can't unpause")
        self.assert_status(self.hull("rm", "-f", "p1"), 0)

    def test_a_paused_container_can_be_killed_and_removed(self):
        self.start("p2")
        self.start("p3")
        # All that run, and no others.
        paused = self.hull("pause", "-a")
        self.assert_status(paused, 0)
        self.assertEqual(len(paused.out.split()), 2)
        self.assert_output(self.hull("kill", "p2"), "p2\n")
        self.assert_output(self.hull("wait", "p2"), "137\n")
        self.assert_error(self.hull("pause", "p2"), "not running, can't pause")
        self.assert_output(self.hull("rm", "-f", "p3"), "p3\n")
        self.assert_status(self.hull("rm", "p2"), 0)
        self.assert_output(self.hull("unpause", "-a"), "")

    def test_a_signal_waits_for_the_end_of_the_pause(self):
        self.assert_status(self.hull("run", "-d", "--name", "p4", "busybox", "sh", "-c",
                                     "trap 'exit 9' TERM; echo up; while :; do usleep 20000; done"), 0)
        self.wait_for(lambda: self.lines("p4"), "the trap")
        self.assert_status(self.hull("pause", "p4"), 0)
        self.assert_status(self.hull("kill", "-s", "TERM", "p4"), 0)
        self.assertEqual(self.status("p4"), "paused true\n")
        self.assert_status(self.hull("unpause", "p4"), 0)
        self.assert_output(self.hull("wait", "p4"), "9\n")
        self.assert_status(self.hull("rm", "p4"), 0)

    def test_names_are_needed(self):
        self.assert_error(self.hull("pause"), "give either names of containers or --all")
        self.assert_error(self.hull("unpause", "nobody"), "nobody")


if __name__ == "__main__":
    unittest.main()
