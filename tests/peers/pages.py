"""Every page in Chromium, light and dark: it renders, and runs into no policy or script error."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

from daemon import Daemon, check, wait_for
from traffic import records, send_orders

work = pathlib.Path(os.environ["WORK"]) / "screenshots"
work.mkdir(exist_ok=True)


def shot(url, name, *extra):
    file = work / f"{name}.png"
    file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr".split()
        command = ["chromium", *flags, f"--user-data-dir={profile}", "--window-size=1280,1100", f"--screenshot={file}", *extra, url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=90)
    complaints = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    check(file.exists() and file.stat().st_size > 5000 and not complaints, f"{name} renders without complaint {complaints}")


with Daemon("correlate.settle_after=1s") as daemon:
    send_orders(daemon, 30)
    # What telemetry says is never markup: a script of it would complain, or run.
    hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"
    logs = {"message": hostile, "level": "ERROR", "error": hostile, "correlation_id": hostile, "sentMessageId": "javascript:alert(3)"}
    batch = list(records(hostile, "hostile", time.time() - 20, 100.0, True, logs))
    status, _ = daemon.post("/ingest/aws/telemetry", json.dumps(batch).encode(), **{"Lambda-Function-Name": hostile})
    check(status == 200, "hostile telemetry is taken")
    wait_for(lambda: (daemon.value('sum(throughline_requests_total{outcome="ok"})') or 0) >= 30, "thirty requests")
    wait_for(lambda: any(one["flow"] == hostile for one in daemon.get("/api/requests")["requests"]), "the hostile request")
    base = f"http://127.0.0.1:{daemon.web}"
    shown = daemon.get("/api/requests")["requests"]
    one = next(one["id"] for one in shown if one["flow"] != hostile)
    bad = next(one["id"] for one in shown if one["flow"] == hostile)
    for name, path in {"overview": "/", "requests": "/requests", "request": f"/requests/{one}", "request-hostile": f"/requests/{bad}", "slos": "/slos", "queues": "/queues", "alerts": "/alerts"}.items():
        shot(base + path, name)
    shot(base + "/", "overview-dark", "--force-dark-mode", "--blink-settings=preferredColorScheme=0")

# Where a token is needed, a browser sends it as the password that it asks for.
token = work.parent / "token"
token.write_text("s3cret")
with Daemon(f"auth.tokens=[{{name: people, token_file: {token}, scope: [read]}}]") as daemon:
    shot(f"http://anybody:s3cret@127.0.0.1:{daemon.web}/requests", "behind-a-token")
