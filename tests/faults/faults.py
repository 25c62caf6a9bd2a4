"""Faults against a real daemon, judged from outside of it.

Every signal bears a number of its own and every batch an Idempotency-Key. What was acknowledged before a
fault is an obligation; after the fault the ledger must hold each once: lost = acknowledged - applied,
extra = applied - issued. A run without enough acknowledged before the fault proves nothing and is counted
as vacuous.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import uuid

from daemon import Daemon, wait_for

WHOLE = os.environ.get("SHARE") == "whole"
WORK = os.environ["WORK"]
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
dice = random.Random(SEED)
BATCH = 20
ACKED_MIN = 10 * BATCH
# Small files: snapshots, cuts and files used again come every few seconds of load.
SMALL = ("journal.size_max=8MiB",)


def record(n):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    padding = "%032x" % dice.getrandbits(128)
    return {"timestamp": now, "level": "INFO", "function_name": "load", "requestId": str(uuid.uuid4()), "message": f"n{n} {padding * 20}"}


class Load:
    """Clients that repeat what was not acknowledged, under the same key, until it is."""

    def __init__(self, daemon, clients=2):
        self.daemon, self.acked, self.issued, self.refused = daemon, 0, 0, 0
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        [thread.start() for thread in self.threads]

    def run(self):
        while not self.stop.is_set():
            body = json.dumps([record(n) for n in range(BATCH)]).encode()
            with self.lock:
                self.issued += BATCH
            self.deliver(body, str(uuid.uuid4()))

    def deliver(self, body, key):
        while True:
            try:
                status, _ = self.daemon.post("/ingest/json", body, **{"Idempotency-Key": key})
                if status == 200:
                    with self.lock:
                        self.acked += BATCH
                    return
            except urllib.error.HTTPError as error:
                assert error.code in (429, 503), error.code
                self.refused += 1
                time.sleep(0.05)
            except OSError:
                time.sleep(0.05)

    def end(self):
        self.stop.set()
        [thread.join() for thread in self.threads]


class Row:
    def __init__(self, fault):
        self.fault, self.runs, self.obligations, self.vacuous, self.lost, self.extra, self.note = fault, 0, 0, 0, 0, 0, ""

    def judge(self, daemon, load):
        """At a quiet moment: what was acknowledged is there once, and the books balance."""
        wait_for(lambda: daemon.ledger("json").get("pending", 0) == 0, "quiet", 60)
        books = daemon.ledger("json")
        self.obligations += load.acked
        applied = books["applied"] + books["late"]
        self.lost += max(0, load.acked - applied)
        self.extra += max(0, applied - load.issued)
        known = sum(books[name] for name in ("applied", "duplicate", "conflict", "rejected", "filtered", "late", "pending"))
        if books["received"] != known + sum(books["dropped"].values()):
            self.note += f" the books do not balance: {books}"

    def is_bad(self):
        return self.lost or self.extra or self.vacuous or "not" in self.note.split()


def acknowledged(load, since):
    wait_for(lambda: load.acked - since >= ACKED_MIN, "load before the fault", 60)


def kill9(row):
    """kill -9 at a random moment under load, snapshots and cuts included."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        for _ in range(100 if WHOLE else 8):
            since = load.acked
            acknowledged(load, since)
            time.sleep(dice.random() * 0.6)
            row.vacuous += load.acked - since < ACKED_MIN
            daemon.kill()
            daemon.start()
            row.runs += 1
        load.end()
        row.judge(daemon, load)
        snapshots = [name for name in os.listdir(os.path.join(daemon.data_dir, "journal")) if name.endswith(".snapshot")]
        row.note = f"{len(snapshots)} snapshots left" if snapshots else "no snapshot was not expected"


def restarts(row):
    """Stop and start again and again under load."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        for _ in range(100 if WHOLE else 5):
            since = load.acked
            acknowledged(load, since)
            daemon.stop()
            daemon.start()
            row.runs += 1
        load.end()
        row.judge(daemon, load)


def failed_sync(row):
    """The n-th fdatasync fails: no acknowledgement after it, exit code 74, nothing lost at the next start."""
    if not shutil.which("strace"):
        row.note = "left out: no strace"
        return
    for _ in range(20 if WHOLE else 2):
        with Daemon(*SMALL) as daemon:
            load = Load(daemon)
            acknowledged(load, 0)
            when = dice.randrange(1, 200)
            tracer = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={when}+1", "-p", str(daemon.process.pid)],
                stderr=subprocess.DEVNULL,
            )
            code = daemon.process.wait(60)
            tracer.wait(10)
            row.runs += 1
            if code != 74:
                row.note += f" exit code {code}, not 74;"
            daemon.start()
            load.end()
            row.judge(daemon, load)


def full_disk(row):
    """A small file system fills up: refused, alerting goes on, taken again once there is space."""
    place = os.path.join(WORK, "full")
    os.makedirs(place, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place], stderr=subprocess.DEVNULL).returncode:
        row.note = "left out: cannot mount a tmpfs"
        return
    try:
        for _ in range(10 if WHOLE else 1):
            with Daemon(*SMALL, data_dir=os.path.join(place, "data")) as daemon:
                load = Load(daemon)
                acknowledged(load, 0)
                filler = os.path.join(place, "filler")
                subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], stderr=subprocess.DEVNULL)
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
                    row.note += f" ready said {ready}, not 503, or the daemon stopped;"
                daemon.kill()
                daemon.start()
                row.judge(daemon, load)
    finally:
        subprocess.run(["umount", place])


def corruption(row):
    """Bits, lengths and whole files change while the daemon is off: found, or nothing is lost by it."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        snapshots = lambda: [name for name in os.listdir(os.path.join(daemon.data_dir, "journal")) if name.endswith(".snapshot")]
        wait_for(lambda: len(snapshots()) == 2, "two snapshots", 120)
        load.end()
        wait_for(lambda: daemon.ledger("json").get("pending", 0) == 0, "quiet", 60)
        whole = daemon.ledger("json")["applied"]
        daemon.stop()
        found = harmless = 0
        for _ in range(1000 if WHOLE else 30):
            copy = os.path.join(WORK, "damaged")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(daemon.data_dir, copy, ignore=shutil.ignore_patterns("reserve", "archive"))
            what = damage(os.path.join(copy, "journal"))
            verdict = subprocess.run([os.environ["BINARY"], "verify", "--json", copy], capture_output=True, text=True)
            row.runs += 1
            row.obligations += whole
            if "panicked" in verdict.stderr:
                row.note += f" panicked, which must not be: {what};"
            if verdict.returncode:
                found += 1
                continue
            # Nothing found: then nothing may be missing either.
            with Daemon(*SMALL, data_dir=copy) as other:
                applied = other.ledger("json")["applied"]
                row.lost += max(0, whole - applied)
                row.extra += max(0, applied - whole)
                harmless += 1
                if applied != whole:
                    row.note += f" {what} was not found;"
        row.note += f" {found} found, {harmless} without effect"


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


def clock_step(row):
    """The wall clock steps forward and back: nothing expires early, nothing is lost, it is said."""
    library = next((path for path in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",) if os.path.exists(path)), None)
    if not library:
        row.note = "left out: no libfaketime"
        return
    stamp = os.path.join(WORK, "faketime")
    for step in ("+1d", "-1h", "+5m"):
        open(stamp, "w").write("+0")
        environment = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": stamp, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with Daemon(*SMALL, environment=environment) as daemon:
            load = Load(daemon)
            acknowledged(load, 0)
            open(stamp, "w").write(step)
            kinds = lambda: [finding["kind"] for finding in daemon.get("/api/findings")["findings"]]
            wait_for(lambda: "clock_step" in kinds(), "the step is said", 20)
            load.end()
            row.runs += 1
            row.judge(daemon, load)


def simulated(row):
    """A crash at every write, sync, rename and removal of a scripted run on a simulated disk."""
    done = subprocess.run(["cargo", "test", "--locked", "--lib", "journal::tests", "--", "--nocapture"], capture_output=True, text=True)
    for runs, obligations in re.findall(r"(\d+) power cuts, (\d+) obligations", done.stdout + done.stderr):
        row.runs, row.obligations = row.runs + int(runs), row.obligations + int(obligations)
    row.vacuous = int(row.runs == 0)
    if done.returncode:
        row.lost = 1
        row.note = (done.stdout + done.stderr)[-400:]


FAULTS = {
    "simulated disk": (simulated, ["acknowledged_before_the_sync", "no_dirsync", "retry_fsync", "cut_before_the_snapshot", "stale_recycled_segment"]),
    "kill -9": (kill9, ["repeats_counted", "declared_ids_forgotten", "seal_then_replay_twice"]),
    "restarts": (restarts, []),
    "failed sync": (failed_sync, ["retry_fsync"]),
    "full disk": (full_disk, []),
    "corruption": (corruption, ["mark_ignored"]),
    "clock step": (clock_step, ["wall_clock_in_apply"]),
}


def main():
    print(f"seed {SEED}", flush=True)
    caught = set()
    if os.path.exists(os.path.join(WORK, "mutants.txt")):
        caught = {line.split()[1] for line in open(os.path.join(WORK, "mutants.txt")) if line.startswith("caught:")}
    names = [name for name in FAULTS if not sys.argv[1:] or name.replace(" ", "_") in sys.argv[1:]]
    rows = []
    for name in names:
        stage, mutants = FAULTS[name]
        row = Row(name)
        try:
            stage(row)
        except Exception as error:
            row.note += f" did not end: {error}"
        row.mutants = f"{sum(mutant in caught for mutant in mutants)}/{len(mutants)}" if caught else "-"
        rows.append(row)
        print(f"{name}: {row.runs} runs {row.note}", flush=True)
    print("\n| fault | runs | obligations | vacuous | lost | extra | mutants caught | |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.fault} | {row.runs} | {row.obligations} | {row.vacuous} | {row.lost} | {row.extra} | {row.mutants} | {row.note.strip()} |")
    sys.exit(any(row.is_bad() for row in rows))


main()
