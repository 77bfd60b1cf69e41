"""What holds a container's processes from outside: the control group of its VMM (its limits, that they
hold, and that none is left), and its monitor's sandbox."""

import time
import unittest

import harness


class ConfinementTest(harness.HullTestCase):

    def groups(self):
        """Name and files of each group of Hull's, as the host has them."""
        result = self.on_host("""
            cd /sys/fs/cgroup/hull 2>/dev/null || exit 0
            for group in */; do
              [ -d "$group" ] || continue
              echo "group ${group%/}"
              cd "$group" && grep -H . cgroup.threads memory.max memory.current memory.swap.max \\
                memory.events pids.max pids.current cpu.max cpu.stat 2>/dev/null
              cd ..
            done; true""")
        self.assert_status(result, 0)
        groups = {}
        for line in result.out.decode().splitlines():
            if line.startswith("group "):
                files = groups.setdefault(line.split()[1], {})
            else:
                name, text = line.split(":", 1)
                files.setdefault(name, []).append(text)
        return groups

    def the_group(self):
        groups = self.groups()
        self.assertEqual(len(groups), 1, groups)
        return next(iter(groups.values()))

    def start(self, *args):
        """A container that has said that it is up."""
        process = self.spawn("run", "--rm", *args)
        self.assertEqual(process.stdout.readline(), b"up\n")
        return process

    def end(self, process):
        # The third is taken for a kill.
        while process.poll() is None:
            harness.send(process, harness.SIGINT)
            time.sleep(0.2)
        self.finish(process)
        self.assert_no_group()

    def kill(self, word, signal="KILL"):
        """Sends the signal to the one process of that kind where the VMs run."""
        self.assert_status(self.on_host(f"""
            for p in /proc/[0-9]*; do
              case "$(tr '\\0' ' ' <$p/cmdline)" in
                "{word} "*) kill -{signal} ${{p#/proc/}}; killed=1;;
              esac
            done 2>/dev/null; [ "$killed" ]"""), 0)

    def assert_no_group(self):
        self.wait_for(lambda: not self.groups(), "end of the control group")

    def test_limits_of_a_vmm_and_its_monitor(self):
        process = self.start("--cpus", "2", "--memory", "64m", "busybox", "sh", "-c",
                             "echo up; sleep 100")
        group = self.the_group()
        # Guest memory, an eighth more, and 64 MiB.
        self.assertEqual(group["memory.max"], [str((64 + 8 + 64) << 20)])
        self.assertEqual(group.get("memory.swap.max", ["0"]), ["0"])
        self.assertEqual(group["pids.max"], [str(2 + 16)])
        self.assertEqual(group["cpu.max"], ["200000 100000"])
        # Every thread of the VMM, and the monitor is not among them.
        vmm = self.on_host("""
            for p in /proc/[0-9]*; do
              case $(readlink $p/exe) in */hull-vmm*) ls $p/task; cat $p/cgroup >&2;; esac
            done""")
        self.assertLessEqual(set(vmm.out.decode().split()), set(group["cgroup.threads"]))
        self.assertRegex(vmm.err.decode(), r"^0::/hull/[0-9a-f]{64}\n$")
        # No privilege but to kill the VMM (5) and to pass through directories (2).
        monitor = self.on_host("""
            for p in /proc/[0-9]*; do
              case "$(tr '\\0' ' ' <$p/cmdline)" in
                "hull monitor "*) grep -E '^(CapPrm|CapEff|NoNewPrivs|Seccomp):' $p/status;;
              esac
            done 2>/dev/null""")
        self.assertEqual(monitor.out.decode().split(),
                         ["CapPrm:", f"{0x24:016x}", "CapEff:", f"{0x24:016x}", "NoNewPrivs:", "1",
                          "Seccomp:", "2"])
        self.end(process)

    def test_a_fraction_of_a_cpu(self):
        process = self.start("--cpus", "1.5", "busybox", "sh", "-c",
                             "[ $(nproc) = 2 ] && echo up; while :; do :; done")
        group = self.the_group()
        self.assertEqual(group["cpu.max"], ["150000 100000"])
        self.end(process)

        process = self.start("--cpus", "0.3", "busybox", "sh", "-c", "echo up; while :; do :; done")
        figures = {}

        def throttled():
            figures.update(line.split() for line in self.the_group()["cpu.stat"])
            return int(figures["nr_throttled"]) >= 10
        self.wait_for(throttled, "10 periods in which it wanted more")
        # Whatever it wanted: 30 ms in each period of 100 ms, and two for those at the edges.
        self.assertLessEqual(int(figures["usage_usec"]), (int(figures["nr_periods"]) + 2) * 30000)
        self.end(process)

    def test_a_fork_bomb_and_a_busy_loop_stay_within(self):
        # More than the guest's memory, its only processor, and every process that it can make.
        process = self.start("--memory", "64m", "busybox", "sh", "-c",
                             "while :; do :; done & bomb() { bomb | bomb & }; echo up; bomb; "
                             "tail /dev/zero; sleep 1000")
        for _ in range(5):
            group = self.the_group()
            self.assertLessEqual(int(group["pids.current"][0]), int(group["pids.max"][0]))
            self.assertLessEqual(int(group["memory.current"][0]), int(group["memory.max"][0]))
            # What is enough for the VMM is never refused to it.
            self.assertIn("oom_kill 0", group["memory.events"])
        self.assert_output(self.hull("run", "--rm", "busybox", "echo", "here"), "here\n")
        self.end(process)

    def test_nothing_is_left(self):
        self.assert_output(self.hull("run", "--rm", "busybox", "echo", "a"), "a\n")
        self.assert_no_group()

        process = self.start("busybox", "sh", "-c", "echo up; sleep 100")
        self.kill("hull-vmm")
        self.assert_status(self.finish(process), 125)
        self.assert_no_group()

    def test_a_monitor_that_breaks_its_sandbox_says_how(self):
        process = self.start("busybox", "sh", "-c", "echo up; sleep 100")
        # What the kernel sends for a system call that is not allowed, number 0 here.
        self.kill("hull monitor", "SYS")
        self.assert_error(self.finish(process), "the system call read(", status=125)

    def test_what_a_killed_monitor_leaves_is_collected(self):
        process = self.start("busybox", "sh", "-c", "echo up; sleep 100")
        left = set(self.groups())
        self.assertEqual(len(left), 1)
        self.kill("hull monitor")
        self.assert_status(self.finish(process), 125)
        # The next start removes it, unless the VMM is still dying.
        def collected():
            self.assert_output(self.hull("run", "--rm", "busybox", "echo", "b"), "b\n")
            return not left & set(self.groups())
        self.wait_for(collected, "collection of the control group")
        self.assert_no_group()


if __name__ == "__main__":
    unittest.main()
