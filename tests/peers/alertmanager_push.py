"""Alerts are pushed on to a real Alertmanager: two replicas push one alert; its end follows; it may be down."""

import json
import os
import pathlib
import subprocess
import tempfile
import urllib.request

from daemon import Daemon, check, free_port, wait_for

work = pathlib.Path(os.environ["WORK"])
port = free_port()
routes = work / "peer-alertmanager.yaml"
routes.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
rules = work / "push-rules.yaml"
FIRING = "groups: [{name: g, rules: [{alert: Pushed, expr: 'vector(1)', labels: {replica: '%s'}, annotations: {summary: 'it is'}}]}]\n"


def alertmanager():
    log = open(work / "alertmanager.log", "ab")
    return subprocess.Popen(
        ["prometheus-alertmanager", f"--config.file={routes}", f"--web.listen-address=127.0.0.1:{port}",
         "--cluster.listen-address=", f"--storage.path={tempfile.mkdtemp(prefix='alertmanager-')}"],
        stdout=log, stderr=log)


def alerts():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def config(replica):
    rules = work / f"push-rules-{replica}.yaml"
    rules.write_text(FIRING % replica)
    file = work / f"push-{replica}.yaml"
    file.write_text(
        f"rules: {{files: ['{rules}']}}\n"
        f"forward: {{alertmanagers: [{{url: 'http://127.0.0.1:{port}', external_labels: {{cluster: eu}}, drop_labels: [replica]}}]}}\n"
    )
    return rules, str(file)


(rules_a, config_a), (rules_b, config_b) = config("a"), config("b")
with Daemon(config=config_a) as a, Daemon(config=config_b) as b:
    wait_for(lambda: a.get("/api/v2/alerts") and b.get("/api/v2/alerts"), "both replicas to fire")
    # It was down until now.
    peer = alertmanager()
    try:
        wait_for(lambda: alerts(), "the alert to arrive once the Alertmanager is up", 60)
        found = alerts()
        check(len(found) == 1, f"two replicas push one alert: {found}")
        check(found[0]["labels"] == {"alertname": "Pushed", "cluster": "eu"}, f"labels: {found[0]['labels']}")
        check(found[0]["annotations"] == {"summary": "it is"}, "annotations go along")
        ours = a.get("/api/v2/alerts")[0]
        check(ours["labels"]["replica"] == "a", "the replica's label stays at home")
        for rules_file, daemon in ((rules_a, a), (rules_b, b)):
            rules_file.write_text("groups: []\n")
            request = urllib.request.Request(f"http://127.0.0.1:{daemon.web}/-/reload", data=b"")
            urllib.request.urlopen(request, timeout=10).read()
        wait_for(lambda: alerts() == [], "the end to arrive")
        print("ok the end of an alert follows")
    finally:
        peer.terminate()
        peer.wait()
