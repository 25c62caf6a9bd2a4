"""Faults of the disk: failed, full, damaged, cut off."""

import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time

from daemon import Daemon, wait_for
from oracle import BATCH, SMALL, WORK, Load, acknowledged, dice, quiet, rss, snapshots, times

# _IOR('X', 125, __u32), without a flush of the journal: linux/fs/ext4/ext4.h; XFS_IOC_GOINGDOWN is the same.
SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125
NO_FLUSH = 2


def failed_sync(row):
    """The n-th fdatasync fails: no acknowledgement after it, exit code 74, nothing lost at the next start."""
    if not shutil.which("strace"):
        row.note = "left out: no strace"
        return
    for _ in range(times(2, 20)):
        with Daemon(*SMALL) as daemon:
            load = Load(daemon)
            acknowledged(load, 0)
            when = dice.randrange(1, 200)
            tracer = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={when}+1", "-p", str(daemon.process.pid)],
                stderr=subprocess.DEVNULL,
            )
            code = daemon.process.wait(180)
            tracer.wait(10)
            row.runs += 1
            if code != 74:
                row.wrong.append(f"exit code {code}, not 74")
            daemon.start()
            load.end()
            row.judge(daemon, load)


def failed_writeback(row):
    """A real EIO: a file system whose pages find no place when they are written back, since the file that it
    lies in does not either. Exit code 74, nothing acknowledged after it, nothing lost once there is space."""
    host, place = os.path.join(WORK, "host"), os.path.join(WORK, "upon")
    os.makedirs(host, exist_ok=True)
    os.makedirs(place, exist_ok=True)
    quietly = lambda *command: subprocess.run(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0
    if os.geteuid() != 0 or not quietly("mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", host):
        row.note = "left out: cannot mount a tmpfs"
        return
    try:
        for _ in range(times(1, 10)):
            image = os.path.join(host, "image")
            quietly("truncate", "-s", "600M", image)
            quietly("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", image)
            if not quietly("mount", "-o", "loop", image, place):
                row.note = "left out: no loop device"
                return
            try:
                written_back(row, host, place, image, quietly)
            finally:
                quietly("umount", place)
                os.remove(image)
    finally:
        quietly("umount", host)


def written_back(row, host, place, image, quietly):
    # Segments that are new all the time: what is written over lies in blocks that the host has.
    with Daemon("journal.size_max=400MiB", data_dir=os.path.join(place, "data")) as daemon:
        load = Load(daemon, clients=4)
        acknowledged(load, 0)
        filler = os.path.join(host, "filler")
        fill(filler)
        code = daemon.process.wait(120)
        row.runs += 1
        if code != 74:
            row.wrong.append(f"exit code {code}, not 74")
        # The acknowledged ones are what they were when it ended; the file system goes and comes back.
        quietly("umount", place)
        os.remove(filler)
        if not quietly("mount", "-o", "loop", image, place):
            quietly("e2fsck", "-fy", image)
            assert quietly("mount", "-o", "loop", image, place), "it mounts again"
        daemon.start()
        load.end()
        row.judge(daemon, load)
        daemon.stop()


def fill(path):
    """Takes all the space there is, at one stroke: nothing goes on to fill what the daemon gives back."""
    with open(path, "wb") as file:
        size = 0
        for step in (1 << 20, 1 << 16, 1 << 12):
            try:
                while True:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
            except OSError:
                pass


def full_disk(row):
    """A small file system fills up: refused, alerting goes on, taken again once there is space."""
    place = os.path.join(WORK, "full")
    os.makedirs(place, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place], stderr=subprocess.DEVNULL).returncode:
        row.note = "left out: cannot mount a tmpfs"
        return
    try:
        for _ in range(times(1, 10)):
            with Daemon(*SMALL, data_dir=os.path.join(place, "data")) as daemon:
                load = Load(daemon)
                acknowledged(load, 0)
                filler = os.path.join(place, "filler")
                fill(filler)
                refused = load.refused
                wait_for(lambda: load.refused > refused + 5, "refusals", 60)
                ready = daemon.status("/-/ready")
                before = daemon.value("throughline_self_evaluate_ticks_total") or 0
                wait_for(lambda: (daemon.value("throughline_self_evaluate_ticks_total") or 0) > before, "evaluation goes on", 40)
                os.remove(filler)
                since = load.acked
                wait_for(lambda: load.acked > since, "batches are taken again", 30)
                load.end()
                row.runs += 1
                if ready != 503 or daemon.process.poll() is not None:
                    row.wrong.append(f"ready said {ready}, not 503, or the daemon stopped")
                daemon.kill()
                daemon.start()
                row.judge(daemon, load)
    finally:
        subprocess.run(["umount", place])


def power_cut(row):
    """The power goes under load on a real file system: what was not synced is gone."""
    for kind in ("ext4", "xfs"):
        make = shutil.which(f"mkfs.{kind}", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if os.geteuid() != 0 or not make:
            row.note += f" {kind} left out: no root or no mkfs.{kind};"
            continue
        image, place = os.path.join(WORK, f"{kind}.img"), os.path.join(WORK, f"{kind}.mount")
        os.makedirs(place, exist_ok=True)
        subprocess.run(["truncate", "-s", "0", image], check=True)
        subprocess.run(["truncate", "-s", "400M", image], check=True)
        subprocess.run([make, "-q", image], check=True)
        mount = lambda: subprocess.run(["mount", "-o", "loop", image, place], stderr=subprocess.DEVNULL).returncode == 0
        if not mount():
            row.note += f" {kind} left out: no loop device;"
            continue
        try:
            n = times(4, 150)
            for begun in range(0, n, 50):
                cuts(row, place, mount, min(50, n - begun))
        finally:
            subprocess.run(["umount", place])
            os.remove(image)


def cuts(row, place, mount, n):
    with Daemon(*SMALL, data_dir=os.path.join(place, "data")) as daemon:
        load = Load(daemon)
        for _ in range(n):
            since = load.acked
            acknowledged(load, since)
            time.sleep(dice.random() * 0.4)
            # Nothing more is acknowledged; what was on its way to the clients arrives.
            daemon.process.send_signal(signal.SIGSTOP)
            time.sleep(0.05)
            root = os.open(place, os.O_RDONLY)
            fcntl.ioctl(root, SHUTDOWN, struct.pack("I", NO_FLUSH))
            os.close(root)
            daemon.kill()
            subprocess.run(["umount", place], check=True)
            assert mount(), "it mounts again"
            daemon.start()
            row.runs += 1
        load.end()
        row.judge(daemon, load)


def slow_disk(row):
    """A disk of 40 writes a second: answers are slow and true, ticks go on, memory does not grow."""
    cgroup = "/sys/fs/cgroup/blkio/throughline-faults"
    image, place = os.path.join(WORK, "slow.img"), os.path.join(WORK, "slow.mount")
    os.makedirs(place, exist_ok=True)
    if os.geteuid() != 0 or not os.path.isdir("/sys/fs/cgroup/blkio"):
        row.note = "left out: no root or no cgroup that limits a disk"
        return
    subprocess.run(["truncate", "-s", "400M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, place], stderr=subprocess.DEVNULL).returncode:
        row.note = "left out: no loop device"
        return
    try:
        device = os.stat(place).st_dev
        os.makedirs(cgroup, exist_ok=True)
        with Daemon(*SMALL, data_dir=os.path.join(place, "data")) as daemon:
            load = Load(daemon)
            acknowledged(load, 0)
            open(f"{cgroup}/blkio.throttle.write_iops_device", "w").write(f"{os.major(device)}:{os.minor(device)} 40")
            open(f"{cgroup}/cgroup.procs", "w").write(str(daemon.process.pid))
            ticks = lambda: daemon.value("throughline_self_evaluate_ticks_total") or 0
            for _ in range(times(2, 20)):
                since, before, begun = load.acked, ticks(), time.monotonic()
                time.sleep(30)
                row.runs += 1
                # Two ticks late at the most, and the metric is a series only every 15 s.
                passed = time.monotonic() - begun
                if ticks() - before < passed - 20:
                    row.wrong.append(f"{ticks() - before} ticks in {passed:.0f} s")
                if load.acked == since:
                    row.wrong.append("nothing is acknowledged any more")
            row.note = f"{load.acked} signals acknowledged, memory {rss(daemon) >> 20} MiB"
            open("/sys/fs/cgroup/blkio/cgroup.procs", "w").write(str(daemon.process.pid))
            daemon.kill()
            daemon.start()
            load.end()
            row.judge(daemon, load)
    finally:
        subprocess.run(["umount", place])
        os.remove(image)
        if os.path.isdir(cgroup):
            os.rmdir(cgroup)


def corruption(row):
    """Bits, lengths and whole files change while the daemon is off: found, or nothing is lost by it. A
    repair goes on without what is damaged for good, and says how much that is."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        wait_for(lambda: len(snapshots(daemon)) == 2, "two snapshots", 120)
        load.end()
        whole = quiet(daemon, load)["applied"]
        daemon.stop()
        found = harmless = given_up = 0
        for _ in range(times(15, 400)):
            copy = os.path.join(WORK, "damaged")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(daemon.data_dir, copy, ignore=shutil.ignore_patterns("reserve", "archive"))
            what = damage(os.path.join(copy, "journal"))
            verdict = subprocess.run([os.environ["BINARY"], "verify", "--json", copy], capture_output=True, text=True)
            row.runs += 1
            row.obligations += whole
            if "panicked" in verdict.stderr:
                row.wrong.append(f"panicked: {what}")
            gone = 0
            if verdict.returncode:
                found += 1
                gone = repaired(row, copy, what)
            else:
                harmless += 1
            if gone is None:
                continue
            # Nothing may be missing but what the repair spoke of.
            with Daemon(*SMALL, data_dir=copy) as other:
                applied = other.ledger("json").get("applied", 0)
                missing = whole - applied
                row.lost += max(0, missing - gone)
                row.extra += max(0, -missing)
                given_up += max(0, missing)
                if missing > gone or missing < 0:
                    row.wrong.append(f"{missing} missing, {gone} told: {what}")
        row.note += f" {found} found and repaired ({given_up} signals given up, and said), {harmless} without effect"


def repaired(row, copy, what):
    """At most how many signals a repair went on without; None where it does not help."""
    repair = subprocess.run([os.environ["BINARY"], "verify", "--repair", "--accept-loss", "--json", copy], capture_output=True, text=True)
    if "panicked" in repair.stderr or not repair.stdout:
        row.wrong.append(f"no repair: {what}: {repair.stderr[-200:]}")
        return None
    report = json.loads(repair.stdout)["repaired"]
    return sum(lost["last"] - lost["first"] + 1 for lost in report["lost"]) * BATCH if report else 0


def corruption_in_process(row):
    """The same, of one prepared directory, by the functions behind the commands: ten thousand of them."""
    os.environ["CORRUPTIONS"] = str(times(200, 10_000))
    simulated(row, "pipeline::tests::corruption", r"(\d+) corruptions of (\d+) signals")


def damage(journal):
    names = sorted(name for name in os.listdir(journal) if name.endswith((".journal", ".snapshot")))
    path = os.path.join(journal, dice.choice(names))
    size = os.path.getsize(path)
    kind = dice.choice(["flip", "flip", "zero", "truncate", "swap"])
    at = dice.randrange(size)
    if kind == "swap":
        other = os.path.join(journal, dice.choice(names))
        if other != path:
            os.rename(path, path + "~")
            os.rename(other, path)
            os.rename(path + "~", other)
        return f"{path} swapped with {other}"
    with open(path, "r+b") as file:
        if kind == "truncate":
            file.truncate(at)
        else:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ (1 << dice.randrange(8))]) if kind == "flip" else bytes(min(64, size - at)))
    return f"{kind} at byte {at} of {path}"


def simulated_disk(row):
    """A crash at every write, sync, rename and removal of a scripted run on a simulated disk."""
    simulated(row, "journal::tests", r"(\d+) power cuts, (\d+) obligations")


def simulated_whole(row):
    """Seeded runs of the whole pipeline: disk, clock, network and notifiers are simulated."""
    os.environ["SIMULATED_RUNS"] = str(times(1000, 100_000))
    simulated(row, "pipeline::tests::simulation", r"(\d+) simulated runs, \d+ crashes, \d+ snapshots, (\d+) batches")


def simulated(row, tests, told):
    # TESTS: unit tests that are built already, to be run as they are.
    built = os.environ.get("TESTS")
    command = [built, tests] if built else ["cargo", "test", "--locked", "--lib", tests, "--"]
    done = subprocess.run(command + ["--nocapture"], capture_output=True, text=True)
    for runs, obligations in re.findall(told, done.stdout + done.stderr):
        row.runs, row.obligations = row.runs + int(runs), row.obligations + int(obligations)
    row.vacuous = int(row.runs == 0)
    if done.returncode:
        row.wrong.append((done.stdout + done.stderr)[-400:])
