#!/usr/bin/env python3
"""Converts a layered image with hull-unpack and compares the tree with what umoci unpacks.

The image is made by umoci too: four layers with every kind of file, changed and removed again. As
root, the EROFS image is mounted by the kernel and everything is compared; without privileges it is
unpacked by fsck.erofs, and owners, devices and privileged attributes are left out.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile

ROOT = os.geteuid() == 0 and os.path.exists("/dev/loop-control")


def run(*command, **kwargs):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=120, **kwargs).stdout


def umoci(*arguments):
    run("umoci", *arguments, stderr=subprocess.DEVNULL)


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(data)


def first_layer(root):
    write(root + b"/usr/lib/program", os.urandom(300000))
    os.chmod(root + b"/usr/lib/program", 0o4755)
    os.link(root + b"/usr/lib/program", root + b"/usr/lib/hard")
    os.symlink(b"usr/lib", root + b"/lib")
    os.symlink(b"target\xe9", root + b"/odd-link")
    for name in (b"plain", b"new\nline", b"latin\xe9", b"e\xcc\x81", b"n" * 255):
        write(root + b"/names/" + name, name)
    for i in range(1500):
        write(root + b"/many/%05d-" % i + b"m" * (i % 200), b"c" * (i * 7 % 9000))
    write(root + b"/removed/deep/file", b"x")
    write(root + b"/opaque/old", b"x")
    write(root + b"/etc/changed", b"old")
    write(root + b"/etc/kept", b"kept")
    os.utime(root + b"/etc/kept", (1, 1))
    write(root + b"/becomes-directory", b"x")
    os.mkfifo(root + b"/fifo")
    if ROOT:
        os.mknod(root + b"/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(root + b"/disk", 0o660 | stat.S_IFBLK, os.makedev(259, 70000))
        os.chown(root + b"/etc/kept", 100000, 70000)
        os.setxattr(root + b"/etc/kept", "user.key", b"a\0\xff")
        # What setcap cap_net_raw+ep writes.
        capability = bytes.fromhex("0100000200200000000000000000000000000000")
        os.setxattr(root + b"/usr/lib/program", "security.capability", capability)


def second_layer(root):
    run("rm", "-r", root + b"/removed", root + b"/opaque", root + b"/becomes-directory")
    write(root + b"/opaque/new", b"new")
    write(root + b"/becomes-directory/inside", b"x")
    write(root + b"/etc/changed", b"new and longer")


def third_layer(root):
    os.unlink(root + b"/usr/lib/hard")
    write(root + b"/lib/third", b"3")
    run("rm", "-r", root + b"/becomes-directory")
    os.chmod(root + b"/opaque", 0o1777)


def snapshot(root):
    """Everything that can be seen of a tree, by relative path."""
    seen = {}
    links = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            key = os.path.relpath(path, root)
            entry = [stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode)]
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as content:
                    entry.append(content.read())
                links.setdefault(info.st_ino, []).append(key)
            elif stat.S_ISLNK(info.st_mode):
                entry.append(os.readlink(path))
            if ROOT:
                entry += [int(info.st_mtime), info.st_uid, info.st_gid, info.st_nlink, info.st_rdev]
                entry += [
                    (attribute, os.getxattr(path, attribute, follow_symlinks=False))
                    for attribute in sorted(os.listxattr(path, follow_symlinks=False))
                ]
            seen[key] = entry
    seen["links"] = sorted(sorted(group) for group in links.values() if len(group) > 1)
    return seen


def convert(unpack, layout, directory):
    """The image, made as the store has hull-unpack make it."""
    fds = {
        3: os.open(layout, os.O_RDONLY),
        **{
            number: os.open(f"{directory}/part-{number}", os.O_RDWR | os.O_CREAT)
            for number in (4, 5, 6, 7, 8)
        },
    }

    def call(*arguments):
        redirections = " ".join(f"{there}<&{here}" for there, here in fds.items())
        command = ["bash", "-c", f'exec "$@" {redirections}', "bash", unpack,
                   f"--user_claims={directory}/users.lock", *arguments]
        lines = run(*command, pass_fds=list(fds.values())).splitlines()
        return json.loads(lines[-1])["result"]

    image = call("inspect")["images"][0]
    call("convert", f"--manifest={image['manifest']}", f"--manifest_size={image['size']}")
    return f"{directory}/part-4"


def main():
    unpack = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        rootless = [] if ROOT else ["--rootless"]
        umoci("init", "--layout", "layout")
        umoci("new", "--image", "layout:image")
        umoci("unpack", *rootless, "--image", "layout:image", "bundle")
        for change in (first_layer, second_layer, third_layer):
            change(os.fsencode(f"{directory}/bundle/rootfs"))
            umoci("repack", "--refresh-bundle", "--image", "layout:image", "bundle")
        umoci("unpack", *rootless, "--image", "layout:image", "reference")

        image = convert(unpack, "layout", directory)
        run("fsck.erofs", image)
        os.mkdir("tree")
        if ROOT:
            run("mount", "-t", "erofs", "-o", "loop,ro", image, "tree")
            try:
                ours = snapshot(b"tree")
            finally:
                run("umount", "tree")
        else:
            run("fsck.erofs", "--extract=tree", "--force", "--no-preserve-owner", "--preserve-perms", image)
            ours = snapshot(b"tree")
        theirs = snapshot(b"reference/rootfs")

    different = [key for key in sorted(set(ours) | set(theirs), key=str) if ours.get(key) != theirs.get(key)]
    for key in different[:20]:
        print(f"{key!r}: ours {str(ours.get(key))[:200]}, umoci's {str(theirs.get(key))[:200]}")
    print(f"{len(theirs)} entries, {len(different)} differ")
    if len(theirs) < 1500 or different:
        sys.exit(1)


if __name__ == "__main__":
    main()
