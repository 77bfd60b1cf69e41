"""`hull cp`, `hull diff` and `hull export`: files of containers that run, in and out."""

import io
import os
import tarfile
import unittest

import harness


class CopyTest(harness.HullTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        started = cls.hull("run", "-d", "--name", "c", "-u", "1000:1001", "busybox", "sleep", "100000")
        assert started.status == 0, started
        cls.files = cls.tmp / "files"
        cls.files.mkdir()

    def inside(self, script, name="c"):
        result = self.hull("exec", "-u", "0", name, "sh", "-c", script)
        self.assert_status(result, 0)
        return result.out.decode()

    def cp(self, *args, **kwargs):
        self.assert_output(self.hull("cp", *map(str, args), **kwargs), "")

    def fresh(self, name):
        path = self.files / name
        path.mkdir()
        return path

    def test_a_file_goes_in_and_comes_back(self):
        here = self.fresh("file")
        content = os.urandom(3 << 20)
        (here / "in").write_bytes(content)
        (here / "in").chmod(0o751)
        self.cp(here / "in", "c:/tmp")
        self.cp(here / "in", "c:/tmp/other")
        self.assertEqual(self.inside("cd /tmp; stat -c '%a %u:%g' in other; cmp in other"),
                         "751 1000:1001\n" * 2)
        self.cp("c:/tmp/in", here / "out")
        self.assertEqual((here / "out").read_bytes(), content)
        self.assertEqual((here / "out").stat().st_mode & 0o7777, 0o751)
        # Replaced, with the user that the archive says.
        self.cp("--archive=false", here / "in", "c:/tmp/other")
        self.assertEqual(self.inside("stat -c %u /tmp/other"), f"{os.getuid()}\n")
        # A relative path is one from the container's root.
        self.cp("c:tmp/in", here)
        self.assertEqual((here / "in").read_bytes(), content)

    def test_directories_as_podman_names_them(self):
        here = self.fresh("dirs")
        self.inside("mkdir -p /d/sub; echo 1 >/d/one; ln -s one /d/link; echo 2 >/d/sub/two; "
                    "chmod 700 /d/sub; mkfifo /d/fifo")
        expected = {"link", "one", "sub", "sub/two"}
        def tree(path):
            return {str(p.relative_to(path)) for p in path.rglob("*")}
        self.cp("c:/d", here / "new")
        self.assertEqual(tree(here / "new"), expected)
        self.assertEqual(os.readlink(here / "new" / "link"), "one")
        self.assertEqual((here / "new" / "sub").stat().st_mode & 0o777, 0o700)
        self.cp("c:/d", here / "new")
        self.assertEqual(tree(here / "new" / "d"), expected)
        (here / "flat").mkdir()
        self.cp("c:/d/.", here / "flat")
        self.assertEqual(tree(here / "flat"), expected)

        self.cp(here / "flat", "c:/opt-new")
        self.cp(here / "flat", "c:/opt-new")
        self.cp(str(here / "flat") + "/.", "c:/opt-new/flat/sub")
        listed = self.inside("cd /opt-new; find . | sort").split()
        self.assertIn("./sub/two", listed)
        self.assertIn("./flat/sub/two", listed)
        self.assertIn("./flat/sub/sub/two", listed)

    def test_archives_through_pipes_and_between_containers(self):
        self.inside("mkdir -p /p; echo here >/p/f")
        out = self.hull("cp", "c:/p", "-")
        self.assert_status(out, 0)
        with tarfile.open(fileobj=io.BytesIO(out.out)) as archive:
            self.assertEqual(sorted(archive.getnames()), ["p", "p/f"])
        self.inside("mkdir /q")
        self.cp("-", "c:/q", stdin=out.out)
        self.assertEqual(self.inside("cat /q/p/f"), "here\n")
        self.assert_status(self.hull("run", "-d", "--rm", "--name", "c2", "busybox", "sleep", "1000"), 0)
        self.cp("c:/p", "c2:/from-c")
        self.assertEqual(self.inside("cat /from-c/f", "c2"), "here\n")
        self.assert_status(self.hull("rm", "-f", "c2"), 0)

    def test_what_cannot_be_copied_is_said(self):
        here = self.fresh("errors")
        (here / "dir").mkdir()
        (here / "f").write_text("f")
        for args, words in ((("c:/no/such", here), "could not be found on container"),
                            ((here / "none", "c:/tmp"), "could not be found on the host"),
                            ((here / "f", "c:/no/such/place"), "could not be found on container"),
                            (("c:/etc/passwd", here / "x/"), "could not be found on the host"),
                            ((here / "dir", "c:/etc/passwd"), "destination must be a directory"),
                            (("-", "c:/etc/passwd"), "destination must be a directory"),
                            ((here / "f", here / "g"), "CONTAINER:PATH"),
                            (("nobody:/x", here), "nobody")):
            arguments = [str(argument) for argument in args]
            if args[1] == here / "x/":
                arguments[1] += "/"
            self.assert_error(self.hull("cp", *arguments), words)
        self.assert_error(self.hull("cp", "-", "c:/tmp", stdin=b"x" * 600), "not a usable archive")

    def test_a_hostile_container_gets_nothing_outside(self):
        here = self.fresh("hostile")
        (here / "secret").write_text("untouched")
        (here / "to").mkdir()
        # What a container has can be links to anywhere: none is followed on this machine.
        self.inside(f"mkdir -p /h; ln -s {here}/secret /h/secret; ln -s .. /h/up; chmod 4755 /h; "
                    "echo x >/h/suid; chmod 6777 /h/suid")
        self.cp("c:/h/.", here / "to")
        self.assertEqual((here / "secret").read_text(), "untouched")
        self.assertEqual((here / "to" / "suid").stat().st_mode & 0o7777, 0o777)
        # The link that came is not written through by the next copy either.
        self.inside("rm /h/secret; echo evil >/h/secret")
        self.cp("c:/h/secret", here / "to")
        self.assertEqual((here / "secret").read_text(), "untouched")
        self.assertEqual((here / "to" / "secret").read_text(), "evil\n")
        self.inside("rm /h/up; mkdir /h/up; echo evil >/h/up/secret")
        self.assert_error(self.hull("cp", "c:/h/.", str(here / "to")), "cannot make the directory")
        self.assertEqual((here / "secret").read_text(), "untouched")

    def test_diff_and_export(self):
        self.assert_status(self.hull("run", "-d", "--name", "e", "busybox", "sh", "-c",
                                     "echo new >/new; rm /etc/group; echo 'x:x:7:7::/:' >>/etc/passwd; "
                                     "mkdir /dir; echo in >/dir/in; sleep 100000"), 0)
        self.wait_for(lambda: b"in" in self.hull("exec", "e", "cat", "/dir/in").out, "the files")
        diff = self.hull("diff", "e")
        self.assert_status(diff, 0)
        lines = diff.out.decode().splitlines()
        for line in ("A /new", "D /etc/group", "C /etc/passwd", "C /etc", "A /dir", "A /dir/in"):
            self.assertIn(line, lines)
        self.assertFalse([line for line in lines if line.endswith(("/etc/hosts", " /proc"))], lines)
        as_json = self.hull("diff", "--format", "json", "e")
        self.assertIn(b'"deleted"', as_json.out)

        path = self.files / "e.tar"
        self.assert_output(self.hull("export", "-o", str(path), "e"), "")
        with tarfile.open(path) as archive:
            names = {name.removeprefix("./") for name in archive.getnames()}
            self.assertEqual(archive.extractfile("./new").read(), b"new\n")
        self.assertIn("bin/busybox", names)
        self.assertNotIn("etc/group", names)
        self.assertIn("proc", names)
        self.assertFalse([name for name in names if name.startswith("proc/")])
        self.assert_status(self.hull("rm", "-f", "e"), 0)
        self.assert_error(self.hull("diff", "e"), "no such container")


if __name__ == "__main__":
    unittest.main()
