"""Orders as structured logs and platform records: a queue hop joined by message id alone."""

import json
import time
import uuid
from datetime import datetime, timezone


def at(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def records(function, request_id, start, duration_ms, cold, *logs):
    metrics = {"durationMs": duration_ms, "billedDurationMs": int(duration_ms) + 1, "memorySizeMB": 512, "maxMemoryUsedMB": 90}
    if cold:
        metrics["initDurationMs"] = 300.0
    end = start + duration_ms / 1000
    yield {"time": at(start), "type": "platform.start", "record": {"requestId": request_id, "version": "1"}}
    for log in logs:
        yield {"time": at(start + duration_ms / 2000), "type": "function", "record": {"timestamp": at(start + duration_ms / 2000), "level": "INFO", "requestId": request_id, **log}}
    yield {"time": at(end), "type": "platform.runtimeDone", "record": {"requestId": request_id, "status": "success", "metrics": {"durationMs": duration_ms}}}
    yield {"time": at(end), "type": "platform.report", "record": {"requestId": request_id, "status": "success", "metrics": metrics}}


def order(n, start):
    """One order: checkout sends a message, fulfil takes it up 400 ms later."""
    message = str(uuid.uuid4())
    sent = {"message": "sent", "sentMessageId": message}
    taken = {"message": "took", "messageId": message}
    return (
        list(records("checkout", str(uuid.uuid4()), start, 120.0, n % 10 == 0, sent)),
        list(records("fulfil", str(uuid.uuid4()), start + 0.52, 80.0, False, taken)),
    )


def send_orders(daemon, count):
    start = time.time() - 20
    for n in range(count):
        for function, batch in zip(("checkout", "fulfil"), order(n, start + n * 0.05)):
            status, _ = daemon.post("/ingest/aws/telemetry", json.dumps(batch).encode(), **{"Lambda-Function-Name": function})
            assert status == 200, status
