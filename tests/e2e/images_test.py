"""`hull load`, `hull images`, `hull rmi`, with layouts that are right and wrong."""

import gzip
import io
import os
import pathlib
import shutil
import tarfile
import unittest

import harness
import oci


class ImagesTest(harness.HullTestCase):

    def setUp(self):
        self.dir = pathlib.Path(self.tmp) / self.id().rsplit(".", 1)[1]
        self.dir.mkdir()

    def layout(self, *layers, **kwargs):
        return oci.Layout(self.dir / "layout", list(layers), **kwargs)

    def busybox_layer(self, *more):
        # Of this test alone: a store that has an image already does not read its layers again.
        mark = oci.entry("this-test", self.id())
        return oci.layer(*oci.busybox_entries(), mark, *more)

    def names(self):
        result = self.hull("images")
        self.assert_status(result, 0)
        return result.out.decode()

    def assert_refused(self, layout, *words):
        before = self.store_files()
        self.assert_error(self.hull("load", layout.path if hasattr(layout, "path") else layout),
                          *words)
        self.assertEqual(self.store_files(), before, "a failed load left files in the store")
        self.assert_nothing_left()

    def store_files(self):
        result = self.on_host(f"cd '{self.root}' 2>/dev/null && find images -type f ! -name '*lock*' "
                              "| sort; true")
        self.assert_status(result, 0)
        return result.out

    # -- right -----------------------------------------------------------------------------------

    def test_directory_and_tar(self):
        layout = self.layout(self.busybox_layer(), name="dir:1")
        self.assert_status(self.hull("load", layout.path), 0)
        self.assertIn("dir", self.names())
        self.assert_output(self.hull("run", "--rm", "dir:1", "echo", "d"), "d\n")
        with tarfile.open(self.dir / "layout.tar", "w") as tar:
            layout.write_index(dict(layout.manifest, annotations={
                "org.opencontainers.image.ref.name": "tarred:2"}))
            tar.add(layout.path, arcname=".")
        self.assert_status(self.hull("load", self.dir / "layout.tar"), 0)
        self.assert_output(self.hull("run", "--rm", "tarred:2", "echo", "t"), "t\n")
        self.assert_status(self.hull("rmi", "dir:1"), 0)
        self.assertNotIn("dir ", self.names())
        # The other name still has the image.
        self.assert_output(self.hull("run", "--rm", "tarred:2", "echo", "t"), "t\n")
        self.assert_status(self.hull("rmi", "tarred:2"), 0)
        self.assert_error(self.hull("run", "--rm", "tarred:2", "true"), "tarred:2", "not found")

    def test_relative_path(self):
        layout = self.layout(self.busybox_layer(), name="relative:1")
        self.assert_status(self.hull("load", "layout", cwd=layout.path.parent), 0)
        self.assert_output(self.hull("run", "--rm", "relative:1", "echo", "r"), "r\n")

    def test_rmi_of_nothing(self):
        self.assert_error(self.hull("rmi", "nosuchimage"), "nosuchimage", status=1)
        self.assert_output(self.hull("rmi", "--ignore", "nosuchimage"), "")

    def test_layers_and_whiteouts(self):
        first = self.busybox_layer(
            oci.directory("d"), oci.entry("d/kept", "1"), oci.entry("d/gone", "1"),
            oci.directory("opaque"), oci.entry("opaque/old", "1"),
            oci.entry("replaced", "old"), oci.entry("file-to-dir", "x"),
            oci.directory("dir-to-file"), oci.entry("dir-to-file/x", "x"))
        second = oci.layer(
            oci.entry("d/.wh.gone", ""), oci.entry("opaque/.wh..wh..opq", ""),
            oci.entry("opaque/new", "2"), oci.entry("replaced", "new"),
            oci.directory("file-to-dir"), oci.entry("file-to-dir/inside", "2"),
            oci.entry("dir-to-file", "2"))
        layout = self.layout(first, second, name="whiteouts:1")
        self.assert_status(self.hull("load", layout.path), 0)
        result = self.hull("run", "--rm", "whiteouts:1", "/bin/sh", "-c",
                           "cd /; ls d opaque; cat replaced; echo; cat file-to-dir/inside; "
                           "cat dir-to-file")
        self.assert_output(result, "d:\nkept\n\nopaque:\nnew\nnew\n22")

    def test_metadata(self):
        layer = self.busybox_layer(
            oci.entry("owned", "x", mode=0o4751, uid=12, gid=34),
            oci.hardlink("linked", "owned"),
            oci.symlink("dangling", "/no/where"),
            oci.entry("dev-null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
            oci.entry("fifo", kind=tarfile.FIFOTYPE, mode=0o600),
            oci.entry("odd\nname \\ \xff", "odd"),
            oci.entry("capable", "x", pax={"SCHILY.xattr.user.colour": "blue"}))
        layout = self.layout(layer, name="metadata:1")
        self.assert_status(self.hull("load", layout.path), 0)
        result = self.hull("run", "--rm", "metadata:1", "/bin/sh", "-c", """
            cd /; busybox stat -c '%a %u %g %h' owned
            [ "$(busybox stat -c %i owned)" = "$(busybox stat -c %i linked)" ] && echo same
            busybox readlink dangling; busybox stat -c '%F %t %T' dev-null; busybox stat -c %F fifo
            busybox cat odd*; echo; echo gone >dev-null && echo wrote""")
        self.assert_output(result, "4751 12 34 2\nsame\n/no/where\ncharacter special file 1 3\n"
                                   "fifo\nodd\nwrote\n")

    # -- wrong -----------------------------------------------------------------------------------

    def test_no_such_path(self):
        self.assert_refused(self.dir / "nothing", "nothing")

    def test_not_a_layout(self):
        (self.dir / "plain").mkdir()
        self.assert_refused(self.dir / "plain")
        (self.dir / "file").write_bytes(os.urandom(5000))
        self.assert_refused(self.dir / "file")

    def test_truncated_json(self):
        layout = self.layout(self.busybox_layer())
        text = (layout.path / "index.json").read_text()
        (layout.path / "index.json").write_text(text[:len(text) // 2])
        self.assert_refused(layout, "index")

    def test_truncated_tar(self):
        layout = self.layout(self.busybox_layer())
        with tarfile.open(self.dir / "whole.tar", "w") as tar:
            tar.add(layout.path, arcname=".")
        whole = (self.dir / "whole.tar").read_bytes()
        (self.dir / "cut.tar").write_bytes(whole[:len(whole) // 2])
        self.assert_refused(self.dir / "cut.tar")

    def test_missing_blob(self):
        layout = self.layout(self.busybox_layer())
        layout.blob_path(layout.layers[0]).unlink()
        self.assert_refused(layout, layout.layers[0]["digest"][7:19])

    def test_wrong_digest(self):
        layout = self.layout(self.busybox_layer(), compress=False)
        blob = layout.blob_path(layout.layers[0])
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(data)
        self.assert_refused(layout, "digest")

    def test_truncated_layer(self):
        layout = self.layout(self.busybox_layer())
        blob = layout.blob_path(layout.layers[0])
        blob.write_bytes(blob.read_bytes()[:1000])
        self.assert_refused(layout)

    def test_corrupt_gzip_with_the_right_digest(self):
        layout = self.layout(self.busybox_layer())
        data = gzip.compress(os.urandom(100000))
        self.relayer(layout, data[:50000] + os.urandom(1000))
        self.assert_refused(layout)

    def relayer(self, layout, data):
        """Replaces the layer by these bytes, with digests that match."""
        descriptor = layout.blob(data, oci.LAYER_GZIP)
        manifest = layout.blob(oci.json.dumps({
            "schemaVersion": 2, "mediaType": oci.MANIFEST, "config": layout.config,
            "layers": [descriptor]}).encode(), oci.MANIFEST)
        layout.write_index(dict(manifest, annotations={
            "org.opencontainers.image.ref.name": "bad:1"}))

    def test_escapes(self):
        outside = self.dir / "outside"
        outside.mkdir()
        cases = {
            "dotdot": [oci.entry("../escaped", "x")],
            "deep-dotdot": [oci.directory("a"), oci.entry("a/../../escaped", "x")],
            "hardlink-outside": [oci.hardlink("link", "../../../../../../etc/passwd")],
            "hardlink-through-symlink": [oci.symlink("s", "/etc"), oci.hardlink("link", "s/passwd")],
            "symlink-parent": [oci.symlink("s", str(outside)), oci.entry("s/escaped", "x")],
            "relative-symlink-parent": [oci.symlink("s", "../../../../../../../.." + str(outside)),
                                        oci.entry("s/escaped", "x")],
            "whiteout-dotdot": [oci.entry("a/.wh...", "")],
        }
        for name, entries in cases.items():
            with self.subTest(name):
                path = self.dir / f"escape-{name}"
                layout = oci.Layout(path, [self.busybox_layer(*entries)], name=f"escape-{name}:1")
                result = self.hull("load", layout.path)
                # Either refused, or taken as the container would see it: inside its own root.
                if result.status != 0:
                    self.assert_error(result, "layer")
                self.assertEqual(list(outside.iterdir()), [])
                self.assertFalse(pathlib.Path("/escaped").exists())
        refused = oci.Layout(self.dir / "refused", [oci.layer(oci.entry("../escaped", "x"))])
        self.assert_refused(refused, "../escaped")

    def test_absolute_names_stay_inside(self):
        layout = self.layout(self.busybox_layer(oci.entry("/absolute-hull-test", "x")),
                             name="absolute:1")
        result = self.hull("load", layout.path)
        if result.status == 0:
            self.assert_output(self.hull("run", "--rm", "absolute:1", "/bin/cat",
                                         "/absolute-hull-test"), "x")
        else:
            self.assert_error(result, "absolute")
        self.assertFalse(pathlib.Path("/absolute-hull-test").exists())

    def test_megabyte_name(self):
        self.assert_refused(self.layout(oci.layer(oci.entry("n" * (1 << 20), "x"))), "layer")

    def test_megabyte_attribute(self):
        self.assert_refused(self.layout(oci.layer(
            oci.entry("f", "x", pax={"SCHILY.xattr.user.big": "v" * (1 << 20)}))), "layer")

    def test_bomb(self):
        # 200 GiB of zeroes in a few hundred KiB: gzip members of the same 64 MiB, one after another.
        info = tarfile.TarInfo("bomb")
        info.size = 200 << 30
        header = info.tobuf(format=tarfile.GNU_FORMAT)
        zeroes = gzip.compress(bytes(64 << 20), mtime=0)
        data = io.BytesIO()
        data.write(gzip.compress(header, mtime=0))
        for _ in range(3200):
            data.write(zeroes)
        layout = self.layout(self.busybox_layer())
        self.relayer(layout, data.getvalue())
        self.assert_refused(layout, "layer")

    def test_no_space(self):
        layout = self.layout(self.busybox_layer(oci.entry("big", os.urandom(24 << 20))),
                             name="nospace:1")
        result = self.on_host(f"""
            exec unshare -m /bin/bash -c '
              mkdir -p /run/small && mount -t tmpfs -o size=16m none /run/small || exit 99
              HULL_EMULATED_HOST=never HULL_ROOT=/run/small {harness.HULL} load {layout.path}
              status=$?
              find /run/small -type f -size +64k >&2
              [ -z "$(find /run/small -type f -size +64k)" ] || exit 98
              exit $status'""")
        self.assert_error(result, "no space")


if __name__ == "__main__":
    unittest.main()
