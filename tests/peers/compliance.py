"""The PromQL compliance queries against Prometheus and us, over the same remote-written data.

The series are those of the demo service that the queries ask for, made from a seed. Queries run at
times off the sample grid, where the windows of Prometheus 2, closed at both ends, hold what those of
Prometheus 3 hold. `compliance-differences.txt` lists the queries that may differ, with the reason; one
that does not differ any more must leave the list.
"""

import itertools
import json
import math
import os
import pathlib
import random
import re
import time
import urllib.error
import urllib.parse
import urllib.request

import remote_write
from beside import Prometheus, write_to_both
from daemon import Daemon, check

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("THROUGHLINE_SHARED", ROOT.parent / "shared")) / "conformance/compliance"
DIFFERENCES = pathlib.Path(__file__).with_name("compliance-differences.txt")
STEP = 10
SPAN = 80 * 60
INSTANCES = [f"demo.promlabs.com:{port}" for port in (10000, 10001, 10002)]


def queries():
    """(query, must fail) for every template and its variants."""
    variants = json.loads((SHARED / "variant-args.json").read_text())
    cases = []
    for line in (SHARED / "promql-test-queries.yml").read_text().splitlines():
        line = line.strip().removeprefix("- ")
        if line.startswith("query:"):
            text = line.split(":", 1)[1].strip()
            if text[:1] in ("'", '"') and text[-1:] == text[:1]:
                text = text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
            cases.append([text, [], False])
        elif line.startswith("variant_args:"):
            cases[-1][1] = re.findall(r"'(\w+)'", line)
        elif line.startswith("should_fail: true"):
            cases[-1][2] = True
    for template, names, fails in cases:
        for values in itertools.product(*(variants[name] for name in names)):
            text = template
            for name, value in zip(names, values):
                text = text.replace("{{." + name + "}}", value)
            yield text, fails


def demo(end):
    """Series as the demo service has them: (labels, [(milliseconds, value)])."""
    rng = random.Random(7)
    times = [end - SPAN + i * STEP for i in range(SPAN // STEP + 1)]
    made = []

    def add(name, value_at, **labels):
        samples = [(t * 1000, value_at(i, t)) for i, t in enumerate(times)]
        made.append(({"__name__": name, "job": "demo", **labels}, [s for s in samples if s[1] is not None]))

    def counter(rate, resets):
        state = {"x": rng.uniform(0, 100)}

        def at(i, _t):
            state["x"] = 0.0 if resets and i % 97 == 96 else state["x"] + rng.uniform(0, 2 * rate)
            return state["x"]

        return at

    for n, instance in enumerate(INSTANCES):
        add("demo_num_cpus", lambda i, t: 4.0, instance=instance)
        for kind in ("buffers", "cached", "free", "used"):
            mid = rng.uniform(1e8, 4e9)
            add(
                "demo_memory_usage_bytes",
                lambda i, t, mid=mid: round(mid * (1 + 0.2 * math.sin(i / 9)) + rng.uniform(-1e7, 1e7)),
                instance=instance,
                type=kind,
            )
        for mode in ("idle", "system", "user"):
            add("demo_cpu_usage_seconds_total", counter(5, n == 1), instance=instance, mode=mode)
        add("demo_disk_usage_bytes", lambda i, t, n=n: 1e11 + 1e7 * i * (n + 1) + rng.uniform(0, 1e6), instance=instance)
        add("demo_disk_total_bytes", lambda i, t: 2.5e11, instance=instance)
        add("demo_batch_last_success_timestamp_seconds", lambda i, t: float(t - t % 300), instance=instance)

        def intermittent(i, _t, n=n):
            phase = (i + 13 * n) % 40
            return float(i) if phase < 20 else remote_write.STALE if phase == 20 else None

        add("demo_intermittent_metric", intermittent, instance=instance)
        for path, status in (("/api/foo", "200"), ("/api/bar", "200"), ("/api/bar", "500")):
            totals, bounds = [0.0] * 26, [0.0001 * 1.5**k for k in range(25)]
            rows = []
            for _ in times:
                for _ in range(rng.randrange(12)):
                    totals[min(25, int(rng.gauss(12, 4)) if rng.random() < 0.99 else 25)] += 1
                rows.append(list(itertools.accumulate(totals)))
            for k in range(26):
                bound = f"{bounds[k]:g}" if k < 25 else "+Inf"
                labels = {"instance": instance, "path": path, "method": "GET", "status": status, "le": bound}
                add("demo_api_request_duration_seconds_bucket", lambda i, t, k=k, rows=rows: rows[i][k], **labels)
            labels = {"instance": instance, "path": path, "method": "GET", "status": status}
            add("demo_api_request_duration_seconds_count", lambda i, t, rows=rows: rows[i][25], **labels)
    return made


def ask(port, query, start, end):
    params = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": STEP}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query_range", data=params, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def values(answer):
    rows = {}
    for one in answer["data"]["result"]:
        rows[json.dumps(one["metric"], sort_keys=True)] = [(t, float(v)) for t, v in one["values"]]
    return rows


def close(x, y):
    return x == y or (math.isnan(x) and math.isnan(y)) or abs(x - y) <= 1e-9 * max(abs(x), abs(y))


def difference(theirs, ours):
    """What differs, in a few words; None where nothing does."""
    if theirs["status"] != ours["status"]:
        return f"status {theirs['status']}, ours {ours['status']}: {theirs.get('error')} {ours.get('error')}"
    if theirs["status"] == "error":
        return None
    theirs, ours = values(theirs), values(ours)
    if theirs.keys() != ours.keys():
        return f"series {sorted(theirs.keys() ^ ours.keys())[:2]}"
    for key, rows in theirs.items():
        if [t for t, _ in rows] != [t for t, _ in ours[key]]:
            return f"{key}: {len(rows)} points, ours {len(ours[key])}"
        for (t, x), (_, y) in zip(rows, ours[key]):
            if not close(x, y):
                return f"{key} at {t}: {x!r}, ours {y!r}"
    return None


def listed():
    """Queries that may differ: what they match, and why."""
    lines = DIFFERENCES.read_text().splitlines()
    rows = [line.split("\t", 1) for line in lines if line and not line.startswith("#")]
    return {query: reason for query, reason in rows}


def main():
    if not SHARED.is_dir():
        print(f"skipped: no compliance queries at {SHARED}")
        return
    end = int(time.time()) // STEP * STEP
    with Daemon() as daemon, Prometheus() as peer:
        write_to_both(daemon, peer, demo(end))
        compare(peer.port, daemon.web, end - 63.7)


def compare(theirs, ours, end):
    allowed, alike, wrong, seen = listed(), 0, [], set()
    for query, must_fail in queries():
        answers = [ask(port, query, end - 600, end) for port in (theirs, ours)]
        differs = difference(*answers)
        if differs is None and must_fail and answers[1]["status"] != "error":
            differs = "should fail"
        if query in allowed:
            seen.add(query)
            if differs is None:
                wrong.append(f"{query}: does not differ any more; take it off the list")
        elif differs is None:
            alike += 1
        else:
            wrong.append(f"{query}: {differs}")
    print(f"{alike} queries alike, {len(seen)} differ as listed, {len(wrong)} wrong")
    for line in wrong[:40]:
        print(f"  {line}")
    check(not wrong and seen == set(allowed), "every query answers as in Prometheus, or is listed")


main()
