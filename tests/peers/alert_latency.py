"""Measures from posting a bad event to the webhook, each try with a label set that was never seen before.

Ours without and with other traffic, beside Prometheus and Alertmanager on the same failure, at their
defaults and as fast as they go. `TRIES`, `LOAD` (signals/s) and `BINARY` (a release build) are read from
the environment. Prints one line a setting: mean, p50, p99 and the longest, in seconds.
"""

import http.server
import json
import os
import pathlib
import random
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid

from daemon import Daemon, check, free_port, wait_for
from traffic import at, records

TRIES = int(os.environ.get("TRIES", "200"))
LOAD = int(os.environ.get("LOAD", "20000"))
# With a scrape and an evaluation a minute, 200 tries prove no more than these.
DEFAULT_TRIES = min(TRIES, 40)
# Seconds between two tries, on average; longer where an evaluation comes once a minute.
PAUSE, DEFAULT_PAUSE = 0.5, 4
BATCH = 1000
work = pathlib.Path(os.environ["WORK"])
arrived = {}


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            if alert["status"] == "firing":
                labels = alert["labels"]
                arrived.setdefault(labels.get("fn") or labels.get("faas_name"), time.monotonic())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
threading.Thread(target=hook.serve_forever, daemon=True).start()
HOOK = f"http://127.0.0.1:{hook.server_port}/"


def measure(name, fail, tries, pause, patience):
    """`fail(label)` makes one bad event; tries are paced with jitter, so that no phase is favoured."""
    posted = {}
    arrived.clear()
    for n in range(tries):
        label = f"fn-{uuid.uuid4().hex[:12]}"
        posted[label] = time.monotonic()
        fail(label)
        time.sleep(pause * (0.5 + random.random()))
    until = time.monotonic() + patience
    while time.monotonic() < until and not posted.keys() <= arrived.keys():
        time.sleep(0.1)
    took = sorted(arrived[label] - at for label, at in posted.items() if label in arrived)
    check(len(took) == tries, f"{name}: {len(took)} of {tries} arrived")
    p = lambda q: took[min(len(took) - 1, int(q * len(took)))]
    print(f"{name}: tries {tries}, mean {sum(took) / len(took):.2f} s, p50 {p(0.5):.2f} s, p99 {p(0.99):.2f} s, longest {took[-1]:.2f} s", flush=True)


def failed(function):
    request_id, now = str(uuid.uuid4()), time.time()
    records = [
        {"time": at(now - 0.1), "type": "platform.start", "record": {"requestId": request_id, "version": "1"}},
        {"time": at(now), "type": "platform.runtimeDone", "record": {"requestId": request_id, "status": "failure"}},
        {"time": at(now), "type": "platform.report", "record": {"requestId": request_id, "status": "failure", "metrics": {"durationMs": 100.0, "billedDurationMs": 100, "memorySizeMB": 128, "maxMemoryUsedMB": 80}}},
    ]
    return json.dumps(records).encode()


def load(daemon, stop, sent):
    """Whole well-behaved invocations of fifty records each, at LOAD records a second. Whole ones: a rule
    waits for its data, and what never shows its end is late by `settle_after`."""
    began = time.monotonic()
    logs = [{"message": f"step {n}"} for n in range(47)]
    while not stop.is_set():
        now = time.time() - 0.1
        batch = [one for _ in range(BATCH // 50) for one in records("steady", str(uuid.uuid4()), now, 50.0, False, *logs)]
        try:
            daemon.post("/ingest/aws/telemetry", json.dumps(batch).encode(), **{"Lambda-Function-Name": "steady"})
            sent[0] += BATCH
        except OSError:
            sent[1] += BATCH
        ahead = sum(sent) / LOAD - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)


def ours(name, loaded):
    routes, rules = work / "latency-routes.yaml", work / "latency-rules.yaml"
    routes.write_text(f"route: {{receiver: hook, group_by: ['...']}}\nreceivers: [{{name: hook, webhook_configs: [{{url: '{HOOK}'}}]}}]\n")
    rules.write_text("groups: [{name: g, rules: [{alert: Failed, expr: 'increase(throughline_invocations_total{outcome=\"error\"}[1m]) > 0', labels: {severity: page}}]}]\n")
    config = work / "latency.yaml"
    config.write_text(f"notify: {{config: '{routes}'}}\nrules: {{files: ['{rules}']}}\n")
    with Daemon(config=str(config)) as daemon:
        stop, sent = threading.Event(), [0, 0]
        generator = threading.Thread(target=load, args=(daemon, stop, sent))
        if loaded:
            generator.start()
            time.sleep(5)
        began = time.monotonic()
        at_begin = sent[0]
        measure(name, lambda label: daemon.post("/ingest/aws/telemetry", failed(label), **{"Lambda-Function-Name": label}), TRIES, PAUSE, 60)
        if loaded:
            rate = (sent[0] - at_begin) / (time.monotonic() - began)
            stop.set()
            generator.join()
            print(f"  under {rate:.0f} signals/s accepted, {sent[1]} refused", flush=True)


def theirs(name, interval, group_wait, tries):
    bad = []

    class Exporter(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write("".join(f'failed_total{{fn="{label}"}} 1\n' for label in list(bad)).encode())

        def log_message(self, *_):
            pass

    exporter = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    port, peer_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        wait = f", group_wait: {group_wait}" if group_wait else ""
        (folder / "am.yml").write_text(f"route: {{receiver: hook, group_by: ['...']{wait}}}\nreceivers: [{{name: hook, webhook_configs: [{{url: '{HOOK}'}}]}}]\n")
        # A counter born at 1 has no increase there: the rule asks for its value.
        (folder / "rules.yml").write_text("groups: [{name: g, rules: [{alert: Failed, expr: 'failed_total > 0'}]}]\n")
        intervals = f"global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}\n" if interval else ""
        (folder / "prometheus.yml").write_text(
            intervals
            + f"rule_files: ['{folder}/rules.yml']\nalerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{peer_port}']}}]}}]}}\n"
            + f"scrape_configs: [{{job_name: t, static_configs: [{{targets: ['127.0.0.1:{exporter.server_port}']}}]}}]\n"
        )
        log = open(work / "latency-peers.log", "ab")
        run = lambda *command: subprocess.Popen(command, stdout=log, stderr=log)
        peers = [
            run("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"),
            run("prometheus-alertmanager", f"--config.file={folder}/am.yml", f"--web.listen-address=127.0.0.1:{peer_port}", "--cluster.listen-address=", f"--storage.path={folder}/am"),
        ]
        try:
            is_up = lambda: all(urllib.request.urlopen(f"http://127.0.0.1:{p}/-/ready").status == 200 for p in (port, peer_port))
            wait_for(lambda: quiet(is_up), "Prometheus and Alertmanager to be ready", 60)
            measure(name, bad.append, tries, PAUSE if interval else DEFAULT_PAUSE, 60 if interval else 240)
        finally:
            for peer in peers:
                peer.terminate()
                peer.wait()
            exporter.shutdown()


def quiet(condition):
    try:
        return condition()
    except OSError:
        return False


ours("throughline, defaults, nothing else", False)
ours(f"throughline, defaults, {LOAD} signals/s beside it", True)
theirs("prometheus + alertmanager, 1s/1s, group_wait 0s", "1s", "0s", TRIES)
theirs("prometheus + alertmanager, defaults", None, None, DEFAULT_TRIES)
