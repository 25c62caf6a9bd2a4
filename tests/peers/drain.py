"""SIGTERM under load: what was acknowledged is kept, and the daemon is gone within a sidecar's ten seconds."""

import json
import signal
import threading
import time
import urllib.error
import uuid

from daemon import Daemon, check, wait_for

# Cloud Run and Knative give a container ten seconds between SIGTERM and SIGKILL.
GIVEN = 10
CLIENTS = 8


def body():
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines = [{"timestamp": at, "level": "INFO", "function_name": "load", "requestId": str(uuid.uuid4()), "message": "x" * 200} for _ in range(200)]
    return json.dumps(lines).encode()


with Daemon() as daemon:
    acknowledged, lock, stop = 0, threading.Lock(), threading.Event()

    def load():
        global acknowledged
        while not stop.is_set():
            try:
                status, _ = daemon.post("/ingest/json", body(), **{"Idempotency-Key": str(uuid.uuid4())})
            except (OSError, urllib.error.URLError):
                # Refused or cut while it drains: the client keeps it.
                time.sleep(0.02)
                continue
            if status == 200:
                with lock:
                    acknowledged += 200

    clients = [threading.Thread(target=load) for _ in range(CLIENTS)]
    [client.start() for client in clients]
    wait_for(lambda: acknowledged >= 20_000, "load before the signal", 60)
    begin = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)
    code = daemon.process.wait(30)
    took = time.monotonic() - begin
    stop.set()
    [client.join() for client in clients]
    check(code == 0 and took < GIVEN, f"drained {CLIENTS} busy clients in {took:.2f} s of {GIVEN}")
    daemon.start()
    wait_for(lambda: daemon.ledger("json").get("pending", 0) == 0, "quiet")
    books = daemon.ledger("json")
    check(books["applied"] >= acknowledged, f"{acknowledged} acknowledged signals are there: {books['applied']} applied")
