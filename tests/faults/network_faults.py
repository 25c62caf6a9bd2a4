"""Faults of clients and of the network: too many, too slow, half there, hostile."""

import gzip
import json
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import uuid
import zlib

from daemon import Daemon, wait_for
from oracle import SMALL, Load, acknowledged, dice, quiet, record, rss, times


def deliveries(daemon, n):
    """Seconds of n deliveries, each by a connection of its own, sorted."""
    took = []
    for _ in range(n):
        body = json.dumps([record(0)]).encode()
        begun = time.monotonic()
        status, _ = daemon.post("/ingest/json", body, **{"Idempotency-Key": str(uuid.uuid4())})
        assert status == 200, status
        took.append(time.monotonic() - begun)
    return sorted(took)


def http2(path, body=None):
    """The bytes of a connection with one request, which acknowledges nothing later."""
    frame = lambda kind, flags, stream, load: len(load).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + load
    # Of the static table: the method, http; the path as a literal.
    head = bytes([0x83 if body else 0x82, 0x86, 0x04, len(path)]) + path
    begun = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    if body:
        return begun + frame(1, 4, 1, head) + frame(0, 1, 1, body)
    return begun + frame(1, 5, 1, head)


def connections(row):
    """Thousands of connections that say nothing, half a head, or half a body, that fall silent once they
    were answered, or never read their answers: good clients are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = min(times(3_000, 10_000), hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, n + 500), hard))
    with Daemon(*SMALL) as daemon:
        before = deliveries(daemon, 30)
        held = []
        begun = [
            b"",
            b"POST /ingest/json HTTP/1.1\r\nhost: x\r\nx-slow: ",
            b"PRI * HTTP/2.0\r\n",
            b"POST /ingest/json HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n[",
            # Refused, and served; silent from then on.
            http2(b"/nope"),
            http2(b"/ingest/json", b'{"message":"a"}'),
        ]
        # More answers than the kernel holds for who reads nothing.
        deaf = b"GET /nope HTTP/1.1\r\nhost: x\r\n\r\n" * 2_000
        stop = threading.Event()

        def flood():
            for k in range(n):
                if stop.is_set():
                    return
                try:
                    one = socket.socket()
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    one.settimeout(10)
                    one.connect(("127.0.0.1", daemon.ingest))
                    held.append(one)
                    one.settimeout(1)
                    one.sendall(deaf if k % 50 == 0 else begun[k % len(begun)])
                except OSError:
                    pass

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            during = []
            while flooding.is_alive() and len(during) < 400:
                during += deliveries(daemon, 5)
            flooding.join()
            during = sorted(during + deliveries(daemon, 30))
        except (OSError, AssertionError) as error:
            row.wrong.append(f"a good client got no answer: {error}")
            during = [0]
        stop.set()
        flooding.join()
        p99 = lambda took: took[int(len(took) * 0.99) - 1] * 1000
        row.runs, row.obligations = len(held), len(during)
        row.note = f"a delivery's p99 {p99(before):.0f} ms before, {p99(during):.0f} ms during"
        if p99(during) > 2000:
            row.wrong.append("good clients wait for seconds")
        if len(os.listdir(f"/proc/{daemon.process.pid}/fd")) > 1500:
            row.wrong.append("connections have no bound")
        [one.close() for one in held]
        deliveries(daemon, 5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def half_open(row):
    """Clients vanish in the middle of their bodies under load: what they held is given back."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        for _ in range(times(200, 2000)):
            one = socket.create_connection(("127.0.0.1", daemon.ingest), timeout=10)
            one.sendall(b"POST /ingest/json HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n\r\n" + b" " * 10_000)
            # Reset, with half a body on its way.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
            row.runs += 1
        since = load.acked
        acknowledged(load, since)
        load.end()
        row.judge(daemon, load)


class Apart(Daemon):
    """A daemon in a network namespace of its own."""

    host, space = "10.213.7.2", "throughline-faults"
    prefix = ("ip", "netns", "exec", space)

    @classmethod
    def lay_cable(cls):
        """False where the machine does not let us."""
        commands = (
            f"ip netns add {cls.space}",
            "ip link add throughline0 type veth peer name throughline1",
            f"ip link set throughline1 netns {cls.space}",
            "ip addr add 10.213.7.1/30 dev throughline0",
            "ip link set throughline0 up",
            f"ip netns exec {cls.space} ip addr add {cls.host}/30 dev throughline1",
            f"ip netns exec {cls.space} ip link set throughline1 up",
            f"ip netns exec {cls.space} ip link set lo up",
        )
        cls.cut_cable()
        return all(subprocess.run(one.split(), stderr=subprocess.DEVNULL).returncode == 0 for one in commands)

    @classmethod
    def cut_cable(cls):
        subprocess.run(["ip", "netns", "del", cls.space], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", "throughline0"], stderr=subprocess.DEVNULL)

    def reachable(self, state):
        subprocess.run(["ip", "netns", "exec", self.space, "ip", "link", "set", "throughline1", state], check=True)


def partitions(row):
    """The network between clients and daemon goes away under load and comes back: what each side holds of
    the other is half a connection. Nothing is lost or counted twice, and what was held is given back."""
    if os.geteuid() != 0 or not shutil.which("ip") or not Apart.lay_cable():
        Apart.cut_cable()
        row.note = "left out: no network namespaces"
        return
    try:
        with Apart(*SMALL, "listen.insecure=true") as daemon:
            load = Load(daemon, clients=8)
            for _ in range(times(4, 40)):
                acknowledged(load, load.acked)
                daemon.reachable("down")
                time.sleep(0.5 + dice.random() * 3)
                daemon.reachable("up")
                row.runs += 1
            load.end()
            row.judge(daemon, load)
            # Bodies that were cut off have a minute.
            held = lambda: len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
            wait_for(lambda: held() < 200, "connections to be given back", 90)
    finally:
        Apart.cut_cable()


def bombs(row):
    """Bodies that grow a thousandfold, nest ten thousand deep, hold 200,000 records or begin as many requests."""
    zeros = b"\0" * (1 << 20)
    packer, deflater = zlib.compressobj(9, wbits=31), zlib.compressobj(9)
    gzipped = b"".join(packer.compress(zeros) for _ in range(300)) + packer.flush()
    deflated = b"".join(deflater.compress(zeros) for _ in range(300)) + deflater.flush()
    deep = b"[" * 100_000
    cases = [
        ("gzip", "/v1/logs", gzipped, "gzip"),
        ("gzip", "/ingest/json", gzipped, "gzip"),
        ("deflate", "/ingest/aws/firehose", deflated, "deflate"),
        ("snappy", "/api/v1/write", b"\xff\xff\xff\xff\x0f" + b"\0" * 100, "snappy"),
        ("deep", "/ingest/json", deep, None),
        ("deep", "/v1/traces", b'{"resourceSpans":' + deep, None),
        ("deep", "/ingest/azure/eventhub", b'{"records":' + deep, None),
        ("many", "/ingest/json", gzip.compress(b"{}\n" * 200_000), "gzip"),
        ("requests", "/ingest/json", gzip.compress(b"".join(b'{"message":"m","requestId":"r-%d"}\n' % n for n in range(200_000))), "gzip"),
        ("attributes", "/ingest/json", gzip.compress(b"{%s}\n" % b",".join(b'"a%d":1' % n for n in range(120)) * 60_000), "gzip"),
    ]
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        acknowledged(load, 0)
        # An unoptimized build on a busy machine takes 14 s for the records.
        daemon.patience = 60
        before = rss(daemon)
        highest, worst = before, "none"
        for name, path, body, encoding in cases:
            begun = time.monotonic()
            kind = "application/x-protobuf" if encoding == "snappy" else "application/json"
            try:
                status, _ = daemon.post(path, body, kind, **({"Content-Encoding": encoding} if encoding else {}))
            except urllib.error.HTTPError as error:
                status = error.code
            except OSError as error:
                row.wrong.append(f"{name} at {path}: {error}")
                continue
            took = time.monotonic() - begun
            row.runs += 1
            if rss(daemon) > highest:
                highest, worst = rss(daemon), f"{name} at {path}"
            if status not in (400, 413) and name != "many":
                row.wrong.append(f"{name} at {path} was answered {status}")
            if took > 45:
                row.wrong.append(f"{name} at {path} took {took:.0f} s")
        load.end()
        books = quiet(daemon, load)
        row.obligations = load.acked
        row.wrong += load.errors
        row.lost = max(0, load.acked - books["received"])
        row.note = f"memory rose by {(highest - before) >> 20} MiB, last by {worst}"
        # 64 MiB of body, 128 of what it becomes, what reading it takes beside them, and what the allocator
        # keeps of the bodies before it on other threads: no more than `memory_max` in all.
        if highest - before > 512 << 20:
            row.wrong.append("memory has no bound")
