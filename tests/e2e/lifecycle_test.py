"""The life of a container beyond one foreground run: detached, listed, stopped, started again, logged."""

import json
import os
import random
import re
import select
import subprocess
import time
import unittest

import harness

# Ends at SIGTERM, which a first process that does not handle it would not.
SERVICE = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
NO_SUCH = 'no container with name or ID "nosuch" found'


class LifecycleCase(harness.HullTestCase):

    def tearDown(self):
        self.hull("rm", "-f", "-a")

    def run_detached(self, *args, name=None):
        """Starts a container; returns its id."""
        flags = ["--name", name] if name else []
        result = self.hull("run", "-d", *flags, *args)
        self.assert_status(result, 0)
        self.assertRegex(result.out.decode(), r"\A[0-9a-f]{64}\n\Z", str(result))
        return result.out.decode().strip()

    def status(self, name):
        return self.inspect(name)["State"]["Status"]

    def ids(self, *flags):
        result = self.hull("ps", "-q", "--no-trunc", *flags)
        self.assert_status(result, 0)
        return result.out.decode().split()

    def logs(self, name, *flags):
        result = self.hull("logs", *flags, name)
        self.assert_status(result, 0)
        return result.out.decode()

    def await_log(self, name, text):
        self.wait_for(lambda: text in self.logs(name), f"{text!r} in the log of {name}")


class DetachedTest(LifecycleCase):

    def test_outlives_the_command_that_started_it(self):
        container = self.run_detached("busybox", "sh", "-c", SERVICE, name="service")
        self.await_log("service", "ready\n")
        self.assertEqual(self.ids(), [container])
        self.assertEqual(self.status("service"), "running")
        self.assert_output(self.hull("stop", "service"), "service\n")
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.ids("-a"), [container])
        state = self.inspect(container[:8])["State"]
        self.assertEqual((state["Status"], state["ExitCode"], state["Pid"]), ("exited", 3, 0))
        self.assertEqual(self.logs("service"), "ready\nbye\n")
        self.assert_output(self.hull("rm", "service"), "service\n")
        self.assert_nothing_left()

    def test_start_that_fails_is_told(self):
        self.assert_error(self.hull("run", "-d", "--rm", "busybox", "nosuchcommand"),
                          "nosuchcommand", "not found", status=127)
        self.assert_error(self.hull("run", "-d", "--rm", "busybox", "/etc/passwd"), status=126)
        self.assert_error(self.hull("run", "-d", "--rm", "nosuchimage"), "nosuchimage")
        self.assert_nothing_left()

    def test_removes_itself_with_rm(self):
        self.run_detached("--rm", "busybox", "sleep", "0.1")
        self.assert_nothing_left()

    def test_status_of_a_short_one(self):
        self.run_detached("busybox", "sh", "-c", "exit 5", name="short")
        self.assert_output(self.hull("wait", "short"), "5\n")
        self.assertEqual(self.status("short"), "exited")

    def test_cidfile(self):
        path = self.tmp / "cid"
        container = self.run_detached("--cidfile", path, "busybox", "true")
        self.assertEqual(path.read_text(), container)
        self.assert_error(self.hull("run", "-d", "--cidfile", path, "busybox", "true"), "exists")
        self.assertEqual(path.read_text(), container)

    def test_wait_for_one_that_removes_itself(self):
        self.run_detached("--rm", "busybox", "sh", "-c", SERVICE, name="service")
        waiting = self.spawn("wait", "service")
        time.sleep(0.5)
        self.assert_output(self.hull("kill", "-s", "TERM", "service"), "service\n")
        self.assert_output(self.finish(waiting), "3\n")
        self.assert_nothing_left()

    def test_attach(self):
        self.run_detached("-i", "busybox", "sh", "-c",
                          "while read line; do echo got $line; done; exit 4", name="reader")
        first = self.spawn("attach", "reader", stdin=subprocess.PIPE)
        second = self.spawn("attach", "--no-stdin", "reader")
        first.stdin.write(b"one\n")
        first.stdin.flush()
        self.assertEqual(first.stdout.readline(), b"got one\n")
        # Who attaches late sees what comes from then on.
        for _ in range(100):
            first.stdin.write(b"more\n")
            first.stdin.flush()
            self.assertEqual(first.stdout.readline(), b"got more\n")
            if select_readable(second.stdout):
                break
        self.assertIn(second.stdout.readline(), (b"got one\n", b"got more\n"))
        done = self.finish(first)  # closes its standard input
        self.assert_status(done, 4)
        self.assert_status(self.finish(second), 4)
        self.assert_error(self.hull("attach", "reader"), "only attach to running")

    def test_an_attached_client_that_is_killed_ends_nobody(self):
        self.run_detached("busybox", "sh", "-c", SERVICE, name="service")
        client = self.spawn("attach", "--no-stdin", "service")
        find = "grep -lz attach $(grep -lx hull /proc/[0-9]*/comm | sed s/comm$/cmdline/)"
        # Where it runs: of the outer command of an emulated host, a hang-up is all that gets there.
        self.wait_for(lambda: self.on_host(find).out, "the client")
        pid = self.on_host(find).out.decode().split("/")[2]
        self.assert_status(self.on_host(f"kill -9 {pid}"), 0)
        self.finish(client)
        self.assertEqual(self.status("service"), "running")


def select_readable(stream, timeout=0.2):
    return bool(select.select([stream], [], [], timeout)[0])


class VerbsTest(LifecycleCase):

    def test_what_does_not_exist(self):
        for verb in ["stop", "kill", "wait", "start", "attach", "restart", "logs", "inspect"]:
            result = self.hull(verb, "nosuch")
            self.assert_status(result, 125)
            self.assertIn(NO_SUCH, result.err.decode(), str(result))
        self.assert_error(self.hull("rename", "nosuch", "x"), NO_SUCH)
        self.assert_error(self.hull("rm", "nosuch"), NO_SUCH, status=1)
        self.assert_output(self.hull("rm", "-f", "nosuch"), "")
        self.assert_output(self.hull("rm", "--ignore", "nosuch"), "")

    def test_create_start_and_start_again(self):
        created = self.hull("create", "--name", "job", "busybox", "sh", "-c",
                            "echo run; exit 7")
        self.assert_status(created, 0)
        self.assertEqual(self.status("job"), "created")
        self.assertEqual(self.ids("-a"), [created.out.decode().strip()])
        self.assert_error(self.hull("kill", "job"), "can only kill running containers")
        self.assert_output(self.hull("stop", "job"), "job\n")
        self.assert_output(self.hull("start", "-a", "job"), "run\n", status=7)
        self.assert_output(self.hull("start", "job"), "job\n")
        self.assert_output(self.hull("wait", "job"), "7\n")
        self.assertEqual(self.logs("job"), "run\nrun\n")

    def test_a_created_one_with_rm_is_there_until_it_has_run(self):
        self.assert_status(self.hull("create", "--rm", "--name", "once", "busybox", "true"), 0)
        self.assertEqual(self.status("once"), "created")
        self.assert_output(self.hull("start", "once"), "once\n")
        self.assert_nothing_left()

    def test_stop_kills_what_does_not_listen(self):
        self.run_detached("busybox", "sleep", "1000", name="deaf")
        began = time.monotonic()
        self.assert_output(self.hull("stop", "-t", "1", "deaf"), "deaf\n")
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.inspect("deaf")["State"]["ExitCode"], 137)
        self.assert_output(self.hull("stop", "deaf"), "deaf\n")  # which is fine

    def test_stop_signal(self):
        self.run_detached("--stop-signal", "USR1", "busybox", "sh", "-c",
                          "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done",
                          name="service")
        self.await_log("service", "ready")
        self.assert_output(self.hull("stop", "service"), "service\n")
        self.assertEqual(self.inspect("service")["State"]["ExitCode"], 9)

    def test_kill(self):
        self.run_detached("busybox", "sleep", "1000", name="sleeper")
        self.assert_output(self.hull("kill", "sleeper"), "sleeper\n")
        self.assertEqual(self.inspect("sleeper")["State"]["ExitCode"], 137)
        self.assert_error(self.hull("kill", "-s", "NOSUCH", "sleeper"), "invalid signal")

    def test_rm_of_a_running_one(self):
        container = self.run_detached("busybox", "sleep", "1000", name="sleeper")
        result = self.hull("rm", "sleeper")
        self.assert_error(result, f"cannot remove container {container} as it is running", status=2)
        self.assert_output(self.hull("rm", "-f", "sleeper"), "sleeper\n")
        self.assert_nothing_left()

    def test_restart(self):
        self.run_detached("busybox", "sh", "-c", SERVICE, name="service")
        self.await_log("service", "ready")
        before = self.inspect("service")["State"]["Pid"]
        self.assert_output(self.hull("restart", "service"), "service\n")
        after = self.inspect("service")["State"]
        self.assertEqual(after["Status"], "running")
        self.assertNotEqual(after["Pid"], before)
        self.await_log("service", "ready\nbye\nready\n")

    def test_rename(self):
        container = self.run_detached("busybox", "sh", "-c", SERVICE, name="old")
        other = self.run_detached("busybox", "true", name="other")
        self.assert_output(self.hull("rename", "old", "new"), "")
        self.assert_error(self.hull("rename", "new", "other"), "in use")
        self.assert_error(self.hull("rename", "new", "a/b"), "a/b")
        self.assertEqual(self.inspect("new")["Id"], container)
        self.assert_status(self.hull("inspect", "old"), 125)
        self.assert_output(self.hull("rename", other[:12], "old"), "")
        self.assert_output(self.hull("rm", "-f", "new", "old"), "new\nold\n")
        self.assert_nothing_left()

    def test_a_beginning_of_an_id_that_is_two(self):
        ids = [self.hull("create", "busybox", "true").out.decode().strip() for _ in range(17)]
        firsts = [container[0] for container in ids]
        double = next(digit for digit in firsts if firsts.count(digit) > 1)
        self.assert_error(self.hull("inspect", "--format", "{{.Id}}", double), "more than one")
        self.assertEqual(self.inspect(ids[0][:16])["Id"], ids[0])

    def test_several_at_once_and_one_that_is_not_there(self):
        for name in ["one", "two"]:
            self.run_detached("busybox", "sleep", "1000", name=name)
        result = self.hull("stop", "-t", "0", "one", "nosuch", "two")
        self.assert_status(result, 125)
        self.assertEqual(result.out, b"one\ntwo\n")
        self.assertIn(NO_SUCH, result.err.decode())
        self.assertEqual(self.ids(), [])

    def test_two_commands_at_once(self):
        """One starts the container, or finds it started; nobody leaves it half made."""
        self.assert_status(self.hull("create", "--name", "one", "busybox", "sleep", "1000"), 0)
        starts = [self.finish(p) for p in [self.spawn("start", "one") for _ in range(4)]]
        self.assertIn(0, [start.status for start in starts])
        for start in starts:
            if start.status != 0:
                self.assert_error(start, "another command")
        self.assertEqual(self.status("one"), "running")
        ends = [self.finish(p) for p in
                [self.spawn("stop", "-t", "0", "one"), self.spawn("kill", "one"),
                 self.spawn("rm", "-f", "one"), self.spawn("rm", "-f", "one")]]
        self.assertIn(0, [end.status for end in ends[2:]], "\n".join(map(str, ends)))
        self.hull("rm", "-f", "one")
        self.assert_nothing_left()


class ListTest(LifecycleCase):

    def test_ps(self):
        running = self.run_detached("-l", "tier=front", "busybox", "sleep", "1000", name="runs")
        self.run_detached("--label", "tier=back", "busybox", "sh", "-c", "exit 2", name="ended")
        self.assert_output(self.hull("wait", "ended"), "2\n")
        self.assert_status(self.hull("create", "--name", "made", "busybox", "true"), 0)

        table = self.hull("ps", "-a").out.decode().splitlines()
        self.assertEqual(table[0].split(), ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED",
                                            "STATUS", "PORTS", "NAMES"])
        self.assertEqual([line.split()[-1] for line in table[1:]], ["made", "ended", "runs"])
        self.assertRegex(table[2], r"busybox:latest +sh -c exit 2 .* Exited \(2\) .* ago +ended$")
        self.assertRegex(table[3], rf"^{running[:12]} .* Up .* +runs$")
        self.assertEqual(len(self.hull("ps").out.decode().splitlines()), 2)

        def names(*flags):
            result = self.hull("ps", "--format", "{{.Names}}", *flags)
            self.assert_status(result, 0)
            return result.out.decode().split()
        self.assertEqual(names(), ["runs"])
        self.assertEqual(names("-f", "status=exited"), ["ended"])
        self.assertEqual(names("-a", "--filter", "label=tier"), ["ended", "runs"])
        self.assertEqual(names("-a", "--filter", "label=tier=front"), ["runs"])
        self.assertEqual(names("-a", "-f", "name=made", "-f", "name=runs"), ["made", "runs"])
        self.assertEqual(names("-a", "-f", f"id={running[:10]}"), ["runs"])
        self.assertEqual(names("-a", "-f", "ancestor=busybox"), ["made", "ended", "runs"])
        self.assertEqual(names("-a", "-f", "ancestor=other"), [])
        self.assertEqual(names("-l"), ["made"])
        self.assertEqual(names("-n", "2"), ["made", "ended"])
        self.assert_error(self.hull("ps", "-f", "foo=bar"), "invalid filter")
        self.assert_error(self.hull("ps", "-a", "--format", "{{.Nope}}"), "Nope")

        rows = json.loads(self.hull("ps", "-a", "--format", "json").out)
        self.assertEqual([row["State"] for row in rows], ["created", "exited", "running"])
        self.assertEqual(rows[2]["Labels"]["tier"], "front")
        self.assertEqual(rows[1]["ExitCode"], 2)

    def test_inspect(self):
        container = self.run_detached("--memory", "64m", "-e", "A=b", "--label", "k=v", "-w", "/tmp",
                                      "busybox", "sleep", "1000", name="full")
        found = self.inspect("full")
        self.assertEqual((found["Id"], found["Name"]), (container, "full"))
        self.assertEqual((found["Path"], found["Args"]), ("sleep", ["1000"]))
        self.assertEqual(found["Config"]["Labels"]["k"], "v")
        # The image's own are there as well.
        self.assertIn("org.opencontainers.image.title", found["Config"]["Labels"])
        self.assertIn("A=b", found["Config"]["Env"])
        self.assertEqual(found["Config"]["WorkingDir"], "/tmp")
        self.assertEqual(found["HostConfig"]["Memory"], 64 << 20)
        self.assertEqual(found["HostConfig"]["NanoCpus"], 10**9)
        self.assertTrue(found["State"]["Running"])
        machine = found["Machine"]
        commands = self.on_host(f"cat /proc/{machine['VmmPid']}/comm /proc/{machine['MonitorPid']}/comm")
        self.assertEqual(commands.out.decode().split(), ["hull-vmm", "hull-monitor"])
        kernel = self.on_host("uname -r").out.decode().strip()
        self.assertEqual(found["Host"]["Kernel"], kernel)
        self.assertEqual(found["Host"]["ProcessorEmulated"], self.emulated)
        self.assert_output(self.hull("inspect", "-f", "{{.State.Status}} {{json .Args}}", "full"),
                           'running ["1000"]\n')
        result = self.hull("inspect", "nosuch", "full")
        self.assert_status(result, 125)
        self.assertEqual(len(json.loads(result.out)), 1)

    def test_help_fits_a_screen(self):
        for args in [["--help"], ["run", "--help"]]:
            result = self.hull(*args)
            self.assert_status(result, 0)
            lines = result.out.decode().splitlines()
            self.assertLessEqual(max(map(len, lines)), 80, "\n".join(lines))
            self.assertLessEqual(len(lines), 24, "\n".join(lines))
        verbs = set(re.findall(r"^  ([a-z]+) +[A-Z]|  ([a-z]+) +[A-Z]",
                               self.hull("--help").out.decode(), re.M))
        verbs = {first or second for first, second in verbs}
        self.assertGreaterEqual(len(verbs), 18)
        for verb in verbs - {"host"}:  # which has verbs of its own
            self.assert_status(self.hull(verb, "--help"), 0)


class LogsTest(LifecycleCase):

    def test_streams_tail_since_and_timestamps(self):
        self.run_detached("busybox", "sh", "-c",
                          "echo two >&2; sleep 1; echo one; echo three; printf 'no newline'",
                          name="talker")
        self.hull("wait", "talker")
        result = self.hull("logs", "talker")
        self.assert_output(result, "one\nthree\nno newline")
        self.assertEqual(result.err, b"two\n")
        self.assertEqual(self.logs("talker", "--tail", "1"), "no newline")
        self.assertEqual(self.logs("talker", "--tail", "0"), "")
        stamped = self.logs("talker", "-t").splitlines()
        self.assertRegex(stamped[0], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one$")
        self.assertEqual(self.logs("talker", "--since", "1h"), "one\nthree\nno newline")
        self.assertEqual(self.logs("talker", "--until", "1h"), "")
        self.assertEqual(self.logs("talker", "--since", "2099-01-01T00:00:00Z"), "")
        self.assert_error(self.hull("logs", "--since", "yesterday", "talker"), "yesterday")

    def test_follow(self):
        self.run_detached("busybox", "sh", "-c", SERVICE, name="service")
        follower = self.spawn("logs", "-f", "service")
        self.assertEqual(follower.stdout.readline(), b"ready\n")
        self.assert_output(self.hull("stop", "service"), "service\n")
        self.assert_output(self.finish(follower), "bye\n")

    def test_binary_output_comes_back_as_it_was(self):
        self.run_detached("busybox", "sh", "-c", "head -c 300000 /bin/busybox", name="binary")
        self.hull("wait", "binary")
        result = self.hull("logs", "binary")
        # The image's busybox is not here to compare with: the container tells its sum.
        expected = self.hull("run", "--rm", "busybox", "sh", "-c", "head -c 300000 /bin/busybox")
        self.assertEqual(len(result.out), 300000)
        self.assertEqual(result.out, expected.out)

    def test_a_foreground_run_with_rm_keeps_none(self):
        process = self.spawn("run", "--rm", "--name", "front", "busybox", "sh", "-c", SERVICE)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        self.assert_error(self.hull("logs", "front"), "keeps no log")
        harness.send(process, harness.SIGTERM)
        self.assert_status(self.finish(process), 3)

    def test_output_without_end_is_bounded_and_slows_nobody(self):
        self.run_detached("--log-max-size", "64k", "busybox", "yes", name="yes")
        self.run_detached("busybox", "sh", "-c", SERVICE, name="neighbour")
        self.await_log("neighbour", "ready")
        directory = self.inspect("yes")["Machine"]["StateDirectory"]
        files = f"ls '{directory}'; cat '{directory}'/log* | wc -c"
        self.wait_for(lambda: "log.2" in self.on_host(files).out.decode(), "a rotated log")
        size = int(self.on_host(files).out.decode().split()[-1])
        self.assertLessEqual(size, 3 * 65536)
        self.assertEqual(set(self.logs("yes").split()), {"y"})
        self.assert_output(self.hull("stop", "-t", "5", "neighbour"), "neighbour\n")
        self.assertEqual(self.inspect("neighbour")["State"]["ExitCode"], 3)

    def test_a_full_disk_stops_no_container(self):
        """A store on a small file system that somebody else fills."""
        script = f"""
            set -e
            small=/run/hull-small && mkdir -p $small && mount -t tmpfs -o size=24m,mode=700 none $small
            export HULL_ROOT=$small HULL_RUN=/run/hull-small-run
            hull={harness.HULL}
            $hull run -d --name talker --log-max-size 64k busybox sh -c '
              i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; echo filled
              trap "echo after; exit 6" TERM; while :; do sleep 0.1; done' >/dev/null
            dd if=/dev/zero of=$small/filler bs=4k 2>/dev/null || true
            $hull run -d --name second busybox true >/dev/null 2>&1 && echo started-on-a-full-disk
            sleep 2
            rm $small/filler
            $hull stop talker
            $hull inspect -f '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}' talker
            $hull logs talker 2>&1 | tail -n 1
            $hull rm -f -a >/dev/null
            umount $small
            rmdir $small
            """
        result = self.on_host(script, timeout=300)
        self.assertEqual(result.out, b"talker\nexited 6\nafter\n", str(result))


class KillTest(LifecycleCase):
    """kill -9 of whatever there is, at any moment."""

    ROUNDS = int(os.environ.get("HULL_KILL_ROUNDS", "10"))

    def leftover_processes(self):
        return [line for line in self.leftovers() if not line.startswith("file ")]

    def test_every_process_dies_at_random_moments(self):
        seed = int(os.environ.get("HULL_KILL_SEED", random.randrange(1 << 30)))
        print(f"seed {seed}", flush=True)
        rng = random.Random(seed)
        for round_number in range(self.ROUNDS):
            with self.subTest(round=round_number, seed=seed):
                self.one_round(rng, f"c{round_number}")

    def one_round(self, rng, name):
        victim = rng.choice(["client", "monitor", "vmm", "both"])
        foreground = rng.random() < 0.3
        remove = rng.random() < 0.3
        delay = rng.choice([0, rng.uniform(0, 1.5)])
        pattern = {"both": "hull-monitor|hull-vmm"}.get(victim, f"hull-{victim}")
        flags = (["--rm"] if remove else []) + ([] if foreground else ["-d"])
        command = " ".join(["run", "--name", name, *flags, "busybox", "sleep", "1000"])
        script = f"""
            export HULL_ROOT='{self.root}'
            {harness.HULL} {command} >/dev/null 2>&1 &
            client=$!
            victims() {{
              for p in /proc/[0-9]*; do
                read -r comm 2>/dev/null <$p/comm || continue
                case $comm in {pattern}) echo ${{p#/proc/}};; esac
              done
            }}
            # From the beginning, or from the moment when there is somebody to kill.
            if [ {victim} != client ]; then
              for i in $(seq 100); do [ -n "$(victims)" ] && break; sleep 0.05; done
            fi
            sleep {delay:.3f}
            if [ {victim} = client ]; then kill -9 $client 2>/dev/null
            else kill -9 $(victims) 2>/dev/null
            fi
            # A client that survived goes, too: who runs in the foreground ends with it.
            sleep 0.2; kill -9 $client 2>/dev/null
            wait $client 2>/dev/null
            true
            """
        self.assert_status(self.on_host(script), 0)
        # Whoever lives on is one of `ps`, and whoever is listed as running does live.
        row = self.settled()
        if row and row["State"] != "running":
            self.assertIn(row["State"], ("exited", "failed"), row)
            self.assert_nothing_runs()
            self.assert_output(self.hull("start", name), f"{name}\n")
            self.assertEqual(self.status(name), "running")
        self.assert_status(self.hull("rm", "-f", name), 0)
        self.assert_nothing_left()

    def settled(self):
        """The row of `ps` of the only container, once it is not about to start or to end."""
        for _ in range(100):
            rows = json.loads(self.hull("ps", "-a", "--format", "json").out)
            self.assertLessEqual(len(rows), 1, rows)
            if not rows:
                return None
            if rows[0]["State"] == "created":  # its monitor lives and starts it
                time.sleep(0.2)
                continue
            if rows[0]["State"] != "running":
                return rows[0]
            comm = self.on_host(f"cat /proc/{rows[0]['Pid']}/comm").out
            if comm == b"hull-vmm\n":
                return rows[0]
            again = json.loads(self.hull("ps", "-a", "--format", "json").out)
            if again and again[0]["State"] == "running" and again[0]["Pid"] == rows[0]["Pid"]:
                self.fail(f"{rows[0]} is said to run, but process {rows[0]['Pid']} is {comm!r}")
        self.fail(f"still {rows}")

    def assert_nothing_runs(self):
        self.wait_for(lambda: not self.leftover_processes(), "end of the processes", deadline=20)


if __name__ == "__main__":
    unittest.main()
