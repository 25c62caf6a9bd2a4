"""The store beside Prometheus and VictoriaMetrics: the same samples, the same queries.

Starts both on loopback with empty folders, lets `cargo bench --bench series` write to them and ask
them, and prints what they take in memory and on disk. SERIES_N, SERIES_HOURS and SERIES_STEP say how much;
SERIES_BENCH names a bench that is built already.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

WORK = pathlib.Path(os.environ["WORK"]) / "series_bench"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url):
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def start(name, argv):
    log = open(WORK / f"{name}.log", "w")
    return subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)


def resident_mib(process):
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def folder_mib(folder, skip=()):
    files = (p for p in folder.rglob("*") if p.is_file() and not any(s in p.parts for s in skip))
    return sum(p.stat().st_size for p in files) / 2**20


def snapshot_mib(base):
    """What Prometheus would hold on disk if all of its head were blocks."""
    request = urllib.request.Request(f"{base}/api/v1/admin/tsdb/snapshot", method="POST")
    name = json.load(urllib.request.urlopen(request, timeout=600))["data"]["name"]
    return folder_mib(WORK / "prometheus" / "snapshots" / name)


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    ports = {name: free_port() for name in ("prometheus", "victoria")}
    (WORK / "prometheus.yml").write_text("global: {}\n")
    prometheus = start("prometheus", [
        "prometheus", f"--config.file={WORK}/prometheus.yml", f"--storage.tsdb.path={WORK}/prometheus",
        f"--web.listen-address=127.0.0.1:{ports['prometheus']}", "--web.enable-remote-write-receiver",
        "--enable-feature=native-histograms", "--storage.tsdb.retention.time=60d", "--web.enable-admin-api",
    ])
    victoria = start("victoria", [
        "victoria-metrics", f"-storageDataPath={WORK}/victoria", "-retentionPeriod=2",
        f"-httpListenAddr=127.0.0.1:{ports['victoria']}",
    ])
    peers = {"prometheus": prometheus, "victoria": victoria}
    try:
        wait_for(f"http://127.0.0.1:{ports['prometheus']}/-/ready")
        wait_for(f"http://127.0.0.1:{ports['victoria']}/health")
        urls = " ".join(f"{name}=http://127.0.0.1:{port}" for name, port in ports.items())
        built = os.environ.get("SERIES_BENCH")
        bench = [built, "--bench"] if built else ["cargo", "bench", "--bench", "series"]
        subprocess.run(bench, env=os.environ | {"SERIES_PEERS": urls}, check=True)
        resident = {name: resident_mib(process) for name, process in peers.items()}
        urllib.request.urlopen(f"http://127.0.0.1:{ports['victoria']}/internal/force_flush").read()
        disk = {
            "prometheus": snapshot_mib(f"http://127.0.0.1:{ports['prometheus']}"),
            "victoria": folder_mib(WORK / "victoria", skip=("cache",)),
        }
        for name in peers:
            print(f"{name}: {resident[name]:.0f} MiB resident, {disk[name]:.1f} MiB of blocks on disk")
    finally:
        for process in peers.values():
            process.terminate()
            process.wait()


main()
