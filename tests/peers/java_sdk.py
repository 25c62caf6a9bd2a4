"""The OpenTelemetry SDK of Java: traces over gRPC and HTTP/protobuf; logs and metrics."""

import os
import subprocess

from daemon import Daemon, check, wait_for

work = os.environ["WORK"]
built = os.path.join(work, "orders-java")
lib, classes = os.path.join(built, "lib"), os.path.join(built, "classes")
fetch = ["mvn", "-q", "-B", "-f", "tests/peers/java/pom.xml", f"-DbuildDirectory={built}"]
subprocess.run([*fetch, "dependency:copy-dependencies", f"-DoutputDirectory={lib}"], check=True, timeout=900)
# Not by Maven: which Java its compiler plugin writes for depends on Maven's version.
source = "tests/peers/java/src/main/java/Orders.java"
subprocess.run(["javac", "-d", classes, "-cp", f"{lib}/*", source], check=True, timeout=300)
path = f"{classes}:{lib}/*"
with Daemon("correlate.settle_after=2s") as daemon:
    subprocess.run(["java", "-cp", path, "Orders", str(daemon.grpc), str(daemon.ingest)], check=True, timeout=120)
    for name in ("grpc", "proto"):
        flow = f"GET /{name}"
        wait_for(lambda: daemon.value(f'throughline_requests_total{{flow="{flow}", outcome="ok"}}') == 10, f"ten requests of {flow}")
        found = daemon.get("/api/requests", flow=flow)["requests"]
        functions = {hop["function"] for request in found for hop in request["hops"]}
        check(functions == {f"{name}-web", f"{name}-stock"}, f"{name}: ten whole requests over two functions")
    check(daemon.value("sum(java_orders_total)") == 20, "the counter arrived over HTTP/protobuf")
    for receiver in ("otlp_grpc", "otlp_http"):
        books = daemon.ledger(receiver)
        check(books["applied"] == books["received"] > 0 and books["rejected"] == 0, f"{receiver}: every signal is applied: {books}")
