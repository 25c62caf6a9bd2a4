"""A Prometheus that takes the same writes as the daemon beside it, and is asked the same."""

import os
import pathlib
import subprocess
import tempfile
import urllib.request

import remote_write
from daemon import check, free_port, wait_for


class Prometheus:
    """Empty, with what `config` says, on a free port."""

    def __init__(self, config="{}", *flags):
        self.directory = tempfile.TemporaryDirectory()
        self.config = pathlib.Path(self.directory.name) / "prometheus.yml"
        self.config.write_text(config + "\n")
        self.port = free_port()
        arguments = [f"--config.file={self.config}", f"--storage.tsdb.path={self.directory.name}/data"]
        arguments += ["--web.enable-remote-write-receiver", f"--web.listen-address=127.0.0.1:{self.port}", *flags]
        log = open(os.path.join(os.environ["WORK"], "prometheus.log"), "ab")
        self.process = subprocess.Popen(["prometheus", *arguments], stdout=log, stderr=log)
        wait_for(self.is_ready, "Prometheus to be ready", 60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


def write_to_both(daemon, peer, made, piece=300):
    """Writes series, (labels, [(milliseconds, value)]), a piece of so many seconds at a time.

    Prometheus takes samples in the order of their times only.
    """
    times = [t for _, rows in made for t, _ in rows]
    n_samples, begun = 0, daemon.ledger("remote_write").get("applied", 0)
    for start in range(min(times), max(times) + 1, piece * 1000):
        within = [(labels, [s for s in rows if start <= s[0] < start + piece * 1000]) for labels, rows in made]
        messages = [remote_write.series(labels, rows) for labels, rows in within if rows]
        n_samples += sum(len(rows) for _, rows in within)
        for at in (peer.port, daemon.ingest):
            if messages and remote_write.send(at, messages) not in (200, 204):
                raise AssertionError("a write is refused")
    wait_for(lambda: daemon.ledger("remote_write").get("applied") == begun + n_samples, "all samples to be applied", 60)
    check(daemon.ledger("remote_write")["received"] == begun + n_samples, f"{n_samples} samples are in the books")
