"""Hostile senders: bodies that are broken, streams that are reset, labels and ids without end."""

import gzip
import json
import os
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import uuid

from daemon import Daemon, wait_for
from oracle import SMALL, WORK, Load, Template, acknowledged, dice, percentile, quiet, record, rss, times

# What the endpoints take that the simulator does not write.
FURTHER = [
    ("/ingest/gcp/pubsub", json.dumps({"message": {"data": "eyJ0ZXh0UGF5bG9hZCI6ImEifQ==", "messageId": "1", "publishTime": "2026-11-25T10:00:00Z", "attributes": {"a": "b"}}, "subscription": "s"})),
    ("/ingest/azure/eventhub", json.dumps({"records": [{"time": "2026-11-25T10:00:00Z", "category": "FunctionAppLogs", "properties": {"level": "Information", "message": "m", "functionName": "f", "functionInvocationId": "i"}}]})),
    ("/ingest/aws/xray", json.dumps([{"trace_id": "1-5759e988-bd862e3fe1be46a994272793", "id": "53995c3f42cd8ad8", "name": "s", "start_time": 1.5e9, "end_time": 1.6e9}])),
    ("/ingest/cloudflare/logpush", json.dumps({"EventTimestampMs": 1, "EventType": "fetch", "ScriptName": "s", "Outcome": "ok", "Logs": []})),
    ("/ingest/vercel", json.dumps([{"id": "1", "message": "m", "timestamp": 1, "source": "lambda", "projectId": "p", "deploymentId": "d", "requestId": "r"}])),
]


def seeds():
    """Whole payloads of every dialect: (path, content type, bytes)."""
    out = os.path.join(WORK, "simulated")
    found = []
    for style in ("", "json-logs", "telemetry", "firehose"):
        command = [os.environ["BINARY"], "simulate", "--seed", "7", "--requests", "3", "--out", out] + (["--style", style] if style else [])
        subprocess.run(command, capture_output=True)
    paths = {"otlp": "/v1/traces", "logs": "/v1/logs", "json": "/ingest/json", "firehose": "/ingest/aws/firehose", "telemetry": "/ingest/aws/telemetry"}
    for folder, _, names in os.walk(out):
        for name in names:
            for word, path in paths.items():
                if word in os.path.join(folder, name):
                    body = open(os.path.join(folder, name), "rb").read()
                    kind = "application/json" if body[:1] in (b"{", b"[") else "application/x-protobuf"
                    found.append((path, kind, body[:20_000]))
                    break
    found += [(path, "application/json", body.encode()) for path, body in FURTHER]
    found.append(("/v1/metrics", "application/x-protobuf", bytes.fromhex("0a1a0a0012160a0012120a0178220d0a0b19000000000000f03f3101")))
    found.append(("/api/v1/write", "application/x-protobuf", bytes.fromhex("1c6c0a1a0a0d0a085f5f6e616d655f5f120178120909000000000000f03f1001")))
    return found


def broken(body):
    """The same with something wrong."""
    body = bytearray(body)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(body) + 1)
        kind = dice.randrange(6)
        if kind == 0:
            del body[at:]
        elif kind == 1:
            body[at:at] = bytes(dice.getrandbits(8) for _ in range(dice.randrange(1, 9)))
        elif kind == 2:
            del body[at : at + dice.randrange(1, 30)]
        elif kind == 3:
            body[at:at] = body[: dice.randrange(1, 200)]
        elif kind == 4:
            body[at:at] = dice.choice([b"{", b"}", b"[", b'"', b"null", b"-1e999", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x00", b"\\ud800"])
        elif at < len(body):
            body[at] ^= 1 << dice.randrange(8)
    return bytes(body)


def malformed(row):
    """Payloads of every dialect with something wrong in them: a true answer, no panic, neighbours unharmed."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon, clients=1)
        acknowledged(load, 0)
        whole = seeds()
        answers, lock = {}, threading.Lock()
        left = iter(range(times(400, 20_000)))

        def send():
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                    path, kind, body = dice.choice(whole)
                    body = broken(body)
                taken = 0
                try:
                    status, answer = daemon.post(path, body, kind)
                    taken = json.loads(answer)["accepted"] if path == "/ingest/json" else 0
                except urllib.error.HTTPError as error:
                    status = error.code
                except OSError as error:
                    status = repr(error)
                with lock:
                    row.runs += 1
                    load.issued, load.acked = load.issued + taken, load.acked + taken
                    answers[status] = answers.get(status, 0) + 1
                    if status not in (200, 204, 400, 413, 415):
                        row.wrong.append(f"{path} was answered {status}: {body[:80].hex()}")

        threads = [threading.Thread(target=send) for _ in range(4)]
        [one.start() for one in threads]
        [one.join() for one in threads]
        load.end()
        books = quiet(daemon, load)
        # What was broken may say the same twice; the load's own never comes twice here.
        row.obligations += load.acked
        row.lost += max(0, load.acked - sum(books[name] for name in ("applied", "late", "duplicate", "conflict")))
        row.wrong += load.errors
        row.vacuous += len({status for status in answers if status in (200, 400)}) < 2
        row.note = "answers " + ", ".join(f"{status}: {n}" for status, n in sorted(answers.items(), key=str))
        if "panicked" in open(os.path.join(WORK, "daemon.log"), errors="replace").read():
            row.wrong.append("something panicked: see daemon.log")
        row.wrong = row.wrong[:5]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def resets(row):
    """Streams of HTTP/2 that are opened and reset at once (CVE-2023-44487), and header blocks that never end
    (CONTINUATION, VU#421644): the connection is closed, good clients are served, memory has a bound."""
    # POST, http, a path of OTLP/gRPC (RFC 7541: indexed fields 3 and 6, a literal with the indexed name 4).
    path = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    block = b"\x83\x86" + b"\x04" + bytes([len(path)]) + path + b"\x01\x01x"
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        acknowledged(load, 0)
        before, ended = rss(daemon), 0
        for n in range(times(40, 400)):
            port = daemon.grpc if n % 2 else daemon.ingest
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
                    one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
                    if n % 4 < 2:
                        for stream in range(1, 5000, 2):
                            one.sendall(frame(1, 4, stream, block) + frame(3, 0, stream, struct.pack(">I", 8)))
                    else:
                        one.sendall(frame(1, 0, 1, block))
                        for _ in range(5000):
                            one.sendall(frame(9, 0, 1, b"\x00\x01a\x7f\x80\x3f" + b"b" * 190))
                    one.settimeout(5)
                    while one.recv(65536):
                        pass
                    ended += 1
            except OSError:
                ended += 1
            row.runs += 1
        after = rss(daemon)
        since = load.acked
        acknowledged(load, since)
        load.end()
        row.judge(daemon, load)
        row.vacuous += ended == 0
        row.note = f"{ended} connections were closed, memory rose by {(after - before) >> 20} MiB"
        if after - before > 128 << 20:
            row.wrong.append("memory has no bound")


class Confined(Daemon):
    """A daemon in a control group that has so much memory, and no swap: who takes more is killed."""

    memory = 512 << 20
    # Version 2, and version 1.
    trees = (("/sys/fs/cgroup", "memory.max", "memory.swap.max", "0"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.swappiness", "0"))

    @classmethod
    def lay_out(cls):
        """The group's folder; None where the machine does not let us."""
        for tree, limit, swap, none in cls.trees:
            group = os.path.join(tree, "throughline-faults")
            try:
                os.makedirs(group, exist_ok=True)
                write(os.path.join(group, limit), cls.memory)
                if os.path.exists(os.path.join(group, swap)):
                    write(os.path.join(group, swap), none)
                cls.prefix = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
                return group
            except OSError:
                if os.path.isdir(group):
                    os.rmdir(group)
        return None


def write(path, value):
    # A control file is there already: one that is made is none.
    with open(path, "r+") as file:
        file.write(str(value))


def overload(row):
    """Many senders of nothing but new requests, who never wait, to a daemon that nobody told how little memory
    it has: it refuses what it cannot hold, is not killed, and serves a lone sender at once when they are gone."""
    group = Confined.lay_out()
    if not group:
        row.note = "left out: no control groups of memory"
        return
    try:
        with Confined(*SMALL) as daemon:
            load = Load(daemon, clients=32, body=Template(2_000), batch=2_000)
            highest, until = 0, time.monotonic() + times(20, 300)
            while time.monotonic() < until and daemon.process.poll() is None:
                highest = max(highest, rss(daemon))
                time.sleep(0.2)
            if daemon.process.poll() is not None:
                row.wrong.append(f"it was killed at {highest >> 20} MiB")
                return
            refused, row.runs = load.refused, load.acked // 2_000
            load.end()
            begun = time.monotonic()
            lone = Load(daemon, clients=1)
            acknowledged(lone, 0)
            lone.end()
            served = time.monotonic() - begun
            # One book for both: numbers are never told twice.
            load.acked, load.issued = load.acked + lone.acked, load.issued + lone.issued
            row.judge(daemon, load)
            row.vacuous += not refused
            row.note = f"{row.runs} batches taken, {refused} refused; memory {highest >> 20} of {Confined.memory >> 20} MiB; a lone sender's first ten within {served:.1f} s"
    finally:
        os.rmdir(group)


def numbered(n):
    """A million label sets and a million correlation ids, a thousand at a time."""
    now = time.time_ns()
    points = [{"timeUnixNano": str(now), "asDouble": 1.0, "attributes": [{"key": "user", "value": {"stringValue": f"u-{n}-{i}"}}]} for i in range(500)]
    metrics = {"resourceMetrics": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "flood"}}]}, "scopeMetrics": [{"metrics": [{"name": "flood", "gauge": {"dataPoints": points}}]}]}]}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    logs = "\n".join(f'{{"timestamp":"{at}","function_name":"flood","correlation_id":"c-{n}-{i}","requestId":"r-{n}-{i}","message":"m"}}' for i in range(500))
    return json.dumps(metrics).encode(), logs.encode()


def cardinality(row):
    """Series and ids without end: memory has its bound, what overflows is said, every signal is in the books,
    and another function's request and series are what they were."""
    with Daemon("memory_max=256MiB") as daemon:
        key = f"canary-{uuid.uuid4()}"
        daemon.post("/ingest/json", json.dumps({"function_name": "canary", "requestId": key, "correlation_id": key, "level": "ERROR", "error": "it broke", "message": "m"}).encode())
        wait_for(lambda: daemon.value('throughline_invocations_total{faas_name="canary",outcome="error"}') == 1, "the canary's count", 60)
        sent = {"otlp_http": 0, "json": 1}
        refused, highest = 0, 0
        until = time.monotonic() + 1500
        for n in range(times(20, 2_000)):
            for path, receiver, body in zip(("/v1/metrics", "/ingest/json"), ("otlp_http", "json"), numbered(n)):
                headers = {"Idempotency-Key": str(uuid.uuid4())}
                while time.monotonic() < until:
                    try:
                        daemon.post(path, body, **headers)
                        sent[receiver] += 500
                        break
                    except urllib.error.HTTPError as error:
                        refused += 1
                        if error.code not in (429, 503):
                            row.wrong.append(f"{path} was answered {error.code}")
                            break
                        time.sleep(0.2)
            highest = max(highest, rss(daemon))
            row.runs += 1
        settled = lambda: all(daemon.ledger(receiver).get("received", 0) >= n and daemon.ledger(receiver).get("pending", 0) == 0 for receiver, n in sent.items())
        wait_for(settled, "the engine to be through", 300)
        row.obligations = sum(sent.values())
        for receiver, n in sent.items():
            books = daemon.ledger(receiver)
            known = sum(books[name] for name in ("applied", "duplicate", "conflict", "rejected", "filtered", "late", "pending")) + sum(books["dropped"].values())
            row.lost += max(0, n - known)
            if books["received"] != known:
                row.wrong.append(f"the books do not balance: {books}")
        if daemon.value('throughline_invocations_total{faas_name="canary",outcome="error"}') != 1:
            row.wrong.append("the canary's count is gone")
        if daemon.get(f"/api/requests/{key}").get("outcome") != "error":
            row.wrong.append("the canary's request is gone")
        kinds = sorted({finding["kind"] for finding in daemon.get("/api/findings")["findings"]})
        row.note = f"{sent['otlp_http']} series, {sent['json']} ids; memory {highest >> 20} MiB of 256; refused {refused} times; findings {', '.join(kinds) or 'none'}"
