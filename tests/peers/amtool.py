"""amtool and we agree on which routing files are good, and so on the one that the README shows."""

import os
import pathlib
import subprocess

from daemon import check

work = pathlib.Path(os.environ["WORK"])
GOOD = """route:
  receiver: chat
  group_by: [alertname]
  routes:
    - matchers: ['severity="page"']
      receiver: pager
receivers:
  - name: chat
    webhook_configs: [{url: 'http://127.0.0.1:9596/webhook'}]
  - name: pager
    webhook_configs: [{url: 'http://127.0.0.1:9596/webhook', send_resolved: true, max_alerts: 5}]
inhibit_rules:
  - source_matchers: ['severity="page"']
    target_matchers: ['severity="ticket"']
    equal: [alertname]
"""
BAD = {
    "a receiver that is not there": GOOD.replace("receiver: pager", "receiver: nobody"),
    "a matcher that is none": GOOD.replace("severity=\"page\"']\n      receiver", "severity'']\n      receiver"),
    "a group_wait that is no duration": GOOD.replace("receiver: chat\n", "receiver: chat\n  group_wait: soon\n", 1),
    "an unknown key": GOOD + "routing: {}\n",
}


def verdicts(name, text):
    file, config = work / f"{name}.yaml", work / f"{name}-throughline.yaml"
    file.write_text(text)
    config.write_text(f"notify: {{config: '{file}'}}\n")
    run = lambda *command: subprocess.run(command, capture_output=True, text=True)
    amtool, ours = run("amtool", "check-config", str(file)), run(os.environ["BINARY"], "check", "--config", str(config))
    return amtool.returncode == 0, ours.returncode == 0, ours.stderr


theirs, ours, message = verdicts("good", GOOD)
check(theirs and ours, f"both accept a good file {message}")
for i, (what, text) in enumerate(BAD.items()):
    theirs, ours, message = verdicts(f"bad{i}", text)
    check(not theirs and not ours and f"bad{i}.yaml:" in message, f"both refuse {what}, and we say where")
