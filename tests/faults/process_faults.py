"""Faults of the process and its clock: killed, restarted, reloaded, set to another time."""

import http.server
import json
import os
import signal
import subprocess
import threading
import time

from daemon import Daemon, wait_for
from oracle import ACKED_MIN, SMALL, WHOLE, WORK, Load, Template, acknowledged, dice, quiet, snapshots, times


# Kills between two looks at the books.
ROUND = 50


def kill9(row):
    """kill -9 at a random moment under load, snapshots and cuts included."""
    n = times(10, 500)
    for begun in range(0, n, ROUND):
        kills(row, min(ROUND, n - begun))


def kills(row, n):
    # The whole is 500 kills over ten million signals, so batches are large and there are many between two kills.
    # Their records pack well: a log of a tenth of the size brings as many snapshots.
    each = 20_000 if WHOLE else 0
    settings = ("journal.size_max=1MiB", "correlate.settle_after=1s", "memory_max=2GiB") if WHOLE else SMALL
    with Daemon(*settings) as daemon:
        load = Load(daemon, clients=3, body=Template(500), batch=500) if WHOLE else Load(daemon)
        for kill in range(n):
            since = load.acked
            acknowledged(load, since)
            wait_for(lambda: load.acked >= each * kill, "as many signals as there are to be", 300)
            if kill == n // 2:
                # From here on recovery begins at a snapshot.
                wait_for(lambda: snapshots(daemon), "a snapshot", 120)
            time.sleep(dice.random() * 0.6)
            row.vacuous += load.acked - since < ACKED_MIN
            daemon.kill()
            daemon.start()
            row.runs += 1
        wait_for(lambda: load.acked >= each * n, "as many signals as there are to be", 300)
        load.end()
        row.judge(daemon, load)
        if not snapshots(daemon):
            row.wrong.append("no snapshot is left")


def restarts(row):
    """Stop and start again and again under load."""
    with Daemon(*SMALL) as daemon:
        load = Load(daemon)
        for _ in range(times(5, 100)):
            since = load.acked
            acknowledged(load, since)
            daemon.stop()
            daemon.start()
            row.runs += 1
        load.end()
        row.judge(daemon, load)


def upgrades(row):
    """A build of before (OLD_BINARY) is killed under load and this one opens its directory, again and again: what
    was acknowledged by either is there once, and where it is run under the other it goes on or refuses intact."""
    old, new = os.environ.get("OLD_BINARY"), os.environ["BINARY"]
    if not old:
        row.note = "left out: OLD_BINARY names no earlier build"
        return
    try:
        for _ in range(times(3, 20)):
            os.environ["BINARY"] = old
            with Daemon(*SMALL) as daemon:
                load = Load(daemon)
                # With and without a snapshot of the old build's layout.
                if row.runs % 2:
                    wait_for(lambda: snapshots(daemon), "a snapshot", 120)
                acknowledged(load, load.acked)
                daemon.kill()
                os.environ["BINARY"] = new
                daemon.start()
                acknowledged(load, load.acked)
                row.runs += 1
                load.end()
                row.judge(daemon, load)
                daemon.stop()
                left = subprocess.run([new, "verify", daemon.data_dir], capture_output=True, text=True)
                if left.returncode:
                    row.wrong.append(f"verify: {left.stdout[-300:]}")
    finally:
        os.environ["BINARY"] = new


def reloads(row):
    """The configuration changes under load, good and bad: nothing is refused for it, nothing lost."""
    path = os.path.join(WORK, "reloaded.yaml")
    write = lambda text: open(path, "w").write(text)
    write("correlate: {settle_after: 2s}\n")
    with Daemon(*SMALL, config=path) as daemon:
        load = Load(daemon)
        for n in range(times(10, 100)):
            since = load.acked
            write("correlate: {settle_after: soon}\n" if n % 3 == 2 else f"correlate: {{settle_after: {2 + n}s}}\n")
            daemon.process.send_signal(signal.SIGHUP)
            acknowledged(load, since)
            row.runs += 1
        load.end()
        row.judge(daemon, load)
        if load.refused:
            row.wrong.append(f"{load.refused} deliveries were refused")


def erasures(row):
    """kill -9 while one person's data is erased from a stopped daemon's directory: it is as it was, or refused by
    a start until the same command has finished; then nothing of it is found, and every count is what it was."""
    with Daemon(*SMALL) as daemon:
        load, amid = Load(daemon), 0
        acknowledged(load, 0)
        for n in range(times(6, 100)):
            person = f"person-{n}"
            body = json.dumps({"function_name": "pay", "requestId": f"run-{n}", "correlation_id": person, "level": "ERROR", "error": "it broke", "message": "m"})
            daemon.post("/ingest/json", body.encode(), **{"Idempotency-Key": f"erased-{n}"})
            with load.lock:
                load.issued, load.acked = load.issued + 1, load.acked + 1
            acknowledged(load, load.acked)
            load.pause.set()
            books = quiet(daemon, load)["received"]
            daemon.stop()
            command = [os.environ["BINARY"], "erase", "--json", "--key", f"correlation_id={person}", daemon.data_dir]
            for _ in range(dice.randrange(1, 4)):
                erasing = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(dice.random() * 0.3)
                amid += erasing.poll() is None
                erasing.kill()
                erasing.wait()
                row.runs += 1
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                row.wrong.append(f"erase ended with {done.returncode}: {done.stderr[-200:]} {done.stdout[-200:]}")
            left = subprocess.run([os.environ["BINARY"], "verify", daemon.data_dir], capture_output=True, text=True)
            if left.returncode:
                row.wrong.append(f"verify: {left.stdout[-300:]}")
            daemon.start()
            row.obligations += 1
            row.extra += daemon.status(f"/api/requests/{person}") != 404
            row.lost += max(0, books - daemon.ledger("json")["received"])
            load.pause.clear()
        row.vacuous += amid == 0
        row.note = f"{amid} of the kills came before the end"
        load.end()
        row.judge(daemon, load)


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


def write(name, text):
    path = os.path.join(WORK, name)
    open(path, "w").write(text)
    return path


def alerts(row):
    """kill -9 while alerts wait, fire and are kept firing: each is as old as it was, and told under one id."""
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    hook.told, hook.lock = {}, threading.Lock()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    until = time.time() + 10
    rules = f"""groups:
- name: g
  rules:
  - {{alert: Waits, expr: vector(1), for: 1h}}
  - {{alert: Fires, expr: vector(1), for: 2s}}
  - {{alert: Kept, expr: 'vector(time()) < {until:.0f}', keep_firing_for: 1h}}
"""
    write("alert-rules.yaml", rules)
    write("alert-routes.yaml", f"route: {{receiver: r, group_wait: 0s, group_by: ['...']}}\nreceivers: [{{name: r, webhook_configs: [{{url: 'http://127.0.0.1:{hook.server_port}/'}}]}}]\n")
    path = write("alert.yaml", "rules: {files: [alert-rules.yaml]}\nnotify: {config: alert-routes.yaml}\n")
    with Daemon(*SMALL, config=path) as daemon:
        state = lambda: sorted((one["labels"]["alertname"], one["state"], one["activeAt"]) for one in daemon.get("/api/v1/alerts")["data"]["alerts"])
        names = lambda: [one[:2] for one in state()]
        settled = [("Fires", "firing"), ("Kept", "firing"), ("Waits", "pending")]
        wait_for(lambda: time.time() > until + 3 and len(hook.told) == 2 and names() == settled, "two alerts to be told, one of them kept", 90)
        since = state()
        for _ in range(times(8, 100)):
            time.sleep(dice.random() * 0.5)
            daemon.kill()
            daemon.start()
            row.runs += 1
            row.obligations += len(since)
            row.lost += len(set(since) - set(state()))
        # What would be told anew is told within a few ticks.
        time.sleep(5)
        row.extra += len(hook.told) - 2
    hook.shutdown()


class Assassin(http.server.BaseHTTPRequestHandler):
    """Takes a message, and kills who sent it: before the answer, or when the answer is on its way."""

    def do_POST(self):
        server, text = self.server, self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = json.loads(text)
        change = (body["groupLabels"]["faas_name"], body["status"])
        with server.lock:
            kills = change not in server.taken
            server.taken.setdefault(change, []).append((self.headers["webhook-id"], text))
            server.order.append(change)
        answers_first = int(change[0].split("-")[1]) % 2 == (change[1] == "firing")
        if kills and not answers_first:
            server.daemon_under_test.process.kill()
            server.killed.set()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        if kills:
            server.daemon_under_test.process.kill()
            server.killed.set()

    def log_message(self, *_):
        pass


def messages(row):
    """kill -9 at every message, between transition and send or between 2xx and receipt, with sources that
    then fall silent: begin and end are told, in order, under one id and in the same words."""
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Assassin)
    hook.taken, hook.order, hook.lock, hook.killed = {}, [], threading.Lock(), threading.Event()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    write("message-rules.yaml", "groups: [{name: g, rules: [{alert: Failed, expr: 'sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[5s])) > 0', labels: {severity: page}}]}]\n")
    write("message-routes.yaml", f"route: {{receiver: r, group_by: [faas_name], group_wait: 0s, group_interval: 1s}}\nreceivers: [{{name: r, webhook_configs: [{{url: 'http://127.0.0.1:{hook.server_port}/'}}]}}]\n")
    path = write("message.yaml", "rules: {files: [message-rules.yaml]}\nnotify: {config: message-routes.yaml}\n")
    with Daemon(*SMALL, config=path) as daemon:
        hook.daemon_under_test = daemon
        for n in range(times(4, 40)):
            function, now = f"fn-{n}", time.time()
            at = lambda second: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{int(second % 1 * 1000):03}Z"
            done = {"requestId": f"r-{n}", "status": "failure"}
            metrics = {"durationMs": 100.0, "billedDurationMs": 100, "memorySizeMB": 128, "maxMemoryUsedMB": 80}
            records = [
                {"time": at(now - 0.1), "type": "platform.start", "record": {"requestId": f"r-{n}", "version": "1"}},
                {"time": at(now), "type": "platform.runtimeDone", "record": done},
                {"time": at(now), "type": "platform.report", "record": {**done, "metrics": metrics}},
            ]
            daemon.post("/ingest/aws/telemetry", json.dumps(records).encode(), **{"Lambda-Function-Name": function})
            for status in ("firing", "resolved"):
                wait_for(lambda: hook.killed.is_set(), f"the message that {function} is {status}", 60)
                hook.killed.clear()
                daemon.process.wait()
                daemon.start()
                row.runs += 1
                row.obligations += 1
            time.sleep(3)
            for status in ("firing", "resolved"):
                told = hook.taken.get((function, status), [])
                row.lost += not told
                row.extra += len({id for id, _ in told}) - 1 if told else 0
                if len(set(told)) > 1:
                    row.wrong.append(f"{function} {status}: other words under one id")
            order = [status for name, status in hook.order if name == function]
            if order != sorted(order):
                row.wrong.append(f"{function}: told in the order {order}")
        repeats = sum(len(told) - 1 for told in hook.taken.values())
        row.note = f"{repeats} repeats under the same id"
        row.vacuous += repeats == 0
    hook.shutdown()


def storm(row):
    """Killed again and again, mostly before it is ready, while one alert fires and one is pending."""
    write = lambda name, text: open(os.path.join(WORK, name), "w").write(text)
    write("storm-rules.yaml", "groups: [{name: g, rules: [{alert: Fires, expr: vector(1), for: 2s}, {alert: Waits, expr: vector(1), for: 2h}]}]\n")
    write("storm.yaml", "rules: {files: [storm-rules.yaml]}\n")
    with Daemon(*SMALL, config=os.path.join(WORK, "storm.yaml")) as daemon:
        alerts = lambda: sorted((one["labels"]["alertname"], one["state"], one["activeAt"]) for one in daemon.get("/api/v1/alerts")["data"]["alerts"])
        wait_for(lambda: [state for _, state, _ in alerts()] == ["firing", "pending"], "both alerts", 60)
        before = alerts()
        load = Load(daemon)
        acknowledged(load, 0)
        for _ in range(times(15, 100)):
            daemon.kill()
            daemon.launch()
            time.sleep(dice.random() * 0.7)
            row.runs += 1
            try:
                shown = alerts()
            except OSError:
                # Not yet: what is shown is the whole state or nothing.
                continue
            if shown != before:
                row.wrong.append(f"alerts were {before} and showed {shown} after a start")
        daemon.kill()
        begun = time.monotonic()
        daemon.start()
        row.note = f"ready in {time.monotonic() - begun:.1f} s after the last"
        load.end()
        row.judge(daemon, load)
        if alerts() != before:
            row.wrong.append(f"alerts were {before} and are {alerts()}")


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
