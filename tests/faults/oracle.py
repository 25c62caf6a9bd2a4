"""The oracle: clients that know what was acknowledged, and the books that must agree.

Every signal bears a number of its own and every batch an Idempotency-Key. What was acknowledged before a
fault is an obligation; after the fault the ledger must hold each once: lost = acknowledged - applied,
extra = applied - issued. A run without enough acknowledged before the fault proves nothing and is counted
as vacuous.
"""

import json
import os
import random
import threading
import time
import urllib.error
import uuid

from daemon import wait_for

WHOLE = os.environ.get("SHARE") == "whole"
WORK = os.environ["WORK"]
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
dice = random.Random(SEED)
BATCH = 20


def times(small, whole):
    """How often a fault is staged: RUNS says, or else which share this is."""
    return int(os.environ.get("RUNS", whole if WHOLE else small))


ACKED_MIN = 10 * BATCH
# Of a client with one batch, in seconds: no fault lasts as long.
PATIENCE = 120
# Small files: snapshots, cuts and files used again come every few seconds of load.
SMALL = ("journal.size_max=8MiB",)


def record(n):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # It does not compress: a few thousand of them fill a segment.
    padding = "%0640x" % dice.getrandbits(2560)
    return {"timestamp": now, "level": "INFO", "function_name": "load", "requestId": str(uuid.uuid4()), "message": f"n{n} {padding}"}


def percentile(took, share):
    """Of sorted times."""
    return took[max(0, int(len(took) * share) - 1)]


def padded():
    """A batch of records that do not compress."""
    return json.dumps([record(n) for n in range(BATCH)]).encode()


class Template:
    """Large batches, cheaply: one request id, one time and one padding for all records of a batch."""

    def __init__(self, n):
        line = '{"timestamp":"@time","level":"INFO","function_name":"load","requestId":"@id","message":"n%d @id"}'
        self.text, self.n = "\n".join(line % k for k in range(n)), n

    def __call__(self):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return self.text.replace("@time", now).replace("@id", str(uuid.uuid4())).encode()


class Load:
    """Clients that repeat what was not acknowledged, under the same key, until it is."""

    def __init__(self, daemon, clients=2, body=padded, batch=BATCH):
        self.daemon, self.acked, self.issued, self.refused = daemon, 0, 0, 0
        self.body, self.batch = body, batch
        self.stop, self.pause = threading.Event(), threading.Event()
        self.lock, self.errors = threading.Lock(), []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        [thread.start() for thread in self.threads]

    def run(self):
        while not self.stop.is_set():
            if self.pause.is_set():
                time.sleep(0.05)
                continue
            body = self.body()
            with self.lock:
                self.issued += self.batch
            self.deliver(body, str(uuid.uuid4()))

    def deliver(self, body, key):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                status, _ = self.daemon.post("/ingest/json", body, **{"Idempotency-Key": key})
                if status == 200:
                    with self.lock:
                        self.acked += self.batch
                    return
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503):
                    self.errors.append(f"a delivery was answered {error.code}")
                    return
                self.refused += 1
                time.sleep(0.05)
            except OSError:
                time.sleep(0.05)
        self.errors.append(f"a delivery was not taken for {PATIENCE} s")

    def end(self):
        self.stop.set()
        [thread.join() for thread in self.threads]


def quiet(daemon, load):
    """The books once everything that was acknowledged is in them: the engine may be behind the journal.
    What is not there after a minute is lost."""
    until = time.monotonic() + 60
    while True:
        books = daemon.ledger("json")
        # Not what was received: what came twice counts there twice.
        taken = books.get("applied", 0) + books.get("late", 0)
        if time.monotonic() > until or (taken >= load.acked and books.get("pending", 0) == 0):
            return books
        time.sleep(0.2)


class Row:
    def __init__(self, fault):
        self.fault, self.runs, self.obligations, self.vacuous, self.lost, self.extra, self.note = fault, 0, 0, 0, 0, 0, ""
        # What must not be, in words.
        self.wrong = []

    def judge(self, daemon, load):
        """At a quiet moment: what was acknowledged is there once, and the books balance."""
        books = quiet(daemon, load)
        self.obligations += load.acked
        self.wrong += load.errors
        applied = books["applied"] + books["late"]
        self.lost += max(0, load.acked - applied)
        self.extra += max(0, applied - load.issued)
        known = sum(books[name] for name in ("applied", "duplicate", "conflict", "rejected", "filtered", "late", "pending"))
        if books["received"] != known + sum(books["dropped"].values()):
            self.wrong.append(f"the books do not balance: {books}")

    def is_bad(self):
        return bool(self.lost or self.extra or self.vacuous or self.wrong)


def rss(daemon):
    """Bytes of memory that the daemon holds."""
    for line in open(f"/proc/{daemon.process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def acknowledged(load, since):
    wait_for(lambda: load.acked - since >= ACKED_MIN, "load before the fault", 60)


def snapshots(daemon):
    return [name for name in os.listdir(os.path.join(daemon.data_dir, "journal")) if name.endswith(".snapshot")]
