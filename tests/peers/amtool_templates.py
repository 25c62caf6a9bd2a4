"""Alertmanager's templates give the same text in amtool and here, over the same message."""

import json
import os
import pathlib
import subprocess

from daemon import check

work = pathlib.Path(os.environ["WORK"])
# What amtool 0.25 knows; functions that came later are tested against their documentation.
TEXTS = [
    "{{ .Status }} {{ .Status | toUpper }} {{ .Receiver }} {{ len .Alerts }} {{ .Alerts.Firing | len }} {{ .Alerts.Resolved | len }}",
    "{{ range .Alerts }}{{ .Labels.alertname }}:{{ .Annotations.summary }}|{{ .Labels.nope }}|{{ end }}",
    "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }},{{ end }}",
    "{{ .CommonLabels.Names | join \" \" }} {{ .GroupLabels.Values | join \"-\" }}",
    "{{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}",
    "{{ range $name, $value := .GroupLabels }}{{ $name }}={{ $value }}{{ else }}none{{ end }}",
    "{{ (index .Alerts 0).StartsAt.Unix }} {{ (index .Alerts 0).StartsAt.Format \"2006-01-02 15:04:05 MST\" }}",
    "{{ (index .Alerts 0).StartsAt }}",
    "{{ (index .Alerts 0).StartsAt.Format \"Mon Jan _2 3:04PM 2006 .000 -0700 Z07:00\" }}",
    "{{ title \"aa bb-cc d'e F_g\" }} {{ toLower \"ABC\" }} {{ reReplaceAll \"(a+)b\" \"<$1>\" \"aab ab\" }} {{ match \"^a.*\" \"abc\" }}",
    "{{ stringSlice \"a\" \"b\" | join \"+\" }} {{ safeHtml \"<b>\" }}",
    "{{ if gt (len .Alerts) 0 -}}  some  {{- else }}none{{ end }}",
    "{{ template \"mine\" . }} {{ define \"local\" }}[{{ .Status }}]{{ end }}{{ template \"local\" . }}",
    "{{ printf \"%s has %d (%q)\" .Status (len .Alerts) .Receiver }}",
    "{{ eq .Status \"firing\" }} {{ ne .CommonLabels.severity \"page\" }} {{ and .Status \"x\" }} {{ not true }}",
    "{{ with $a := index .Alerts 0 }}{{ $a.Labels.SortedPairs.Names | join \",\" }}{{ end }}",
    # Whole sets and pairs print otherwise since Alertmanager 0.27: a unit test has those.
    "{{ .CommonLabels.Names }} {{ .GroupLabels.Values }} {{ .CommonLabels.SortedPairs.Names }}",
    "{{ index .CommonLabels.SortedPairs 0 }} {{ index .CommonLabels \"alertname\" }} {{ .CommonLabels.nope }}",
    "{{ .ExternalURL | urlquery }} {{ html \"<a>\" }} {{ js \"it's\" }}",
]
FILE = """{{ define "mine" }}{{ range .Alerts.Firing }}({{ .Labels.SortedPairs.Values | join " " }}){{ end }}{{ end }}
"""

(work / "mine.tmpl").write_text(FILE)
receivers = {"webhook_configs": [{"url": "http://127.0.0.1:1/"}],
             "slack_configs": [{"api_url": "http://127.0.0.1:1/", "text": text} for text in TEXTS]}
am = {"route": {"receiver": "r"}, "templates": [str(work / "mine.tmpl")], "receivers": [{"name": "r", **receivers}]}
# JSON is YAML.
(work / "templates-am.yaml").write_text(json.dumps(am))
(work / "templates.yaml").write_text(f"notify: {{config: '{work}/templates-am.yaml'}}\n")
run = lambda *command: subprocess.run(command, capture_output=True, text=True)
ours = run(os.environ["BINARY"], "notify", "--test", "r", "--preview", "--json", "--config", str(work / "templates.yaml"))
check(ours.returncode == 0, f"a preview of {len(TEXTS)} texts {ours.stderr}")
lines = [json.loads(line) for line in ours.stdout.splitlines()]
data = lines[0]["body"]
(work / "templates-data.json").write_text(json.dumps(data))
for text, line in zip(TEXTS, lines[1:]):
    got = line["body"]["attachments"][0]["text"]
    theirs = run("amtool", "template", "render", f"--template.glob={work}/mine.tmpl", f"--template.text={text}",
                 f"--template.data={work}/templates-data.json")
    check(theirs.returncode == 0 and theirs.stdout.rstrip("\n") == got.rstrip("\n"),
          f"{text}: {theirs.stdout.strip()} {theirs.stderr.strip()} / {got}")
