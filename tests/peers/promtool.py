"""promtool accepts and passes the shipped rules."""

import subprocess

for command in (["check", "rules", "alert-rules/throughline.rules.yaml"], ["test", "rules", "alert-rules/throughline.test.yaml"]):
    subprocess.run(["promtool", *command], check=True)
