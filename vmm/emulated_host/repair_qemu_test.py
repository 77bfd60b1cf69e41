#!/usr/bin/env python3
"""Tests of repair_qemu.py."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import repair_qemu  # noqa: E402

BEFORE, AFTER = bytes(range(256)) * 8, bytes(range(255, -1, -1)) * 8
CODE = bytes.fromhex("410fb6f4 4489ab80330000 89b354efffff c7838433000000000000"
                     "48c78388330000ffffffff f605ba45b60002 0f856c010000"
                     "ba01000000 4889df e8a74f0500")
REPAIRED = bytes.fromhex("410fb6f4 4489ab80330000 660f1f440000 c7838433000000000000"
                         "48c78388330000ffffffff f605ba45b60002 0f856c010000"
                         "ba01000000 4889df e8a74f0500")


class RepairTest(unittest.TestCase):

    def test_one_store_is_taken_out(self):
        self.assertEqual(repair_qemu.repair(BEFORE + CODE + AFTER), BEFORE + REPAIRED + AFTER)

    def test_what_is_not_known_is_refused(self):
        for program in [BEFORE, CODE + AFTER + CODE, BEFORE + REPAIRED + AFTER]:
            with self.assertRaises(ValueError):
                repair_qemu.repair(program)


class InstallTest(unittest.TestCase):

    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.qemu = self.root / "usr" / "bin" / "qemu"
        self.qemu.parent.mkdir(parents=True)
        self.qemu.write_bytes(CODE)
        self.prefix = self.root / "copy"
        self.copy = self.prefix / "bin" / "qemu"

    def test_the_copy_finds_its_firmware_and_says_what_it_was_made_of(self):
        (self.root / "usr" / "share").mkdir()
        self.assertEqual(repair_qemu.main([str(self.prefix), str(self.qemu)]), 0)
        self.assertEqual(self.copy.read_bytes(), REPAIRED)
        self.assertTrue((self.copy.parent / ".." / "share").samefile(self.root / "usr" / "share"))
        size, seconds, path = (self.prefix / "of").read_text().rstrip("\n").split(" ")
        self.assertEqual((int(size), int(seconds), path),
                         (len(CODE), int(self.qemu.stat().st_mtime), str(self.qemu)))

    def test_it_is_made_again_only_for_another_qemu(self):
        repair_qemu.install(self.qemu, self.prefix)
        inode = self.copy.stat().st_ino
        repair_qemu.install(self.qemu, self.prefix)
        self.assertEqual(self.copy.stat().st_ino, inode)
        self.qemu.write_bytes(CODE + AFTER)
        repair_qemu.install(self.qemu, self.prefix)
        self.assertEqual(self.copy.read_bytes(), REPAIRED + AFTER)

    def test_of_one_that_is_not_known_no_copy_is_left(self):
        repair_qemu.install(self.qemu, self.prefix)
        self.qemu.write_bytes(BEFORE)
        self.assertEqual(repair_qemu.main([str(self.prefix), str(self.qemu)]), 1)
        self.assertFalse(self.prefix.exists())


if __name__ == "__main__":
    unittest.main()
