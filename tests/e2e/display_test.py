"""Displays of pc machines: a viewer that speaks RFB (RFC 6143) with nothing but sockets.

They run on this machine's /dev/kvm, as dos_test.py's do.
"""

import os
import re
import socket
import struct
import subprocess
import time
import zlib

import dos_test

ECHO = dos_test.ECHO
GRAPHICS = dos_test.GRAPHICS
DEADLINE = dos_test.COMMAND

RAW = 0
DESKTOP_SIZE = -223
SHIFT = 0xffe1
RETURN = 0xff0d


def png_pixels(data):
    """Width, height and the bytes of a PNG file of eight-bit RGB."""
    at, idat, size = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
            assert body[8:13] == b"\x08\x02\x00\x00\x00", body
        if kind == b"IDAT":
            idat += body
        at += 12 + length
    width, height = size
    stride = 3 * width
    raw = zlib.decompress(idat)
    before = bytes(stride)
    out = bytearray()
    for row in range(height):
        kind = raw[row * (stride + 1)]
        line = bytearray(raw[row * (stride + 1) + 1:(row + 1) * (stride + 1)])
        if kind:
            for i in range(stride):
                left = line[i - 3] if i >= 3 else 0
                up = before[i]
                corner = before[i - 3] if i >= 3 else 0
                if kind == 1:
                    predicted = left
                elif kind == 2:
                    predicted = up
                elif kind == 3:
                    predicted = (left + up) // 2
                else:
                    estimate = left + up - corner
                    predicted = min((left, up, corner), key=lambda value: abs(estimate - value))
                line[i] = (line[i] + predicted) & 0xff
        out += line
        before = bytes(line)
    return width, height, bytes(out)


def vnc_response(challenge, password):
    """The challenge under DES with the password, each of whose bytes has its bits turned round."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0"))
    return subprocess.run(
        ["openssl", "enc", "-des-ecb", "-nopad", "-K", key.hex(), "-provider", "legacy",
         "-provider", "default"], input=challenge, stdout=subprocess.PIPE, check=True).stdout


class Viewer:
    """A client that asks for the whole screen in raw pixels of red, green, blue and nothing."""

    def __init__(self, address, password=None):
        if address.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(DEADLINE)
            self.socket.connect(address)
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), timeout=DEADLINE)
        assert self.read(12) == b"RFB 003.008\n"
        self.socket.sendall(b"RFB 003.008\n")
        self.security = list(self.read(self.read(1)[0]))
        if password is None:
            assert 1 in self.security, self.security
            self.socket.sendall(b"\x01")
        else:
            assert self.security == [2], self.security
            self.socket.sendall(b"\x02")
            self.socket.sendall(vnc_response(self.read(16), password))
        if struct.unpack(">I", self.read(4))[0] != 0:
            raise PermissionError
        self.socket.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.read(16)
        self.read(struct.unpack(">I", self.read(4))[0])
        # 32 bits, little-endian, true colour.
        self.socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 0, 8, 16))
        self.socket.sendall(struct.pack(">BxHii", 2, 2, RAW, DESKTOP_SIZE))
        self.rectangles = []
        self.pixels = bytearray(4 * self.width * self.height)

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def update(self, incremental=True):
        """Asks for what has changed and waits for it."""
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))
        kind, count = struct.unpack(">BxH", self.read(4))
        assert kind == 0, kind
        self.rectangles = []
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.read(12))
            if encoding == DESKTOP_SIZE:
                self.width, self.height = width, height
                self.pixels = bytearray(4 * width * height)
                continue
            assert encoding == RAW, encoding
            data = self.read(4 * width * height)
            for row in range(height):
                at = 4 * ((y + row) * self.width + x)
                self.pixels[at:at + 4 * width] = data[4 * row * width:4 * (row + 1) * width]
            self.rectangles.append((x, y, width, height))

    def rgb(self):
        picture = bytearray(3 * self.width * self.height)
        for part in range(3):
            picture[part::3] = self.pixels[part::4]
        return self.width, self.height, bytes(picture)

    def key(self, symbol):
        for down in (1, 0):
            self.socket.sendall(struct.pack(">BBxxI", 4, down, symbol))

    def hold(self, symbol, down):
        self.socket.sendall(struct.pack(">BBxxI", 4, down, symbol))

    def point(self, buttons, x, y):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def close(self):
        self.socket.close()


class DisplayTest(dos_test.PcTestCase):

    def run_with_display(self, *flags, display="vnc"):
        """Returns where it listens, as hull run says it."""
        started = self.hull("run", "-d", "--name", self.name, "--display", display, *flags, self.name)
        self.assert_status(started, 0)
        said = re.search(rb"the screen of .* is at (\S+) for VNC viewers", started.err)
        self.assertIsNotNone(said, started.err)
        return said[1].decode()

    def view(self, address, password=None):
        viewer = Viewer(address, password)
        self.addCleanup(viewer.close)
        return viewer

    def screenshot(self):
        shot = self.hull("screenshot", self.name, "-")
        self.assert_status(shot, 0)
        return png_pixels(shot.out)

    def await_same_picture(self, viewer):
        """Waits until the viewer shows what hull screenshot does."""
        end = time.monotonic() + DEADLINE
        viewer.update(incremental=False)
        while viewer.rgb() != self.screenshot():
            self.assertLess(time.monotonic(), end, "the viewer does not show the screen")
            viewer.update(incremental=False)

    def await_refused(self, address):
        """Waits until nobody listens there."""
        host, port = address.rsplit(":", 1)
        end = time.monotonic() + DEADLINE
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=DEADLINE).close()
            except ConnectionRefusedError:
                return
            self.assertLess(time.monotonic(), end, "it still listens")
            time.sleep(0.1)

    def test_a_viewer_sees_and_types(self):
        self.import_disk(ECHO)
        address = self.run_with_display()
        self.assertRegex(address, r"^127\.0\.0\.1:59\d\d$")
        self.assertEqual(self.inspect()["Machine"]["Display"], f"{address}->vnc")
        self.assertIn(f"{address}->vnc".encode(), self.hull("ps").out)
        self.await_screen("Booting from Floppy")
        viewer = self.view(address)
        self.assertEqual(viewer.security, [1])
        self.await_same_picture(viewer)
        before = viewer.rgb()
        viewer.key(ord("h"))
        viewer.hold(SHIFT, 1)
        viewer.key(ord("I"))
        viewer.hold(SHIFT, 0)
        # Of another keyboard, where it is typed without Shift.
        viewer.key(ord("!"))
        self.await_screen("hI!")
        self.await_same_picture(viewer)
        self.assertNotEqual(viewer.rgb(), before)
        # What has not changed is not sent.
        viewer.key(ord("x"))
        self.await_screen("hI!x")
        viewer.update()
        sent = sum(width * height for _, _, width, height in viewer.rectangles)
        self.assertLess(sent, viewer.width * viewer.height // 4, viewer.rectangles)
        # No mouse is in use, which harms nobody.
        viewer.point(0, 10, 10)
        viewer.point(5, 400, 300)
        viewer.key(ord("y"))
        self.await_screen("hI!xy")
        self.assert_status(self.hull("kill", self.name), 0)
        with self.assertRaises((EOFError, ConnectionResetError)):
            while True:
                viewer.update(incremental=False)
        self.await_refused(address)
        self.assertNotIn(b"->vnc", self.hull("ps", "-a").out)

    def test_the_size_follows_the_video_mode(self):
        self.import_disk(GRAPHICS)
        viewer = self.view(self.run_with_display())
        end = time.monotonic() + DEADLINE
        while (viewer.width, viewer.height) != self.screenshot()[:2] or not viewer.rectangles or \
                (viewer.width, viewer.height) == (720, 400):
            self.assertLess(time.monotonic(), end)
            viewer.update(incremental=False)
        self.await_same_picture(viewer)

    def test_a_password_keeps_others_out(self):
        self.import_disk(ECHO)
        secret = self.tmp / "password"
        secret.write_text("Geheim!8\n")
        address = self.run_with_display("--display-password-file", secret)
        for password in ("geheim!8", ""):
            with self.assertRaises(PermissionError):
                self.view(address, password)
        self.await_screen("Booting from Floppy")
        viewer = self.view(address, "Geheim!8")
        viewer.key(ord("k"))
        self.await_screen("k")
        # Nothing that can be listed has it.
        listed = subprocess.run(["ps", "axww", "-o", "args"], stdout=subprocess.PIPE, check=True).stdout
        self.assertIn(b"hull-display", listed)
        self.assertNotIn(b"Geheim!8", listed)

    def test_it_is_started_again_where_it_was(self):
        self.import_disk(ECHO)
        address = self.run_with_display()
        self.assert_status(self.hull("stop", self.name), 0)
        self.await_refused(address)
        self.assert_status(self.hull("start", self.name), 0)
        # At once after its end, too.
        self.assert_status(self.hull("restart", self.name), 0)
        self.await_screen("Booting from Floppy")
        viewer = self.view(address)
        viewer.key(ord("k"))
        self.await_screen("k")

    def test_a_unix_socket_needs_no_password(self):
        self.import_disk(ECHO)
        path = str(self.tmp / "screen")
        self.assertEqual(self.run_with_display(display=f"vnc={path}"), path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(self.inspect()["Machine"]["Display"], f"{path}->vnc")
        self.await_screen("Booting from Floppy")
        viewer = self.view(path)
        viewer.key(ord("k"))
        self.await_screen("k")
        self.await_same_picture(viewer)
        # Nor does what a display leaves keep the next one away.
        self.assert_status(self.hull("restart", self.name), 0)
        self.await_screen("Booting from Floppy")
        self.view(path)

    def test_hostile_clients_harm_nobody(self):
        self.import_disk(ECHO)
        address = self.run_with_display()
        host, port = address.rsplit(":", 1)
        self.await_screen("Booting from Floppy")
        viewer = self.view(address)
        rubbish = (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, os.urandom(65536),
                   b"RFB 003.008\n\x01\x01" + b"\xff" * 4096,
                   # The longest text to paste, a rectangle without end, unknown messages.
                   b"RFB 003.008\n\x01\x01" + struct.pack(">BxxxI", 6, 0xffffffff) + b"x" * 4096,
                   b"RFB 003.008\n\x01\x01" + struct.pack(">BBHHHH", 3, 0, 65535, 65535, 65535, 65535) * 64,
                   b"RFB 003.008\n\x01\x01" + bytes(range(7, 256)))
        for data in rubbish:
            with socket.create_connection((host, int(port)), timeout=DEADLINE) as hostile:
                try:
                    hostile.sendall(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass
            viewer.update(incremental=False)
        # One that asks and asks and never reads.
        silent = self.view(address)
        silent.socket.setblocking(False)
        try:
            for _ in range(10000):
                silent.socket.send(struct.pack(">BBHHHH", 3, 0, 0, 0, silent.width, silent.height))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        viewer.key(ord("k"))
        self.await_screen("k")
        self.await_same_picture(viewer)
        # There are four at most; the others are closed without a word.
        waiting = []
        for _ in range(8):
            connection = socket.create_connection((host, int(port)), timeout=DEADLINE)
            self.addCleanup(connection.close)
            waiting.append(connection)
        greeted = 0
        for connection in waiting:
            try:
                greeted += connection.recv(12) == b"RFB 003.008\n"
            except ConnectionResetError:
                pass
        self.assertGreater(greeted, 0)
        self.assertLessEqual(greeted, 3)
        viewer.key(ord("m"))
        self.await_screen("km")

    def test_what_makes_no_sense_is_refused(self):
        self.import_disk(ECHO)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            refused = self.hull("run", "-d", "--name", self.name, "--display", f"vnc=127.0.0.1:{port}",
                                self.name)
            self.assert_error(refused, f"another program listens on 127.0.0.1:{port}")
        self.assertEqual(self.hull("inspect", "--type", "container", self.name).status, 125)
        empty = self.tmp / "empty"
        empty.write_text("\n")
        for flags, words in ((("--display", "x11"), "it takes vnc"),
                             (("--display", "vnc=127.0.0.1"), "a port"),
                             (("--display", "vnc=0.0.0.0:5999"), "--display-password-file"),
                             (("--display-password-file", empty), "--display only"),
                             (("--display", "vnc", "--display-password-file", empty), "1 to 8"),
                             (("--display", "vnc", "--display-password-file", "/not/there"), "/not/there")):
            self.assert_error(self.hull("run", "--rm", *flags, self.name), words)
        self.assert_error(self.hull("run", "--rm", "--display", "vnc", "busybox"), "no image of a pc machine")
        elsewhere = self.hull("run", "--rm", "--display", "vnc", self.name,
                              env={"HULL_EMULATED_HOST": "always"})
        self.assert_error(elsewhere, "in the emulated host")
