"""What a container writes to its root: kept on a disk of its own, within limits, over every kind of end."""

import os
import random
import re
import unittest

import harness
import oci

SNAPSHOT = harness.REPO / ".bazel" / "bin" / "tests" / "e2e" / "tree_snapshot"
# Ends at SIGTERM, which a first process that does not handle it would not.
SERVICE = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done"
MIB = 1 << 20
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000").decode("latin-1")


class StorageCase(harness.HullTestCase):

    def tearDown(self):
        self.hull("rm", "-f", "-a")

    def storage(self, name):
        return self.inspect(name)["Machine"]["Storage"]

    def run_shell(self, script, *flags):
        return self.hull("run", *flags, "busybox", "sh", "-c", script)

    def check_file_system(self, name):
        """Of a container that has ended: nobody needs to repair or to replay anything."""
        path = self.storage(name)["Path"]
        result = self.on_host(f"/sbin/dumpe2fs -h '{path}' 2>/dev/null | grep features:; "
                              f"/sbin/e2fsck -f -n '{path}' 2>&1")
        self.assert_status(result, 0)
        self.assertIn(b"has_journal", result.out)
        self.assertNotIn(b"needs_recovery", result.out)


class LayerTest(StorageCase):

    def test_what_was_written_is_there_again(self):
        script = """
            if [ -e /kept ]; then cat /kept /etc/motd; ls -d /bin/vi /home /renamed; exit; fi
            echo kept >/kept; echo changed >/etc/motd; rm /bin/vi; mv /home /renamed"""
        self.assert_output(self.run_shell(script, "--name", "c"), "")
        self.check_file_system("c")
        result = self.hull("start", "-a", "c")
        self.assertEqual(result.out, b"kept\nchanged\n/renamed\n", str(result))
        self.assert_status(self.run_shell("echo x >>/starts; " + SERVICE, "-d", "--name", "s"), 0)
        self.wait_for(lambda: self.hull("logs", "s").out == b"ready\n", "the service")
        self.assert_output(self.hull("restart", "s"), "s\n")
        self.wait_for(lambda: self.hull("logs", "s").out == b"ready\nready\n", "the service")
        self.assert_output(self.hull("exec", "s", "cat", "/starts"), "x\nx\n")
        self.assert_output(self.hull("exec", "s", "cat", "/etc/hostname"),
                           self.inspect("s")["Config"]["Hostname"] + "\n")
        self.assert_output(self.hull("stop", "s"), "s\n")
        self.check_file_system("s")
        self.assert_output(self.hull("rm", "s"), "s\n")
        self.assert_output(self.hull("rm", "c"), "c\n")
        self.assert_nothing_left()

    def test_created_and_started_later(self):
        self.assert_status(self.hull("create", "--name", "c", "--storage-size", "100m", "busybox",
                                     "sh", "-c", "df -m / | tail -n 1"), 0)
        storage = self.storage("c")
        self.assertEqual((storage["Type"], storage["SizeBytes"]), ("disk", 100 * MIB))
        self.assertLess(storage["AllocatedBytes"], MIB)
        result = self.hull("start", "-a", "c")
        self.assert_status(result, 0)
        self.assertTrue(80 < int(result.out.split()[1]) <= 100, str(result))

    def test_in_memory(self):
        script = "test -e /kept && echo kept; touch /kept; mount | grep -c ext4"
        self.assert_output(self.run_shell(script, "--rm"), "0\n", status=1)
        self.assert_nothing_left()
        self.assert_output(self.run_shell(script, "--storage-size", "0", "--name", "m"), "0\n",
                           status=1)
        self.assert_output(self.hull("start", "-a", "m"), "0\n", status=1)
        self.assertEqual(self.storage("m")["Type"], "memory")

    def test_a_disk_for_one_that_is_removed(self):
        result = self.run_shell("df -m / | tail -n 1", "--rm", "--storage-size", "200m")
        self.assertTrue(170 < int(result.out.split()[1]) <= 200, str(result))
        self.assert_nothing_left()

    def test_sizes_that_cannot_be(self):
        for size, word in (("1m", "at least 64m"), ("5t", "at most 4t"), ("much", "not a size"),
                           ("", "not a size")):
            self.assert_error(self.run_shell("true", "--storage-size", size), "--storage-size", word)
        self.assert_nothing_left()

    def test_a_full_layer_is_enospc_and_starts_again(self):
        script = """
            if [ -e /big ]; then echo again; rm /big && touch /small && echo freed; exit; fi
            dd if=/dev/zero of=/big bs=64k 2>&1 | grep -o 'No space left on device'
            while echo x >>/more; do :; done 2>/dev/null; mkdir /dir 2>&1 | grep -o 'No space.*'; sync"""
        result = self.run_shell(script, "--name", "full", "--storage-size", "64m")
        self.assertEqual(result.out.decode().splitlines()[0], "No space left on device", str(result))
        self.assertLessEqual(self.storage("full")["AllocatedBytes"], 65 * MIB)
        self.assert_output(self.hull("start", "-a", "full"), "again\nfreed\n")
        self.check_file_system("full")

    def test_what_is_deleted_is_the_hosts_again(self):
        self.assert_status(self.run_shell("""
            dd if=/dev/urandom of=/f bs=1M count=40 2>/dev/null; sync; echo written
            trap 'rm /f; sync; sleep 6; exit 0' TERM; while :; do sleep 0.1; done
            """, "-d", "--name", "c"), 0)
        self.wait_for(lambda: self.hull("logs", "c").out == b"written\n", "what is written")
        before = self.storage("c")["AllocatedBytes"]
        self.assertGreater(before, 40 * MIB)
        self.assert_output(self.hull("stop", "-t", "100", "c"), "c\n")
        self.assertLess(self.storage("c")["AllocatedBytes"], before - 30 * MIB)
        self.check_file_system("c")

    def test_a_lost_disk_is_told(self):
        self.assert_status(self.run_shell("true", "--name", "c"), 0)
        self.assert_status(self.on_host(f"rm '{self.storage('c')['Path']}'"), 0)
        self.assert_error(self.hull("start", "-a", "c"), "layer.ext4", "no such file")

    def test_what_files_are_is_kept(self):
        """Owner, mode, times, attributes, links and holes, of files of the image and of new ones."""
        base = self.hull("run", "--rm", "busybox", "cat", "/bin/busybox").out
        layout = oci.Layout(self.tmp / "files", [oci.layer(
            oci.directory("bin"), oci.entry("bin/tree_snapshot", SNAPSHOT.read_bytes()),
            oci.entry("bin/busybox", base), oci.directory("odd"),
            oci.entry("odd/attributes", "x", mode=0o640, uid=7, gid=8,
                      pax={"SCHILY.xattr.user.colour": "blue",
                           "SCHILY.xattr.security.capability": CAPABILITY}),
            oci.entry("odd/owned", "x", mode=0o4751, uid=1234567, gid=7654321),
            oci.directory("odd/directory", mode=0o1777))])
        self.assert_status(self.hull("load", "-q", "--name", "localhost/files", "-i", layout.path), 0)
        script = """
            b=/bin/busybox
            if $b [ ! -e /odd/hole ]; then
              $b touch -d @1000000000 /odd/attributes /odd/directory; $b ln /odd/owned /odd/hard
              $b ln -s /no/where /odd/soft; $b mknod /odd/fifo p; $b mkdir /odd/new
              $b touch /odd/new/file; $b chown 70000:80000 /odd/new/file; $b chmod 2710 /odd/new
              $b mv /odd/directory /odd/moved
              echo start >/odd/hole; echo end | $b dd of=/odd/hole bs=1 seek=30000000 2>/dev/null
              $b sync
            fi
            /bin/tree_snapshot / proc sys dev etc; $b stat -c %b /odd/hole"""
        first = self.hull("run", "--name", "c", "localhost/files", "/bin/busybox", "sh", "-c", script)
        self.assert_status(first, 0)
        second = self.hull("start", "-a", "c")
        self.assert_output(second, first.out)
        text = first.out.decode()
        for pattern in (r"(?m)^/odd/attributes 100000 640 7 8 1 1000000000\S* .*"
                        r"security.capability=%01\S* user.colour=blue$",
                        r"(?m)^/odd/owned 100000 4751 1234567 7654321 ",
                        r"(?m)^/odd/moved 40000 1777 ", r"(?m)^/odd/new 40000 2710 0 0 ",
                        r"(?m)^/odd/new/file 100000 \d+ 70000 80000 ",
                        r"(?m)^/odd/soft 120000 ", r"(?m)^/odd/fifo 10000 "):
            self.assertTrue(re.search(pattern, text), f"{pattern}\n{text}")
        self.assertLess(int(text.splitlines()[-1]), 100)


class FullHostTest(StorageCase):

    def test_a_full_host_harms_nobody_else(self):
        script = f"""
            set -e
            small=/run/hull-small && mkdir -p $small && mount -t tmpfs -o size=48m,mode=700 none $small
            export HULL_ROOT=$small HULL_RUN=/run/hull-small-run
            hull={harness.HULL}
            $hull run -d --name neighbour busybox sh -c "echo mine >/mine; sync; {SERVICE}" >/dev/null
            $hull run --name writer busybox sh -c '
              dd if=/dev/urandom of=/f bs=1M count=60 conv=fsync 2>&1 | grep -o "dd: .*"; echo goes on' || true
            $hull rm writer
            $hull exec neighbour sh -c 'cat /mine; echo more >/more; sync; cat /more'
            $hull stop neighbour
            $hull inspect -f '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}' neighbour
            /sbin/e2fsck -f -n $($hull inspect -f '{{{{.Machine.Storage.Path}}}}' neighbour) >/dev/null 2>&1
            $hull rm -f -a >/dev/null
            umount $small
            rmdir $small
            """
        result = self.on_host(script, timeout=400)
        self.assert_status(result, 0)
        lines = result.out.decode().splitlines()
        self.assertRegex(lines[0], r"^dd: .*(error|No space)", str(result))
        self.assertEqual(lines[1:], ["goes on", "writer", "mine", "more", "neighbour", "exited 3"],
                         str(result))
        self.assertIn(b"the host's file system is full", result.err.replace(b"\n", b" "), str(result))


class PowerCutTest(StorageCase):
    """kill -9 of the VMM or its monitor costs nothing that fsync(2) has promised."""

    ROUNDS = int(os.environ.get("HULL_KILL_ROUNDS", "8"))
    # Tells what is there, goes on from there, and tells each record that is on the disk.
    WRITER = """
        touch /records
        n=$(awk '$1 != NR {exit} {n = NR} END {print n + 0}' /records)
        echo found $n
        head -n $n /records >/records.new; mv /records.new /records
        while :; do
          n=$((n + 1)); echo $n >>/records && sync /records && echo $n
          [ $((n % 10)) = 0 ] && { dd if=/dev/urandom of=/noise bs=64k count=8 2>/dev/null; }
          [ $((n % 25)) = 0 ] && rm -f /noise
        done"""

    def test_acknowledged_records_survive(self):
        seed = int(os.environ.get("HULL_KILL_SEED", random.randrange(1 << 30)))
        print(f"seed {seed}", flush=True)
        rng = random.Random(seed)
        self.assert_status(self.hull("create", "--name", "db", "busybox", "sh", "-c", self.WRITER), 0)
        acknowledged = 0
        for number in range(self.ROUNDS):
            victims = rng.choice(["hull-vmm", "hull-monitor", "hull-vmm|hull-monitor"])
            with self.subTest(round=number, seed=seed, victims=victims):
                result = self.on_host(f"""
                    export HULL_ROOT='{self.root}'
                    {harness.HULL} start -a db >/tmp/records 2>/tmp/errors &
                    client=$!
                    for i in $(seq 600); do
                      [ $(wc -l </tmp/records) -gt 20 ] && break; sleep 0.1
                    done
                    sleep {rng.uniform(0, 1):.3f}
                    for p in /proc/[0-9]*; do
                      read -r comm 2>/dev/null <$p/comm || continue
                      case $comm in {victims}) kill -9 ${{p#/proc/}};; esac
                    done
                    wait $client
                    cat /tmp/records; cat /tmp/errors >&2""", timeout=300)
                lines = result.out.decode().split("\n")
                self.assertRegex(lines[0], r"^found \d+$", str(result))
                found = int(lines[0].split()[1])
                self.assertGreaterEqual(found, acknowledged, str(result))
                # A last line that is not whole was not told.
                told = [int(line) for line in lines[1:-1]]
                self.assertGreater(len(told), 10, str(result))
                self.assertEqual(told, list(range(found + 1, found + 1 + len(told))))
                acknowledged = told[-1]
        self.assertGreater(acknowledged, 10 * self.ROUNDS)
        self.assert_status(self.hull("rm", "-f", "db"), 0)
        self.assert_nothing_left()


class VolumeTest(StorageCase):

    def tearDown(self):
        super().tearDown()
        self.hull("volume", "prune", "-f")

    def test_a_volume_outlives_its_containers(self):
        self.assert_output(self.hull("volume", "create", "--size", "100m", "data"), "data\n")
        self.assert_error(self.hull("volume", "create", "data"), "already exists")
        self.assert_output(self.run_shell("echo kept >/data/f; ls -A /data", "--rm", "-v", "data:/data"),
                           "f\n")
        result = self.run_shell("cat /d/e/f; df -m /d/e | tail -n 1; touch /d/e/g", "--name", "reader",
                                "-v", "data:/d/e:ro")
        self.assert_status(result, 1)
        lines = result.out.decode().splitlines()
        self.assertEqual(lines[0], "kept", str(result))
        self.assertTrue(80 < int(lines[1].split()[1]) <= 100, str(result))
        self.assertIn(b"Read-only file system", result.err)
        (mount,) = self.inspect("reader")["Mounts"]
        self.assertEqual((mount["Type"], mount["Name"], mount["Destination"], mount["RW"]),
                         ("volume", "data", "/d/e", False))
        # A container that does not run has it, too.
        self.assert_error(self.hull("volume", "rm", "data"), "being used", "reader", status=2)
        self.assert_output(self.hull("volume", "inspect", "-f", "{{.SizeBytes}} {{json .Containers}}",
                                     "data"), f'{100 * MIB} ["reader"]\n')
        self.assert_output(self.hull("volume", "ls", "-q"), "data\n")
        self.assert_output(self.hull("rm", "reader"), "reader\n")
        self.assert_output(self.hull("volume", "rm", "data"), "data\n")
        self.assert_error(self.hull("volume", "rm", "data"), "no volume", status=1)
        self.assert_status(self.hull("volume", "exists", "data"), 1)
        self.assert_nothing_left()

    def test_one_writes_or_several_read(self):
        script = "ls /v >/dev/null && " + SERVICE
        self.assert_status(self.run_shell(script, "-d", "--name", "writer", "-v", "v:/v"), 0)
        for flags in (["-v", "v:/v"], ["--mount", "type=volume,src=v,dst=/v,ro"]):
            self.assert_error(self.run_shell("true", "--rm", *flags), "in use", "v")
        self.assert_output(self.hull("stop", "writer"), "writer\n")
        for name in ("first", "second"):
            self.assert_status(self.run_shell(script, "-d", "--name", name, "-v", "v:/v:ro"), 0)
        self.assert_error(self.hull("start", "-a", "writer"), "in use", ":ro")
        self.assert_status(self.hull("kill", "first", "second"), 0)
        self.hull("wait", "first", "second")
        self.assert_output(self.hull("start", "writer"), "writer\n")

    def test_a_new_volume_has_what_the_image_has(self):
        self.assert_output(self.run_shell("cat /etc/passwd >/p; ls -A /etc >/l; cat /etc/passwd", "--rm",
                                          "-v", "etc:/etc"),
                           self.run_shell("cat /etc/passwd", "--rm").out)
        result = self.run_shell("ls -A /e; stat -c '%a %u' /e /bin; ls /e/lost+found 2>/dev/null",
                                "--rm", "-v", "etc:/e")
        self.assertIn(b"passwd\n", result.out, str(result))
        self.assertNotIn(b"lost+found", result.out)
        # What is there stays as it is.
        self.run_shell("rm /e/passwd", "--rm", "-v", "etc:/e")
        self.assert_output(self.run_shell("test -e /etc/passwd || echo gone", "--rm", "-v", "etc:/etc"),
                           "gone\n")
        self.assert_output(self.run_shell("ls -A /etc", "--rm", "-v", "empty:/etc:nocopy"), "")

    def test_a_containers_own_volume_goes_with_it(self):
        self.assert_status(self.run_shell("echo x >>/data/f; cat /data/f", "--name", "c", "-v", "/data"), 0)
        self.assert_output(self.hull("start", "-a", "c"), "x\nx\n")
        self.assert_output(self.hull("volume", "ls", "-q"), "")
        self.assert_output(self.hull("rm", "c"), "c\n")
        self.assert_nothing_left()

    def test_tmpfs(self):
        script = "mount | grep ' /scratch '; df -k /scratch | tail -n 1; echo x >/scratch/x && cat /scratch/x"
        result = self.run_shell(script, "--rm", "--read-only", "--tmpfs", "/scratch:size=1m,mode=700")
        self.assert_status(result, 0)
        lines = result.out.decode().splitlines()
        self.assertRegex(lines[0], r"^\S+ on /scratch type tmpfs \(rw,nosuid,nodev,noexec")
        self.assertEqual((lines[1].split()[1], lines[2]), ("1024", "x"))
        # With what the image has there.
        self.assert_output(self.run_shell("cat /etc/passwd | head -c 4; mount | grep -c ' /etc type tmpfs'",
                                          "--rm", "--mount", "type=tmpfs,dst=/etc"), "root1\n")

    def test_what_cannot_be_mounted(self):
        for flags, word in ((["-v", "/host:/path"], "directory of the host"),
                            (["-v", "name:relative"], "[NAME:]/TARGET"),
                            (["-v", "a:/x", "-v", "b:/x"], "twice"),
                            (["-v", "a:/x", "-v", "a:/y"], "once"),
                            (["--mount", "type=bind,src=/a,dst=/b"], "cannot be mounted yet"),
                            (["--tmpfs", "/t:size=x"], "--tmpfs")):
            self.assert_error(self.run_shell("true", "--rm", *flags), word)
        self.assert_nothing_left()

    def test_a_killed_machine_leaves_a_volume_that_can_be_read(self):
        script = "echo kept >/v/f; sync; echo synced; while :; do echo x >>/v/g; done"
        self.assert_status(self.run_shell(script, "-d", "--name", "c", "-v", "v:/v"), 0)
        self.wait_for(lambda: self.hull("logs", "c").out == b"synced\n", "the writer")
        self.assert_status(self.on_host(f"kill -9 {self.inspect('c')['State']['Pid']}"), 0)
        self.hull("wait", "c")
        for _ in range(2):
            self.assert_output(self.run_shell("cat /v/f", "--rm", "-v", "v:/v:ro"), "kept\n")


if __name__ == "__main__":
    unittest.main()
