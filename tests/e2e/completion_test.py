"""What `hull __complete` offers of the containers, images and volumes that there are."""

import unittest

import harness


class CompletionTest(harness.HullTestCase):

    def candidates(self, *words):
        result = self.hull("__complete", *words)
        self.assert_status(result, 0)
        self.assertEqual(result.err, b"")
        return result.out.decode().split()

    def test_containers_in_the_state_that_a_verb_needs(self):
        self.assert_status(self.hull("create", "--name", "c-idle", "busybox", "true"), 0)
        for name in ["c-busy", "c-held"]:
            self.assert_status(
                self.hull("run", "-d", "--name", name, "busybox", "sleep", "1000"), 0)
        self.assert_status(self.hull("pause", "c-held"), 0)
        for verb in ["exec", "stop", "pause", "attach"]:
            self.assertEqual(self.candidates(verb, "c-"), ["c-busy"], verb)
        self.assertEqual(self.candidates("unpause", "c-"), ["c-held"])
        self.assertEqual(self.candidates("start", "c-"), ["c-idle"])
        self.assertEqual(self.candidates("container", "kill", "c-"), ["c-busy", "c-held"])
        self.assertEqual(self.candidates("rm", "c-"), ["c-busy", "c-held", "c-idle"])
        self.assertEqual(self.candidates("cp", "c-"), [":files", "c-busy:"])
        container_id = self.hull("inspect", "-f", "{{.Id}}", "c-busy").out.decode().strip()
        self.assertEqual(self.candidates("stop", container_id[:6]), [container_id[:12]])
        self.assertEqual(self.candidates("exec", "c-busy", ""), [])
        self.assert_status(self.hull("rm", "-f", "c-idle", "c-busy", "c-held"), 0)
        self.assertEqual(self.candidates("rm", "c-"), [])

    def test_images_and_volumes(self):
        self.assert_status(self.hull("run", "--rm", "busybox", "true"), 0)
        self.assertIn("busybox", self.candidates("run", "b"))
        self.assertEqual(self.candidates("rmi", "busybox:l"), ["busybox:latest"])
        self.assert_status(self.hull("volume", "create", "c-disk"), 0)
        self.assertEqual(self.candidates("volume", "rm", "c-"), ["c-disk"])
        self.assertEqual(self.candidates("run", "-v", "c-"), ["c-disk:"])
        self.assert_status(self.hull("volume", "rm", "c-disk"), 0)


if __name__ == "__main__":
    unittest.main()
