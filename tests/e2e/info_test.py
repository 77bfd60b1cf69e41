"""`hull info`: the machine as Hull sees it."""

import json
import os

import harness


class InfoTest(harness.HullTestCase):

    def info(self):
        result = self.hull("info", "--format", "json")
        self.assert_status(result, 0)
        return json.loads(result.out)

    def finding(self, topic):
        (found,) = [f for f in self.info()["isolation"] if f["topic"] == topic]
        return found

    def test_tells_what_and_where(self):
        info = self.info()
        self.assertEqual(info["kernel"], os.uname().release)
        self.assertEqual(info["cpus"], os.cpu_count())
        self.assertEqual(info["root"], str(self.root))
        self.assertEqual(info["machines"]["place"], "emulated host" if self.emulated else "here")
        for finding in info["isolation"]:
            self.assertIn(finding["verdict"], ("good", "note", "BAD"))
            self.assertEqual(finding["verdict"] == "good", finding["advice"] == "", finding)

    def test_the_text_says_the_same(self):
        text = self.hull("info").out.decode()
        for finding in self.info()["isolation"]:
            self.assertIn(f"{finding['verdict']:4}  {finding['topic']:16} {finding['found']}", text)
            self.assertIn(finding["advice"], text)

    def test_state_that_others_can_write_is_seen(self):
        self.assertEqual(self.finding("state")["verdict"], "good")
        mode = self.root.stat().st_mode
        self.addCleanup(os.chmod, self.root, mode)
        os.chmod(self.root, 0o777)
        finding = self.finding("state")
        self.assertEqual(finding["verdict"], "BAD")
        self.assertIn(f"{self.root} can be written by others", finding["found"])

    def test_bad_flags(self):
        self.assert_error(self.hull("info", "--format", "yaml"), "yaml", "hull info --help")
        self.assert_error(self.hull("info", "more"), "more")
