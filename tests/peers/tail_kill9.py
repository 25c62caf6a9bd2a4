"""Files that grow and turn while the daemon is killed: every line is counted, once."""

import json
import os
import tempfile
import threading
import time
import uuid

from daemon import Daemon, check, wait_for

KILLS = 5
LINES_A_FILE = 2_000

folder = tempfile.mkdtemp(prefix="throughline-tail-")
config = os.path.join(folder, "throughline.yaml")
with open(config, "w") as file:
    json.dump({"files": [{"paths": [os.path.join(folder, "app*.log*")], "function": "orders"}]}, file)

written, stop = 0, threading.Event()


def write():
    """Lines, some in two halves; every now and then the file is renamed and another begun."""
    global written
    path = os.path.join(folder, "app.log")
    n_turned = 0
    while not stop.is_set():
        with open(path, "ab", buffering=0) as file:
            for _ in range(LINES_A_FILE):
                at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                line = json.dumps({"timestamp": at, "level": "INFO", "requestId": str(uuid.uuid4()), "message": f"n{written}"}).encode() + b"\n"
                half = len(line) // 2 if written % 7 == 0 else len(line)
                file.write(line[:half])
                file.write(line[half:])
                written += 1
                if written % 50 == 0:
                    time.sleep(0.02)
                if stop.is_set():
                    return
        n_turned += 1
        os.rename(path, f"{path}.{n_turned}")


with Daemon(config=config) as daemon:
    writer = threading.Thread(target=write)
    writer.start()
    for round in range(KILLS):
        before = daemon.ledger("file").get("applied", 0)
        wait_for(lambda: daemon.ledger("file").get("applied", 0) > before, "lines that were read before the kill")
        time.sleep(0.1 * round)
        daemon.kill()
        # It is away while the file grows, and perhaps turns.
        time.sleep(0.5)
        daemon.start()
    stop.set()
    writer.join()
    wait_for(lambda: daemon.ledger("file").get("applied", 0) >= written, f"all {written} lines", 60)
    time.sleep(2)
    books = daemon.ledger("file")
    check(books["applied"] == written, f"{written} lines over {KILLS} kills are counted, once: {books}")
    check(books["rejected"] == 0, "no half line was taken for a whole one")
