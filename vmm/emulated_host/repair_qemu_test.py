#!/usr/bin/env python3
"""Tests of repair_qemu.py."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import repair_qemu  # noqa: E402

BEFORE, AFTER = bytes(range(256)) * 8, bytes(range(255, -1, -1)) * 8
# The five places as Debian's QEMU 7.2 has them, and what they become.
INJECT = bytes.fromhex("410fb6f4 4489ab80330000 89b354efffff c7838433000000000000"
                       "48c78388330000ffffffff f605ba45b60002 0f856c010000"
                       "ba01000000 4889df e8a74f0500")
SET = bytes.fromhex("740a 818b28edffff00010000 f683b200000020")
CLEAR = bytes.fromhex("f30f7e83b0000000 81a328edfffffffeffff c7831834000000000000")
RESET = bytes.fromhex("84c0 7412 219dd8000000 4883c408 5b 5d c3 0f1f440000 be4c000000")
CODE = INJECT + SET + CLEAR + RESET
REPAIRED = bytes.fromhex("410fb6f4 4489ab80330000 660f1f440000 c7838433000000000000"
                         "48c78388330000ffffffff f605ba45b60002 0f856c010000"
                         "ba01000000 4889df e8a74f0500"
                         "740a f0808b29edffff01 6690 f683b200000020"
                         "f30f7e83b0000000 f080a329edfffffe 6690 c7831834000000000000"
                         "84c0 7412 f0219dd8000000 4883c408 5b 5d c3 0f1f4000 be4c000000")
# A word of another structure, which is nobody's business.
OTHER_SET = bytes.fromhex("818b30edffff00010000")
MODULE = bytes.fromhex("84c0 7524 4c8d05ee170000 488d0d8e180000 ba51000000 31ff 488d3518180000 e80bf9ffff"
                       "0f1f00 09abd8000000 4889df")
REPAIRED_MODULE = bytes.fromhex("84c0 7523 4c8d05ee170000 488d0d8e180000 ba51000000 31ff 488d3518180000 e80bf9ffff"
                                "9090 f009abd8000000 4889df")


class RepairTest(unittest.TestCase):

    def test_one_store_is_taken_out_and_changes_of_the_shared_word_are_atomic(self):
        self.assertEqual(repair_qemu.repair(BEFORE + CODE + AFTER), BEFORE + REPAIRED + AFTER)
        self.assertEqual(repair_qemu.repair(OTHER_SET + CODE), OTHER_SET + REPAIRED)
        self.assertEqual(repair_qemu.repair_accelerator(BEFORE + MODULE + AFTER), BEFORE + REPAIRED_MODULE + AFTER)

    def test_what_is_not_known_is_refused(self):
        places = [INJECT, SET, CLEAR, RESET]
        incomplete = [b"".join(places[:i] + places[i + 1:]) for i in range(len(places))]
        for program in [BEFORE, CODE + AFTER + CODE, BEFORE + REPAIRED + AFTER, OTHER_SET + INJECT + CLEAR + RESET,
                        *incomplete, *(CODE + place for place in places)]:
            with self.assertRaises(ValueError):
                repair_qemu.repair(program)
        for module in [BEFORE, MODULE + MODULE, REPAIRED_MODULE]:
            with self.assertRaises(ValueError):
                repair_qemu.repair_accelerator(module)


class InstallTest(unittest.TestCase):

    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.qemu = self.root / "usr" / "bin" / "qemu"
        self.qemu.parent.mkdir(parents=True)
        self.qemu.write_bytes(CODE)
        self.modules = self.root / "usr" / "lib" / "triplet" / "qemu"
        self.modules.mkdir(parents=True)
        (self.modules / "accel-tcg-x86_64.so").write_bytes(MODULE)
        (self.modules / "ui-curses.so").write_bytes(b"other")
        self.prefix = self.root / "copy"
        self.copy = self.prefix / "bin" / "qemu"

    def test_the_copy_finds_its_modules(self):
        repair_qemu.install(self.qemu, self.prefix)
        copies = self.prefix / "lib" / "triplet" / "qemu"
        self.assertEqual((copies / "accel-tcg-x86_64.so").read_bytes(), REPAIRED_MODULE)
        self.assertTrue((copies / "ui-curses.so").samefile(self.modules / "ui-curses.so"))

    def test_without_its_module_there_is_no_copy(self):
        (self.modules / "accel-tcg-x86_64.so").unlink()
        self.assertEqual(repair_qemu.main([str(self.prefix), str(self.qemu)]), 1)
        self.assertFalse(self.prefix.exists())

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
        (self.prefix / "repairs").write_text("other\n")
        self.copy.write_bytes(b"of other repairs")
        repair_qemu.install(self.qemu, self.prefix)
        self.assertEqual(self.copy.read_bytes(), REPAIRED)
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
