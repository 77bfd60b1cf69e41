"""A Debian image, made by mmdebstrap and put together by umoci, as a Hull container sees it: file by file
the same as umoci unpacks it, from an OCI layout and from a docker-archive that skopeo writes; and apt and
dpkg work in it.

The Debian base is made once and kept in .hull/cache, as are no other parts.
"""

import os
import pathlib
import re
import subprocess
import tarfile
import unittest

import harness
import oci

CACHE = harness.PREFIX / "cache" / "real-images"
SNAPSHOT = harness.REPO / ".bazel" / "bin" / "tests" / "e2e" / "tree_snapshot"
# Where another file system is mounted in a container, and what Hull writes into its root, as every
# engine does.
MOUNTED = ["dev", "proc", "sys", "run"]
WRITTEN = ["/etc", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]
# What setcap cap_net_raw+ep writes.
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000").decode("latin-1")


def tool(*args, **kwargs):
    """Another program's output; its failure is the test's."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=600, check=False, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{args}: status {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout


def debian_base():
    """The tar file of a minimal Debian 12."""
    base = CACHE / "debian-12-minbase.tar"
    if not base.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        new = base.with_suffix(".new.tar")
        # Half of the files are manual pages and translations, which tell nothing more.
        tool("mmdebstrap", "--variant=minbase", "--quiet",
             *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")),
             "bookworm", new)
        new.rename(base)
    return base


def local_package(directory):
    """A small Debian package of this test's own, as bytes."""
    root = directory / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: hull-test\nVersion: 1.2-3\nArchitecture: all\nMaintainer: Nobody <n@example.org>\n"
        "Description: of a test\n")
    (root / "DEBIAN" / "postinst").write_text("#!/bin/sh\necho configured >/var/lib/hull-test\n")
    (root / "DEBIAN" / "postinst").chmod(0o755)
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "hull-test").write_text("#!/bin/sh\necho installed\n")
    (root / "usr" / "bin" / "hull-test").chmod(0o755)
    tool("dpkg-deb", "--root-owner-group", "--build", root, directory / "hull-test.deb")
    return (directory / "hull-test.deb").read_bytes()


def odd_files(package):
    """A layer with every kind of file, and what the next one changes."""
    return oci.layer(
        oci.directory("odd"),
        oci.entry("odd/owned", "x", mode=0o4751, uid=1234567, gid=7654321),
        oci.hardlink("odd/hard", "odd/owned"),
        oci.hardlink("odd/lower", "etc/debian_version"),
        oci.symlink("odd/soft", "../etc/passwd"), oci.symlink("odd/dangling", "/no/where\xe9"),
        oci.entry("odd/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        oci.entry("odd/disk", kind=tarfile.BLKTYPE, device=(259, 70000), mode=0o660, gid=6),
        oci.entry("odd/fifo", kind=tarfile.FIFOTYPE, mode=0o600),
        oci.entry("odd/name\nwith \\ and \xe9", "odd"), oci.entry("odd/" + "n" * 255, "long"),
        *(oci.directory("odd/" + "/".join(["d" * 60] * depth)) for depth in range(1, 7)),
        oci.entry("odd/" + "d" * 60 + ("/" + "d" * 60) * 5 + "/deep", "deep"),
        oci.entry("odd/attributes", "x", pax={"SCHILY.xattr.user.colour": "blue",
                                              "SCHILY.xattr.security.capability": CAPABILITY}),
        oci.entry("odd/empty", ""), oci.entry("odd/unreadable", "secret", mode=0),
        oci.entry("odd/gone", "1"), oci.directory("odd/gone-too"), oci.entry("odd/gone-too/f", "1"),
        oci.directory("odd/opaque"), oci.entry("odd/opaque/old", "1"),
        oci.directory("odd/opaque/deep"), oci.entry("odd/opaque/deep/old", "1"),
        oci.entry("odd/file-to-directory", "1"),
        oci.directory("odd/directory-to-file"), oci.entry("odd/directory-to-file/f", "1"),
        oci.entry("odd/half", "x"), oci.hardlink("odd/other-half", "odd/half"),
        oci.entry("usr/local/bin/tree_snapshot", SNAPSHOT.read_bytes()),
        oci.entry("usr/local/share/hull-test.deb", package, mode=0o644))


def changes():
    """A layer that removes, replaces and hides what is below it, in the base and in the layer before."""
    return oci.layer(
        oci.entry("odd/.wh.gone", ""), oci.entry("odd/.wh.gone-too", ""),
        oci.directory("odd/opaque", mode=0o1777), oci.entry("odd/opaque/.wh..wh..opq", ""),
        oci.entry("odd/opaque/new", "2"),
        oci.directory("odd/file-to-directory"), oci.entry("odd/file-to-directory/f", "2"),
        oci.entry("odd/directory-to-file", "2"),
        oci.entry("odd/half", "now alone", uid=5),
        oci.entry("etc/.wh.debian_version", ""),
        oci.directory("usr/share/base-files"), oci.entry("usr/share/base-files/.wh..wh..opq", ""),
        oci.entry("usr/share/base-files/only", "2"))


class RealImagesTest(harness.HullTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.make_image()
        except BaseException:
            super().tearDownClass()
            raise

    @classmethod
    def make_image(cls):
        layout = cls.tmp / "layout"
        image = f"{layout}:debian"
        tool("umoci", "init", "--layout", layout)
        tool("umoci", "new", "--image", image)
        tool("umoci", "raw", "add-layer", "--image", image, debian_base())
        for number, layer in enumerate((odd_files(local_package(cls.tmp)), changes())):
            path = cls.tmp / f"layer-{number}.tar"
            path.write_bytes(layer)
            tool("umoci", "raw", "add-layer", "--image", image, path)
        tool("umoci", "config", "--image", image, "--config.env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
             "--config.cmd", "bash")
        tool("umoci", "unpack", "--image", image, cls.tmp / "bundle")
        cls.rootfs = cls.tmp / "bundle" / "rootfs"
        cls.reference = cls.comparable(tool(SNAPSHOT, cls.rootfs, *MOUNTED))
        tool("skopeo", "copy", "--quiet", f"oci:{image}",
             f"docker-archive:{cls.tmp}/debian.tar:localhost/debian:docker")
        for source, name in ((layout, "localhost/debian:oci"),
                             (cls.tmp / "debian.tar", "localhost/debian:docker")):
            loaded = cls.hull("load", "-q", "--name", name, "-i", source, timeout=600)
            assert loaded.status == 0, loaded

    def run_in(self, script, image="debian:oci"):
        return self.hull("run", "--rm", "--memory", "512m", image, "sh", "-c", script, timeout=600)

    @staticmethod
    def comparable(snapshot):
        return [line for line in snapshot.decode().splitlines() if line.split()[0] not in WRITTEN]

    def assert_same_files(self, image):
        result = self.run_in(f"/usr/local/bin/tree_snapshot / {' '.join(MOUNTED)}", image)
        self.assert_status(result, 0)
        ours = self.comparable(result.out)
        only_ours = sorted(set(ours) - set(self.reference))
        only_theirs = sorted(set(self.reference) - set(ours))
        self.assertEqual((only_ours[:20], only_theirs[:20]), ([], []))
        self.assertEqual(len(ours), len(self.reference))
        # That the comparison sees what it is to see.
        self.assertGreater(len(ours), 3000)
        text = "\n".join(ours)
        for pattern in (r"(?m)^/odd/attributes 100000 755 .* security.capability=%01\S* user.colour=blue$",
                        r"(?m)^/odd/hard .* /odd/hard$", r"(?m)^/odd/owned 100000 4751 1234567 7654321 ",
                        r"(?m)^/odd/disk 60000 660 0 6 0 \d+ 259:70000 ", r"(?m)^/odd/opaque/new ",
                        r"(?m)^/odd/name%0Awith%20%5C%20and%20%C3%A9 "):
            self.assertTrue(re.search(pattern, text), pattern)
        for gone in ("/odd/gone", "/odd/opaque/old", "/odd/opaque/deep", "/etc/debian_version",
                     "/usr/share/base-files/dot.bashrc"):
            self.assertNotRegex(text, rf"(?m)^{gone}")

    def test_oci_layout_of_umoci(self):
        self.assert_same_files("debian:oci")

    def test_docker_archive_of_skopeo(self):
        self.assert_same_files("debian:docker")

    def test_dpkg(self):
        status = (self.rootfs / "var" / "lib" / "dpkg" / "status").read_text()
        installed = status.count("\nStatus: install ok installed\n")
        self.assertGreater(installed, 50)
        result = self.run_in("""set -e
            dpkg -l | grep -c ^ii; dpkg --audit
            dpkg -i /usr/local/share/hull-test.deb >/dev/null
            hull-test; cat /var/lib/hull-test; dpkg-query -W -f '${Status} ${Version}\\n' hull-test
            dpkg -r hull-test >/dev/null; test ! -e /usr/bin/hull-test""")
        self.assert_output(result, f"{installed}\ninstalled\nconfigured\n"
                                   "install ok installed 1.2-3\n")
        # The image is as it was.
        self.assert_output(self.run_in("dpkg -l hull-test >/dev/null 2>&1 || echo none"), "none\n")

    def test_apt(self):
        result = self.run_in("""set -e
            export DEBIAN_FRONTEND=noninteractive
            apt-get -qq check
            apt-get -qq -y install /usr/local/share/hull-test.deb >/dev/null 2>&1
            hull-test; apt-mark showmanual | grep -x hull-test
            apt-get -qq -y purge hull-test >/dev/null 2>&1; test ! -e /usr/bin/hull-test""")
        self.assert_output(result, "installed\nhull-test\n")


if __name__ == "__main__":
    unittest.main()
