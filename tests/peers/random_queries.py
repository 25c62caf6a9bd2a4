"""Random queries against Prometheus and us, over the same remote-written data.

Seeds are in RANDOM_SEED and, of so many queries, RANDOM_QUERIES (default 400). Samples lie off the grid of
subqueries and of evaluation, where the windows of Prometheus 2, closed at both ends, hold what those of
Prometheus 3 hold.
"""

import json
import math
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request

import remote_write
from beside import Prometheus, write_to_both
from daemon import Daemon, check

STEP, SPAN = 10, 40 * 60
NAN, INF = math.nan, math.inf
# Around leap days, ends of months and years, before 1970. Of NaN, Prometheus tells what the processor makes of it.
DATES = [0, 951782399, 951782400, 951868800, 1709164800, 4107542399, -1, -86400, 1e9, 253402300799, 1.5]


def made(end, rng):
    """Series with what makes functions differ: resets, gaps, ends, infinities, ties."""
    times = [(end - SPAN + i * STEP) * 1000 + 300 for i in range(SPAN // STEP + 1)]
    series = []

    def add(name, value_at, **labels):
        rows = [(t, value_at(i)) for i, t in enumerate(times)]
        series.append(({"__name__": name, **labels}, [row for row in rows if row[1] is not None]))

    for a in "xyz":
        for b in ("1", "2"):
            walk = [0.0]

            def gauge(i, walk=walk, gap=rng.randrange(5, 40)):
                walk[0] += rng.uniform(-5, 5)
                odd = {3: NAN, 5: INF, 7: -INF, 11: 0.0, 13: -0.0}.get(i % 97) if b == "2" else None
                if a == "z" and (i // gap) % 3 == 1:
                    return remote_write.STALE if i % gap == 0 else None
                return round(walk[0], 3) if odd is None else odd

            total = [rng.uniform(0, 50)]

            def counter(i, total=total, resets=rng.randrange(9, 60), spread=rng.choice([0.3, 7, 900])):
                total[0] = 0.0 if a != "x" and i % resets == resets - 1 else total[0] + max(0, rng.uniform(-spread, spread))
                return total[0] if a == "y" else float(int(total[0]))

            add("g", gauge, a=a, b=b)
            add("c_total", counter, a=a, b=b, job="j")
            rows = [0.0] * 6

            def bucket(i, k, rows=rows):
                if k == 0:
                    for _ in range(rng.randrange(4)):
                        low = min(5, int(rng.expovariate(0.6)))
                        for at in range(low, 6):
                            rows[at] += 1
                return rows[k]

            for k, le in enumerate(["0.1", "0.5", "1", "2.5", "10", "+Inf"]):
                add("h_bucket", lambda i, k=k: bucket(i, k), a=a, b=b, le=le)
        add("one", lambda i: 1.0, a=a, team=f"t{a}", note=f"n-{a}.{ord(a)}")
        add("few", lambda i, a=a: float(i % 3) if a != "y" else None if i % 7 < 4 else 2.0, a=a)
    for n, tie in enumerate([2.0, 2.0, 2.0, 1.0, 1.0, NAN, 3.0]):
        add("tie", lambda i, tie=tie: tie, n=str(n), half="ab"[n % 2])
    for n, date in enumerate(DATES):
        add("date", lambda i, date=date: float(date), n=str(n))
    for n, value in enumerate([0.1, 1e21, 1e-7, 123456789012345680.0, -0.0, NAN, INF, -INF, 1 / 3, 100.0]):
        add("odd", lambda i, value=value: value, n=str(n))
    return series


class Grammar:
    """Queries, chosen by a seed."""

    def __init__(self, rng, now):
        self.rng, self.now = rng, now

    def one_of(self, *choices):
        return self.rng.choice(choices)

    def seconds(self):
        return self.one_of("15s", "31s", "1m", "97s", "4m", "11m")

    def moved(self):
        at = f" @ {self.now - self.rng.randrange(-60, 900)}.7"
        offset = f" offset {self.one_of('', '', '-')}{self.one_of('7s', '45s', '3m')}"
        return self.one_of("", "", "", "", offset, at, at + offset, " @ start()", " @ end()" + offset)

    def selector(self, name=None):
        name = name or self.one_of("g", "g", "c_total", "one", "few", "tie", "odd", "h_bucket", "date")
        matchers = {
            "g": ['a="x"', 'a!="x"', 'b=~"1|2"', 'a=~".*"', 'b!~"2"', 'zzz=""', 'a=~"[xy]",b="2"'],
            "c_total": ['a="y"', 'b="1"', 'a=~"x|z"'],
            "h_bucket": ['le="+Inf"', 'a="x"', 'le=~"0.*"'],
            "tie": ['half="a"', 'n!="5"'],
        }.get(name, [])
        chosen = self.one_of("", "", *matchers)
        return f"{name}{{{chosen}}}" if chosen else name

    def window(self, depth):
        if depth > 0 and self.rng.random() < 0.35:
            step = self.one_of("", "7s", "20s", "1m")
            return f"({self.vector(depth - 1)})[{self.one_of('61s500ms', '187s500ms', '602s500ms')}:{step}]{self.moved()}"
        return f"{self.selector()}[{self.seconds()}]{self.moved()}"

    def scalar(self, depth):
        number = self.one_of("0", "1", "-1", "2", "0.5", "NaN", "Inf", "-Inf", "1e3", "0x1F", "time()", "pi()")
        return number if depth <= 0 or self.rng.random() < 0.8 else f"scalar({self.vector(depth - 1)})"

    def grouping(self):
        labels = self.one_of("a", "b", "a,b", "", "le", "n", "half", "job", "nothing", "a,le")
        return self.one_of("", f" by ({labels})", f" without ({labels})")

    def over_time(self, depth):
        plain = self.one_of(
            "rate", "increase", "delta", "irate", "idelta", "deriv", "changes", "resets", "avg_over_time",
            "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "stddev_over_time",
            "stdvar_over_time", "last_over_time", "present_over_time", "absent_over_time",
        )
        window = self.window(depth)
        if plain in ("rate", "increase"):
            # Of counters without gaps: behind one, 2.42 extends what is near zero further than 3 does.
            counter = self.selector(self.one_of("c_total", "h_bucket", "tie", "odd", "date"))
            window = f"{counter}[{self.seconds()}]{self.moved()}"
        quantile = self.one_of("0", "0.5", "1", "-1", "2", "NaN", "0.99", "0.123", "Inf")
        return self.one_of(
            *[f"{plain}({window})"] * 5,
            f"quantile_over_time({quantile}, {window})",
            f"predict_linear({window}, {self.one_of('0', '60', '-300', '3600', '1e9')})",
            f"holt_winters({window}, {self.one_of('0.1', '0.5', '0.9')}, {self.one_of('0.1', '0.6')})",
        )

    def by_element(self, depth):
        inner = self.vector(depth - 1)
        scalar = self.scalar(depth - 1)
        name = self.one_of(
            "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "round", "timestamp", "absent", "sin",
            "cos", "atan", "asinh", "tanh", "deg", "rad", "sort", "sort_desc", "acos", "acosh", "minute", "hour",
            "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year",
        )
        if name in ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"):
            inner = self.one_of("date", "date", "few", f"date + {self.one_of('86399', '31536000', '-2678400')}")
        return self.one_of(
            *[f"{name}({inner})"] * 4,
            f"round({inner}, {self.one_of('0.1', '5', '-3', '0', 'NaN')})",
            f"clamp({inner}, {scalar}, {self.scalar(0)})",
            f"clamp_min({inner}, {scalar})",
            f"clamp_max({inner}, {scalar})",
            f"vector({scalar})",
            f"-{self.selector()}",
            self.label_replace(inner),
            self.label_join(inner),
            f"histogram_quantile({self.one_of('0', '0.5', '0.9', '1', '-0.1', '1.1', 'NaN')}, {self.one_of('h_bucket', f'rate(h_bucket[{self.seconds()}])', 'sum by (le, a) (rate(h_bucket[4m]))', 'sum(h_bucket) by (le)')})",
        )

    def label_replace(self, inner):
        target = self.one_of("new", "a", "__name__", "b")
        value = self.one_of("$1", "x$2", "", "${1}y", "$$", "$9", "$a")
        source = self.one_of("a", "b", "note", "none", "__name__")
        pattern = self.one_of("(.*)", "(.).*", "n-(.)[.](.+)", "", "(x|y)", ".+", "(?P<a>.).*")
        return f'label_replace({inner}, "{target}", "{value}", "{source}", "{pattern}")'

    def label_join(self, inner):
        sources = self.one_of("", ', "a"', ', "a", "b"', ', "none", "a"', ', "note", "note"')
        return f'label_join({inner}, "{self.one_of("new", "a", "__name__")}", "{self.one_of("-", "", ",")}"{sources})'

    def aggregate(self, depth):
        inner = self.vector(depth - 1)
        grouping = self.grouping()
        name = self.one_of("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
        if name.startswith("std"):
            # Of one NaN, 2.42 says that it deviates by 0.
            inner = self.selector(self.one_of("c_total", "few", "h_bucket"))
        quantile = self.one_of("0", "0.5", "1", "-1", "2", "NaN", "0.75")
        return self.one_of(
            *[f"{name}{grouping} ({inner})"] * 4,
            f"quantile{grouping} ({quantile}, {inner})",
            f"count_values{grouping} (\"{self.one_of('v', 'a', 'n')}\", {self.one_of('odd', 'few', 'tie', 'c_total')})",
            # Of ties either may be taken: how many there are, and how large, is the same.
            f"count ({self.one_of('topk', 'bottomk')}{grouping} ({self.one_of('0', '1', '2', '5', '-1', '1e9')}, {inner}))",
            f"max ({self.one_of('topk', 'bottomk')}{grouping} ({self.one_of('1', '2', '3')}, {inner}))",
        )

    def binary(self, depth):
        left, right = self.vector(depth - 1), self.vector(depth - 1)
        arithmetic = self.one_of("+", "-", "*", "/", "%", "^")
        comparison = self.one_of("==", "!=", ">", "<", ">=", "<=")
        comparison += self.one_of("", " bool")
        operator = self.one_of(arithmetic, comparison)
        labels = self.one_of("a", "b", "a,b", "", "n", "job", "le")
        on = self.one_of(f"on ({labels})", f"ignoring ({labels})")
        matching = self.one_of("", on, on, "on (a,b)", "ignoring (b, le, job, team, note)")
        include = self.one_of("", "()", "(team)", "(team, note)", "(b)", "(__name__)")
        return self.one_of(
            f"({left}) {operator} {matching} ({right})",
            f"{self.selector()} {operator} {matching} {self.selector()}",
            f"{self.one_of('g', 'c_total', 'sum by (a, b) (h_bucket)')} {operator} on (a) group_left {include} one",
            f"one {operator} {self.one_of('on (a)', 'ignoring (b, team, note)')} group_right {include} {self.one_of('g', 'few')}",
            f"({left}) {operator} {self.scalar(depth - 1)}",
            f"{self.scalar(depth - 1)} {operator} ({right})",
            f"({left}) {self.one_of('and', 'or', 'unless')} {matching} ({right})",
            f"{self.selector()} {self.one_of('and', 'or', 'unless')} {matching} {self.selector()}",
        )

    def vector(self, depth):
        if depth <= 0 or self.rng.random() < 0.08:
            return self.selector() + self.moved()
        return self.one_of(self.over_time, self.over_time, self.by_element, self.aggregate, self.binary)(depth)


def ask(port, path, **params):
    try:
        data = urllib.parse.urlencode(params).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", data=data, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def rows_of(answer):
    """Each series with its samples, in the order that it came."""
    data = answer["data"]
    if data["resultType"] in ("scalar", "string"):
        return [("", [data["result"]])]
    return [(json.dumps(one["metric"], sort_keys=True), one.get("values") or [one["value"]]) for one in data["result"]]


def close(x, y):
    try:
        x, y = float(x), float(y)
    except ValueError:
        return x == y
    # Sums that cancel out keep the rounding errors of what they were made of.
    return x == y or (math.isnan(x) and math.isnan(y)) or abs(x - y) <= max(1e-9 * max(abs(x), abs(y)), 1e-7)


def newer(ours):
    """Whether Prometheus 3 answers otherwise than 2.42, and we as it does."""
    # Elements that a comparison leaves out count as matches (prometheus#17668).
    return ours.get("error", "").startswith("multiple matches for labels")


def difference(theirs, ours, keeps_order):
    """What differs, in a few words; None where nothing does."""
    if theirs["status"] != ours["status"]:
        return f"{theirs['status']}, ours {ours['status']}: {theirs.get('error')} | {ours.get('error')}"
    if theirs["status"] == "error":
        return None
    theirs, ours = rows_of(theirs), rows_of(ours)
    if keeps_order:
        # Of equal values either may come first.
        for (_, theirs_row), (_, ours_row) in zip(theirs, ours):
            if not close(theirs_row[0][1], ours_row[0][1]):
                return "in another order"
    theirs, ours = sorted(theirs), sorted(ours)
    if [key for key, _ in theirs] != [key for key, _ in ours]:
        only = {key for key, _ in theirs} ^ {key for key, _ in ours}
        return f"{len(theirs)} series, ours {len(ours)}: {sorted(only)[:2]}"
    for (key, theirs), (_, ours) in zip(theirs, ours):
        if [t for t, _ in theirs] != [t for t, _ in ours]:
            return f"{key}: {len(theirs)} points, ours {len(ours)}"
        for (t, x), (_, y) in zip(theirs, ours):
            if not close(x, y):
                return f"{key} at {t}: {x}, ours {y}"
    return None


def renamed(query):
    return query.replace("holt_winters(", "double_exponential_smoothing(")


def main():
    seed = int(os.environ.get("RANDOM_SEED", "88"))
    n_queries = int(os.environ.get("RANDOM_QUERIES", "400"))
    end = int(time.time()) // STEP * STEP
    rng = random.Random(seed)
    with Daemon() as daemon, Prometheus() as peer:
        write_to_both(daemon, peer, made(end, random.Random(seed)))
        wrong, n_errors, n_empty = [], 0, 0
        grammar = Grammar(rng, end)
        for _ in range(n_queries):
            query = grammar.vector(rng.choice([1, 2, 2, 3]))
            # Prometheus 2 moves its window with the steps.
            while "predict_linear" in query and "@" in query:
                query = grammar.vector(rng.choice([1, 2, 2, 3]))
            if rng.random() < 0.5:
                params = {"time": end - 63.23 - rng.randrange(600)}
                path, keeps_order = "query", query.startswith("sort")
            else:
                params = {"start": end - 763.23, "end": end - 63.23, "step": rng.choice([10, 23, 60])}
                path, keeps_order = "query_range", False
            theirs = ask(peer.port, path, query=query, **params)
            ours = ask(daemon.web, path, query=renamed(query), **params)
            n_errors += theirs["status"] == "error"
            n_empty += theirs["status"] == "success" and not theirs["data"]["result"]
            differs = difference(theirs, ours, keeps_order)
            if differs and not newer(ours):
                wrong.append(f"{path} {params} {query}\n    {differs}")
        print(f"seed {seed}: {n_queries} queries, {n_errors} of them errors and {n_empty} empty, {len(wrong)} differ")
        for line in wrong[:60]:
            print(f"  {line}")
        check(not wrong, "random queries answer as in Prometheus")


if __name__ == "__main__":
    main()
