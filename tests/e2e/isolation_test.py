"""What containers that share a kernel do to each other, and containers of Hull must not: the faults that
the design rules out, one test each. A neighbour runs beside all of them."""

import unittest

import harness
import oci

# Of CPU time that one had alone, what it must still have beside the others.
KEPT = 0.9
TICKER = "echo ready; trap 'exit 3' TERM; while :; do sleep 0.1; done"
# Asks for more than its part of a processor, without end.
WORKER = "echo ready; while :; do :; done"
# What it may have: less than its fair part of a host with one processor, which is all that it can count on there.
WORKER_CPUS = "0.2"


class IsolationTest(harness.HullTestCase):

    def setUp(self):
        self.neighbour = self.run_detached("neighbour", "--hostname", "secret-host", "-e", "WORD=secret-word",
                                           "busybox", "sh", "-c", TICKER, "secret-argument")

    def tearDown(self):
        self.hull("rm", "-f", "-a")

    def run_detached(self, name, *args):
        result = self.hull("run", "-d", "--name", name, *args)
        self.assert_status(result, 0)
        self.wait_for(lambda: b"ready\n" in self.hull("logs", name).out, f"start of {name}")
        return result.out.decode().strip()

    def state(self, name):
        state = self.inspect(name)["State"]
        return state["Status"], state["ExitCode"]

    def assert_neighbour_lives(self):
        self.assert_output(self.hull("exec", "neighbour", "cat", "/proc/sys/kernel/hostname"), "secret-host\n")
        self.assertEqual(self.state("neighbour")[0], "running")

    def group(self, container, file):
        result = self.on_host(f"cat /sys/fs/cgroup/hull/{container}/{file}")
        self.assert_status(result, 0)
        return result.out.decode()

    def cpu_share(self, container):
        """CPU time that the container's machine has of the host's clock, over some 60 periods of its quota. Nothing
        of the test's own runs meanwhile, as the host may have one processor."""
        result = self.on_host(f"""
            cd /sys/fs/cgroup/hull/{container}
            cat /proc/uptime cpu.stat; sleep 6; cat /proc/uptime cpu.stat""")
        self.assert_status(result, 0)
        lines = result.out.decode().splitlines()
        clocks = [float(line.split()[0]) for line in lines if "." in line]
        used = [int(line.split()[1]) / 1e6 for line in lines if line.startswith("usage_usec")]
        return (used[1] - used[0]) / (clocks[1] - clocks[0])

    def test_another_tenant_cannot_be_seen(self):
        script = """
            ps; hostname; env; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /etc/hosts /proc/mounts
            cat /proc/net/tcp /proc/net/udp /proc/net/unix /proc/net/arp /proc/net/route /proc/net/dev
            ip addr; ip neigh; ls -lR /proc/1/ /dev /run /sys/class /sys/block; cat /proc/partitions; dmesg
            for pid in $(seq 1 400); do kill -0 $pid && echo "process $pid"; done; echo end"""
        result = self.hull("run", "--rm", "--name", "curious", "busybox", "sh", "-c", script)
        self.assert_status(result, 0)
        seen = (result.out + result.err).decode(errors="replace")
        self.assertTrue(result.out.endswith(b"end\n"), str(result))
        self.assertIn("process 1\n", seen)
        for secret in ["secret", self.neighbour[:12], str(self.root)]:
            self.assertNotIn(secret, seen)
        interfaces = [line.split(":")[1].strip() for line in seen.splitlines()
                      if line[:1].isdigit() and "mtu" in line]
        self.assertEqual(interfaces, ["lo"])
        self.assert_neighbour_lives()

    def test_what_ends_a_machine_ends_only_its_own(self):
        uptime = float(self.on_host("cat /proc/uptime").out.split()[0])
        for number, command in enumerate(["poweroff -f", "reboot -f", "halt -f", "echo b >/proc/sysrq-trigger",
                                          "echo c >/proc/sysrq-trigger", "kill -9 1", "kill -9 -1"]):
            with self.subTest(command):
                name = f"ends{number}"
                # What is refused goes on to the next command, and that is its status.
                result = self.hull("run", "-d", "--name", name, "busybox", "sh", "-c",
                                   f"{command}; sleep 1; exit 7")
                self.assert_status(result, 0)
                waited = self.hull("wait", name)
                self.assert_status(waited, 0)
                status, code = self.state(name)
                self.assertEqual((status, str(code)), ("exited", waited.out.decode().strip()))
                # reboot(2) in a PID namespace ends its first process by SIGINT (130) or SIGHUP (129).
                self.assertIn(code, [7, 129, 130, 137], str(self.hull("logs", name)))
                self.assert_neighbour_lives()
        self.assertGreater(float(self.on_host("cat /proc/uptime").out.split()[0]), uptime)
        self.assert_output(self.hull("run", "--rm", "busybox", "echo", "here"), "here\n")

    def test_a_busy_loop_and_a_fork_bomb_starve_nobody(self):
        worker = self.run_detached("worker", "--cpus", WORKER_CPUS, "busybox", "sh", "-c", WORKER)
        alone = self.cpu_share(worker)
        # A processor that others use, too, gives less than the quota: then this measures them and not Hull.
        self.assertGreater(alone, 0.15)
        self.run_detached("busy", "--cpus", "0.1", "busybox", "sh", "-c", WORKER)
        bomb = self.run_detached("bomb", "--cpus", "0.1", "-m", "64m", "busybox", "sh", "-c",
                                 "bomb() { bomb | bomb & }; echo ready; bomb; while :; do :; done")
        self.assertGreaterEqual(self.cpu_share(worker), KEPT * alone)
        self.assertLessEqual(self.cpu_share(bomb), 0.1 / KEPT)
        # None of its processes is one of the host's.
        self.assertLessEqual(int(self.group(bomb, "pids.current")), int(self.group(bomb, "pids.max")))
        self.assertIn("oom_kill 0", self.group(bomb, "memory.events"))
        self.assert_neighbour_lives()

    def test_output_without_end_fills_nothing_and_slows_nobody(self):
        worker = self.run_detached("worker", "--cpus", WORKER_CPUS, "busybox", "sh", "-c", WORKER)
        alone = self.cpu_share(worker)
        self.assert_status(self.hull("run", "-d", "--name", "loud", "--cpus", "0.1", "--log-max-size", "64k",
                                     "busybox", "yes"), 0)
        directory = self.inspect("loud")["Machine"]["StateDirectory"]
        files = f"ls '{directory}'; cat '{directory}'/log* | wc -c"
        self.wait_for(lambda: "log.2" in self.on_host(files).out.decode(), "a rotated log")
        # Its monitor's work is outside of its quota, and has no more than a fair part.
        self.assertGreaterEqual(self.cpu_share(worker), KEPT * alone)
        self.assertLessEqual(int(self.on_host(files).out.split()[-1]), 3 * 65536)
        self.assert_neighbour_lives()

    def test_writing_without_end_meets_its_own_limit(self):
        self.run_detached("writer", "--storage-size", "64m", "busybox", "sh", "-c",
                          "dd if=/dev/zero of=/big bs=64k; echo dd $?; echo ready; sleep 1000")
        self.assertIn(b"No space left on device", self.hull("logs", "writer").err)
        self.assertIn(b"dd 1\n", self.hull("logs", "writer").out)
        directory = self.inspect("writer")["Machine"]["StateDirectory"]
        used = self.on_host(f"du -s --block-size=1 '{directory}' | cut -f 1")
        self.assertLessEqual(int(used.out), (64 + 1) << 20)
        # In memory: its own memory, and not more than half of it.
        result = self.hull("run", "--rm", "-m", "64m", "busybox", "sh", "-c",
                           "dd if=/dev/zero of=/big bs=64k; echo dd $?")
        self.assert_output(result, "dd 1\n")
        self.assertIn(b"No space left on device", result.err)
        self.assert_output(self.hull("exec", "neighbour", "sh", "-c", "echo text >/file && cat /file"), "text\n")

    def test_root_in_a_container_is_nobody_outside(self):
        secret = self.root / "of-the-host"
        self.assert_status(self.on_host(f"echo of-the-host-only >'{secret}'"), 0)
        before = self.on_host("cat /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe; ls /; cut -d ' ' -f 2 "
                              "/proc/mounts").out
        tricks = {
            "reads the host's memory": "dd if=/dev/mem bs=4k count=1",
            "makes the node of memory": "mknod /tmp/mem c 1 1 && dd if=/tmp/mem bs=4k count=1",
            "makes the node of a disk": "mknod /tmp/disk b 254 0 && dd if=/dev/zero of=/tmp/disk count=1",
            "reads ports": "dd if=/dev/port bs=1 count=1",
            "mounts a file system": "mount -t tmpfs none /mnt",
            "mounts a disk": "for d in $(ls /sys/block); do mount /dev/$d /mnt && exit 0; done; exit 1",
            "mounts control groups": "mkdir -p /tmp/c; mount -t cgroup -o rdma none /tmp/c",
            "sets a release agent": "for f in $(find /sys/fs/cgroup -name release_agent); do "
                                    "echo /evil >$f && exit 0; done; exit 1",
            "is asked for a module": "echo /evil >/proc/sys/kernel/modprobe",
            "is told of devices": "echo /evil >/sys/kernel/uevent_helper",
            "loads a module": "echo x >/tmp/x.ko; insmod /tmp/x.ko",
            "makes namespaces": "unshare -m true",
            "enters those of process 1": "nsenter -t 1 -m -u -i -n -p true",
            "goes up from its root": f"mkdir -p /tmp/r; cd /; chroot /tmp/r true; cat ../../../..{secret}",
            "reads through process 1": f"cat /proc/1/root{secret}",
            "reads through a descriptor": f"cat /proc/self/fd/*/../..{secret} /proc/1/cwd{secret}",
            "finds a socket of the host's": "find / -xdev -type s | grep .",
            "uses sysrq": "echo b >/proc/sysrq-trigger",
            "swaps": "dd if=/dev/zero of=/tmp/s bs=4k count=16; mkswap /tmp/s; swapon /tmp/s",
            "writes firmware": "ls /sys/firmware/efi/efivars/* /sys/firmware/qemu_fw_cfg/*",
            "sets the clock": "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
        }
        script = "".join(f"( {trick} ) >/tmp/o 2>&1 && echo 'it {name}'; cat /tmp/o >&2\n"
                         for name, trick in tricks.items())
        # Of the guest's kernel it may name the program for cores: that program is the guest's, too.
        script += "echo '|/evil %p' >/proc/sys/kernel/core_pattern; sh -c 'kill -SEGV $$'; echo done\n"
        result = self.hull("run", "--rm", "-i", "busybox", "sh", "-s", stdin=script.encode())
        self.assert_output(result, "done\n")
        self.assertNotIn(b"of-the-host-only", result.err)
        self.assertEqual(self.on_host("cat /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe; ls /; "
                                      "cut -d ' ' -f 2 /proc/mounts").out, before)
        self.assert_neighbour_lives()

    def test_vsock_and_logs_exhaust_neither_vmm_nor_monitor(self):
        image = self.tmp / "hostile.tar"
        program = (harness.REPO / ".bazel" / "bin" / "tests" / "e2e" / "vsock_flood").read_bytes()
        oci.docker_archive(image, [oci.layer(*oci.busybox_entries(), oci.entry("vsock_flood", program))],
                           ["hostile:latest"])
        self.assert_status(self.hull("load", "-q", "-i", image), 0)
        started = self.hull("run", "-d", "--name", "hostile", "-m", "64m", "--log-max-size", "64k", "hostile",
                            "/bin/sh", "-c", "busybox yes & /vsock_flood 20 >/report; exec sleep 1000")
        self.assert_status(started, 0)
        hostile = started.out.decode().strip()
        # One who asks for the output and takes none of it.
        idle = self.spawn("attach", "--no-stdin", "hostile")
        try:
            self.wait_for(lambda: self.hull("exec", "hostile", "cat", "/report").out, "end of the flood", deadline=120)
            report = self.hull("exec", "hostile", "cat", "/report")
            self.assertRegex(report.out.decode(), "[1-9][0-9]* connections", str(report))
            self.assertIn("oom_kill 0", self.group(hostile, "memory.events"))
            self.assertIn("oom 0", self.group(hostile, "memory.events"))
            peak = self.on_host("""
                for p in /proc/[0-9]*; do
                  case "$(tr '\\0' ' ' <$p/cmdline)" in "hull monitor "*) grep VmHWM $p/status;; esac
                done 2>/dev/null""")
            self.assert_status(peak, 0)
            peaks = [int(line.split()[1]) for line in peak.out.decode().splitlines()]
            self.assertEqual(len(peaks), 2)
            self.assertLess(max(peaks), 16 << 10)
            # It still answers.
            self.assert_output(self.hull("exec", "hostile", "echo", "here"), "here\n")
        finally:
            idle.kill()
            idle.communicate()
        self.assert_neighbour_lives()


if __name__ == "__main__":
    unittest.main()
