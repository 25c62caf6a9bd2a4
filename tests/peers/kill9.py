"""kill -9 under load: every acknowledged signal is counted, once."""

import json
import threading
import time
import urllib.error
import uuid

from daemon import Daemon, check, wait_for

KILLS = 5
BATCHES_MIN = 20


def record(n):
    return {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "INFO", "function_name": "load", "requestId": str(uuid.uuid4()), "message": f"n{n}"}


with Daemon() as daemon:
    acknowledged, vacuous = 0, 0
    for round in range(KILLS):
        before, stop = acknowledged, threading.Event()

        def load():
            global acknowledged
            while not stop.is_set():
                key = str(uuid.uuid4())
                body = json.dumps([record(n) for n in range(10)]).encode()
                # A client that repeats what was not acknowledged, under the same key, until it is.
                while True:
                    try:
                        status, _ = daemon.post("/ingest/json", body, **{"Idempotency-Key": key})
                        if status == 200:
                            acknowledged += 10
                            break
                    except (OSError, urllib.error.URLError):
                        time.sleep(0.05)

        clients = [threading.Thread(target=load)]
        [client.start() for client in clients]
        wait_for(lambda: acknowledged - before >= BATCHES_MIN * 10, "load before the kill")
        time.sleep(0.05 * round)
        daemon.kill()
        daemon.start()
        stop.set()
        [client.join() for client in clients]
        vacuous += acknowledged - before < BATCHES_MIN * 10
    # What is acknowledged is on disk; the engine takes it up right after.
    wait_for(lambda: daemon.ledger("json").get("applied", 0) >= acknowledged, "everything acknowledged is applied")
    wait_for(lambda: daemon.ledger("json").get("pending", 0) == 0, "quiet")
    books = daemon.ledger("json")
    check(vacuous == 0, f"{KILLS} kills, each under load")
    check(books["applied"] == acknowledged, f"{acknowledged} acknowledged signals are counted, once: {books}")
    known = books["applied"] + books["duplicate"] + books["conflict"] + books["rejected"] + books["filtered"] + books["late"]
    check(books["received"] == known + sum(books["dropped"].values()) + books["pending"], "the books balance")
