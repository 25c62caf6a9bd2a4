"""Prometheus scrapes /metrics as text and as protobuf: at a quiet moment its counters, buckets and native histograms equal ours."""

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
    return {json.dumps(keep(one["metric"]), sort_keys=True): value(one) for one in answer["data"]["result"]}


def value(one):
    if "histogram" not in one:
        return float(one["value"][1])
    histogram = one["histogram"][1]
    # Their bounds are from a table of fractions, ours are powers: the last digit differs.
    buckets = [[float(f"{float(part):.13g}") for part in bucket[1:]] for bucket in histogram.get("buckets", [])]
    return float(histogram["count"]), float(histogram["sum"]), buckets


NATIVE_QUERIES = [
    "histogram_count(throughline_request_duration_seconds)",
    "histogram_sum(throughline_invocation_duration_seconds)",
    "throughline_request_duration_seconds",
    "throughline_invocations_total",
]


class Peer:
    """A Prometheus that scrapes the daemon every second."""

    def __init__(self, daemon, directory, *flags):
        self.port = free_port()
        config = pathlib.Path(directory) / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: t, static_configs: [{{targets: ['127.0.0.1:{daemon.web}']}}]}}]\n"
        )
        log = open(os.path.join(os.environ["WORK"], "prometheus.log"), "ab")
        data = f"{directory}/data{self.port}"
        arguments = [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(["prometheus", *arguments, *flags], stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, query):
        url = f"http://127.0.0.1:{self.port}/api/v1/query?query={urllib.parse.quote(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def has_scraped(self):
        try:
            return len(self.ask("throughline_requests_total")["data"]["result"]) > 0
        except OSError:
            return False

    def compare(self, daemon, queries):
        wait_for(self.has_scraped, "the first scrape", 40)
        time.sleep(2)
        for query in queries:
            theirs, ours = series(self.ask(query)), series(daemon.get("/api/v1/query", query=query))
            check(theirs == ours and ours, f"{query}: {len(ours)} series are equal")


with Daemon("correlate.settle_after=1s") as daemon, tempfile.TemporaryDirectory() as directory:
    send_orders(daemon, 40)
    wait_for(lambda: daemon.value('sum(throughline_requests_total{outcome="ok"})') == 40, "forty requests to finish")
    with Peer(daemon, directory) as peer:
        peer.compare(daemon, QUERIES)
    # With this flag it asks for protobuf and takes native histograms.
    with Peer(daemon, directory, "--enable-feature=native-histograms") as peer:
        peer.compare(daemon, NATIVE_QUERIES)
