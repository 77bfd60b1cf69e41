"""`hull pull`, `push`, `login` and `logout`, with a registry of this test's own on loopback."""

import crypt
import json
import os
import pathlib
import socket
import subprocess
import unittest

import harness
import oci


class Registry:
    """Debian's docker-registry: plain HTTP, a directory, perhaps a password."""

    def __init__(self, directory, user=None, password=None):
        directory.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = f"""version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {directory}/data}}}}
http: {{addr: "{self.address}"}}
"""
        if user:
            hashed = crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32))
            (directory / "htpasswd").write_text(f"{user}:{hashed}\n")
            config += f"auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}\n"
        (directory / "config.yml").write_text(config)
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(directory / "config.yml")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready(self):
        host, port = self.address.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)


class RegistryTest(harness.HullTestCase):

    def setUp(self):
        self.dir = pathlib.Path(self.tmp) / self.id().rsplit(".", 1)[1]
        self.dir.mkdir()
        self.transfers = self.dir / "tmp"
        self.transfers.mkdir()
        self.environment = {"TMPDIR": str(self.transfers),
                            "REGISTRY_AUTH_FILE": str(self.dir / "auth.json")}

    def tearDown(self):
        # Nothing that was on its way stays.
        for base in self.transfers.iterdir():
            self.assertEqual(list(base.iterdir()), [])

    def registry(self, **kwargs):
        registry = Registry(self.dir / "registry", **kwargs)
        self.addCleanup(registry.stop)
        self.wait_for(registry.ready, "registry")
        return registry

    def run_hull(self, *args, stdin=b""):
        return self.hull(*args, stdin=stdin, env=self.environment)

    def layout(self, name, **kwargs):
        first = oci.layer(*oci.busybox_entries(), oci.entry("this-test", self.id()))
        return oci.Layout(self.dir / name.replace(":", "-"), [first], name=name, **kwargs)

    def digest(self, name):
        result = self.hull("image", "inspect", "-f", "{{.Digest}}", name)
        self.assert_status(result, 0)
        return result.out.decode().strip()

    def assert_runs(self, name):
        self.assert_output(self.hull("run", "--rm", name, "/bin/cat", "/this-test"), self.id())

    def test_push_and_pull(self):
        registry = self.registry()
        plain = ("--tls-verify=false",)
        # Compressed layers, and ones that skopeo would compress if it were not told to leave them.
        for tag, compress in (("1", True), ("2", False)):
            layout = self.layout(f"app:{tag}", compress=compress)
            image = layout.config["digest"].split(":")[1]
            remote = f"{registry.address}/team/app:{tag}"
            self.assert_status(self.hull("load", layout.path), 0)
            digest = self.digest(f"app:{tag}")
            self.assertEqual(digest, layout.manifest["digest"])
            self.assert_output(self.run_hull("push", *plain, f"app:{tag}", remote), "")
            self.assert_status(self.hull("rmi", f"app:{tag}"), 0)
            self.assert_error(self.hull("run", "--rm", remote, "true"), f"hull pull {remote}")
            self.assert_output(self.run_hull("pull", "-q", *plain, remote), image + "\n")
            self.assertEqual(self.digest(remote), digest)
            self.assert_runs(remote)
            # Back under the image's own name, and by its digest alone.
            self.assert_output(self.run_hull("push", "-q", *plain, remote), "")
            self.assert_status(self.hull("rmi", remote), 0)
            pinned = f"{registry.address}/team/app@{digest}"
            self.assert_output(self.run_hull("pull", "-q", *plain, pinned), image + "\n")
            self.assert_runs(pinned)
            self.assert_status(self.hull("rmi", pinned), 0)
        seen = json.loads(subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry.address}/team/app:2"],
            stdout=subprocess.PIPE, timeout=harness.TIMEOUT, check=True).stdout)
        self.assertEqual(seen["Digest"], digest)
        self.assertEqual(sorted(seen["RepoTags"]), ["1", "2"])

    def test_errors_say_what_to_do(self):
        registry = self.registry()
        name = f"{registry.address}/nosuch:1"
        self.assert_error(self.run_hull("pull", name), "--tls-verify=false")
        self.assert_error(self.run_hull("pull", "--tls-verify=false", name), "pull", "no such image")
        registry.stop()
        self.assert_error(self.run_hull("pull", "--tls-verify=false", name), "nothing answers at")
        self.assert_error(self.run_hull("pull", "Not A Name"), "not an image name")
        self.assert_error(self.run_hull("push", "nosuch:1"), "nosuch:1")
        self.assert_error(self.hull("pull", name, env={"PATH": str(self.dir)}),
                          "apt-get install skopeo")
        self.assert_output(self.hull("images", "-q"), "")

    def test_login(self):
        registry = self.registry(user="me", password="secret")
        self.assert_status(self.hull("load", self.layout("private:1").path), 0)
        remote = f"{registry.address}/private:1"
        plain = ("--tls-verify=false",)
        self.assert_error(self.run_hull("push", *plain, "private:1", remote), "hull login")
        self.assert_error(self.run_hull("login", *plain, "-u", "me", "--password-stdin",
                                        registry.address, stdin=b"wrong"), "login")
        self.assert_status(self.run_hull("login", *plain, "-u", "me", "--password-stdin",
                                         registry.address, stdin=b"secret"), 0)
        self.assert_output(self.run_hull("login", "--get-login", registry.address), "me\n")
        self.assert_status(self.run_hull("push", *plain, "private:1", remote), 0)
        self.assert_status(self.hull("rmi", "private:1"), 0)
        self.assert_status(self.run_hull("pull", *plain, remote), 0)
        self.assert_runs(remote)
        self.assert_status(self.run_hull("logout", registry.address), 0)
        self.assert_error(self.run_hull("pull", *plain, remote), "hull login")
        self.assert_status(self.run_hull("pull", *plain, "--creds", "me:secret", remote), 0)
        self.assert_status(self.hull("rmi", remote), 0)

    def test_other_transports(self):
        layout = self.layout("here:1")
        image = layout.config["digest"].split(":")[1]
        self.assert_output(self.run_hull("pull", "-q", f"oci:{layout.path}:here:1"), image + "\n")
        digest = self.digest("here:1")
        self.assertEqual(digest, layout.manifest["digest"])
        for destination, name in ((f"dir:{self.dir}/as-dir", "as-dir"),
                                  (f"oci:{self.dir}/as-oci:x:1", "x:1"),
                                  (f"docker-archive:{self.dir}/d.tar:localhost/docker:1", "docker:1")):
            self.assert_output(self.run_hull("push", "-q", "here:1", destination), "")
            source = destination if name != "docker:1" else f"docker-archive:{self.dir}/d.tar"
            self.assert_status(self.run_hull("pull", "-q", source), 0)
            self.assert_runs(name)
            if name != "docker:1":
                self.assertEqual(self.digest(name), digest)

    def test_what_a_killed_pull_left_is_taken_away(self):
        stale = self.transfers / f"hull-{os.geteuid()}" / "transfer-dead"
        stale.mkdir(parents=True)
        stale.parent.chmod(0o700)
        (stale / "image").write_text("x")
        layout = self.layout("stale:1")
        self.assert_status(self.run_hull("pull", f"oci:{layout.path}:stale:1"), 0)
        self.assertFalse(stale.exists())
        # A directory that others could write to is not used.
        stale.parent.chmod(0o777)
        self.assert_error(self.run_hull("pull", f"oci:{layout.path}:stale:1"), "TMPDIR")
        stale.parent.chmod(0o700)


if __name__ == "__main__":
    unittest.main()
