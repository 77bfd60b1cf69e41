"""What the benchmark reads from recorded text, and how it judges."""

import contextlib
import io
import pathlib
import sys
import tempfile
import types
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The end-to-end tests' writer of images, which nothing here needs.
sys.modules["oci"] = types.ModuleType("oci")
import bench  # noqa: E402
import report  # noqa: E402
import trace  # noqa: E402

PHASES = """\
run\thull-mark\t1000000000\t1080000000
         measure-90      [000] .....     1.000500: sched_process_exec: filename=/run/bench/bin/hull pid=91 old_pid=91
    hull-monitor-92      [000] .....     1.002000: sched_process_exec: filename=/proc/self/exe pid=92 old_pid=92
        hull-vmm-93      [000] .....     1.003000: sched_process_exec: filename=/dev/fd/10 pid=93 old_pid=93
        hull-vmm-93      [000] .....     1.004000: kvm_dev_ioctl: (kvm_dev_ioctl+0x0/0xa90 [kvm]) command=44545
           vcpu0-95      [000] d..1.     1.010000: kvm_entry: vcpu 0, rip 0x200123
           vcpu0-95      [000] .....     1.010100: kvm_cpuid: func 0 idx 0 rax d rbx 0 rcx 0 rdx 0, cpuid entry found
           vcpu0-95      [000] .....     1.030000: kvm_exit: vcpu 0 reason cpuid rip 0x7f2fbe33e7ff info1 0x0 info2 0x0
           vcpu0-95      [000] .....     1.030001: kvm_cpuid: func 0 idx 54 rax d rbx 0 rcx 0 rdx 0, cpuid entry found
           vcpu0-95      [000] .....     1.030010: kvm_exit: vcpu 0 reason cpuid rip 0x7f2fbe33d9f1 info1 0x0 info2 0x0
           vcpu0-95      [000] .....     1.030011: kvm_cpuid: func 1 idx 0 rax 0 rbx 0 rcx 0 rdx 0, cpuid entry found
           vcpu0-95      [000] .....     1.040000: kvm_exit: vcpu 0 reason cpuid rip 0x40000080 info1 0x0 info2 0x0
           vcpu0-95      [000] .....     1.040001: kvm_cpuid: func 48554c4c idx 0 rax 0 rbx 0 rcx 0 rdx 0, cpuid entry not found
           vcpu0-95      [000] .....     1.045000: kvm_pio: pio_write at 0x501 size 1 count 1 val 0x1
           vcpu0-95      [000] .....     1.046000: sched_process_exit: comm=vcpu0 pid=95 prio=120
        hull-vmm-93      [000] .....     1.060000: sched_process_exit: comm=hull-vmm pid=93 prio=120
    hull-monitor-92      [000] .....     1.070000: sched_process_exit: comm=hull-monitor pid=92 prio=120
""".splitlines()

TIME = """\
run\thull\t1000000\t11000000
         measure-90      [000] .....     0.001100: sched_process_fork: comm=measure pid=90 child_comm=measure child_pid=91
         measure-90      [000] d..2.     0.002000: sched_switch: prev_comm=measure prev_pid=90 prev_prio=120 prev_state=D ==> next_comm=measure next_pid=91 next_prio=120
            hull-91      [000] .....     0.002500: sched_process_exec: filename=/run/bench/bin/hull pid=91 old_pid=91
            hull-91      [000] .....     0.003000: sched_process_fork: comm=hull pid=91 child_comm=hull child_pid=92
            hull-91      [000] d..2.     0.004000: sched_switch: prev_comm=hull prev_pid=91 prev_prio=120 prev_state=S ==> next_comm=hull next_pid=92 next_prio=120
        hull-vmm-92      [000] .....     0.004500: sched_process_exec: filename=/run/bench/bin/hull-vmm pid=92 old_pid=92
        hull-vmm-92      [000] .....     0.005000: sched_process_fork: comm=hull-vmm pid=92 child_comm=hull-vmm child_pid=93
        hull-vmm-92      [000] d..2.     0.006000: sched_switch: prev_comm=hull-vmm prev_pid=92 prev_prio=120 prev_state=S ==> next_comm=vcpu0 next_pid=93 next_prio=120
           vcpu0-93      [000] d..2.     0.008000: sched_switch: prev_comm=vcpu0 prev_pid=93 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
          <idle>-0       [000] d..2.     0.009000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=kworker/0:1 next_pid=44 next_prio=120
     kworker/0:1-44      [000] d..2.     0.009500: sched_switch: prev_comm=kworker/0:1 prev_pid=44 prev_prio=120 prev_state=I ==> next_comm=hull next_pid=91 next_prio=120
            hull-91      [000] d..2.     0.010000: sched_switch: prev_comm=hull prev_pid=91 prev_prio=120 prev_state=Z ==> next_comm=measure next_pid=90 next_prio=120
""".splitlines()

SMAPS = """\
00400000-00500000 r-xp 00000000 00:1a 12                         /bin/hull-vmm
Rss:                1024 kB
Shared_Clean:       1024 kB
7f0000000000-7f0000200000 rw-p 00000000 00:00 0
Rss:                 100 kB
Private_Dirty:       100 kB
7f0000200000-7f0000400000 rw-p 00001000 00:1a 13                 /run/share/vmlinux
Rss:                1000 kB
Shared_Clean:        900 kB
Private_Dirty:       100 kB
Anonymous:           100 kB
7f0000400000-7f0000800000 rw-p 00000000 00:00 0
Rss:                 200 kB
7f0000900000-7f0000a00000 rw-p 00000000 00:00 0
Rss:                  16 kB
""".splitlines()


class TraceTest(unittest.TestCase):
    def test_phases_are_between_the_marks_and_add_up(self):
        run = trace.parse_run(PHASES[0])
        phases = trace.phases(run, trace.parse_events(PHASES))
        expected = {"cli-to-vmm": 3, "vmm-to-guest": 7, "kernel-to-agent": 20,
                    "agent-to-process": 10, "process-to-cli-exit": 40, "process-to-power-off": 5,
                    "power-off-to-vmm-exit": 15, "vmm-exit-to-cli-exit": 20}
        self.assertEqual(phases.keys(), expected.keys())
        for name, value in expected.items():
            self.assertAlmostEqual(phases[name], value, msg=name)

    def test_init_is_seen_by_its_own_cpuid_not_the_kernels(self):
        created, init = trace.boot_times(trace.parse_events(PHASES))
        self.assertEqual((created, init), (1004000, 1030000))

    def test_a_missing_mark_is_an_error_that_names_it(self):
        run = trace.parse_run(PHASES[0])
        for word, named in [("48554c4c", "container's process"), ("kvm_dev_ioctl", "KVM_CREATE_VM"),
                            ("kvm_pio", "power-off"), ("/dev/fd/10", "hull-vmm")]:
            lines = [line for line in PHASES if word not in line]
            with self.assertRaisesRegex(trace.TraceError, named):
                trace.phases(run, trace.parse_events(lines))

    def test_processor_time_goes_to_the_program_that_ran(self):
        run = trace.parse_run(TIME[0])
        self.assertEqual((run.start, run.end), (1000, 11000))
        time = trace.processor_time(run, trace.parse_events(TIME))
        # hull: 2.0 to 4.0, 4.0 to 4.5 before its child was hull-vmm, 9.5 to 10.0.
        for role, value in {"host-side": 3.0, "vmm": 1.5, "vcpus": 2.0, "idle": 1.0, "kernel": 0.5,
                            "other": 2.0}.items():
            self.assertAlmostEqual(time[role], value, msg=role)

    def test_exits_by_reason(self):
        counts = trace.exit_counts(["# event histogram", "{ exit_reason:        400 } hitcount:    30",
                                    "{ exit_reason:         72 } hitcount:     12",
                                    "{ exit_reason:          1 } hitcount:      3", "Totals:"])
        self.assertEqual(counts, {"page": 30, "cpuid": 12, "other": 3})
        with self.assertRaises(trace.TraceError):
            trace.exit_counts(["Totals:"])


class ReportTest(unittest.TestCase):
    def test_the_guests_memory_is_the_run_of_its_size(self):
        own, guest = report.split_guest(report.smaps_mappings(SMAPS), 8 << 20)
        self.assertEqual(report.total(own, "Rss"), 1040 << 10)
        self.assertEqual(report.total(guest, "Rss"), 1300 << 10)
        self.assertEqual([path for _, _, path, _ in guest], ["", "/run/share/vmlinux", ""])
        with self.assertRaises(ValueError):
            report.split_guest(report.smaps_mappings(SMAPS), 7 << 20)

    def test_a_machine_is_all_its_processes(self):
        machine = report.smaps_mappings(SMAPS)
        helper = report.smaps_mappings(["1000-2000 r-xp 00000000 00:1a 12 /bin/hull-vmm",
                                        "Rss: 600 kB"])
        own, guest = report.vmm_memory([helper, machine, machine, helper], 8 << 20)
        self.assertEqual((own, report.total(guest, "Rss")), ((1040 + 600) << 10, 1300 << 10))
        self.assertEqual(report.vmm_memory([machine], 8 << 20)[0], 1040 << 10)
        with self.assertRaises(ValueError):
            report.vmm_memory([helper], 8 << 20)

    def test_verdicts(self):
        def verdict(name, value, baseline=None):
            return report.judge({name: [value]}, baseline or {})[0]["verdict"]
        self.assertEqual(verdict("hull", 45), "met")
        self.assertEqual(verdict("hull", 45.1), "NOT MET")
        self.assertEqual(verdict("kernel-shared-part", 0.99), "met")
        self.assertEqual(verdict("kernel-shared-part", 0.5), "NOT MET")
        self.assertEqual(verdict("hull", 40, {"hull": 39}), "met")
        self.assertEqual(verdict("hull", 40, {"hull": 38}), "WORSE")
        self.assertEqual(verdict("cli-to-vmm", 2, {"cli-to-vmm": 1}), "WORSE")
        # Peers are not held to a baseline.
        self.assertEqual(verdict("runc", 99, {"runc": 1}), "")

    def test_native_starts_are_held_against_the_floor_of_their_round(self):
        lines = [f"run\t{name}\t{start * 10**6}\t{(start + took) * 10**6}"
                 for start, name, took in [
                     (0, "native-floor", 99), (100, "native-hull", 99), (200, "native-qemu", 99),
                     (300, "native-floor", 8), (400, "native-hull", 12), (500, "native-qemu", 40),
                     (600, "native-floor", 10), (700, "native-hull", 11), (800, "native-qemu", 60)]]
        self.assertEqual(report.native_samples(lines), {
            "native-floor": [8, 10], "native-hull": [12, 11], "native-qemu": [40, 60],
            "native-hull-ratio": [1.5, 1.1], "native-qemu-ratio": [5, 6]})
        with self.assertRaisesRegex(ValueError, "did not end"):
            report.native_samples(lines + ["hung\tnative-hull"])

    def test_what_has_a_must_and_was_not_measured_is_named(self):
        rows = report.judge({"hull": [40], "native-floor": [9]}, {})
        self.assertEqual(report.not_measured(rows, [2], {}), ["native-hull-ratio"])
        missing = report.not_measured(rows, [1, 2, 3], {})
        self.assertNotIn("hull", missing)
        self.assertIn("vmm-own", missing)
        self.assertIn("fio-randread-4k-ratio", missing)

    def test_the_gate_is_three_per_cent_of_what_hull_executes(self):
        baseline = {"hull": 40.0, "vmm": 4.0, "fio-randread-4k": 40.0}
        samples = {"hull": [41.1, 41.2, 50], "vmm": [4.12], "runc": [50], "fio-randread-4k": [39]}
        rows = report.judge(samples, baseline)
        self.assertEqual(report.failures(rows, [3], baseline),
                         [f"fio-{job}-ratio: NOT MEASURED" for job in report.FIO_JOBS])
        samples["hull"], samples["vmm"] = [41.1, 41.21, 50], [4.121]
        rows = report.judge(samples, baseline)
        self.assertEqual(report.failures(rows, [], baseline), ["hull: WORSE", "vmm: WORSE"])
        self.assertEqual(report.without_baseline(rows, baseline), [])
        # What the baseline has and the run has not, and the other way round.
        del samples["vmm"]
        samples["cli-to-vmm"] = [3]
        rows = report.judge(samples, baseline)
        self.assertIn("vmm: NOT MEASURED", report.failures(rows, [1], baseline))
        self.assertNotIn("vmm: NOT MEASURED", report.failures(rows, [3], baseline))
        self.assertEqual(report.without_baseline(rows, baseline),
                         ["cli-to-vmm: NOT IN THE BASELINE"])

    def test_a_new_baseline_keeps_what_was_not_measured(self):
        rows = report.judge({"hull": [39.1234], "runc": [55]}, {})
        self.assertEqual(report.baseline_of(rows, {"hull": 45, "vmm": 4, "gone": 1}),
                         {"hull": 39.123, "vmm": 4})
        self.assertEqual(report.baseline_of(rows), {"hull": 39.123})

    def test_rates_by_the_clock(self):
        rates = report.clock_rates({"fio-read-128k": [100.0], "vsock-to-host": [2000.0]})
        self.assertEqual(rates, {"fio-read-128k-rate": [10000.0],
                                 "fio-read-128k-throughput": [1250.0],
                                 "vsock-to-host-throughput": [500.0]})

    def test_every_reason_of_an_exit_has_a_row(self):
        self.assertEqual(set(report.EXIT_REASONS), {*trace.REASONS.values(), "other"})

    def test_fio(self):
        text = ('fio: notice\n{"jobs": [{"jobname": "read-128k", "error": 0, "read": {"total_ios": 500,'
                ' "runtime": 100}, "write": {"total_ios": 0, "runtime": 0}}]}')
        self.assertEqual(report.fio_costs(text), {"fio-read-128k": 200.0})
        with self.assertRaises(ValueError):
            report.fio_costs(text.replace("500", "0"))
        with self.assertRaises(ValueError):
            report.fio_costs("")


class CommandTest(unittest.TestCase):
    """`bench.py --part 1` as a command, with figures of our own."""

    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.samples = {row.name: [1 if row.must is None else row.must] for row in report.ROWS
                        if report.part_of(row) == 1}
        self.samples["hull"] = [40.0]
        for name, value in {"BASELINE": self.directory / "baseline.json",
                            "RECORD": self.directory / "log",
                            "emulated_host": contextlib.nullcontext,
                            "part_one": lambda host, rounds: self.samples}.items():
            self.enterContext(mock.patch.object(bench, name, value))

    def bench(self, *arguments):
        """(status, what it says on standard error)"""
        said = io.StringIO()
        argv = ["bench", "--part", "1", "--json", str(self.directory / "json"), *arguments]
        with mock.patch.object(sys, "argv", argv), contextlib.redirect_stderr(said), \
                contextlib.redirect_stdout(io.StringIO()):
            return bench.main(), said.getvalue()

    def test_check_fails_when_a_figure_rose_by_more_than_three_per_cent(self):
        status, said = self.bench("--check")
        self.assertEqual(status, 1)
        self.assertIn("hull: NOT IN THE BASELINE", said)
        self.assertEqual(self.bench("--update-baseline"), (0, ""))
        self.assertEqual(self.bench("--check"), (0, ""))
        self.samples["hull"] = [41.2]
        self.assertEqual(self.bench("--check"), (0, ""))
        self.samples["hull"] = [41.21]
        self.assertEqual(self.bench("--check"), (1, "bench: hull: WORSE\n"))
        self.assertEqual(self.bench()[0], 0)

    def test_check_fails_when_a_must_is_not_met_or_not_measured(self):
        self.bench("--update-baseline")
        self.samples["vmm-own"] = [3.01]
        self.assertEqual(self.bench("--check"), (1, "bench: vmm-own: NOT MET\n"))
        del self.samples["vmm-own"]
        self.assertEqual(self.bench("--check"), (1, "bench: vmm-own: NOT MEASURED\n"))


if __name__ == "__main__":
    unittest.main()
