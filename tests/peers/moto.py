"""SQS and CloudWatch as moto has them: depths, dead-letter queues by their redrive policy, web identity."""

import os
import sys

venv = os.path.join(os.environ["WORK"], "venv", "bin", "python")
if os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(venv))):
    os.execv(venv, [venv, *sys.argv])

import json
import pathlib
import subprocess
import tempfile

import boto3

from daemon import Daemon, check, free_port, wait_for

REGION = "eu-west-1"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}

port = free_port()
endpoint = f"http://127.0.0.1:{port}"
log = open(os.path.join(os.environ["WORK"], "moto.log"), "ab")
server = subprocess.Popen([os.path.join(os.path.dirname(venv), "moto_server"), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
try:
    sqs = boto3.client("sqs", region_name=REGION, endpoint_url=endpoint, aws_access_key_id="a", aws_secret_access_key="b")

    def answers():
        try:
            sqs.list_queues()
            return True
        except Exception:
            return False

    wait_for(answers, "moto's server", 30)
    dead = sqs.create_queue(QueueName="broken-orders")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    orders = sqs.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})["QueueUrl"]
    for n in range(3):
        sqs.send_message(QueueUrl=orders, MessageBody=str(n))
    sqs.send_message(QueueUrl=dead, MessageBody="x")

    with tempfile.TemporaryDirectory() as directory:
        config = pathlib.Path(directory) / "throughline.yaml"
        config.write_text(f"aws:\n  - {{region: {REGION}, endpoint: '{endpoint}', queue_prefixes: [orders], functions: [checkout], interval: 1s}}\n")
        logged = pathlib.Path(os.environ["WORK"]) / "daemon.log"

        def look(environment, how):
            begin = logged.stat().st_size if logged.exists() else 0
            with Daemon(config=str(config), environment=environment) as daemon:
                wait_for(lambda: daemon.value('throughline_queue_depth{queue="orders"}') == 3, f"the depth, by {how}", 30)
                check(True, f"three messages wait in orders, by {how}")
                depth = daemon.value('throughline_dlq_depth{queue="broken-orders",source_queue="orders"}')
                check(depth == 1, "the policy names the dead-letter queue, whatever it is called")
                queues = lambda: {one["queue"]: one for one in daemon.get("/api/queues")["queues"]}
                wait_for(lambda: queues().get("orders", {}).get("depth") == 3, "/api/queues to show the depth", 30)
                check(queues()["orders"]["oldest_age_seconds"] is None, "what CloudWatch does not tell is missing, not 0")
                ledger = daemon.get("/api/ledger")["receivers"]["sqs"]
                books = ["applied", "duplicate", "conflict", "rejected", "filtered", "late", "pending"]
                check(ledger["received"] == sum(ledger[one] for one in books) + sum(ledger["dropped"].values()), "the books balance")
            with open(logged, "rb") as text:
                text.seek(begin)
                failed = [line for line in text.read().decode(errors="replace").splitlines() if "collect.poll.failed" in line]
            check(not failed, f"every call was answered, CloudWatch's too: {failed[:1]}")

        look(KEYS, "keys of the environment")
        token = pathlib.Path(directory) / "token"
        token.write_text("a.b.c")
        web = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/reader", "AWS_ENDPOINT_URL_STS": endpoint}
        look(web, "a web identity that STS took")
finally:
    server.terminate()
    server.wait()
