"""`hull-vmm` used alone, with specs, kernels and disks that are right and wrong."""

import json
import pathlib
import struct
import subprocess
import unittest

import harness


def elf(segments, entry=0x1000000, machine=62, magic=b"\x7fELF"):
    """An ELF64 executable with these (paddr, file bytes, memsz) PT_LOAD segments."""
    header = struct.pack("<4sBBBBB7xHHIQQQIHHHHHH", magic, 2, 1, 1, 0, 0, 2, machine, 1, entry, 64, 0,
                         0, 64, 56, len(segments), 0, 0, 0)
    offset = 0x1000
    program, body = b"", b""
    for paddr, data, memsz in segments:
        program += struct.pack("<IIQQQQQQ", 1, 7, offset + len(body), paddr, paddr, len(data), memsz,
                               0x1000)
        body += data + bytes(-len(data) % 0x1000)
    return (header + program).ljust(0x1000, b"\0") + body


HALT = b"\xfa\xf4\xeb\xfe" + bytes(60)


class VmmTest(harness.HullTestCase):

    def setUp(self):
        self.dir = pathlib.Path(self.tmp) / self.id().rsplit(".", 1)[1]
        self.dir.mkdir()

    def spec(self, **changes):
        machine = {
            "version": 1,
            "machine": "micro",
            "vcpus": 1,
            "memory_bytes": 128 << 20,
            "kernel": {"path": str(harness.PREFIX / "share" / "vmlinux")},
            "initramfs": {"path": str(harness.PREFIX / "share" / "initramfs.cpio")},
            "cmdline": "quiet",
        }
        machine.update(changes)
        path = self.dir / "machine.json"
        path.write_text(json.dumps({k: v for k, v in machine.items() if v is not None}))
        return path

    def vmm(self, spec, timeout=harness.TIMEOUT):
        return self.on_host(f"exec {harness.HULL_VMM} --spec '{spec}'", timeout=timeout)

    def assert_refused(self, spec, *words, status=64):
        result = self.vmm(spec)
        self.assert_error(result, *words, status=status)

    def test_agent_without_a_host_powers_off(self):
        # No vsock: the agent has nobody to talk to and ends the machine, rather than hang.
        self.assert_status(self.vmm(self.spec()), 0)

    def test_console(self):
        result = self.vmm(self.spec(console={"fd": 1}, cmdline="loglevel=7"))
        self.assert_status(result, 0)
        self.assertIn(b"Linux version 6.12", result.out)

    def test_panic(self):
        # No root and no init: the kernel panics.
        result = self.vmm(self.spec(initramfs=None, console={"fd": 1}, cmdline="console=ttyS0"))
        self.assert_status(result, 67)
        self.assertIn(b"panic", result.err.lower(), str(result))

    def test_vsock(self):
        """Both directions, against the real guest kernel; vsock_peer.cc has the cases."""
        peer = harness.REPO / ".bazel" / "bin" / "tests" / "e2e" / "vsock_peer"
        (self.dir / "init").write_bytes(peer.read_bytes())
        (self.dir / "init").chmod(0o755)
        with open(self.dir / "peer.cpio", "wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=self.dir, input=b"init\n",
                           stdout=out, check=True, timeout=60)
        # Unix sockets cannot be on the file system that the emulated host shares.
        result = self.on_host("mktemp -d /dev/shm/hull-vsock-test.XXXXXX")
        sockets = result.out.decode().strip()
        spec = self.spec(initramfs={"path": str(self.dir / "peer.cpio")},
                         vsock={"guest_cid": 3, "host_socket": f"{sockets}/v"})
        result = self.on_host(f"""
            '{self.dir}/init' {sockets}/v & peer=$!
            while ! [ -S {sockets}/v_2005 ] && kill -0 $peer; do sleep 0.1; done
            timeout 300 {harness.HULL_VMM} --spec '{spec}'; status=$?
            [ $status = 0 ] || kill $peer
            wait $peer
            rm -r {sockets}
            exit $status""", timeout=330)
        self.assert_status(result, 0)
        lines = result.out.decode().splitlines()
        self.assertEqual([line for line in lines if line.startswith("FAIL")], [], str(result))
        self.assertEqual(lines[-1:], ["end"], str(result))
        self.assertGreater(len(lines), 15, str(result))

    def test_version_and_unknown_fields(self):
        self.assert_refused(self.spec(version=2), "version")
        self.assert_refused(self.spec(version=None), "version")
        self.assert_refused(self.spec(colour="blue"), "colour")
        self.assert_refused(self.spec(kernel={"path": "x", "extra": 1}), "extra")
        self.assert_refused(self.spec(machine="mainframe"), "mainframe")
        self.assert_refused(self.spec(vcpus="two"), "vcpus")
        self.assert_refused(self.spec(vcpus=0), "vcpus")
        self.assert_refused(self.spec(vcpus=1000), "vcpus")
        self.assert_refused(self.spec(memory_bytes=1 << 20), "memory")
        self.assert_refused(self.spec(memory_bytes=10 << 40), "memory")
        self.assert_refused(self.spec(memory_bytes=-1), "memory")
        self.assert_refused(self.spec(cmdline="x" * 100000), "cmdline")
        (self.dir / "cut.json").write_text('{"version": 1, ')
        self.assert_refused(self.dir / "cut.json", "cut.json")
        self.assert_refused(self.dir / "absent.json", "absent.json")

    def test_kernels(self):
        cases = {
            "neither ELF nor bzImage": (b"#!/bin/sh\n" + bytes(5000), []),
            "empty": (b"", []),
            "cut": (elf([(0x1000000, HALT, 64)])[:100], []),
            "another machine": (elf([(0x1000000, HALT, 64)], machine=40), []),
            "overlap": (elf([(0x1000000, HALT * 128, 0x3000), (0x1001000, HALT, 64)]), ["overlap"]),
            "wraps": (elf([(0xfffffffffffff000, HALT, 0x2000)]), []),
            "beyond memory": (elf([(0x40000000, HALT, 64)], entry=0x40000000), ["memory"]),
            "memory size wraps": (elf([(0x1000000, HALT, 0xffffffffffffffff)]), []),
            "low": (elf([(0x0, HALT, 64)], entry=0), []),
        }
        for name, (data, words) in cases.items():
            with self.subTest(name):
                path = self.dir / "kernel"
                path.write_bytes(data)
                result = self.vmm(self.spec(kernel={"path": str(path)}))
                self.assertIn(result.status, (64, 65), str(result))
                self.assert_error(result, "kernel", *words, status=result.status)

    def test_disks(self):
        empty = self.dir / "empty"
        empty.write_bytes(b"")
        odd = self.dir / "odd"
        odd.write_bytes(bytes(1000))
        for path, words in [(self.dir / "absent", ["absent"]), (empty, ["empty"]),
                            (odd, ["odd", "512"]), (self.dir, [])]:
            with self.subTest(path.name):
                result = self.vmm(self.spec(block=[{"id": "d", "path": str(path),
                                                    "read_only": True}]))
                self.assertIn(result.status, (64, 65), str(result))
                self.assert_error(result, *words, status=result.status)

    def test_help_and_bad_flags(self):
        result = self.command([harness.HULL_VMM, "--help"])
        self.assertIn(b"--spec", result.out + result.err)
        result = self.command([harness.HULL_VMM])
        self.assert_error(result, "--spec", status=64)


if __name__ == "__main__":
    unittest.main()
