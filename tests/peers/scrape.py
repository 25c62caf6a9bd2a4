"""We scrape others: a real Prometheus, and a Redis queue through redis_exporter."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import urllib.parse
import urllib.request

from daemon import Daemon, check, free_port, wait_for

log = open(os.path.join(os.environ["WORK"], "scrape.log"), "ab")


def start(*command):
    return subprocess.Popen(command, stdout=log, stderr=log)


def redis(port, *words):
    text = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(text.encode())
        return connection.recv(1000)


with tempfile.TemporaryDirectory() as directory:
    port, exporter, keys = free_port(), free_port(), free_port()
    config = pathlib.Path(directory) / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    ours = pathlib.Path(directory) / "throughline.yaml"
    ours.write_text(
        f"scrape:\n  - {{job: prometheus, targets: ['127.0.0.1:{port}'], interval: 1s}}\n"
        f"  - {{job: redis, targets: ['127.0.0.1:{exporter}'], interval: 1s, preset: redis, labels: {{cluster: a}}}}\n"
    )
    peers = [
        start("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"),
        start("redis-server", "--port", str(keys), "--bind", "127.0.0.1", "--save", "", "--dir", directory),
        start("prometheus-redis-exporter", f"-redis.addr=redis://127.0.0.1:{keys}", "-check-keys=db0=jobs*", f"-web.listen-address=127.0.0.1:{exporter}"),
    ]
    try:

        def pushed():
            try:
                return redis(keys, "RPUSH", "jobs", "a", "b", "c").startswith(b":3")
            except OSError:
                return False

        wait_for(pushed, "the queue to have three messages", 20)
        with Daemon(config=str(ours)) as daemon:
            wait_for(lambda: daemon.value('up{job="prometheus"}') == 1, "the scraped Prometheus to be up", 30)
            build = daemon.get("/api/v1/query", query="prometheus_build_info")["data"]["result"][0]["metric"]
            check(build["instance"] == f"127.0.0.1:{port}" and build["job"] == "prometheus", "series carry job and instance")

            def ask(query):
                url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)["data"]["result"]

            # What does not change from scrape to scrape is the same as Prometheus's own scrape of itself.
            stable = '{__name__=~"prometheus_build_info|prometheus_config_last_reload_successful|prometheus_tsdb_head_max_time_seconds|go_info|prometheus_sd_discovered_targets",job=~"self|prometheus"}'

            def known(result):
                keep = lambda metric: {k: v for k, v in metric.items() if k not in ("job", "instance")}
                return {json.dumps(keep(one["metric"]), sort_keys=True) for one in result}

            wait_for(lambda: known(ask(stable)), "Prometheus's scrape of itself", 30)
            theirs, mine = known(ask(stable)), known(daemon.get("/api/v1/query", query=stable)["data"]["result"])
            check(mine == theirs and mine, f"{len(mine)} series that both scraped are the same")
            # A page grows with what it is asked for: both see the same one sooner or later.
            samples = lambda: daemon.value('scrape_samples_scraped{job="prometheus"}')
            wait_for(lambda: samples() == float(ask("scrape_samples_scraped")[0]["value"][1]), "both to count the same samples", 30)
            check(samples() > 100, f"both count {samples():.0f} samples")
            rate = daemon.value('sum(rate(prometheus_http_requests_total{job="prometheus"}[10s]))')
            check(rate is None or rate >= 0, "counters are counters")

            wait_for(lambda: daemon.value('throughline_queue_depth{queue="jobs"}') == 3, "the queue's depth by the contract's name", 30)
            check(daemon.value('throughline_queue_depth{queue="jobs",cluster="a"}') == 3, "the job's own labels are on it")
            shown = lambda: any(one["queue"] == "jobs" and one["depth"] == 3 for one in daemon.get("/api/queues")["queues"])
            wait_for(shown, "/api/queues to show it", 30)
            redis(keys, "DEL", "jobs")
            wait_for(lambda: daemon.value('throughline_queue_depth{queue="jobs"}') is None, "a queue that is gone to be missing, not 0", 30)

            peers[0].terminate()
            wait_for(lambda: daemon.value('up{job="prometheus"}') == 0, "a target that is gone to be down", 30)
            check(daemon.value("prometheus_build_info") is None, "its series have ended")
            ledger = daemon.get("/api/ledger")["receivers"]["scrape"]
            books = ["applied", "duplicate", "conflict", "rejected", "filtered", "late", "pending"]
            total = sum(ledger[one] for one in books) + sum(ledger["dropped"].values())
            check(ledger["received"] == total and ledger["duplicate"] == 0, f"the books of {ledger['received']} scraped samples balance")
    finally:
        for peer in peers:
            peer.terminate()
            peer.wait()
