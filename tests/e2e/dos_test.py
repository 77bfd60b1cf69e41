"""Containers that are a PC: disks as images, and a screen and a keyboard on the command line.

They run on this machine's /dev/kvm, also where other containers need the emulated host. That is turned off
here, as a command about all containers would start it, but for the test that sees which of the two
places is taken. The diskettes of FreeDOS are no part of the repository: they are in the folder
$HULL_TEST_DATA, or in ../shared/data beside the repository. Without them there is no conversation
with DOS, which is said.
"""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import zlib

import harness
import pty_session

# KVM without hardware virtualisation boots DOS in half a minute while nothing else runs.
BOOT = 400
COMMAND = 120
DATA = pathlib.Path(os.environ.get("HULL_TEST_DATA", harness.REPO.resolve().parent / "shared" / "data"))


def boot_sector(code):
    """A diskette of 160 KiB that runs this code at 0:7c00."""
    return (code.ljust(510, b"\0") + b"\x55\xaa").ljust(160 * 1024, b"\0")


# Shows what is typed, and looks for it as DOS does: mov ah, 1; int 0x16; jz to the beginning; xor ax, ax;
# int 0x16; mov ah, 0x0e; int 0x10; jmp to the beginning.
ECHO = boot_sector(b"\xb4\x01\xcd\x16\x74\xfa\x31\xc0\xcd\x16\xb4\x0e\xcd\x10\xeb\xf0")
# mov ax, 0x13; int 0x10; hlt; jmp to the hlt.
GRAPHICS = boot_sector(b"\xb8\x13\x00\xcd\x10\xf4\xeb\xfd")
# Says "hi" on COM1 and on the screen, then resets the machine: mov dx, 0x3f8; mov al, 'h'; out dx, al;
# mov al, 27; out dx, al; mov al, 10; out dx, al; mov ax, 0x0e21; int 0x10; mov al, 0xfe; out 0x64, al.
# Before the reset it waits for 18 ticks, as the screen is only looked at 5 times a second: mov ax, 0x40;
# mov ds, ax; mov bx, [0x6c]; wait: hlt; mov ax, [0x6c]; sub ax, bx; cmp ax, 18; jb wait.
RESET = boot_sector(b"\xba\xf8\x03\xb0\x68\xee\xb0\x1b\xee\xb0\x0a\xee\xb8\x21\x0e\xcd\x10"
                    b"\xb8\x40\x00\x8e\xd8\x8b\x1e\x6c\x00\xf4\xa1\x6c\x00\x29\xd8\x83\xf8\x12\x72\xf5"
                    b"\xb0\xfe\xe6\x64\xf4\xeb\xfd")


def cdrom(code):
    """A CD-ROM that runs this code at 0:7c00, as El Torito has it (no emulation)."""
    sectors = [b""] * 21
    sectors[16] = b"\x01CD001\x01"
    sectors[17] = (b"\x00CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", 19))
    sectors[18] = b"\xffCD001\x01"
    # The words of the first entry add up to nothing.
    entry = b"\x01".ljust(28, b"\0") + struct.pack("<H", -(0x01 + 0xaa55) & 0xffff) + b"\x55\xaa"
    sectors[19] = entry + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 1, 20)
    sectors[20] = code
    return b"".join(sector.ljust(2048, b"\0") for sector in sectors)


def png_size(data):
    """Width and height of a PNG file whose parts are all whole."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
    at, size, kinds = 8, None, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        kinds.append(kind)
        at += 12 + length
    assert kinds[-1] == b"IEND", kinds
    return size


class PcTestCase(harness.HullTestCase):
    """A store of its own, and no emulated host."""

    @classmethod
    def setUpClass(cls):
        cls.tmp = pathlib.Path(tempfile.mkdtemp(prefix="hull-pc-"))
        cls.root = cls.tmp / "root"
        cls.env = dict(os.environ, HULL_ROOT=str(cls.root), TMPDIR=str(cls.tmp),
                       HULL_EMULATED_HOST="never")
        cls.env.pop("HULL_RUN", None)

    @classmethod
    def tearDownClass(cls):
        cls.hull("rm", "-f", "-a")
        shutil.rmtree(cls.tmp)

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1].lower()

    def tearDown(self):
        self.hull("rm", "-f", "-i", self.name)

    def import_disk(self, content, *flags):
        """Makes an image of the test's name."""
        disk = self.tmp / f"{self.name}.img"
        disk.write_bytes(content)
        self.assert_status(self.hull("import", "--machine", "pc", *flags, disk, self.name), 0)

    def run_detached(self, *flags, image=None):
        started = self.hull("run", "-d", "--name", self.name, *flags, image or self.name)
        self.assert_status(started, 0)
        return started.out.decode().strip()

    def screen(self):
        shown = self.hull("screentext", self.name)
        self.assert_status(shown, 0)
        return shown.out.decode()

    def await_screen(self, text, deadline=COMMAND):
        end = time.monotonic() + deadline
        while text not in self.screen():
            if time.monotonic() > end:
                self.fail(f"{text!r} did not appear; the screen is:\n{self.screen()}")
            time.sleep(0.3)

    def type(self, keys):
        self.assert_status(self.hull("sendkeys", self.name, keys), 0)

    def inspect(self):
        return json.loads(self.hull("inspect", self.name).out)[0]


class PcTest(PcTestCase):

    def test_keys_and_screen(self):
        self.import_disk(ECHO)
        self.run_detached()
        self.await_screen("Booting from Floppy")
        # Piece by piece, as the BIOS keeps 15 keys only that a busy machine has not come to.
        shown = ""
        for keys, text in (("Hello", "Hello"), (", PC", ", PC"), ("{!}{shift+1}", "!!"), ("{{}{}}", "{}")):
            self.type(keys)
            shown += text
            self.await_screen(shown)
        # What the guest draws with control characters is no control character here.
        self.type("{ctrl+n}{esc}")
        self.await_screen("♫←")
        for keys, position in (("a{entr}", "position 2"), ("ab{", "position 3"), ("ä", "position 1")):
            self.assert_error(self.hull("sendkeys", self.name, keys), position)
        self.assertEqual(self.hull("kill", self.name).status, 0)
        self.assert_error(self.hull("screentext", self.name), "runs")
        self.assert_error(self.hull("sendkeys", self.name, "a"), "runs")

    def test_a_terminal_is_screen_and_keyboard(self):
        self.import_disk(ECHO)
        session = pty_session.PtySession(
            [harness.HULL, "run", "-it", "--name", self.name, self.name], self.env, rows=30)
        try:
            session.expect(b"\x1b[?1049h")
            session.expect(b"CTRL-P,CTRL-Q leaves it running")
            self.await_screen("Booting from Floppy")
            session.type(b"Hi\x1bOP")
            self.await_screen("Hi")
            session.expect(b"H")
            # A smaller terminal shows a part; what changes is drawn.
            session.resize(10, 40)
            session.expect(b"\x1b[2J")
            session.type(b"#")
            session.expect(b"#")
            session.type(b"\x10\x11")
            session.expect(b"\x1b[?1049l")
            self.assertEqual(session.wait(), 0)
            self.assertEqual(termios.tcgetattr(session.terminal), session.modes)
        finally:
            session.close()
        self.assertEqual(self.inspect()["State"]["Status"], "running")
        session = pty_session.PtySession([harness.HULL, "attach", self.name], self.env)
        try:
            session.expect(b"Booting from Floppy")
            session.expect(b"Hi")
            self.assert_status(self.hull("stop", self.name), 0)
            self.assertEqual(session.wait(), 143)
            self.assertEqual(termios.tcgetattr(session.terminal), session.modes)
        finally:
            session.close()

    def test_graphics_on_a_terminal_are_a_notice(self):
        self.import_disk(GRAPHICS)
        session = pty_session.PtySession(
            [harness.HULL, "run", "-it", "--rm", "--name", self.name, self.name], self.env)
        try:
            session.expect(b"shows graphics", COMMAND)
            self.assert_status(self.hull("kill", self.name), 0)
            self.assertEqual(session.wait(), 137)
        finally:
            session.close()

    def test_it_runs_here_and_not_in_the_emulated_host(self):
        auto = {"HULL_EMULATED_HOST": "auto"}
        disk = self.tmp / f"{self.name}.img"
        disk.write_bytes(ECHO)
        for args in (("import", "--machine", "pc", disk, self.name), ("images",),
                     ("run", "-d", "--name", self.name, self.name), ("ps",), ("inspect", self.name),
                     ("screentext", self.name), ("sendkeys", self.name, "a"), ("logs", self.name),
                     ("pause", self.name), ("unpause", self.name), ("stop", self.name), ("rm", self.name),
                     ("save", "-o", self.tmp / "here.tar", self.name), ("load", "-i", self.tmp / "here.tar"),
                     ("rmi", self.name)):
            done = self.hull(*args, env=auto)
            self.assert_status(done, 0)
            self.assertNotIn(b"emulated host", done.err)
        self.assertFalse((self.root / "emulated-host").exists())

    def test_hard_disks_and_cdroms_boot(self):
        code = ECHO[:512]
        for content, boot, says in ((code.ljust(1 << 20, b"\0"), "disk", "Booting from Hard Disk"),
                                    (cdrom(code[:510]), "cdrom", "Booting from DVD/CD")):
            self.import_disk(content)
            self.run_detached("--rm")
            self.assertEqual(self.inspect()["Machine"]["Boot"], boot)
            self.await_screen(says)
            self.type("yes")
            self.await_screen("yes")
            self.assert_status(self.hull("kill", self.name), 0)
            self.wait_for(lambda: self.hull("ps", "-a", "-q").out == b"", "the end of the container")

    def test_pictures(self):
        self.import_disk(GRAPHICS)
        self.run_detached()
        picture = self.tmp / "picture.png"

        def graphics():
            if "graphics" not in self.hull("screentext", self.name).err.decode():
                return False
            self.assert_status(self.hull("screenshot", self.name, picture), 0)
            return png_size(picture.read_bytes()) == (640, 400)
        self.wait_for(graphics, "a picture of mode 13h", COMMAND)
        piped = self.hull("screenshot", self.name, "-")
        self.assertEqual(png_size(piped.out), (640, 400))
        self.assert_error(self.hull("screenshot", self.name, self.tmp / "no" / "where.png"), "where")

    def test_nothing_to_boot_is_told(self):
        self.import_disk(b"\0" * 1474560)
        self.run_detached()

        def logged():
            return b"not a bootable disk" in self.hull("logs", self.name).out
        self.wait_for(logged, "the BIOS's complaint in the log", COMMAND)
        self.assertIn("not a bootable disk", self.screen())

    def test_life(self):
        self.import_disk(ECHO)
        container = self.run_detached("--memory", "32m", "--label", "a=b")
        listed = json.loads(self.hull("ps", "--format", "json").out)
        self.assertEqual([row["Id"] for row in listed], [container])
        state = self.inspect()
        self.assertEqual(state["Machine"]["Model"], "pc")
        self.assertEqual(state["Machine"]["Boot"], "floppy")
        self.assertEqual(state["HostConfig"]["Memory"], 32 << 20)
        self.assertEqual(state["Config"]["Labels"], {"a": "b"})
        for verb in (("exec", self.name, "true"), ("top", self.name), ("stats", self.name),
                     ("cp", f"{self.name}:/x", self.tmp), ("diff", self.name),
                     ("export", "-o", self.tmp / "x", self.name)):
            self.assert_error(self.hull(*verb), "pc machine")
        self.assert_status(self.hull("pause", self.name), 0)
        self.assertEqual(self.inspect()["State"]["Status"], "paused")
        self.assert_status(self.hull("unpause", self.name), 0)
        waiting = self.spawn("wait", self.name)
        stopped = self.hull("stop", self.name)
        self.assert_output(stopped, self.name.encode() + b"\n")
        self.assert_output(self.finish(waiting), b"143\n")
        self.assertEqual(self.inspect()["State"]["Status"], "exited")
        self.assertEqual(self.inspect()["State"]["ExitCode"], 143)
        # Once more, on the same disk.
        self.assert_status(self.hull("start", self.name), 0)
        self.await_screen("Booting from Floppy")
        self.assert_status(self.hull("kill", self.name), 0)
        self.assert_output(self.hull("wait", self.name), b"137\n")
        self.assert_status(self.hull("rmi", self.name), 2)
        self.assert_output(self.hull("rm", self.name), self.name.encode() + b"\n")
        self.assert_status(self.hull("rmi", self.name), 0)

    def test_a_reset_ends_it(self):
        self.import_disk(RESET)
        ended = self.hull("run", "--rm", "--name", self.name, self.name, timeout=COMMAND)
        self.assert_status(ended, 0)
        self.assertIn(b"Booting from Floppy", ended.out)
        # What it wrote to COM1, with nothing that a terminal would obey.
        self.assertEqual(ended.err, b"h.\n")
        self.assertEqual(self.hull("ps", "-a", "-q").out, b"")
        self.assertEqual(list((self.root / "containers").iterdir()), [])

    def test_flags_without_a_meaning_are_refused(self):
        self.import_disk(ECHO)
        for flags, word in ((("--cpus", "2"), "--cpus"), (("-e", "A=b"), "--env"),
                            (("--storage-size", "1g"), "--storage-size"),
                            (("-i",), "-i without -t"), (("-t",), "-t without -i"),
                            (("-w", "/"), "--workdir"), (("-u", "1"), "--user"),
                            (("--entrypoint", "x"), "--entrypoint"), (("--hostname", "x"), "--hostname"),
                            (("--stop-signal", "1"), "--stop-signal"), (("--console",), "--console")):
            self.assert_error(self.hull("run", *flags, self.name), "pc machine", word)
        self.assert_error(self.hull("run", self.name, "dir"), "a command", "pc machine")
        self.assertEqual(self.hull("ps", "-a", "-q").out, b"")

    def test_what_cannot_be_imported(self):
        disk = self.tmp / "disk"
        disk.write_bytes(b"")
        self.assert_error(self.hull("import", "--machine", "pc", disk, "x"), "empty")
        self.assert_error(self.hull("import", disk, "x"), "--machine pc")
        self.assert_error(self.hull("import", "--machine", "mac", disk, "x"), "mac")
        disk.write_bytes(b"x" * 4096)
        self.assert_error(self.hull("import", "--machine", "pc", "--boot", "floppy", disk, "x"),
                          "no diskette of 4096 bytes")
        self.assert_error(self.hull("import", "--machine", "pc", "--boot", "tape", disk, "x"), "tape")
        self.assert_error(self.hull("import", "--machine", "pc", self.tmp, "x"), "not a file")
        self.assertNotIn(b"localhost/x", self.hull("images").out)

    def test_images_travel(self):
        self.import_disk(ECHO)
        before = json.loads(self.hull("image", "inspect", self.name).out)[0]
        self.assertEqual(before["Annotations"], {"io.hull.boot": "floppy", "io.hull.machine": "pc"})
        archive = self.tmp / "saved.tar"
        self.assert_status(self.hull("save", "-o", archive, self.name), 0)
        self.assert_error(self.hull("save", "--format", "docker-archive", "-o", self.tmp / "d", self.name),
                          "oci-archive")
        layout = f"oci:{self.tmp / 'layout'}:disk"
        self.assert_status(self.hull("push", "-q", self.name, layout), 0)
        for fetch in (("load", "-q", "-i", archive), ("pull", "-q", layout)):
            self.assert_status(self.hull("rmi", self.name), 0)
            self.assert_status(self.hull(*fetch), 0)
            after = json.loads(self.hull("image", "inspect", before["Id"]).out)[0]
            self.assertEqual(after["Digest"], before["Digest"])
            self.assert_status(self.hull("tag", before["Id"], self.name), 0)
            self.run_detached("--rm")
            self.await_screen("Booting from Floppy")
            self.assert_status(self.hull("kill", self.name), 0)
            self.wait_for(lambda: self.hull("ps", "-a", "-q").out == b"", "the end of the container")
            self.assert_status(self.hull("rmi", "-f", before["Id"]), 0)
            self.import_disk(ECHO)


class FreeDosTest(PcTestCase):

    def prompt(self, deadline=COMMAND):
        def at_prompt():
            rows = self.screen().rstrip().splitlines()
            return bool(rows) and rows[-1] == "A:\\>"
        self.wait_for(at_prompt, "the prompt", deadline)

    def say(self, line):
        self.type("cls{enter}")
        self.prompt()
        self.type(line + "{enter}")

    def test_a_conversation(self):
        disk = DATA / "freedos-1440k.img"
        self.assert_status(self.hull("import", "--machine", "pc", disk, "freedos"), 0)
        self.run_detached(image="freedos")
        self.prompt(BOOT)
        self.say("ver")
        self.await_screen("FreeCom")
        self.prompt()
        self.say("echo written by dos>new.txt")
        self.prompt()
        self.say("copy new.txt second.txt")
        self.prompt()
        self.say("type second.txt")
        self.await_screen("written by dos")
        self.prompt()
        self.say("dir *.txt")
        self.await_screen("SECOND")
        self.prompt()
        before = time.gmtime()
        self.say("date")
        self.await_screen("Enter new date")
        shown = self.screen()
        self.assertTrue(any(time.strftime("%m-%d-%Y", moment) in shown
                            for moment in (before, time.gmtime())), shown)
        self.type("{enter}")
        self.prompt()
        picture = self.hull("screenshot", self.name, "-")
        self.assertEqual(png_size(picture.out), (720, 400))
        self.assertIn(b"written by dos", self.hull("logs", self.name).out)
        self.assert_status(self.hull("stop", self.name), 0)
        # What DOS wrote is on the container's disk, and the image is as it was.
        written = pathlib.Path(self.inspect()["Machine"]["StateDirectory"]) / "disk.img"
        read = subprocess.run(["mtype", "-i", str(written), "::second.txt"], stdout=subprocess.PIPE,
                              timeout=60, check=True)
        self.assertEqual(read.stdout, b"written by dos\r\n")
        image = pathlib.Path(self.inspect()["Machine"]["RootImage"])
        self.assertEqual(image.read_bytes(), disk.read_bytes())
        # It is there after the next start.
        self.assert_status(self.hull("start", self.name), 0)
        self.prompt(BOOT)
        self.say("type second.txt")
        self.await_screen("written by dos")


if not (DATA / "freedos-1440k.img").exists():
    print(f"no conversation with FreeDOS: its diskettes are not in {DATA}", file=sys.stderr)
    del FreeDosTest
