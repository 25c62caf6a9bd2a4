"""A daemon under test: started on free loopback ports, asked over HTTP, stopped or killed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Daemon:
    # Where it listens, and what its command begins with.
    host, prefix = "127.0.0.1", ()
    # Of a client with one answer, in seconds.
    patience = 20

    def __init__(self, *sets, config=None, data_dir=None, environment=None):
        self.grpc, self.ingest, self.web = free_port(), free_port(), free_port()
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="throughline-peer-")
        self.config = config
        self.environment = {**os.environ, **(environment or {})}
        self.sets = sets
        self.process = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def command(self):
        command = [*self.prefix, os.environ["BINARY"], "run", "--data-dir", self.data_dir]
        if self.config:
            command += ["--config", self.config]
        for name, port in (("otlp_grpc", self.grpc), ("ingest", self.ingest), ("web", self.web)):
            command += ["--set", f"listen.{name}={self.host}:{port}"]
        for one in self.sets:
            command += ["--set", one]
        return command

    def launch(self):
        self.log = open(os.path.join(os.environ["WORK"], "daemon.log"), "ab")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log, env=self.environment)

    def start(self):
        self.launch()
        wait_for(lambda: self.status("/-/ready") == 200, "the daemon to be ready", 180)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def status(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.web}{path}", timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def get(self, path, **params):
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        with urllib.request.urlopen(f"http://{self.host}:{self.web}{path}{query}", timeout=20) as answer:
            return json.load(answer)

    def value(self, promql):
        """The value of an instant query with one series; None where there is none."""
        result = self.get("/api/v1/query", query=promql)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def post(self, path, body, content_type="application/json", **headers):
        request = urllib.request.Request(
            f"http://{self.host}:{self.ingest}{path}", data=body, headers={"Content-Type": content_type, **headers}
        )
        with urllib.request.urlopen(request, timeout=self.patience) as answer:
            return answer.status, answer.read()

    def ledger(self, receiver):
        return self.get("/api/ledger")["receivers"].get(receiver, {})


def wait_for(condition, what, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"ok {what}")
