"""The rows of the benchmark: what each is, what must hold of it, and how they are judged and printed.

Nothing here does I/O.
"""

import dataclasses
import json
import re
import statistics
from typing import Optional

import trace

# More than this above the baseline fails.
TOLERANCE = 0.03

# Why a guest was left (trace.exit_counts), as rows under the total.
EXIT_REASONS = {
    "page": "a page of memory that was not there, or of a device",
    "interrupt": "an interrupt for the host",
    "cpuid": "CPUID",
    "msr": "a model-specific register, the local APIC's included",
    "port": "an I/O port",
    "hlt": "HLT",
    "hypercall": "a hypercall",
    "shutdown": "shutdown",
    "other": "others",
}


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    unit: str
    must: Optional[float] = None
    aim: Optional[float] = None
    at_least: bool = False  # must and aim are lower bounds
    gate: bool = False      # compared with the baseline: instructions that Hull executes


# The jobs of jobs.fio: what they do, and KiB of a request.
FIO_JOBS = {
    "randread-4k": ("4 KiB random reads", 4),
    "randread-4k-deep": ("4 KiB random reads, 16 at a time", 4),
    "read-128k": ("128 KiB sequential reads", 128),
    "randwrite-4k": ("4 KiB random writes", 4),
    "write-128k": ("128 KiB sequential writes", 128),
}

ROWS = [
    # Part one.
    Row("nothing", "spawn of a static `true` (what measuring itself costs)", "Minstr"),
    Row("hull", "`hull run --rm busybox true`, cold", "Minstr", 45, 30, gate=True),
    Row("hull-to-runc", "the same as a part of `runc run`'s", "ratio", 1.0),
    Row("hull-mark", "`hull run` of a program that only exits", "Minstr", gate=True),
    Row("crun", "`crun run` of a static `true`", "Minstr"),
    Row("runc", "`runc run` of the same", "Minstr"),
    Row("qemu", "QEMU microvm, same kernel and initramfs, an init that resets at once", "Minstr"),
    Row("cli-to-vmm", "phase: CLI start to VMM start", "Minstr", gate=True),
    Row("vmm-to-guest", "phase: VMM start to first guest instruction", "Minstr", 3, 1.5, gate=True),
    Row("kernel-to-agent", "phase: kernel entry to agent", "Minstr", gate=True),
    Row("agent-to-process", "phase: agent to container process", "Minstr", gate=True),
    Row("process-to-cli-exit", "phase: container process exit to CLI exit", "Minstr", gate=True),
    Row("process-to-power-off", "— process exit to power-off", "Minstr", gate=True),
    Row("power-off-to-vmm-exit", "— power-off to the VMM's exit(2)", "Minstr", gate=True),
    Row("vmm-exit-to-cli-exit", "— the VMM's exit(2) to CLI exit", "Minstr", gate=True),
    Row("create-to-init", "VM creation to first instruction of init, 1 vCPU, 128 MiB", "Minstr",
        25, 15, gate=True),
    Row("create-to-init-2", "the same with 2 vCPUs", "Minstr", 35, 25, gate=True),
    Row("create-to-init-qemu", "the same in QEMU, 1 vCPU", "Minstr"),
    Row("host-side", "`hull run`: CLI and monitor, everything they do", "Minstr", 8, 4, gate=True),
    Row("vmm", "`hull run`: hull-vmm but for its vCPUs", "Minstr", gate=True),
    Row("vcpus", "`hull run`: vCPU threads, with the guest", "Minstr", gate=True),
    Row("kernel", "`hull run`: the host kernel's threads", "Minstr"),
    Row("idle", "`hull run`: nobody runs, all wait", "Minstr"),
    Row("other", "`hull run`: the benchmark and others", "Minstr"),
    Row("hung", "starts of all candidates that did not end", "starts", 0),
    Row("exits", "VM exits of `hull run --rm busybox true`", "exits", 400),
    *(Row(f"exits-for-{reason}", f"— {title}", "exits") for reason, title in EXIT_REASONS.items()),
    Row("exits-qemu", "VM exits of the QEMU start", "exits"),
    Row("vmm-own", "hull-vmm's resident memory beyond the guest's", "MiB", 3, 2),
    Row("qemu-own", "QEMU's resident memory beyond the guest's", "MiB"),
    Row("guest-touched", "guest memory touched by an idle busybox container of 128 MiB", "MiB", 14,
        10),
    Row("guest-private", "— of it not shared with other machines", "MiB"),
    Row("qemu-touched", "guest memory touched in QEMU by an idle init", "MiB"),
    Row("kernel-shared", "guest kernel pages of one VM that another shares", "MiB"),
    Row("kernel-shared-part", "— as a part of its kernel pages not written to", "ratio", 0.85,
        at_least=True),
    Row("smallest-memory", "smallest --memory in which busybox sh works", "MiB", 32, 24),
    Row("kernel-size", "guest kernel, the file", "MiB"),
    Row("initramfs-size", "agent with its initramfs", "MiB"),
    # Part two.
    Row("native-hull-ratio", "on /dev/kvm, start to exit of a guest of three instructions: hull-vmm "
        "by the bare program", "ratio", 1.5, 1.15),
    Row("native-qemu-ratio", "— QEMU microvm by the bare program", "ratio"),
    Row("native-floor", "— the bare program", "ms"),
    Row("native-hull", "— hull-vmm", "ms"),
    Row("native-qemu", "— QEMU microvm", "ms"),
    # Part three.
    *(row for job, (title, _) in FIO_JOBS.items() for row in [
        Row(f"fio-{job}", f"virtio-blk, {title}, a request", "kinstr", gate=True),
        Row(f"fio-{job}-rate", "— requests a second of the clock", "1/s"),
        Row(f"fio-{job}-throughput", "— throughput by the clock", "MiB/s"),
        Row(f"fio-{job}-qemu", "— the same in QEMU", "kinstr"),
        Row(f"fio-{job}-ratio", "— ratio", "ratio", 1.0, 0.7)]),
    *(row for name, title, unit in [
        ("round-trip", "vsock, round trip of 64 bytes", "kinstr"),
        ("to-host", "vsock, guest to host", "kinstr/MiB"),
        ("to-guest", "vsock, host to guest", "kinstr/MiB")] for row in [
            Row(f"vsock-{name}", title, unit, gate=True),
            *([Row(f"vsock-{name}-throughput", "— throughput by the clock", "MiB/s")]
              if unit == "kinstr/MiB" else []),
            Row(f"vsock-{name}-qemu", "— the same with the host kernel's vhost, in QEMU", unit)]),
]


def smaps_mappings(lines):
    """(start, end, path, {field: bytes}) of each mapping in the text of /proc/PID/smaps."""
    mappings = []
    for line in lines:
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)", line):
            mappings.append((int(match[1], 16), int(match[2], 16), match[3], {}))
        elif match := re.match(r"(\w+): +(\d+) kB", line):
            mappings[-1][3][match[1]] = int(match[2]) * 1024
    return mappings


def split_guest(mappings, guest_bytes):
    """(the VMM's own, the guest's) mappings.

    The guest's RAM is the run of adjacent mappings (a kernel that is mapped from its file splits it)
    that together are exactly guest_bytes long.
    """
    for first, (start, _, _, _) in enumerate(mappings):
        end = start
        for last in range(first, len(mappings)):
            if mappings[last][0] != end or mappings[last][1] - start > guest_bytes:
                break
            end = mappings[last][1]
            if end - start == guest_bytes:
                return mappings[:first] + mappings[last + 1:], mappings[first:last + 1]
    raise ValueError("no run of mappings is the guest's RAM")


def vmm_memory(processes, guest_bytes):
    """(resident bytes beyond the guest's, the guest's mappings) of one machine, from the mappings of all
    processes of all machines: of a machine, one process has the guest's RAM, and others may help it."""
    machines, helping = [], 0
    for mappings in processes:
        try:
            machines.append(split_guest(mappings, guest_bytes))
        except ValueError:
            helping += total(mappings, "Rss")
    if not machines:
        raise ValueError("no process of the VMM has the guest's RAM")
    own, guest = machines[0]
    return total(own, "Rss") + helping // len(machines), guest


def total(mappings, *fields):
    return sum(values.get(field, 0) for _, _, _, values in mappings for field in fields)


def native_samples(lines):
    """Wall time in ms of each start of part two but the warm-up, and the ratios of each round."""
    samples = {}
    for line in lines:
        run = trace.parse_run(line)
        if run is None:
            raise ValueError(f"a start did not end: {line}")
        samples.setdefault(run.name, []).append((run.end - run.start) / 1e3)
    samples = {name: times[1:] for name, times in samples.items()}
    for name in ["native-hull", "native-qemu"]:
        samples[name + "-ratio"] = [time / floor for time, floor in
                                    zip(samples[name], samples["native-floor"], strict=True)]
    return samples


def fio_costs(text):
    """Thousands of instructions a request, by row, from fio's JSON report."""
    start = text.find("{")
    if start < 0:
        raise ValueError("fio reported nothing")
    costs = {}
    for job in json.loads(text[start:])["jobs"]:
        side = job["read"] if job["read"]["total_ios"] else job["write"]
        if job["error"] or not side["total_ios"]:
            raise ValueError(f"fio's job {job['jobname']} failed with error {job['error']}")
        # runtime is in milliseconds of the guest's clock, each a million instructions.
        costs[f"fio-{job['jobname']}"] = side["runtime"] * 1e3 / side["total_ios"]
    return costs


def vsock_costs(lines):
    """Thousands of instructions, by row, from the lines of vsock_host."""
    costs = {}
    for line in lines:
        _, name, nanoseconds = line.split("\t")
        costs[f"vsock-{name}"] = int(nanoseconds) / 1e3
    return costs


def clock_rates(samples):
    """Rows that say figures of part three once more as rates, on a clock of 10^9 instructions a second."""
    rates = {}
    for job, (_, kibibytes) in FIO_JOBS.items():
        if costs := samples.get(f"fio-{job}"):
            rates[f"fio-{job}-rate"] = [1e6 / cost for cost in costs]
            rates[f"fio-{job}-throughput"] = [1e6 / cost * kibibytes / 1024 for cost in costs]
    for name in ["to-host", "to-guest"]:
        if costs := samples.get(f"vsock-{name}"):
            rates[f"vsock-{name}-throughput"] = [1e6 / cost for cost in costs]
    return rates


def judge(samples, baseline):
    """The rows of the measured figures, in order, as dictionaries.

    samples: lists of figures by name. baseline: medians by name. A row's "verdict" is "" (nothing to
    hold), "met", "NOT MET" or "WORSE" (than the baseline).
    """
    result = []
    for row in ROWS:
        values = samples.get(row.name)
        if not values:
            continue
        median = statistics.median(values)
        verdict = ""
        if row.must is not None:
            met = median >= row.must if row.at_least else median <= row.must
            verdict = "met" if met else "NOT MET"
        before = baseline.get(row.name) if row.gate else None
        if before is not None and median > before * (1 + TOLERANCE) and verdict != "NOT MET":
            verdict = "WORSE"
        result.append({"name": row.name, "title": row.title, "unit": row.unit, "median": median,
                       "min": min(values), "max": max(values), "runs": len(values),
                       "must": row.must, "aim": row.aim, "baseline": before, "verdict": verdict})
    return result


def not_measured(rows, parts, baseline):
    """Names of the rows of these parts with a must or a baseline that are not there: as bad as a must not
    met."""
    there = {row["name"] for row in rows}
    return [row.name for row in ROWS
            if (row.must is not None or row.gate and row.name in baseline) and
            part_of(row) in parts and row.name not in there]


def failures(rows, parts, baseline):
    """What is wrong with the measured rows of these parts, a line each."""
    lines = [f"{row['name']}: {row['verdict']}" for row in rows
             if row["verdict"] in ("NOT MET", "WORSE")]
    return lines + [f"{name}: NOT MEASURED" for name in not_measured(rows, parts, baseline)]


def without_baseline(rows, baseline):
    """A line for each measured row that the baseline should have and has not: it is compared with nothing."""
    return [f"{name}: NOT IN THE BASELINE" for name in baseline_of(rows) if name not in baseline]


def part_of(row):
    if row.name.startswith("native-"):
        return 2
    return 3 if row.name.startswith(("fio-", "vsock-")) else 1


def baseline_of(rows, before=()):
    """The medians to compare later runs with, by name; those of `before` for rows that are not here."""
    gates = [row.name for row in ROWS if row.gate]
    medians = dict(before) | {row["name"]: round(row["median"], 3) for row in rows}
    return {name: medians[name] for name in gates if name in medians}


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.2f}"


def table(rows):
    lines = ["| what | median | min to max | must | aim | unit | |",
             "| --- | ---: | ---: | ---: | ---: | --- | --- |"]
    for row in rows:
        spread = (f"{number(row['min'])} to {number(row['max'])}" if row["runs"] > 1 else "")
        lines.append(f"| {row['title']} | {number(row['median'])} | {spread} | "
                     f"{number(row['must'])} | {number(row['aim'])} | {row['unit']} | "
                     f"{row['verdict']} |")
    return "\n".join(lines)
