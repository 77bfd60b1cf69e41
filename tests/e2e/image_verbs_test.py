"""Images from and for other tools (docker-archives, save), and the verbs that name and list them."""

import gzip
import json
import os
import pathlib
import subprocess
import unittest

import harness
import oci


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, timeout=60,
                          check=True).stdout


def tool(*args):
    """Another program's output; its failure is the test's."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=harness.TIMEOUT, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{args}: status {done.returncode}: {done.stderr.decode()[-1000:]}")
    return done.stdout


class ImageVerbsTest(harness.HullTestCase):

    def setUp(self):
        self.dir = pathlib.Path(self.tmp) / self.id().rsplit(".", 1)[1]
        self.dir.mkdir()

    def layers(self):
        """Two layers of this test alone: a root with a shell, then changes to it."""
        first = oci.layer(*oci.busybox_entries(), oci.entry("this-test", self.id()),
                          oci.directory("d"), oci.entry("d/gone", "1"), oci.entry("d/kept", "1"))
        return [first, oci.layer(oci.entry("d/.wh.gone", ""), oci.entry("new", "2"))]

    def load(self, name):
        layout = oci.Layout(self.dir / "layout", self.layers(), name=name)
        self.assert_status(self.hull("load", "-q", "-i", layout.path), 0)
        return layout

    def inspect(self, name):
        result = self.hull("image", "inspect", name)
        self.assert_status(result, 0)
        return json.loads(result.out)[0]

    # -- docker-archives -------------------------------------------------------------------------

    def test_docker_archives(self):
        for name, compress in (("plain", None), ("gzip", gzip.compress), ("zstd", zstd)):
            with self.subTest(name):
                path = self.dir / f"{name}.tar"
                image = oci.docker_archive(path, self.layers(), [f"{name}:1"], compress)
                self.assert_output(self.hull("load", "-i", path),
                                   f"Loaded image: docker.io/library/{name}:1\n")
                self.assert_output(
                    self.hull("run", "--rm", f"{name}:1", "/bin/sh", "-c", "cd d; ls; cat /new"),
                    "kept\n2")
                # The id is docker's.
                self.assert_output(self.hull("images", "-q", "--no-trunc", f"{name}:1"),
                                   f"sha256:{image}\n")

    def test_docker_archive_from_standard_input(self):
        path = self.dir / "archive.tar"
        oci.docker_archive(path, self.layers(), ["localhost/stdin:1"])
        self.assert_output(self.hull("load", stdin=gzip.compress(path.read_bytes())),
                           "Loaded image: localhost/stdin:1\n")
        self.assert_output(self.hull("run", "--rm", "stdin:1", "/bin/cat", "/new"), "2")

    def test_bad_docker_archives(self):
        path = self.dir / "archive.tar"
        oci.docker_archive(path, self.layers(), ["bad:1"])
        whole = path.read_bytes()
        for what, data in {
                "truncated": whole[:len(whole) // 2],
                "digest": whole.replace(self.id().encode(), b"X" * len(self.id())),
                "component": whole.replace(b"1/layer.tar\"", b"../layer.t\""),
                "not a json list": whole.replace(b'[{"Config"', b'[{"Config\\')}.items():
            with self.subTest(what):
                self.assertNotEqual(data, whole)
                path.write_bytes(data)
                self.assert_error(self.hull("load", "-i", path))
                self.assert_error(self.hull("run", "--rm", "bad:1", "true"), "not found")

    # -- save ------------------------------------------------------------------------------------

    def test_other_tools_read_what_is_saved(self):
        layout = self.load("saved:1")
        before = self.inspect("saved:1")
        self.assertEqual(before["Digest"], layout.manifest["digest"])
        sources = {}
        for name, path, source in (
                ("oci-archive", "a.tar", "oci-archive:{}:localhost/saved:1"),
                ("oci-dir", "oci", "oci:{}:localhost/saved:1"),
                ("docker-archive", "d.tar", "docker-archive:{}:localhost/saved:1"),
                ("docker-dir", "dir", "dir:{}")):
            path = self.dir / path
            self.assert_output(self.hull("save", "--format", name, "-o", path, "saved:1"), "")
            sources[name] = source.format(path)
            seen = json.loads(tool("skopeo", "inspect", sources[name]))
            self.assertEqual(seen["Architecture"], "amd64")
            self.assertEqual(len(seen["Layers"]), 2)
            if name != "docker-archive":
                self.assertEqual(seen["Digest"], before["Digest"], name)
            config = tool("skopeo", "inspect", "--config", "--raw", sources[name])
            self.assertEqual(oci.digest_of(config), "sha256:" + before["Id"], name)
        # The same files come out, whichever way the image went.
        tool("skopeo", "copy", sources["docker-archive"], f"oci:{self.dir}/docker-oci:x")
        tool("umoci", "unpack", "--image", f"{layout.path}:saved:1", self.dir / "original")
        for name, image in (("oci-dir", f"{self.dir}/oci:localhost/saved:1"),
                            ("docker-archive", f"{self.dir}/docker-oci:x")):
            bundle = self.dir / f"bundle-{name}"
            tool("umoci", "unpack", "--image", image, bundle)
            tool("diff", "-r", "--no-dereference", self.dir / "original" / "rootfs",
                 bundle / "rootfs")
            self.assertFalse((bundle / "rootfs" / "d" / "gone").exists())
        # And back again: the same image, by its digest.
        self.assert_status(self.hull("rmi", "saved:1"), 0)
        for name in ("a.tar", "oci", "dir"):
            self.assert_status(self.hull("load", "-i", self.dir / name, "--name", "saved:1"), 0)
            self.assertEqual(self.inspect("saved:1")["Digest"], before["Digest"], name)
            self.assert_output(self.hull("run", "--rm", "saved:1", "/bin/cat", "/new"), "2")
            self.assert_status(self.hull("rmi", "saved:1"), 0)

    def test_save_to_standard_output_and_wrong_uses(self):
        self.load("out:1")
        result = self.hull("save", "out:1")
        self.assert_status(result, 0)
        (self.dir / "out.tar").write_bytes(result.out)
        self.assertIn(b"localhost/out:1",
                      tool("tar", "-xOf", self.dir / "out.tar", "manifest.json"))
        full = self.dir / "full"
        full.mkdir()
        (full / "x").write_text("x")
        self.assert_error(self.hull("save", "--format", "oci-dir", "-o", full, "out:1"), "empty")
        self.assertEqual([p.name for p in full.iterdir()], ["x"])
        self.assert_error(self.hull("save", "-o", self.dir / "n.tar", "nosuch"), "not found")
        self.assert_error(self.hull("save", "--format", "zip", "out:1"), "docker-archive")
        self.assert_error(self.hull("save", "--format", "oci-dir", "out:1"), "-o")
        self.assert_error(self.hull("save", "-o", self.dir / "no" / "where.tar", "out:1"), "where")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["full", "layout", "out.tar"])

    # -- names -----------------------------------------------------------------------------------

    def test_names(self):
        layout = self.load("names:1")
        digest = layout.manifest["digest"]
        image = layout.config["digest"].split(":")[1]
        self.assert_output(self.hull("tag", "names:1", "other", "quay.io/a/b:2"), "")
        for name in ("other", "localhost/other:latest", "quay.io/a/b:2", image[:12],
                     "sha256:" + image, f"names@{digest}", f"quay.io/a/b@{digest}"):
            self.assert_output(self.hull("run", "--rm", name, "/bin/cat", "/new"), "2")
        self.assert_error(self.hull("run", "--rm", "quay.io/other", "true"), "hull pull")
        wrong = "sha256:" + "0" * 64
        self.assert_error(self.hull("run", "--rm", f"names@{wrong}", "true"), "not found")
        self.assertEqual(self.inspect("other")["RepoTags"],
                         ["localhost/names:1", "localhost/other:latest", "quay.io/a/b:2"])
        self.assert_output(self.hull("untag", "names:1", "other"), "")
        self.assert_output(self.hull("image", "exists", "other"), "", status=1)
        self.assert_output(self.hull("image", "exists", "names:1"), "")
        self.assert_error(self.hull("tag", "names:1", "Not A Name"), "not an image name")
        self.assert_error(self.hull("rmi", image[:12]), "several names", status=2)
        self.assert_status(self.hull("rmi", "-f", image[:12]), 0)

    def test_lists(self):
        layout = self.load("lists:1")
        image = layout.config["digest"].split(":")[1]
        self.assert_status(self.hull("tag", "lists:1", "lists:2"), 0)
        self.assert_output(self.hull("images", "-q", "lists"), image[:12] + "\n")
        self.assert_output(
            self.hull("images", "--filter", "reference=lists:*", "--sort", "tag", "--format",
                      "{{.Repository}}:{{.Tag}}"), "localhost/lists:1\nlocalhost/lists:2\n")
        table = self.hull("image", "ls", "--digests", "lists:1").out.decode().splitlines()
        self.assertEqual(table[0].split(), ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID",
                                            "CREATED", "SIZE"])
        self.assertEqual(table[1].split()[:4],
                         ["localhost/lists", "1", layout.manifest["digest"], image[:12]])
        rows = json.loads(self.hull("images", "--format", "json", "lists").out)
        self.assertEqual([(row["Id"], row["Names"]) for row in rows],
                         [(image, ["localhost/lists:1", "localhost/lists:2"])])
        history = json.loads(self.hull("history", "--format", "json", "lists:1").out)
        self.assertEqual(len(history), 2)
        self.assertEqual(history[0]["id"], image)
        self.assertEqual(sum(step["size"] for step in history),
                         sum(len(layer) for layer in self.layers()))
        self.assert_output(self.hull("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}",
                                     "lists:1"), "linux/amd64\n")
        self.assert_output(self.hull("inspect", "-f", "{{.Id}}", "lists:1"), image + "\n")
        self.assert_error(self.hull("images", "--filter", "colour=red"), "reference=")
        self.assert_error(self.hull("history", "nosuch"), "nosuch")

    def test_prune(self):
        self.load("prune:1")
        self.assert_status(self.hull("tag", "prune:1", "prune:2"), 0)
        digest = self.inspect("prune:1")["Digest"]
        # Refused, as nobody says yes.
        self.assert_output(self.hull("image", "prune", "-a"), "")
        self.assert_output(self.hull("image", "prune", "-f"), "")
        self.assert_status(self.hull("untag", "prune:1"), 0)
        self.assertIn(digest.encode(), self.hull("images", "--digests", "-f", "dangling=true").out)
        self.assert_output(self.hull("image", "prune", stdin=b"y\n"), digest + "\n")
        self.assert_output(self.hull("image", "exists", digest), "", status=1)

    # -- two at once, and kills ------------------------------------------------------------------

    def test_loads_at_once(self):
        same = oci.Layout(self.dir / "same", self.layers(), name="same:1")
        other = oci.Layout(self.dir / "other", [oci.layer(
            *oci.busybox_entries(), oci.entry("this-test", "other of " + self.id()))],
            name="different:1")
        loads = [self.spawn("load", layout.path) for layout in (same, other, same)]
        for load in loads:
            self.assert_status(self.finish(load), 0)
        for name in ("same:1", "different:1"):
            self.assert_output(self.hull("run", "--rm", name, "/bin/cat", "this-test"),
                               self.id() if name == "same:1" else "other of " + self.id())

    def test_killed_loads(self):
        layout = oci.Layout(self.dir / "layout", [*self.layers(), oci.layer(
            oci.entry("big", os.urandom(8 << 20)))], name="killed:1")
        # Where the store is: a killed client would leave the other end to finish its work.
        result = self.on_host(f"""
            export HULL_EMULATED_HOST=never HULL_ROOT='{self.root}'
            for i in $(seq 12); do
              {harness.HULL} load -q {layout.path} >/dev/null & pid=$!
              sleep 0.0$((i * 7 % 10))$i
              kill -9 $pid; wait $pid
              {harness.HULL} images -q >/dev/null || exit 1
              if {harness.HULL} image exists killed:1; then
                {harness.HULL} run --rm killed:1 /bin/cat /new >/dev/null || exit 2
                {harness.HULL} rmi killed:1 >/dev/null || exit 3
              fi
            done 2>/dev/null
            {harness.HULL} load -q {layout.path} && ls -A '{self.root}/images/staging'""")
        self.assert_output(result, "Loaded image: localhost/killed:1\n")
        self.assert_output(self.hull("run", "--rm", "killed:1", "/bin/cat", "/new"), "2")
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
