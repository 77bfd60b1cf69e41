#!/usr/bin/python3
"""Packs the agent into the initramfs: a newc cpio archive, the same bytes for the same agent.

Usage: make_initramfs.py AGENT OUTPUT

Written here rather than by cpio(1), which wants real files, root for the device nodes, and puts
inode numbers and times into the archive. Format: Documentation/driver-api/early-userspace/buffer-format.rst
of the Linux source.
"""

import stat
import sys

# The agent needs these nodes before any file system is mounted; the directories are its mount
# points (guest-agent/container_root.cc).
DIRECTORIES = ["dev", "image", "root", "writable"]
CHARACTER_DEVICES = [("dev/console", 5, 1), ("dev/kmsg", 1, 11), ("dev/null", 1, 3)]


PAGE = 4096
HEADER = 110


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def entry(inode, name, mode, data=b"", device=(0, 0), links=1, padding=0):
    encoded = name.encode() + b"\0" * (1 + padding)
    fields = [inode, mode, 0, 0, links, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return pad(header + encoded) + pad(data)


def main(agent_path, output_path):
    with open(agent_path, "rb") as file:
        agent = file.read()
    archive = b""
    inode = 0
    for name in DIRECTORIES:
        inode += 1
        archive += entry(inode, name, stat.S_IFDIR | 0o755, links=2)
    for name, major, minor in CHARACTER_DEVICES:
        inode += 1
        archive += entry(inode, name, stat.S_IFCHR | 0o600, device=(major, minor))
    # NULs after its name put the agent on a page boundary: the kernel then runs it from where it
    # lies, without a copy (CONFIG_INITRAMFS_IN_PLACE).
    name = "init"
    padding = -(len(archive) + HEADER + len(name) + 1) % PAGE
    archive += entry(inode + 1, name, stat.S_IFREG | 0o755, agent, padding=padding)
    archive += entry(0, "TRAILER!!!", 0)
    with open(output_path, "wb") as file:
        file.write(archive)


if __name__ == "__main__":
    main(*sys.argv[1:])
