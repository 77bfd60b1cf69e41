#!/usr/bin/env python3
"""Every program of the product is hardened, and the check sees one that is not."""

import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

import elf_hardening

PROGRAMS = []

SOURCE = """
#include <cstdio>
#include <cstring>
namespace hull {
void Greet(const char* name) {
  char text[64];
  strcpy(text, name);
  puts(text);
}
}  // namespace hull
int main(int argc, char** argv) { hull::Greet(argv[argc - 1]); }
"""
HARD = ["-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3", "-fstack-protector-strong",
        "-fcf-protection=full", "-fPIE", "-fno-inline", "-static-pie",
        "-Wl,-z,relro,-z,now,-z,noexecstack"]


class Hardening(unittest.TestCase):
    def test_programs_of_the_product(self):
        self.assertEqual(len(PROGRAMS), 5)
        for program in PROGRAMS:
            with self.subTest(program=program):
                name = pathlib.Path(program).name
                # Each call of hull-display has sizes that are known when it is compiled, so that the
                # compiler leaves all checks out.
                found = elf_hardening.findings(program,
                                               static=name not in ("hull-unpack", "hull-display"),
                                               fortified=name != "hull-display")
                self.assertEqual(found, [])


class TheCheck(unittest.TestCase):
    def build(self, *options):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        source = pathlib.Path(directory.name, "soft.cc")
        source.write_text(SOURCE, encoding="utf-8")
        binary = pathlib.Path(directory.name, "soft")
        subprocess.run(["g++", *options, "-o", binary, source], check=True, timeout=120,
                       stderr=subprocess.DEVNULL)
        return str(binary)

    def test_finds_nothing_in_a_hard_program(self):
        self.assertEqual(elf_hardening.findings(self.build(*HARD)), [])

    def test_finds_what_each_option_does(self):
        for options, finding in (
            (["-static", "-fno-pie", "-no-pie"], "it is not position-independent"),
            (["-pie"], "it is linked dynamically"),
            (["-Wl,-z,norelro"], "it has no RELRO segment"),
            (["-pie", "-Wl,-z,lazy"], "its symbols are bound lazily, so RELRO is not full"),
            (["-Wl,-z,execstack"], "its stack is executable"),
            (["-pie", "-fno-stack-protector"], "it has no stack protector"),
            (["-pie", "-D_FORTIFY_SOURCE=0"], "no call is fortified (_FORTIFY_SOURCE)"),
            (["-s"], "it has no symbols of Hull to look at"),
        ):
            with self.subTest(options=options):
                base = [o for o in HARD if o != "-static-pie" or not {"-pie", "-static"} & {*options}]
                self.assertIn(finding, elf_hardening.findings(self.build(*base, *options)))

    def test_finds_a_writable_and_executable_segment(self):
        path = pathlib.Path(self.build(*HARD))
        content = bytearray(path.read_bytes())
        (table,) = struct.unpack_from("<Q", content, 32)
        size, count = struct.unpack_from("<HH", content, 54)
        for header in range(table, table + size * count, size):
            kind, flags = struct.unpack_from("<II", content, header)
            if kind == 1 and flags & 1:  # PT_LOAD, PF_X
                struct.pack_into("<I", content, header + 4, flags | 2)  # PF_W
        path.write_bytes(content)
        self.assertEqual(elf_hardening.findings(str(path)),
                         ["a segment is both writable and executable"])

    def test_finds_missing_control_flow_protection(self):
        found = elf_hardening.findings(self.build(*HARD, "-fcf-protection=none"))
        self.assertEqual(len(found), 1, found)
        self.assertIn("lack control-flow protection, such as _ZN4hull5Greet", found[0])


if __name__ == "__main__":
    PROGRAMS = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
