"""Prometheus scrapes /metrics: at a quiet moment its counters and buckets equal ours."""

import os
import pathlib
import subprocess
import tempfile
import time
import json
import urllib.parse
import urllib.request

from daemon import Daemon, check, free_port, wait_for
from traffic import send_orders

QUERIES = [
    "throughline_requests_total",
    "throughline_invocations_total",
    "throughline_request_duration_seconds_bucket",
    "throughline_request_duration_seconds_count",
    "throughline_invocation_duration_seconds_bucket",
    "throughline_cold_starts_total",
]


def series(answer):
    keep = lambda metric: {k: v for k, v in metric.items() if k not in ("job", "instance")}
    return {json.dumps(keep(one["metric"]), sort_keys=True): float(one["value"][1]) for one in answer["data"]["result"]}


with Daemon("correlate.settle_after=1s") as daemon, tempfile.TemporaryDirectory() as directory:
    send_orders(daemon, 40)
    wait_for(lambda: daemon.value('sum(throughline_requests_total{outcome="ok"})') == 40, "forty requests to finish")
    port = free_port()
    config = pathlib.Path(directory) / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: t, static_configs: [{{targets: ['127.0.0.1:{daemon.web}']}}]}}]\n"
    )
    log = open(os.path.join(os.environ["WORK"], "prometheus.log"), "ab")
    peer = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=log,
        stderr=log,
    )
    try:

        def ask(query):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}", timeout=10) as answer:
                return json.load(answer)

        def scraped():
            try:
                return len(ask("throughline_requests_total")["data"]["result"]) > 0
            except OSError:
                return False

        wait_for(scraped, "the first scrape", 40)
        time.sleep(2)
        for query in QUERIES:
            theirs, ours = series(ask(query)), series(daemon.get("/api/v1/query", query=query))
            check(theirs == ours and ours, f"{query}: {len(ours)} series are equal")
    finally:
        peer.terminate()
        peer.wait()
