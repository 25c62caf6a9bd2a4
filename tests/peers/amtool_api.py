"""amtool works against our Alertmanager API, and what Grafana's data source asks is answered as it expects."""

import json
import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.request

from daemon import Daemon, check, wait_for

work = pathlib.Path(os.environ["WORK"])
routing = work / "amtool-api-routes.yaml"
routing.write_text("""route:
  receiver: chat
  group_by: [alertname]
  routes:
    - matchers: ['severity="page"']
      receiver: pager
receivers:
  - name: chat
  - name: pager
    webhook_configs: [{url: 'http://127.0.0.1:9/SECRET'}]
""")
config = work / "amtool-api.yaml"
config.write_text(f"notify: {{config: '{routing}'}}\n")


def answer(daemon, method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{daemon.web}{path}", data=data, method=method, headers={"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as got:
            text = got.read()
            return got.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text else None


with Daemon(config=str(config)) as daemon:

    def amtool(*command):
        ran = subprocess.run(
            ["amtool", f"--alertmanager.url=http://127.0.0.1:{daemon.web}", *command], capture_output=True, text=True
        )
        check(ran.returncode == 0, f"amtool {' '.join(command)} {ran.stderr}".strip())
        return ran.stdout

    amtool("alert", "add", "Posted", "severity=page", "fn=a", "--annotation=summary=from elsewhere")
    shown = json.loads(amtool("-o", "json", "alert", "query", "fn=a"))
    check(len(shown) == 1 and shown[0]["annotations"]["summary"] == "from elsewhere", "a posted alert is there")
    check([r["name"] for r in shown[0]["receivers"]] == ["pager"], "with the receiver that its route leads to")
    check(amtool("alert", "query", "fn=b").count("\n") <= 1, "a filter that matches nothing finds nothing")

    silence = amtool("silence", "add", "fn=a", "alertname=~Post.*", "--comment=on it", "--author=me", "--duration=1h").strip()
    check(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", silence) is not None, "a silence has an id")
    check(silence in amtool("silence", "query", "fn=a"), "and is found by a matcher")
    shown = json.loads(amtool("-o", "json", "alert", "query", "--silenced"))
    check(shown[0]["status"]["silencedBy"] == [silence], "the alert says by which silence it is held back")
    # What -q prints of an update is an address of amtool 0.25's own memory.
    amtool("silence", "update", silence, "--duration=3h")
    kept = json.loads(amtool("-o", "json", "silence", "query"))
    check([s["id"] for s in kept] == [silence], f"a longer end keeps the id: {kept}")
    daemon.kill()
    daemon.start()
    check(silence in amtool("silence", "query", "-q"), "a silence survives kill -9")
    amtool("silence", "expire", silence)
    check(silence not in amtool("silence", "query", "-q"), "it ends by hand")
    check(silence in amtool("silence", "query", "-q", "--expired"), "and stays to be seen")
    # An alert whose end nobody told is posted again until it is over.
    # `config routes show` reads the file back, and amtool 0.25 takes no `<secret>` for a webhook's
    # address; later ones do.
    original = amtool("config", "show")
    check("SECRET" not in original and "pager" in original, "the configuration is shown without its secrets")

    # What Grafana asks (implementation: prometheus).
    check(answer(daemon, "GET", "/alertmanager/api/v2/status")[0] == 404, "we are not taken for Mimir")
    status, body = answer(daemon, "GET", "/api/v2/status")
    check(status == 200 and body["cluster"]["status"] == "disabled" and body["versionInfo"]["version"], "status answers")
    status, groups = answer(daemon, "GET", "/api/v2/alerts/groups")
    check(status == 200 and groups[0]["receiver"]["name"] == "pager" and groups[0]["alerts"], "groups answer")
    check(answer(daemon, "GET", "/api/v2/receivers") == (200, [{"name": "chat"}, {"name": "pager"}]), "receivers answer")
    wish = {
        "matchers": [{"name": "fn", "value": "a", "isRegex": False, "isEqual": True}],
        "startsAt": "2020-01-01T00:00:00.000Z", "endsAt": "2100-01-01T00:00:00.000Z", "createdBy": "grafana", "comment": "c",
    }
    status, made = answer(daemon, "POST", "/api/v2/silences", wish)
    check(status == 200 and made["silenceID"], "Grafana makes a silence")
    status, one = answer(daemon, "GET", f"/api/v2/silence/{made['silenceID']}")
    check(status == 200 and one["status"]["state"] == "active" and one["matchers"] == wish["matchers"], "and reads it")
    check(answer(daemon, "DELETE", f"/api/v2/silence/{made['silenceID']}")[0] == 200, "and ends it")

    # Errors in Alertmanager's form.
    unknown = "00000000-0000-4000-8000-000000000000"
    check(answer(daemon, "DELETE", f"/api/v2/silence/{unknown}") == (404, f"silence {unknown} not found"), "an unknown silence is 404")
    status, message = answer(daemon, "POST", "/api/v2/silences", {**wish, "matchers": []})
    check((status, message) == (400, "at least one matcher required"), "a silence of nothing is refused")
    status, message = answer(daemon, "POST", "/api/v2/silences", {**wish, "matchers": [{"name": "a", "value": "(", "isRegex": True}]})
    check(status == 400 and "invalid regular expression" in message, "a bad regular expression is refused")
    check(answer(daemon, "POST", "/api/v2/alerts", [{"labels": {}}]) == (400, "at least one label pair required"), "an alert needs labels")
    check(answer(daemon, "POST", "/api/v2/alerts", {"no": "list"})[0] == 400, "a body that is no list is refused")
    check(answer(daemon, "GET", "/api/v2/alerts?filter=%3D%3D")[0] == 400, "a bad filter is refused")
    check(answer(daemon, "POST", "/api/v2/silences", wish, Origin="http://evil.example")[0] == 403, "another site's page makes no silence")

    # The page and its form.
    page = urllib.request.urlopen(f"http://127.0.0.1:{daemon.web}/silences/new?filter=%7Bfn%3D%22a%22%7D").read().decode()
    check("{fn=&quot;a&quot;}" in page and "1 of the alerts" in page, "the form has its matchers filled in")
    form = urllib.request.Request(
        f"http://127.0.0.1:{daemon.web}/silences", data=b"filter=%7Bfn%3D%22a%22%7D&for=2h&created_by=me&comment=tired"
    )
    listed = urllib.request.urlopen(form).read().decode()
    check("tired" in listed and "End now" in listed, "the form makes a silence")

    # An end that is told.
    amtool("alert", "add", "Short", "fn=b", "--end=2100-01-01T00:00:00Z")
    amtool("alert", "add", "Short", "fn=b", "--end=2020-01-01T00:00:00Z", "--start=2019-01-01T00:00:00Z")
    wait_for(lambda: not answer(daemon, "GET", "/api/v2/alerts?filter=fn%3Db")[1], "the alert to end")
    print("ok a posted end ends an alert")
