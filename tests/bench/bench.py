"""The benchmark: `./hull bench`. See README.md beside this file.

One millisecond of the instruction clock is one million executed instructions (Minstr), of guest, VMM
and host kernel together.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import report
import trace

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests" / "e2e"))
import oci  # noqa: E402 (the end-to-end tests' writer of image layouts)

HERE = REPO / "tests" / "bench"
PREFIX = REPO / ".hull"
HULL = PREFIX / "bin" / "hull"
PROGRAMS = (REPO / ".bazel" / "bin" / "tests" / "bench").resolve()
INSTANCE = PREFIX / "bench"
BASELINE = HERE / "baseline.json"
# What the last run's scripts printed: traces, smaps.
RECORD = PREFIX / "bench.log"
MIB = 1 << 20
# Guest memory of the machines that are weighed; inside.sh says the same to hull and QEMU.
GUEST_MEMORY = 128 * MIB
PARTS = [1, 2, 3]
# Starts of each candidate of part two: wall time needs more of them than a count of instructions.
NATIVE_ROUNDS = 101
# Some hundred times what the slowest candidate of part two takes.
NATIVE_DEADLINE_MS = 10000
NATIVE_PAUSE_MS = 50
# Boots of part three for each VMM; each does thousands of requests.
DISK_ROUNDS = 2
# Far above what a part takes on a busy machine. What hangs inside ends much earlier, by the clock there.
PART_TIMEOUT_S = 3600


class BenchError(Exception):
    """The benchmark cannot go on; the text says why."""


@contextlib.contextmanager
def emulated_host():
    """An emulated host of the benchmark's own, with the instruction clock."""
    host = ["--instance", str(INSTANCE)]
    # One that an earlier run could not stop.
    subprocess.run([HULL, "host", "stop", *host], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False, timeout=120)
    shutil.rmtree(INSTANCE, ignore_errors=True)
    try:
        subprocess.run([HULL, "host", "start", *host, "--icount"], check=True, timeout=300)
        yield host
    finally:
        subprocess.run([HULL, "host", "stop", *host], check=False, timeout=120)
        shutil.rmtree(INSTANCE, ignore_errors=True)


def run_inside(host, script, *arguments):
    """The lines that a script of this directory prints in the emulated host."""
    done = subprocess.run(
        [HULL, "host", "exec", *host, "--", HERE / script, PREFIX, PROGRAMS,
         *(str(argument) for argument in arguments)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=PART_TIMEOUT_S,
        check=False)
    with open(RECORD, "a", encoding="utf-8") as record:
        record.write(done.stdout)
    if done.returncode != 0:
        raise BenchError(f"{script} failed (status {done.returncode}); its output is in {RECORD}")
    return done.stdout.splitlines()


def mark_image(directory):
    """An OCI layout whose only file is mark-true."""
    program = (PROGRAMS / "mark-true").read_bytes()
    return oci.Layout(directory / "image", [oci.layer(oci.entry("mark-true", program))],
                      config={"Cmd": ["/mark-true"]}, name="bench").path


def fio_root(directory):
    """An EROFS image with fio, the libraries that it is linked with and its jobs."""
    root = directory / "fio-root"
    for name in ["dev", "proc", "sys", "tmp"]:
        (root / name).mkdir(parents=True)
    linked = subprocess.run(["ldd", "/usr/bin/fio"], stdout=subprocess.PIPE, text=True, check=True,
                            timeout=60).stdout
    for library in re.findall(r"/\S+", linked):
        copy = root / library[1:]
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, copy)
    shutil.copy("/usr/bin/fio", root / "fio")
    shutil.copy(HERE / "jobs.fio", root / "jobs.fio")
    out = directory / "fio.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", out, root], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True, timeout=120)
    shutil.rmtree(root)
    return out


def bzimage(directory):
    """The guest kernel as QEMU takes it together with a device tree."""
    out = directory / "kernel"
    # In the cache beside the vmlinux of the product: nothing is compiled.
    subprocess.run([REPO / "kernel-config" / "build", "--out", out, "--cache",
                    PREFIX / "cache" / "kernel", "--bzimage"],
                   stdout=subprocess.DEVNULL, check=True, timeout=3600)
    image = out / "bzImage"
    # QEMU 7.2 puts the device tree right after the image, where this kernel, which is not relocatable,
    # unpacks itself. Behind enough zeroes it is out of the way. The fields of the setup header:
    # Documentation/arch/x86/boot.rst.
    header = image.read_bytes()[:0x300]
    unpacked_to = (int.from_bytes(header[0x258:0x260], "little") +   # pref_address
                   int.from_bytes(header[0x260:0x264], "little"))    # init_size
    os.truncate(image, max(image.stat().st_size, unpacked_to))
    if (out / "key").read_text() != (PREFIX / "share" / "key").read_text():
        raise BenchError("the kernel of .hull/share is another one than kernel-config's")
    return image


def peer_initramfs(directory):
    """The product's initramfs with guest_init added: Linux unpacks one archive after the other."""
    added = directory / "added"
    added.mkdir()
    shutil.copy(PROGRAMS / "guest_init", added / "guest_init")
    (added / "guest_init").chmod(0o755)
    archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=added,
                             input=b"guest_init\n", stdout=subprocess.PIPE, check=True, timeout=60)
    out = directory / "peer.cpio"
    out.write_bytes((PREFIX / "share" / "initramfs.cpio").read_bytes() + archive.stdout)
    return out


class Samples(dict):
    """Lists of figures by name, in the order of measurement."""

    def add(self, name, value):
        self.setdefault(name, []).append(value)

    def add_all(self, values):
        for name, value in values.items():
            self.add(name, value)


def sections_of(lines):
    """([lines outside any section], [(kind, name, lines) of each section])."""
    outside, sections, current = [], [], None
    for line in lines:
        if line.startswith("begin "):
            current = []
            sections.append((*line.split()[1:], current))
        elif line == "end":
            current = None
        else:
            (outside if current is None else current).append(line)
    return outside, sections


def memory_figures(samples, smaps):
    own, guest = report.vmm_memory(smaps["hull"], GUEST_MEMORY)
    samples.add("vmm-own", own / MIB)
    samples.add("guest-touched", report.total(guest, "Rss") / MIB)
    samples.add("guest-private", report.total(guest, "Private_Clean", "Private_Dirty") / MIB)
    # Pages of the kernel's mapping that the guest wrote to have become anonymous. The others are the
    # file's; that the emulated host has the file in memory makes them dirty.
    kernel = [mapping for mapping in guest if mapping[2].endswith("/vmlinux")]
    shared = report.total(kernel, "Shared_Clean", "Shared_Dirty")
    samples.add("kernel-shared", shared / MIB)
    clean = report.total(kernel, "Rss") - report.total(kernel, "Anonymous")
    samples.add("kernel-shared-part", shared / clean if clean else 0)
    own, guest = report.vmm_memory(smaps["qemu"], GUEST_MEMORY)
    samples.add("qemu-own", own / MIB)
    samples.add("qemu-touched", report.total(guest, "Rss") / MIB)


def part_one(host, rounds):
    samples = Samples()
    with tempfile.TemporaryDirectory(prefix="hull-bench-") as temporary:
        directory = pathlib.Path(temporary)
        lines = run_inside(host, "inside.sh", mark_image(directory), peer_initramfs(directory),
                           rounds)
    outside, sections = sections_of(lines)
    hung = []
    for line in outside:
        if run := trace.parse_run(line):
            samples.add(run.name, (run.end - run.start) / 1e3)
        elif line.startswith("hung\t"):
            hung.append(line.split("\t")[1])
        elif line.startswith("memory\t"):
            _, mebibytes, said = line.split("\t")
            if said == "works":
                samples["smallest-memory"] = [int(mebibytes)]
    smaps = {}
    for kind, name, text in sections:
        if kind == "smaps":
            smaps.setdefault(name, []).append(report.smaps_mappings(text))
            continue
        run = trace.parse_run(text[0])
        if run is None:
            hung.append(name)
            continue
        if kind == "phases" and name == "hull-mark":
            events = trace.parse_events(text)
            samples.add_all(trace.phases(run, events))
            created, init = trace.boot_times(events)
            samples.add("create-to-init", (init - created) / 1e3)
        elif kind == "phases":
            created, init = trace.boot_times(trace.parse_events(text))
            samples.add("create-to-init" + name.removeprefix("hull-mark").replace("qemu", "-qemu"),
                        (init - created) / 1e3)
        elif kind == "time":
            samples.add_all(trace.processor_time(run, trace.parse_events(text)))
        elif kind == "exits":
            counts = trace.exit_counts(text)
            samples.add("exits" + name.removeprefix("hull").replace("qemu", "-qemu"),
                        sum(counts.values()))
            if name == "hull":
                samples.add_all({f"exits-for-{reason}": count for reason, count in counts.items()})
    # The first run of each pays for the page cache.
    for name, values in samples.items():
        if len(values) > 1:
            samples[name] = values[1:]
    samples["hung"] = [len(hung)]
    # A candidate of which no start ended has no samples.
    ratios = [hull / runc for hull, runc in zip(samples.get("hull", []), samples.get("runc", []))]
    if ratios:
        samples["hull-to-runc"] = ratios
    memory_figures(samples, smaps)
    samples["kernel-size"] = [(PREFIX / "share" / "vmlinux").stat().st_size / MIB]
    samples["initramfs-size"] = [(PREFIX / "share" / "initramfs.cpio").stat().st_size / MIB]
    return samples


def native_candidates(directory):
    """The lines for measure: what starts the three-instruction guest on /dev/kvm, in turn."""
    firmware = PROGRAMS / "firmware.bin"
    spec = directory / "machine.json"
    spec.write_text(json.dumps({"version": 1, "machine": "micro", "vcpus": 1,
                                "memory_bytes": GUEST_MEMORY, "firmware": {"path": str(firmware)}}))
    # QEMU's BIOS is at least 64 KiB long; its end is what the CPU starts with.
    bios = directory / "bios.bin"
    bios.write_bytes(firmware.read_bytes().rjust(64 << 10, b"\0"))
    # The microvm without any device but the one that ends it, with status 1 * 2 + 1.
    qemu = ["-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off",
            "-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-smp", "1", "-m", f"{GUEST_MEMORY // MIB}M",
            "-nodefaults", "-no-user-config", "-display", "none", "-bios", bios,
            "-device", "isa-debug-exit,iobase=0x501,iosize=1"]
    candidates = [("native-floor", 0, [PROGRAMS / "floor", firmware]),
                  ("native-hull", 0, [PREFIX / "bin" / "hull-vmm", f"--spec={spec}"]),
                  ("native-qemu", 3, [shutil.which("qemu-system-x86_64"), *qemu])]
    return "".join("\t".join([name, str(status), *map(str, argv)]) + "\n"
                   for name, status, argv in candidates)


def part_two(rounds):
    """Wall time on /dev/kvm itself, of candidates in turn, so that what disturbs one disturbs all."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise BenchError("/dev/kvm cannot be opened")
    print("bench: starts on /dev/kvm", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="hull-bench-") as temporary:
        done = subprocess.run([PROGRAMS / "measure", str(rounds), str(NATIVE_DEADLINE_MS),
                               str(NATIVE_PAUSE_MS)],
                              input=native_candidates(pathlib.Path(temporary)),
                              stdout=subprocess.PIPE, text=True, timeout=PART_TIMEOUT_S,
                              check=False)
    with open(RECORD, "a", encoding="utf-8") as record:
        record.write(done.stdout)
    if done.returncode != 0:
        raise BenchError(f"measure failed (status {done.returncode})")
    return report.native_samples(done.stdout.splitlines())


def part_three(host, rounds):
    samples = Samples()
    with tempfile.TemporaryDirectory(prefix="hull-bench-") as temporary:
        directory = pathlib.Path(temporary)
        lines = run_inside(host, "inside_io.sh", bzimage(directory), peer_initramfs(directory),
                           fio_root(directory), rounds)
    for kind, vmm, text in sections_of(lines)[1]:
        suffix = "" if vmm == "hull" else "-qemu"
        figures = report.fio_costs("\n".join(text)) if kind == "fio" else report.vsock_costs(text)
        for name, value in figures.items():
            samples.add(name + suffix, value)
    for name in list(samples):
        if name.startswith("fio-") and name + "-qemu" in samples:
            samples[name + "-ratio"] = [statistics.median(samples[name]) /
                                        statistics.median(samples[name + "-qemu"])]
    samples.update(report.clock_rates(samples))
    return samples


@contextlib.contextmanager
def rows_of_others_stay(part):
    """What a part that fails should have measured counts as not measured; the other parts go on."""
    try:
        yield
    except (BenchError, subprocess.SubprocessError, ValueError) as error:
        print(f"bench: part {part}: {error}", file=sys.stderr)


def read_baseline():
    try:
        document = json.loads(BASELINE.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BenchError(f"{BASELINE}: {error}") from error
    return document["rows"]


def parse_options():
    parser = argparse.ArgumentParser(prog="hull bench", description="Measures Hull and its peers.")
    parser.add_argument("--rounds", type=int, default=11,
                        help="runs of each candidate of part 1; the first is a warm-up (default 11)")
    parser.add_argument("--part", type=int, choices=PARTS,
                        help="1: starts and memory, 2: starts on /dev/kvm itself, 3: disks and "
                             "sockets (default: all)")
    parser.add_argument("--json", type=pathlib.Path, default=PREFIX / "bench.json",
                        help="where the figures go besides the table (default .hull/bench.json)")
    parser.add_argument("--check", action="store_true",
                        help="fail if a must is not met, or if a row of instructions is more than "
                             "3 per cent above the baseline or not in it")
    parser.add_argument("--update-baseline", action="store_true",
                        help="write this run's rows of instructions to tests/bench/baseline.json; "
                             "those of parts that did not run stay")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2, as the first is not counted")
    return options


def main():
    options = parse_options()
    parts = [options.part] if options.part else PARTS
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        baseline = read_baseline()
        RECORD.write_text("")
        samples = Samples()
        # Before the emulated host takes a processor.
        if 2 in parts:
            with rows_of_others_stay("two"):
                samples.update(part_two(NATIVE_ROUNDS))
        if parts != [2]:
            with emulated_host() as host:
                if 1 in parts:
                    samples.update(part_one(host, options.rounds))
                if 3 in parts:
                    with rows_of_others_stay("three"):
                        samples.update(part_three(host, DISK_ROUNDS))
    except (BenchError, trace.TraceError, ValueError) as error:
        sys.exit(f"bench: {error}")
    except subprocess.SubprocessError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    rows = report.judge(samples, baseline)
    options.json.write_text(json.dumps({"version": 3, "rows": rows}, indent=1) + "\n")
    print(report.table(rows))
    failed = report.failures(rows, parts, baseline)
    if options.check:
        failed += report.without_baseline(rows, baseline)
    for text in failed:
        print(f"bench: {text}", file=sys.stderr)
    if options.update_baseline:
        BASELINE.write_text(json.dumps({"version": 1, "rows": report.baseline_of(rows, baseline)},
                                       indent=1) + "\n")
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
