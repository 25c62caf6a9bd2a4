"""The OpenTelemetry SDK of Go: traces over gRPC and HTTP/protobuf; metrics with an exponential histogram."""

import os
import subprocess

from daemon import Daemon, check, wait_for

program = os.path.join(os.environ["WORK"], "orders-go")
subprocess.run(["go", "build", "-o", program, "."], cwd="tests/peers/go", check=True, timeout=900)
with Daemon("correlate.settle_after=2s") as daemon:
    subprocess.run([program, str(daemon.grpc), str(daemon.ingest)], check=True, timeout=120)
    for name in ("grpc", "proto"):
        flow = f"GET /{name}"
        wait_for(lambda: daemon.value(f'throughline_requests_total{{flow="{flow}", outcome="ok"}}') == 10, f"ten requests of {flow}")
        found = daemon.get("/api/requests", flow=flow)["requests"]
        functions = {hop["function"] for request in found for hop in request["hops"]}
        check(functions == {f"{name}-web", f"{name}-stock"}, f"{name}: ten whole requests over two functions")
    check(daemon.value("sum(go_orders_total)") == 20, "the counter arrived over HTTP/protobuf")
    check(abs(daemon.value("histogram_quantile(0.5, sum(go_wait_seconds))") - 0.25) < 0.01, "the exponential histogram is a native one")
    for receiver in ("otlp_grpc", "otlp_http"):
        books = daemon.ledger(receiver)
        check(books["applied"] == books["received"] > 0 and books["rejected"] == 0, f"{receiver}: every signal is applied: {books}")
