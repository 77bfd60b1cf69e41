"""What the traces of a start say: phases, processor time, exits of the guest.

The input is text of the emulated host's tracefs (Documentation/trace/ftrace.rst), with the instruction
clock as its clock: a microsecond is 1000 instructions. Nothing here does I/O.
"""

import collections
import re

# mark_true.asm's leaf of CPUID.
MARK_LEAF = 0x48554C4C

Event = collections.namedtuple("Event", "task pid time name detail")
Run = collections.namedtuple("Run", "name start end")

# The monitor executes hull-vmm by a descriptor, and nothing else so.
_VMM = re.compile(r"filename=(\S*/hull-vmm|/dev/fd/\d+) ")

_LINE = re.compile(r"\s*(.+)-(\d+)\s+\[\d+\]\s+\S+\s+(\d+)\.(\d{6}): (\w+): (.*)")


class TraceError(Exception):
    """A trace in which something is missing."""


def parse_run(line):
    """A line of measure as a Run (times in microseconds of the clock), or None."""
    match = re.fullmatch(r"run\t(\S+)\t(\d+)\t(\d+)", line)
    return Run(match[1], int(match[2]) / 1e3, int(match[3]) / 1e3) if match else None


def parse_events(lines):
    """The events, times in microseconds."""
    events = []
    for line in lines:
        if match := _LINE.fullmatch(line.rstrip("\n")):
            events.append(Event(match[1], int(match[2]), int(match[3] + match[4]), match[5],
                                match[6]))
    return events


def _first(events, what, test, after=0):
    for event in events:
        if event.time >= after and test(event):
            return event.time
    raise TraceError(f"no trace of {what}")


def user_cpuids(events):
    """(time, leaf) of each CPUID in the guest's user mode."""
    found, exit_time = [], None
    for event in events:
        if event.name == "kvm_exit" and "reason cpuid" in event.detail:
            exit_time = event.time
        elif event.name == "kvm_cpuid" and exit_time is not None:
            found.append((exit_time, int(re.match(r"func (\w+)", event.detail)[1], 16)))
            exit_time = None
    return found


def boot_times(events):
    """(VM creation, first instruction of init): the latter is seen as leaf 0, with which the C library
    of a static program begins, some hundred instructions after its first."""
    created = _first(events, "KVM_CREATE_VM", lambda e: e.name == "kvm_dev_ioctl")
    for time, leaf in user_cpuids(events):
        if leaf == 0:
            return created, time
    raise TraceError("no trace of init: no CPUID leaf 0 in user mode")


def phases(run, events):
    """Minstr by phase of a `hull run` of mark-true. They add up to the whole run."""
    vmm = _first(events, "the start of hull-vmm",
                 lambda e: e.name == "sched_process_exec" and
                 _VMM.search(e.detail))
    entry = _first(events, "an entry of the guest", lambda e: e.name == "kvm_entry", vmm)
    _, init = boot_times(events)
    marks = [time for time, leaf in user_cpuids(events) if leaf == MARK_LEAF]
    if len(marks) != 1:
        raise TraceError(f"{len(marks)} marks of the container's process, not 1")
    off = _first(events, "the power-off", lambda e: e.name == "kvm_pio", marks[0])
    # The last thread of the VMM to end.
    gone = [e.time for e in events if e.name == "sched_process_exit" and e.time >= off]
    vmm_pids = {e.pid for e in events if e.name == "sched_process_exec" and
                _VMM.search(e.detail)}
    ended = [e.time for e in events
             if e.name == "sched_process_exit" and e.pid in vmm_pids and e.time >= off]
    if not gone:
        raise TraceError("no trace of the end of anything")
    # Nobody waits for the VMM, so it may be there when hull is gone.
    vmm_end = min([run.end, *ended[-1:]])
    times = [run.start, vmm, entry, init, marks[0], off, vmm_end, run.end]
    names = ["cli-to-vmm", "vmm-to-guest", "kernel-to-agent", "agent-to-process",
             "process-to-power-off", "power-off-to-vmm-exit", "vmm-exit-to-cli-exit"]
    result = {name: (end - start) / 1e3 for name, start, end in zip(names, times, times[1:])}
    result["process-to-cli-exit"] = (run.end - marks[0]) / 1e3
    return result


def processor_time(run, events):
    """Minstr by who ran: "host-side" (hull in all its processes), "vmm", "vcpus" (the VMM's vCPU threads,
    the guest's own instructions included), "kernel" (the kernel's threads), "idle", "other".

    One CPU: between two switches runs who was switched to, interrupts included. A process is that of
    its parent until it executes another program.
    """
    roles, names, totals = {0: "idle", 2: "kernel"}, {}, collections.Counter()

    def role_of(pid):
        return ("vcpus" if roles.get(pid) == "vmm" and names.get(pid, "").startswith("vcpu")
                else roles.get(pid, "other"))

    current, since = None, run.start
    for event in events:
        names[event.pid] = event.task
        if event.name == "sched_process_fork":
            match = re.search(r"child_comm=.* child_pid=(\d+)", event.detail)
            inherited = roles.get(event.pid, "other")
            roles[int(match[1])] = "host-side" if event.task.strip() == "measure" else inherited
        elif event.name == "sched_process_exec":
            # What ran so far was still the parent's program.
            totals[role_of(event.pid)] += max(0, min(event.time, run.end) - max(since, run.start))
            since = event.time
            if roles.get(event.pid) is not None:
                roles[event.pid] = "vmm" if _VMM.search(event.detail) else "host-side"
        elif event.name == "sched_switch":
            match = re.search(r"prev_pid=(\d+) .* next_comm=(.*) next_pid=(\d+)", event.detail)
            previous, current = int(match[1]), int(match[3])
            names[current] = match[2]
            # Kernel threads of long ago have no fork here.
            if current not in roles and re.match(
                    r"kworker|ksoftirqd|rcu|migration|kcompactd|khugepaged|kvm|kthreadd|kauditd",
                    match[2]):
                roles[current] = "kernel"
            totals[role_of(previous)] += max(0, min(event.time, run.end) - max(since, run.start))
            since = event.time
    if current is None:
        raise TraceError("no trace of the processes")
    totals[role_of(current)] += max(0, run.end - max(since, run.start))
    return {role: totals[role] / 1e3
            for role in ["host-side", "vmm", "vcpus", "kernel", "idle", "other"]}


# APM volume 2, appendix C: SVM's exit codes.
REASONS = {0x60: "interrupt", 0x72: "cpuid", 0x78: "hlt", 0x7B: "port", 0x7C: "msr",
            0x400: "page", 0x81: "hypercall", 0x7F: "shutdown"}


def exit_counts(lines):
    """Exits of the guest by reason, from the text of a `hist:keys=exit_reason.hex`."""
    counts = collections.Counter()
    for line in lines:
        if match := re.match(r"\{ exit_reason: +([0-9a-f]+) *\} hitcount: +(\d+)", line):
            counts[REASONS.get(int(match[1], 16), "other")] += int(match[2])
    if not counts:
        raise TraceError("no exits of the guest")
    return counts
