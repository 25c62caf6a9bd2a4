"""The OpenTelemetry SDK of Node.js: traces over gRPC, HTTP/protobuf and HTTP/JSON; logs and metrics."""

import subprocess

from daemon import Daemon, check, wait_for

with Daemon("correlate.settle_after=2s") as daemon:
    subprocess.run(["node", "tests/peers/node/orders.mjs", str(daemon.grpc), str(daemon.ingest)], check=True, timeout=120)
    for name in ("grpc", "proto", "json"):
        flow = f"GET /{name}"
        wait_for(lambda: daemon.value(f'throughline_requests_total{{flow="{flow}", outcome="ok"}}') == 10, f"ten requests of {flow}")
        found = daemon.get("/api/requests", flow=flow)["requests"]
        functions = {hop["function"] for request in found for hop in request["hops"]}
        check(functions == {f"{name}-web", f"{name}-stock"}, f"{name}: ten whole requests over two functions")
    check(daemon.value("sum(node_orders_total)") == 30, "the counter arrived over HTTP/protobuf")
    for receiver in ("otlp_grpc", "otlp_http"):
        books = daemon.ledger(receiver)
        check(books["applied"] == books["received"] > 0 and books["rejected"] == 0, f"{receiver}: every signal is applied: {books}")
