"""What `slo generate` prints: Prometheus and vmalert take it, and promtool and we see the same alerts.

Each of three kinds of SLO file is burnt fast, and not at all, for three hours.
"""

import json
import os
import pathlib
import subprocess

binary = os.environ["BINARY"]
work = pathlib.Path(os.environ["WORK"]) / "slo_files"
work.mkdir(parents=True, exist_ok=True)

SLOTH = """
version: prometheus/v1
service: shop
slos:
  - name: answers
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="shop", code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="shop"}[{{.window}}]))
    alerting:
      name: ShopAnswers
      annotations: {summary: '{{ $labels.sloth_service }} fails'}
      page_alert: {labels: {severity: page}}
      ticket_alert: {labels: {severity: ticket}}
"""
OPENSLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: answers}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{target: 0.999}]
  indicator:
    metadata: {name: answers}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{job="shop", code=~"5.."}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{job="shop"}'}}}
"""
SHORT = """
kind: throughline/v1
service: shop
slos:
- {name: answers, objective: 99.9, availability: {flow: POST /orders}}
"""


def http(bad, all_):
    return {'http_requests_total{job="shop", code="200"}': all_ - bad, 'http_requests_total{job="shop", code="500"}': bad}


def counted(bad, all_):
    name = '{service="shop", slo="answers"}'
    return {f"throughline_slo_events_total{name}": all_, f"throughline_slo_good_total{name}": all_ - bad}


def unit_test(rules, series, pages):
    """A test in which every alert that should fire does, and no other."""
    inputs = [{"series": name, "values": f"0+{step}x180"} for name, step in series.items()]
    expr = 'count(ALERTS{alertstate="firing", severity="page"}) or vector(0)'
    checks = [{"expr": expr, "eval_time": "170m", "exp_samples": [{"labels": "{}", "value": pages}]}]
    return {
        "rule_files": [rules],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": checks}],
    }


for kind, spec, series in (("sloth", SLOTH, http), ("openslo", OPENSLO, http), ("short", SHORT, counted)):
    (work / f"{kind}.yaml").write_text(spec)
    rules = work / f"{kind}.rules.yaml"
    made = subprocess.run([binary, "slo", "generate", work / f"{kind}.yaml"], check=True, capture_output=True, text=True)
    rules.write_text(made.stdout)
    subprocess.run(["promtool", "check", "rules", rules], check=True, stdout=subprocess.DEVNULL)
    vmalert = subprocess.run(["vmalert", "-dryRun", f"-rule={rules}"], capture_output=True, text=True)
    assert vmalert.returncode == 0, vmalert.stderr
    # Twenty times the budget burns; half of it does not.
    for name, bad, pages in (("burns", 2, 1), ("quiet", 0.05, 0)):
        test = work / f"{kind}.{name}.test.yaml"
        test.write_text(json.dumps(unit_test(rules.name, series(bad, 100), pages)))
        subprocess.run(["promtool", "test", "rules", test], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([binary, "test", test], check=True, stdout=subprocess.DEVNULL)
    # Neither test would notice if it could not fail.
    wrong = work / f"{kind}.wrong.test.yaml"
    wrong.write_text(json.dumps(unit_test(rules.name, series(2, 100), 0)))
    assert subprocess.run(["promtool", "test", "rules", wrong], capture_output=True).returncode != 0
    assert subprocess.run([binary, "test", wrong], capture_output=True).returncode == 1
    print(f"{kind}: {made.stdout.count('expr:')} rules, taken by promtool and vmalert; pages when it burns, not when quiet")
