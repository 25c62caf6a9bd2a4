"""The same kills and power cuts against Prometheus and Alertmanager as Debian has them, for comparison: what
they acknowledged and no longer have, and what they say twice. `tests/faults/run --peers`."""

import fcntl
import http.server
import json
import os
import shutil
import struct
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from daemon import free_port, wait_for
from disk_faults import NO_FLUSH, SHUTDOWN
from oracle import WORK, dice, times

SERIES = 20


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def snappy(plain):
    """One block of literals only."""
    out = varint(len(plain))
    for at in range(0, len(plain), 60):
        piece = plain[at : at + 60]
        out += bytes([len(piece) - 1 << 2]) + piece
    return out


def write_request(batch):
    """As many new series, each with one sample."""
    label = lambda name, value: field(1, field(1, name) + field(2, value))
    sample = field(2, b"\x09" + struct.pack("<d", 1.0) + b"\x10" + varint(int(time.time() * 1000)))
    series = (label(b"__name__", b"obligation") + label(b"n", f"{batch}-{n}".encode()) + sample for n in range(SERIES))
    return snappy(b"".join(field(1, one) for one in series))


def ask(port, path, body=None, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


class Peer:
    def __init__(self, command, port):
        self.command, self.port, self.process = command, port, None
        self.start()

    def start(self):
        log = open(os.path.join(WORK, "peer.log"), "ab")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        wait_for(self.is_ready, f"{self.command[0]} to be ready", 300)

    def is_ready(self):
        try:
            ask(self.port, "/-/ready")
            return True
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()


def prometheus(place):
    port, config = free_port(), os.path.join(WORK, "prometheus.yml")
    open(config, "w").write("global: {}\n")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={place}/prometheus", f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
    return Peer(command, port)


class Writers:
    def __init__(self, peer):
        self.peer, self.acked, self.stop, self.lock, self.next = peer, [], threading.Event(), threading.Lock(), 0
        [threading.Thread(target=self.run, daemon=True).start() for _ in range(2)]

    def run(self):
        while not self.stop.is_set():
            with self.lock:
                batch, self.next = self.next, self.next + 1
            headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
            try:
                ask(self.peer.port, "/api/v1/write", write_request(batch), **headers)
                with self.lock:
                    self.acked.append(batch)
            except OSError:
                time.sleep(0.05)


def counted(peer):
    query = urllib.parse.urlencode({"query": "count(last_over_time(obligation[1d]))"})
    result = json.loads(ask(peer.port, f"/api/v1/query?{query}"))["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def rounds(peer, n, fault):
    """After each fault: samples that were acknowledged before it, and those of them that are gone."""
    writers, obligations, gone, bad = Writers(peer), 0, 0, 0
    for _ in range(n):
        begun = len(writers.acked)
        wait_for(lambda: len(writers.acked) > begun + 10, "load before the fault", 60)
        time.sleep(dice.random())
        with writers.lock:
            frozen = len(writers.acked)
            fault(peer)
        missing = frozen * SERIES - counted(peer) - gone
        # What came after the count was frozen hides no loss: nothing is written while the lock is held.
        obligations, gone, bad = frozen * SERIES, gone + max(0, missing), bad + (missing > 0)
    writers.stop.set()
    return f"{n} times, {obligations} samples acknowledged, {gone} of them lost, in {bad} of the faults"


def killed(peer):
    peer.kill()
    peer.start()


def in_power_cut(kind, image, place):
    def cut(peer):
        root = os.open(place, os.O_RDONLY)
        fcntl.ioctl(root, SHUTDOWN, struct.pack("I", NO_FLUSH))
        os.close(root)
        peer.kill()
        subprocess.run(["umount", place], check=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
        peer.start()

    return cut


def power_cuts(n):
    image, place = os.path.join(WORK, "peer.img"), os.path.join(WORK, "peer.mount")
    os.makedirs(place, exist_ok=True)
    subprocess.run(["truncate", "-s", "600M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        peer = prometheus(place)
        told = rounds(peer, n, in_power_cut("ext4", image, place))
        peer.kill()
        return told
    finally:
        subprocess.run(["umount", place])
        os.remove(image)


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.told.append((body["status"], body["groupKey"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def alertmanager(n):
    """An alert that was told; kill -9; the same alert posted again, as Prometheus does all the time."""
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    hook.told, hook.lock = [], threading.Lock()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    place, port = tempfile.mkdtemp(prefix="throughline-peer-"), free_port()
    config = os.path.join(WORK, "alertmanager.yml")
    open(config, "w").write(f"route: {{receiver: r, group_wait: 0s, group_interval: 1s, group_by: ['...']}}\nreceivers: [{{name: r, webhook_configs: [{{url: 'http://127.0.0.1:{hook.server_port}/'}}]}}]\n")
    name = shutil.which("prometheus-alertmanager") or "alertmanager"
    peer = Peer([name, f"--config.file={config}", f"--storage.path={place}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="], port)
    repeats = 0
    for k in range(n):
        post = lambda: ask(port, "/api/v2/alerts", json.dumps([{"labels": {"alertname": f"A{k}"}}]).encode(), **{"Content-Type": "application/json"})
        of = lambda: sum(f"A{k}" in key for _, key in hook.told)
        post()
        wait_for(lambda: of() == 1, "the message", 30)
        time.sleep(dice.random())
        peer.kill()
        peer.start()
        post()
        time.sleep(3)
        repeats += of() - 1
    peer.kill()
    shutil.rmtree(place)
    return f"{n} kills after an alert was told; told again {repeats} times"


def main():
    n = times(10, 15)
    version = lambda name: subprocess.run([name, "--version"], capture_output=True, text=True)
    shown = version("prometheus")
    print((shown.stdout + shown.stderr).splitlines()[0], flush=True)
    place = tempfile.mkdtemp(prefix="throughline-peer-")
    peer = prometheus(place)
    print(f"Prometheus, remote write, kill -9: {rounds(peer, n, killed)}", flush=True)
    peer.kill()
    shutil.rmtree(place)
    print(f"Prometheus, remote write, power cut (ext4): {power_cuts(n)}", flush=True)
    print(f"Alertmanager, kill -9: {alertmanager(n)}", flush=True)


if __name__ == "__main__":
    main()
