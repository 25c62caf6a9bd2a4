"""Faults of the process and its clock: killed, restarted, reloaded, set to another time."""

import http.server
import json
import os
import signal
import threading
import time

from daemon import Daemon, wait_for
from oracle import ACKED_MIN, SMALL, WHOLE, WORK, Load, acknowledged, dice, snapshots


def kill9(row):
    """kill -9 at a random moment under load, snapshots and cuts included."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        n = 100 if WHOLE else 10
        for kill in range(n):
            since = load.acked
            acknowledged(load, since)
            if kill == n // 2:
                # From here on recovery begins at a snapshot.
                wait_for(lambda: snapshots(daemon), "a snapshot", 120)
            time.sleep(dice.random() * 0.6)
            row.vacuous += load.acked - since < ACKED_MIN
            daemon.kill()
            daemon.start()
            row.runs += 1
        load.end()
        row.judge(daemon, load)
        row.note = f"{len(snapshots(daemon))} snapshots"
        if not snapshots(daemon):
            row.wrong.append("no snapshot is left")


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


def reloads(row):
    """The configuration changes under load, good and bad: nothing is refused for it, nothing lost."""
    path = os.path.join(WORK, "reloaded.yaml")
    write = lambda text: open(path, "w").write(text)
    write("correlate: {settle_after: 2s}\n")
    with Daemon(*SMALL, config=path) as daemon:
        load = Load(daemon)
        for n in range(100 if WHOLE else 10):
            since = load.acked
            write("correlate: {settle_after: soon}\n" if n % 3 == 2 else f"correlate: {{settle_after: {2 + n}s}}\n")
            daemon.process.send_signal(signal.SIGHUP)
            acknowledged(load, since)
            row.runs += 1
        load.end()
        row.judge(daemon, load)
        if load.refused:
            row.wrong.append(f"{load.refused} deliveries were refused")


class Webhook(http.server.BaseHTTPRequestHandler):
    """Notes what it is told, by the message's id."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.told.setdefault(self.headers["webhook-id"], set()).add(body["status"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def alerts(row):
    """kill -9 while an alert fires: it is as old as it was, and told under one id."""
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    hook.told, hook.lock = {}, threading.Lock()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    write = lambda name, text: open(os.path.join(WORK, name), "w").write(text)
    write("alert-rules.yaml", "groups: [{name: g, rules: [{alert: Always, expr: vector(1), for: 2s}]}]\n")
    write("alert-routes.yaml", f"route: {{receiver: r, group_wait: 0s}}\nreceivers: [{{name: r, webhook_configs: [{{url: 'http://127.0.0.1:{hook.server_port}/'}}]}}]\n")
    write("alert.yaml", "rules: {files: [alert-rules.yaml]}\nnotify: {config: alert-routes.yaml}\n")
    with Daemon(*SMALL, config=os.path.join(WORK, "alert.yaml")) as daemon:
        firing = lambda: [one["activeAt"] for one in daemon.get("/api/v1/alerts")["data"]["alerts"] if one["state"] == "firing"]
        wait_for(lambda: hook.told and firing(), "the alert to be told", 60)
        since = firing()
        for _ in range(100 if WHOLE else 8):
            time.sleep(dice.random() * 0.5)
            daemon.kill()
            daemon.start()
            row.runs += 1
            row.obligations += 1
            row.lost += firing() != since
        # What would be told anew is told within a few ticks.
        time.sleep(5)
        row.extra += len(hook.told) - 1
    hook.shutdown()


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
