"""What lies in deploy/: the manifests by Kubernetes's schemas, the policy by AWS's, the configuration by the binary."""

import json
import os
import subprocess
import sys
import tempfile

venv = os.path.join(os.environ["WORK"], "venv", "bin", "python")
if os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(venv))):
    os.execv(venv, [venv, *sys.argv])

import kubernetes_validate
import yaml

from daemon import check


def documents(path):
    with open(path) as file:
        return [one for one in yaml.safe_load_all(file) if one]


def pod(service):
    """Knative's own resources are in no public schema; what runs in them is a pod."""
    template = service["spec"]["template"]
    spec = {key: value for key, value in template["spec"].items() if key not in ("timeoutSeconds", "containerConcurrency")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": service["metadata"]["name"], **template.get("metadata", {})}, "spec": spec}


for path in ("deploy/knative.yaml", "deploy/cloud-run.yaml"):
    found = documents(path)
    kinds = [one["kind"] for one in found]
    check("Service" in kinds, f"{path}: {', '.join(kinds)}")
    for one in found:
        kubernetes_validate.validate(pod(one) if one["apiVersion"].startswith("serving.knative.dev/") else one, "1.30", strict=True)
    for service in (one for one in found if one["kind"] == "Service"):
        spec = service["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        mounted = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", [])}
        check(volumes == mounted, f"{path}: every volume is mounted, every mount is a volume")
        with_port = [container["name"] for container in spec["containers"] if "ports" in container]
        check(with_port == ["app"], f"{path}: one container names a port")
    for config in (one for one in found if one["kind"] == "ConfigMap"):
        for name, text in config["data"].items():
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(text)
                file.flush()
                subprocess.run([os.environ["BINARY"], "check", "--config", file.name], check=True, timeout=60)
            check(True, f"{path}: {name} is a configuration")

# A policy is checked as the part of a template that it would be.
with open("deploy/aws/poller-policy.json") as file:
    policy = json.load(file)
template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Poller": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy}}}}
with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    json.dump(template, file)
    file.flush()
    lint = os.path.join(os.path.dirname(venv), "cfn-lint")
    linted = subprocess.run([lint, "--regions", "eu-west-1", "--", file.name], capture_output=True, text=True, timeout=120)
    check(linted.returncode == 0, f"the poller's policy passes cfn-lint: {linted.stdout}{linted.stderr}")
