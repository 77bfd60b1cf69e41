"""The benchmark: runs the candidates in the emulated host with the instruction clock.

One millisecond of that clock is one million executed instructions (Minstr), of guest, VMM and host
kernel together. See README.md beside this file.
"""

import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
PREFIX = REPO / ".hull"
HULL = PREFIX / "bin" / "hull"
BIN = REPO / ".bazel" / "bin"
# Guest memory of the container whose VMM is weighed; inside.sh says the same to hull.
MEMORY = 128 << 20

# What must hold (name, limit, unit): the ones that fail make --check fail.
LIMITS = {"hull": (120.0, "Minstr"), "vmm-own": (5.0, "MiB")}

TITLES = {
    "nothing": "spawn of a static `true` (what measuring itself costs)",
    "hull": "`hull run --rm busybox true`",
    "crun": "`crun run` of a static `true`",
    "runc": "`runc run` of the same",
    "qemu": "QEMU microvm, same kernel, an init that resets at once",
    "vmm-own": "hull-vmm's resident memory beyond the guest's",
    "guest-touched": "guest memory touched by an idle busybox container of 128 MiB",
    "kernel": "guest kernel, text and data in the file",
    "initramfs": "agent with its initramfs",
}


def peer_initramfs(directory):
    """An initramfs that holds only peer_init."""
    root = directory / "peer"
    root.mkdir()
    shutil.copy(BIN / "tests" / "bench" / "peer_init", root / "init")
    (root / "init").chmod(0o755)
    out = directory / "peer.cpio"
    with open(out, "wb") as stream:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=b"init\n",
                       stdout=stream, check=True, timeout=60)
    return out


def split_resident(smaps, guest_bytes):
    """(the VMM's own, the guest's) resident bytes, from the text of /proc/PID/smaps.

    The guest's RAM is the run of adjacent mappings (the kernel file's private mapping splits it)
    that together are exactly guest_bytes long.
    """
    mappings = []
    for line in smaps:
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            mappings.append([int(match[1], 16), int(match[2], 16), 0])
        elif match := re.match(r"Rss: +(\d+) kB", line):
            mappings[-1][2] = int(match[1]) * 1024
    for first, (start, _, _) in enumerate(mappings):
        end = start
        for last in range(first, len(mappings)):
            if mappings[last][0] != end or mappings[last][1] - start > guest_bytes:
                break
            end = mappings[last][1]
            if end - start == guest_bytes:
                guest = sum(rss for _, _, rss in mappings[first:last + 1])
                return sum(rss for _, _, rss in mappings) - guest, guest
    sys.exit("bench: no run of mappings is the guest's RAM")


def run_inside(rounds):
    """measure's samples by name, in Minstr; memory figures by name, in MiB."""
    instance = PREFIX / "bench"
    shutil.rmtree(instance, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="hull-bench-") as temporary:
        initramfs = peer_initramfs(pathlib.Path(temporary))
        host = ["--instance", str(instance)]
        subprocess.run([HULL, "host", "start", *host, "--icount"], check=True, timeout=300)
        try:
            done = subprocess.run(
                [HULL, "host", "exec", *host, "--", REPO / "tests" / "bench" / "inside.sh", PREFIX,
                 (BIN / "tests" / "bench" / "measure").resolve(), initramfs, str(rounds)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=3000,
                check=False)
        finally:
            subprocess.run([HULL, "host", "stop", *host], check=False, timeout=120)
    if done.returncode != 0:
        sys.exit(f"bench: the run in the emulated host failed (status {done.returncode}); "
                 f"its output:\n{done.stdout}")
    samples, smaps = {}, []
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"(\S+)\t(\d+)", line):
            samples.setdefault(match[1], []).append(int(match[2]) / 1e6)
        elif line.startswith("smaps "):
            smaps.append(line.removeprefix("smaps "))
    own, guest = split_resident(smaps, MEMORY)
    return samples, {"vmm-own": own / (1 << 20), "guest-touched": guest / (1 << 20)}


def main():
    parser = argparse.ArgumentParser(prog="hull bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11,
                        help="runs of each candidate; the first is a warm-up (default 11)")
    parser.add_argument("--json", type=pathlib.Path, default=PREFIX / "bench.json",
                        help="where the figures go besides the table")
    parser.add_argument("--check", action="store_true", help="fail if a figure is over its limit")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2, as the first is not counted")

    samples, figures = run_inside(options.rounds)
    rows = []
    for name, values in samples.items():
        # The first start of each program pays for the page cache.
        counted = values[1:]
        rows.append({"name": name, "unit": "Minstr", "median": statistics.median(counted),
                     "min": min(counted), "max": max(counted), "runs": len(counted)})
    figures["kernel"] = (PREFIX / "share" / "vmlinux").stat().st_size / (1 << 20)
    figures["initramfs"] = (PREFIX / "share" / "initramfs.cpio").stat().st_size / (1 << 20)
    for name, value in figures.items():
        rows.append({"name": name, "unit": "MiB", "median": value, "min": value, "max": value,
                     "runs": 1})
    for row in rows:
        limit = LIMITS.get(row["name"])
        row["limit"] = limit[0] if limit else None
    options.json.write_text(json.dumps({"version": 1, "rows": rows}, indent=1) + "\n")

    print("| what | median | min to max | limit | unit |")
    print("| --- | ---: | ---: | ---: | --- |")
    for row in rows:
        limit = f"{row['limit']:.0f}" if row["limit"] is not None else ""
        print(f"| {TITLES.get(row['name'], row['name'])} | {row['median']:.2f} | "
              f"{row['min']:.2f} to {row['max']:.2f} | {limit} | {row['unit']} |")
    over = [row["name"] for row in rows
            if row["limit"] is not None and row["median"] > row["limit"]]
    absent = [name for name in LIMITS if name not in {row["name"] for row in rows}]
    for name in over:
        print(f"bench: {name} is over its limit", file=sys.stderr)
    for name in absent:
        print(f"bench: {name} was not measured", file=sys.stderr)
    return 1 if options.check and (over or absent) else 0


if __name__ == "__main__":
    sys.exit(main())
