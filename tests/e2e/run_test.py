"""`hull run`: what a container prints, returns and sees."""

import hashlib
import os
import pathlib
import subprocess
import time
import unittest

import harness
import oci


class RunTest(harness.HullTestCase):

    def test_echo(self):
        self.assert_output(self.hull("run", "--rm", "busybox", "echo", "hi"), "hi\n")

    def test_streams_apart_and_status(self):
        result = self.hull("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assert_output(result, "out\n", status=7)
        self.assertEqual(result.err, b"err\n", str(result))

    def test_stdin(self):
        self.assert_output(self.hull("run", "--rm", "-i", "busybox", "cat", stdin=b"hello\n"),
                           "hello\n")

    def test_no_stdin_without_i(self):
        self.assert_output(self.hull("run", "--rm", "busybox", "cat", stdin=b"hello\n"), "")

    def test_large_binary_streams_are_intact(self):
        data = os.urandom(1 << 20) * 16
        result = self.hull("run", "--rm", "-i", "busybox", "sh", "-c",
                           "tee /dev/stderr", stdin=data, timeout=300)
        self.assert_status(result, 0)
        self.assertEqual(hashlib.sha256(result.out).digest(), hashlib.sha256(data).digest())
        self.assertEqual(hashlib.sha256(result.err).digest(), hashlib.sha256(data).digest())

    def test_reader_that_leaves_ends_the_writer(self):
        # As in `hull run … yes | head -n 1`: the writer gets SIGPIPE, nobody waits for ever.
        process = self.spawn("run", "--rm", "busybox", "sh", "-c", "yes; echo $? >/dev/null")
        self.assertEqual(process.stdout.readline(), b"y\n")
        process.stdout.close()
        process.stdout = None
        self.finish(process)
        self.assert_nothing_left()

    def test_cpus_and_memory(self):
        result = self.hull("run", "--rm", "--cpus", "2", "--memory", "64m", "busybox", "sh", "-c",
                           "nproc; free -m | awk '/^Mem:/{print $2}'")
        self.assert_status(result, 0)
        cpus, memory = result.out.split()
        self.assertEqual(cpus, b"2")
        # The kernel keeps some for itself.
        self.assertLessEqual(int(memory), 64)
        self.assertGreaterEqual(int(memory), 40)

    def test_environment(self):
        env_file = self.tmp / "env-file"
        env_file.write_text("# a comment\nFROM_FILE=file value\nBOTH=file\nFROM_HERE\n")
        result = self.hull("run", "--rm", "--env-file", env_file, "-e", "BOTH=flag", "-e", "EMPTY=",
                           "busybox", "env", env={"FROM_HERE": "here"})
        self.assert_status(result, 0)
        lines = result.out.decode().splitlines()
        for line in ["FROM_FILE=file value", "BOTH=flag", "EMPTY=", "FROM_HERE=here"]:
            self.assertIn(line, lines)
        self.assertTrue(any(line.startswith("PATH=") for line in lines))
        self.assertTrue(any(line.startswith("HOME=") for line in lines))

    def test_env_file_by_relative_path(self):
        (self.tmp / "relative").write_text("A=1\n")
        result = self.hull("run", "--rm", "--env-file", "relative", "busybox", "sh", "-c", "echo $A",
                           cwd=self.tmp)
        self.assert_output(result, "1\n")

    def test_env_file_missing(self):
        self.assert_error(self.hull("run", "--rm", "--env-file", "/no/such", "busybox", "true"),
                          "/no/such")

    def test_workdir(self):
        self.assert_output(self.hull("run", "--rm", "-w", "/tmp", "busybox", "pwd"), "/tmp\n")

    def test_user(self):
        result = self.hull("run", "--rm", "-u", "1000:1001", "busybox", "sh", "-c", "id -u; id -g")
        self.assert_output(result, "1000\n1001\n")

    def test_user_by_name(self):
        self.assert_output(self.hull("run", "--rm", "-u", "nobody", "busybox", "id", "-un"),
                           "nobody\n")

    def test_user_that_does_not_exist(self):
        result = self.hull("run", "--rm", "-u", "nosuchuser", "busybox", "true")
        self.assertIn(result.status, (125, 126), str(result))
        self.assertIn(b"nosuchuser", result.err)

    def test_hostname(self):
        self.assert_output(self.hull("run", "--rm", "--hostname", "box7", "busybox", "hostname"),
                           "box7\n")

    def test_entrypoint(self):
        self.assert_output(
            self.hull("run", "--rm", "--entrypoint", "/bin/echo", "busybox", "a", "b"), "a b\n")

    def test_read_only(self):
        result = self.hull("run", "--rm", "--read-only", "busybox", "sh", "-c",
                           "echo x >/file && echo written || echo refused; echo y >/tmp/f && cat /tmp/f")
        self.assert_output(result, "refused\ny\n")

    def test_writable_by_default(self):
        result = self.hull("run", "--rm", "busybox", "sh", "-c",
                           "echo x >/etc/new && cat /etc/new; rm /bin/vi && ls /bin/vi")
        self.assertEqual(result.out, b"x\n", str(result))
        # And the image stays as it was.
        self.assert_output(self.hull("run", "--rm", "busybox", "sh", "-c",
                                     "ls /bin/vi; ls /etc/new 2>/dev/null"), "/bin/vi\n", status=1)

    def test_options_after_the_image_are_the_commands(self):
        self.assert_output(self.hull("run", "--rm", "busybox", "echo", "--rm", "-i"), "--rm -i\n")

    def test_console(self):
        result = self.hull("run", "--rm", "--console", "busybox", "echo", "hi")
        self.assert_status(result, 0)
        self.assertIn(b"hi\n", result.out)
        self.assertIn(b"Linux version", result.out + result.err, str(result))

    def test_command_not_found(self):
        result = self.hull("run", "--rm", "busybox", "nosuchcommand")
        self.assert_error(result, "nosuchcommand", "not found", status=127)

    def test_command_not_executable(self):
        result = self.hull("run", "--rm", "busybox", "/etc/passwd")
        self.assert_error(result, "/etc/passwd", status=126)

    def test_directory_as_command(self):
        self.assert_error(self.hull("run", "--rm", "busybox", "/etc"), "/etc", status=126)

    def test_death_by_signal(self):
        # A container's first process is PID 1 of its namespace, which the kernel shields from its
        # own signals (as under podman); its children are not shielded.
        self.assert_status(self.hull("run", "--rm", "busybox", "sh", "-c",
                                     "sh -c 'kill -9 $$'; exit $?"), 137)
        self.assert_status(self.hull("run", "--rm", "busybox", "sh", "-c",
                                     "sh -c 'kill -SEGV $$'; exit $?"), 139)

    def test_three_interrupts_kill(self):
        process = self.spawn("run", "--rm", "busybox", "sh", "-c",
                             "trap '' INT; echo ready; while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        for _ in range(3):
            harness.send(process, harness.SIGINT)
            time.sleep(0.3)
        self.assert_status(self.finish(process), 137)
        self.assert_nothing_left()

    def test_poweroff_in_the_container_ends_only_it(self):
        for command in ["poweroff -f", "reboot -f", "halt -f"]:
            with self.subTest(command):
                process = self.spawn("run", "--rm", "busybox", "sh", "-c", f"{command}; sleep 60")
                result = self.finish(process)
                self.assertNotEqual(result.status, 0, str(result))
        self.assert_nothing_left()

    def test_killing_everything_kills_only_the_container(self):
        result = self.hull("run", "--rm", "busybox", "sh", "-c",
                           "sleep 100 & kill -9 -1; echo alive; exit 5")
        self.assert_output(result, "alive\n", status=5)

    def test_orphans_are_reaped_and_end_with_the_container(self):
        result = self.hull("run", "--rm", "busybox", "sh", "-c",
                           "for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 1; "
                           "grep -c zombie /proc/[0-9]*/status | grep -v ':0' | wc -l;"
                           "(sleep 1000 &); exit 3")
        self.assert_output(result, "0\n", status=3)

    def test_what_people_expect_to_be_there(self):
        result = self.hull("run", "--rm", "busybox", "sh", "-c", """
            for f in null zero full random urandom tty ptmx fd stdin stdout stderr shm pts; do
              [ -e /dev/$f ] || [ -L /dev/$f ] || echo "no /dev/$f"; done
            for d in /proc/self /sys/kernel /sys/fs/cgroup/cgroup.procs; do [ -e $d ] || echo "no $d"; done
            head -c 4 /dev/urandom | wc -c
            echo to-stdout >/dev/stdout
            ip addr show lo | grep -q 127.0.0.1 && echo lo
            grep -q "$(hostname)" /etc/hosts && echo hosts
            date +%Y""")
        self.assert_output(result, f"4\nto-stdout\nlo\nhosts\n{time.gmtime().tm_year}\n")

    def test_signal_is_forwarded(self):
        process = self.spawn("run", "--rm", "busybox", "sh", "-c",
                             "trap 'echo caught; exit 42' TERM; echo ready; "
                             "while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        harness.send(process, harness.SIGTERM)
        result = self.finish(process)
        self.assert_output(result, "caught\n", status=42)
        self.assert_nothing_left()

    def test_interrupt_is_forwarded(self):
        process = self.spawn("run", "--rm", "busybox", "sh", "-c",
                             "trap 'exit 43' INT; echo ready; while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        harness.send(process, harness.SIGINT)
        self.assert_status(self.finish(process), 43)
        self.assert_nothing_left()

    def test_name_is_unique(self):
        process = self.spawn("run", "--rm", "--name", "twin", "busybox", "sh", "-c",
                             "echo ready; sleep 30")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        self.assert_error(self.hull("run", "--rm", "--name", "twin", "busybox", "true"), "twin")
        harness.send(process, harness.SIGTERM)
        time.sleep(0.5)
        # A shell that is PID 1 of its container ignores SIGTERM, as under podman; SIGKILL ends it.
        self.kill_vmm()
        self.finish(process)
        self.assert_output(self.hull("run", "--rm", "--name", "twin", "busybox", "echo", "x"), "x\n")

    def kill_vmm(self):
        result = self.on_host("""
            for p in /proc/[0-9]*; do case $(readlink $p/exe) in */hull-vmm*) kill -9 ${p#/proc/};; esac
            done 2>/dev/null; true""")
        self.assert_status(result, 0)

    def test_vmm_killed(self):
        process = self.spawn("run", "--rm", "busybox", "sh", "-c", "echo ready; sleep 60")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        self.kill_vmm()
        self.assert_error(self.finish(process), "signal 9", status=125)
        self.assert_nothing_left()

    def test_cli_killed(self):
        process = self.spawn("run", "--rm", "busybox", "sh", "-c", "echo ready; sleep 60")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        harness.send(process, harness.SIGKILL)
        self.finish(process)
        self.assert_nothing_left(deadline=60)

    def test_interrupt_at_every_stage(self):
        for delay in [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0]:
            with self.subTest(delay=delay):
                process = self.spawn("run", "--rm", "busybox", "sleep", "20")
                time.sleep(delay)
                # People press it again when nothing seems to happen.
                for _ in range(60):
                    harness.send(process, harness.SIGINT)
                    try:
                        process.wait(1)
                        break
                    except subprocess.TimeoutExpired:
                        pass
                result = self.finish(process, timeout=5)
                self.assertNotEqual(result.status, 0, str(result))
        self.assert_nothing_left()

    def test_hundred_in_a_row(self):
        for i in range(100):
            self.assert_output(self.hull("run", "--rm", "busybox", "echo", str(i)), f"{i}\n")
        self.assert_nothing_left()

    def test_eight_at_once(self):
        processes = [self.spawn("run", "--rm", "busybox", "sh", "-c", f"sleep 1; echo {i}")
                     for i in range(8)]
        for i, process in enumerate(processes):
            self.assert_output(self.finish(process, timeout=300), f"{i}\n")
        self.assert_nothing_left()

    def test_image_configuration_is_honoured(self):
        layout = oci.Layout(
            self.tmp / "configured",
            [oci.layer(*oci.busybox_entries(), oci.directory("work", mode=0o777),
                       oci.entry("etc/passwd", "root:x:0:0::/root:/bin/sh\n"
                                               "app:x:77:88::/work:/bin/sh\n"),
                       oci.entry("etc/group", "app:x:88:\nextra:x:99:app\n"))],
            config={"Entrypoint": ["/bin/sh", "-c", 'echo "$0 $@ $COLOUR $HOME"; pwd; id -u; id -G'],
                    "Cmd": ["default"], "Env": ["PATH=/bin", "COLOUR=blue"], "User": "app",
                    "WorkingDir": "/work"},
            name="configured:1")
        self.assert_status(self.hull("load", layout.path), 0)
        self.assert_output(self.hull("run", "--rm", "configured:1"),
                           "default  blue /work\n/work\n77\n88 99\n")
        self.assert_output(self.hull("run", "--rm", "-e", "COLOUR=red", "configured:1", "mine"),
                           "mine  red /work\n/work\n77\n88 99\n")


class BadInputTest(harness.HullTestCase):
    """Each is refused with a clear line and a status, and leaves nothing behind."""

    def tearDown(self):
        self.assert_nothing_left()

    def test_no_such_image(self):
        self.assert_error(self.hull("run", "--rm", "nosuchimage", "true"), "nosuchimage",
                          "not found", "hull load")

    def test_no_image_given(self):
        self.assert_error(self.hull("run"), "image")

    def test_memory(self):
        for value in ["1m", "10t", "0", "-5m", "abc", "64x", "", "1e9", "18446744073709551616"]:
            with self.subTest(value):
                self.assert_error(
                    self.hull("run", "--rm", "--memory", value, "busybox", "true"), "memory")

    def test_cpus(self):
        for value in ["0", "0.001", "32.5", "1000", "-1", "two", "1e0", ""]:
            with self.subTest(value):
                self.assert_error(self.hull("run", "--rm", "--cpus", value, "busybox", "true"),
                                  "cpus")

    def test_unknown_flag(self):
        self.assert_error(self.hull("run", "--nosuchflag", "busybox", "true"), "nosuchflag")

    def test_unknown_verb(self):
        self.assert_error(self.hull("nosuchverb"), "nosuchverb")

    def test_bad_name(self):
        for name in ["", "a/b", "-x", "a b", "ü", "x" * 300]:
            with self.subTest(name):
                self.assert_error(self.hull("run", "--rm", "--name=" + name, "busybox", "true"),
                                  "name")

    def test_bad_environment(self):
        self.assert_error(self.hull("run", "--rm", "-e", "=x", "busybox", "true"), "=x")

    def test_bad_workdir(self):
        self.assert_error(self.hull("run", "--rm", "-w", "relative", "busybox", "true"), "relative")

    def test_bad_hostname(self):
        self.assert_error(self.hull("run", "--rm", "--hostname", "x" * 300, "busybox", "true"),
                          "hostname")

    def test_kvm_absent(self):
        result = self.in_changed_dev("rm /dev/kvm")
        self.assert_error(result, "/dev/kvm")

    def test_kvm_not_permitted(self):
        result = self.in_changed_dev("rm /dev/kvm; mknod /dev/kvm c 10 232; chmod 000 /dev/kvm; "
                                     "chmod 777 /dev",
                                     prefix="setpriv --bounding-set=-dac_override --inh-caps=-all ")
        self.assert_error(result, "/dev/kvm")

    def in_changed_dev(self, change, prefix=""):
        """hull run in a mount namespace whose /dev was changed; the store is the usual one."""
        return self.on_host(f"""
            export HULL_EMULATED_HOST=never
            exec unshare -m /bin/bash -c '
              mkdir -p /run/newdev && mount -t tmpfs none /run/newdev || exit 99
              cp -a /dev/null /dev/zero /dev/urandom /dev/kvm /run/newdev/ || exit 98
              mount --move /run/newdev /dev 2>/dev/null || mount --bind /run/newdev /dev || exit 97
              {change}
              exec {prefix}{harness.HULL} run --rm busybox true'""")


if __name__ == "__main__":
    unittest.main()
