"""Prometheus's HTTP API, endpoint by endpoint: the same statuses, types and shapes as Prometheus's own, packed
and unpacked, by address and by form; and a Prometheus that scrapes `/federate` holds what we hold."""

import gzip
import json
import pathlib
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from beside import Prometheus, write_to_both
from daemon import Daemon, check, free_port, wait_for

STEP, SPAN = 10, 20 * 60
# Objects whose keys are data.
MAPS = {"labels", "discoveredLabels", "annotations", "metric", "metadata", "flags"}
RANGE = {"start": "START", "end": "END", "step": "15"}
ENDPOINTS = [
    ("query", {"query": "g", "time": "END"}),
    ("query", {"query": "rate(c_total[1m])", "time": "END", "stats": "all"}),
    ("query", {"query": "1 + 1"}),
    ("query", {"query": '"text"'}),
    ("query", {"query": "g[1m]", "time": "END"}),
    ("query", {"query": "nothing"}),
    ("query", {"query": "sum(", "time": "END"}),
    ("query", {"query": "g + on (a) c_total", "time": "END"}),
    ("query", {"query": "label_replace(g, 'b', '$1', 'a', '(')", "time": "END"}),
    ("query", {"query": "g", "time": "noon"}),
    ("query", {}),
    ("query_range", {"query": "g", **RANGE}),
    ("query_range", {"query": "sum(c_total)", **RANGE, "stats": "true"}),
    ("query_range", {"query": "g", **RANGE, "step": "0"}),
    ("query_range", {"query": "g", **RANGE, "step": "1ms"}),
    ("query_range", {"query": "g", "start": "END", "end": "START", "step": "15"}),
    ("query_range", {"query": "g[1m]", **RANGE}),
    ("query_exemplars", {"query": "g", "start": "START", "end": "END"}),
    ("format_query", {"query": "sum  by(a)(g)"}),
    ("format_query", {"query": "sum("}),
    ("series", {"match[]": "g"}),
    ("series", {}),
    ("labels", {}),
    ("label/a/values", {}),
    ("label/a/values", {"match[]": 'g{a="x"}'}),
    ("metadata", {"limit": "1"}),
    ("metadata", {"metric": "up", "limit": "0"}),
    ("rules", {}),
    ("rules", {"type": "alert"}),
    ("rules", {"type": "other"}),
    ("alerts", {}),
    ("targets", {}),
    ("targets", {"state": "dropped"}),
    ("alertmanagers", {}),
    ("status/buildinfo", {}),
    ("status/config", {}),
    ("status/flags", {}),
    ("status/runtimeinfo", {}),
    ("status/tsdb", {}),
    ("status/walreplay", {}),
    ("nothing", {}),
]
# Of Prometheus's process and of its store's files, which we have no like of.
LACKING = {
    "data.CWD", "data.GODEBUG", "data.GOGC", "data.goroutineCount", "data.corruptionCount", "data.headStats.chunkCount",
    "data.headStats.minTime", "data.headStats.maxTime",
    # Since 3.0 counts are told in their place.
    "data.droppedTargets[].discoveredLabels",
}  # fmt: skip
# Of versions after 2.42.
BEYOND = {
    "data.serverTime", "data.GOMAXPROCS", "data.droppedTargetCounts", "data.state", "data.activeTargets[].scrapePool",
    "data.groups[].rules[].keepFiringFor", "data.alerts[].keepFiringSince", "data.groups[].rules[].keepFiringSince",
    "data.groups[].rules[].alerts[].keepFiringSince", "infos", "warnings", "data.headStats.numLabelPairs",
    # Of ours: how late a rule looks, and how often a group was too late.
    "data.groups[].rules[].queryOffset", "data.groups[].missedEvaluations",
}  # fmt: skip


def ask(port, path, params, method="GET", **headers):
    """The status, the headers and the body of an answer."""
    text = urllib.parse.urlencode(params)
    url = f"http://127.0.0.1:{port}{path}"
    data = text.encode() if method == "POST" else None
    if text and method != "POST":
        url += "?" + text
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def leaves(value, path=""):
    """(path, type) of every value; of lists what their elements are together."""
    if isinstance(value, dict):
        if path.rsplit(".", 1)[-1].removesuffix("[]") in MAPS:
            value = {"*": one for one in value.values()}
        inner = [leaf for key, one in value.items() for leaf in leaves(one, f"{path}.{key}".lstrip("."))]
        return set(inner) | {(path, "object")}
    if isinstance(value, list):
        return {leaf for one in value for leaf in leaves(one, path + "[]")} | {(path, "list")}
    kind = "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    return {(path, kind)}


def under(path, listed):
    return any(path == one or path.startswith((one + ".", one + "[")) for one in listed)


def differences(path, theirs, ours):
    """How the shapes differ; an empty list of one side says nothing of its elements."""
    if path in ("status/config", "status/flags", "metadata"):
        # What is told under `data` is of each program.
        theirs, ours = {**theirs, "data": {}}, {**ours, "data": {}}
    theirs, ours = leaves(theirs), leaves(ours)
    empty = {p for side, other in ((theirs, ours), (ours, theirs)) for p, k in side if k == "list" and not any(q.startswith(p + "[]") for q, _ in side)}
    known = lambda p: any(p.startswith(one + "[]") for one in empty)
    lacking = {p for p, _ in theirs} - {p for p, _ in ours}
    beyond = {p for p, _ in ours} - {p for p, _ in theirs}
    wrong = [f"lacks {p}" for p in lacking if not known(p) and not under(p, LACKING)]
    wrong += [f"has {p}" for p in beyond if not known(p) and not under(p, BEYOND)]
    kinds = lambda side, p: {k for q, k in side if q == p}
    both = {p for p, _ in theirs} & {p for p, _ in ours}
    wrong += [f"{p}: {kinds(theirs, p)}, ours {kinds(ours, p)}" for p in both if kinds(theirs, p) != kinds(ours, p)]
    return sorted(wrong)


def compare(daemon, peer, end):
    """Every endpoint of both, by address and by form."""
    filled = {"START": str(end - 600.77), "END": str(end - 0.77)}
    wrong, n_alike = [], 0
    for name, params in ENDPOINTS:
        params = {key: filled.get(value, value) for key, value in params.items()}
        path = f"/api/v1/{name}"
        for method in ("GET", "POST") if name.split("/")[0] in ("query", "query_range", "query_exemplars", "format_query", "series", "labels") else ("GET",):
            form = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
            theirs, ours = (ask(port, path, params, method, **form) for port in (peer.port, daemon.web))
            differs = []
            if theirs[0] != ours[0]:
                differs.append(f"status {theirs[0]}, ours {ours[0]} {ours[2][:200]}")
            elif theirs[1]["Content-Type"].startswith("application/json"):
                differs += differences(name, json.loads(theirs[2]), json.loads(ours[2]))
                if theirs[1]["Content-Type"] != ours[1]["Content-Type"]:
                    differs.append(f"type {theirs[1]['Content-Type']}, ours {ours[1]['Content-Type']}")
            wrong += [f"{method} {name} {params}: {one}" for one in differs]
            n_alike += not differs
    for line in wrong:
        print(f"  {line}")
    check(not wrong, f"{n_alike} answers have the status and the shape of Prometheus's")


def packed(daemon, peer):
    for port in (peer.port, daemon.web):
        plain = ask(port, "/api/v1/query", {"query": "c_total"})
        status, headers, body = ask(port, "/api/v1/query", {"query": "c_total"}, **{"Accept-Encoding": "gzip"})
        whole = json.loads(plain[2])["data"]["result"] is not None
        check(status == 200 and headers["Content-Encoding"] == "gzip" and whole, "answers are packed for those that take it")
        check(json.loads(gzip.decompress(body)).keys() == json.loads(plain[2]).keys(), "what is packed is the answer")
    both = [ask(port, "/api/v1/query", {}, "OPTIONS")[0] for port in (peer.port, daemon.web)]
    check(both[0] == both[1], f"OPTIONS is {both[0]}")


def counted(daemon, peer, end):
    """What `stats` counts is what Prometheus counts."""
    queries = [
        "g", "sum(g)", "rate(c_total[1m])", "g[5m]", "sum(max_over_time(g[2m])) + sum(g offset 1m)", "1 + 1", "timestamp(g)",
        "sum_over_time(g[2m:7s])", "max_over_time(rate(c_total[31s])[3m:11s])", "rate(c_total[31s])[3m:11s]",
        f"g @ {end - 300.7}", f"sum_over_time(g[1m] @ {end - 300.7})", "absent(nothing)", "topk(2, g) or on () vector(1)",
    ]  # fmt: skip
    for query in queries:
        for path, params in (("query", {"time": end - 1.77}), ("query_range", {"start": end - 300.77, "end": end - 1.77, "step": 23})):
            if path == "query_range" and query.endswith("]"):
                continue
            stats = []
            for port in (peer.port, daemon.web):
                answer = json.loads(ask(port, f"/api/v1/{path}", {"query": query, "stats": "all", **params})[2])
                stats.append(answer["data"]["stats"]["samples"]["totalQueryableSamples"])
            if stats[0] != stats[1]:
                raise AssertionError(f"{path} {query}: {stats[0]} samples, ours {stats[1]}")
    check(True, f"{len(queries)} queries count their samples alike")


def federated(daemon, peer):
    """What Prometheus scraped of `/federate` is what we answer."""
    query = '{__name__=~"g|c_total", job=""}'

    def held(port):
        result = json.loads(ask(port, "/api/v1/query", {"query": query})[2])["data"]["result"]
        return {json.dumps(one["metric"], sort_keys=True): one["value"][1] for one in result}

    wait_for(lambda: json.loads(ask(peer.port, "/api/v1/query", {"query": 'up{job="federate"}'})[2])["data"]["result"], "the first scrape", 30)
    up = json.loads(ask(peer.port, "/api/v1/query", {"query": 'up{job="federate"}'})[2])["data"]["result"][0]["value"][1]
    check(up == "1", "Prometheus takes our /federate")
    scraped = 'scrape_samples_scraped{job="federate"}'
    n = int(json.loads(ask(peer.port, "/api/v1/query", {"query": scraped})[2])["data"]["result"][0]["value"][1])
    theirs, ours = held(peer.port), held(daemon.web)
    # They would be of the past: Prometheus takes no samples older than what it has, so it counts them only.
    page = [line for line in ask(daemon.web, "/federate", {"match[]": '{__name__=~"fed_.*"}'})[2].decode().splitlines() if line and line[0] != "#"]
    check(n == len(page) and n > 0, f"it scraped the {n} samples of the page")
    check(theirs == ours and ours, f"{len(ours)} series are alike")
    fed = lambda port: {
        json.dumps({k: v for k, v in one["metric"].items() if k not in ("job", "instance")}, sort_keys=True): one["value"][1]
        for one in json.loads(ask(port, "/api/v1/query", {"query": '{__name__=~"fed_.*"}'})[2])["data"]["result"]
    }
    check(fed(peer.port) == fed(daemon.web) and fed(peer.port), "and holds them as we do")


def series(end):
    times = [(end - SPAN + i * STEP) * 1000 + 300 for i in range(SPAN // STEP)]
    made = []
    for a in "xyz":
        for b in "12":
            made.append(({"__name__": "g", "a": a, "b": b}, [(t, float(i % 7)) for i, t in enumerate(times)]))
        made.append(({"__name__": "c_total", "a": a}, [(t, float(i * 3)) for i, t in enumerate(times)]))
    return made


def main():
    with tempfile.TemporaryDirectory() as directory:
        web, free = free_port(), free_port()
        rules = pathlib.Path(directory) / "rules.yml"
        rules.write_text(
            "groups:\n  - name: some\n    interval: 1s\n    rules:\n"
            "      - {record: one, expr: vector(1)}\n"
            "      - {alert: Always, expr: vector(1), labels: {severity: page}, annotations: {summary: s}}\n"
        )
        alerting = f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{free}']}}]}}]}}\n"
        config = (
            f"global: {{scrape_interval: 1s}}\nrule_files: ['{rules}']\n{alerting}"
            f"scrape_configs:\n  - {{job_name: federate, honor_labels: true, metrics_path: /federate, params: {{'match[]': ['{{__name__=~\"fed_.*\"}}']}},"
            f" static_configs: [{{targets: ['127.0.0.1:WEB']}}]}}\n"
        )
        ours = pathlib.Path(directory) / "throughline.yaml"
        ours.write_text(
            f"scrape: [{{job: other, targets: ['127.0.0.1:{free}'], interval: 1s}}]\n"
            f"forward: {{alertmanagers: [{{url: 'http://127.0.0.1:{free}'}}]}}\nrules: {{files: ['{rules}']}}\n"
        )
        with Daemon(config=str(ours)) as daemon, Prometheus(config.replace("WEB", str(daemon.web))) as peer:
            now = int(time.time())
            end = now // STEP * STEP
            write_to_both(daemon, peer, series(end))
            fed = [({"__name__": "fed_total", "a": a}, [(now * 1000, 41.5 + n)]) for n, a in enumerate("xy")]
            remote_only(daemon, fed)
            wait_for(lambda: json.loads(ask(peer.port, "/api/v1/alerts", {})[2])["data"]["alerts"], "its rule to fire", 20)
            wait_for(lambda: daemon.get("/api/v1/alerts")["data"]["alerts"], "our rule to fire", 20)
            compare(daemon, peer, end)
            packed(daemon, peer)
            counted(daemon, peer, end)
            wait_for(lambda: fed_is_there(peer), "the federated series", 20)
            federated(daemon, peer)


def remote_only(daemon, made):
    import remote_write

    messages = [remote_write.series(labels, rows) for labels, rows in made]
    if remote_write.send(daemon.ingest, messages) not in (200, 204):
        raise AssertionError("a write is refused")
    wait_for(lambda: daemon.value("count(fed_total)") == len(made), "the samples to be applied")


def fed_is_there(peer):
    return json.loads(ask(peer.port, "/api/v1/query", {"query": "count(fed_total)"})[2])["data"]["result"]


if __name__ == "__main__":
    main()
