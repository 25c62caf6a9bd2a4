"""The OpenTelemetry SDK of Python: traces, logs and metrics over gRPC and HTTP, gzip."""

import os
import sys

venv = os.path.join(os.environ["WORK"], "venv", "bin", "python")
if os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(venv))):
    os.execv(venv, [venv, *sys.argv])

import logging

from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind

from daemon import Daemon, check, wait_for

SPANS_PER_ORDER = 4


def providers(name, spans, logs, metrics):
    resource = Resource.create({"service.name": "shop", "faas.name": name})
    tracer = TracerProvider(resource=resource)
    tracer.add_span_processor(BatchSpanProcessor(spans()))
    logger = LoggerProvider(resource=resource)
    logger.add_log_record_processor(BatchLogRecordProcessor(logs()))
    meter = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics(), export_interval_millis=60_000)])
    return tracer, logger, meter


def orders(name, exporters, count):
    """checkout: a server span, a client call, a message sent; fulfil: a consumer that links to it."""
    front, logs, meter = providers(f"{name}-checkout", *exporters)
    back, back_logs, back_meter = providers(f"{name}-fulfil", *exporters)
    handler = LoggingHandler(logger_provider=logs)
    log = logging.getLogger(name)
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    taken = meter.get_meter("shop").create_counter("orders.taken")
    seconds = meter.get_meter("shop").create_histogram("order.value", unit="s")
    for n in range(count):
        with front.get_tracer("shop").start_as_current_span(
            "POST /orders", kind=SpanKind.SERVER, attributes={"http.request.method": "POST", "http.route": f"/{name}"}
        ):
            log.info("order %d", n)
            with front.get_tracer("shop").start_as_current_span("charge", kind=SpanKind.CLIENT, attributes={"peer.service": "bank"}):
                pass
            message = f"{name}-{n}"
            attributes = {"messaging.system": "aws_sqs", "messaging.destination.name": "orders", "messaging.message.id": message, "messaging.operation.type": "send"}
            with front.get_tracer("shop").start_as_current_span("orders send", kind=SpanKind.PRODUCER, attributes=attributes) as sending:
                link = Link(sending.get_span_context(), {"messaging.message.id": message})
        taken.add(1)
        seconds.record(0.25)
        attributes = {"messaging.system": "aws_sqs", "messaging.destination.name": "orders", "messaging.operation.type": "process"}
        with back.get_tracer("shop").start_as_current_span("orders process", context=trace.set_span_in_context(trace.INVALID_SPAN), kind=SpanKind.CONSUMER, links=[link], attributes=attributes):
            pass
    for provider in (front, logs, meter, back, back_logs, back_meter):
        provider.shutdown()


with Daemon("correlate.settle_after=2s") as daemon:
    grpc, http = f"http://127.0.0.1:{daemon.grpc}", f"http://127.0.0.1:{daemon.ingest}"
    import grpc as grpc_lib

    gz = grpc_lib.Compression.Gzip
    kinds = {
        "grpc": (lambda: GrpcSpans(endpoint=grpc, insecure=True), lambda: GrpcLogs(endpoint=grpc, insecure=True), lambda: GrpcMetrics(endpoint=grpc, insecure=True)),
        "grpcgzip": (
            lambda: GrpcSpans(endpoint=grpc, insecure=True, compression=gz),
            lambda: GrpcLogs(endpoint=grpc, insecure=True, compression=gz),
            lambda: GrpcMetrics(endpoint=grpc, insecure=True, compression=gz),
        ),
        "http": (lambda: HttpSpans(endpoint=f"{http}/v1/traces"), lambda: HttpLogs(endpoint=f"{http}/v1/logs"), lambda: HttpMetrics(endpoint=f"{http}/v1/metrics")),
        "httpgzip": (
            lambda: HttpSpans(endpoint=f"{http}/v1/traces", compression=Compression.Gzip),
            lambda: HttpLogs(endpoint=f"{http}/v1/logs", compression=Compression.Gzip),
            lambda: HttpMetrics(endpoint=f"{http}/v1/metrics", compression=Compression.Gzip),
        ),
    }
    for name, exporters in kinds.items():
        orders(name, exporters, 10)
        flow = f"POST /{name}"
        finished = lambda: daemon.value(f'throughline_requests_total{{flow="{flow}", outcome="ok"}}') == 10
        wait_for(finished, f"ten requests of {flow}")
        found = daemon.get("/api/requests", flow=flow)["requests"]
        hops = {(hop["function"], hop["evidence"]) for request in found for hop in request["hops"]}
        check(hops == {(f"{name}-checkout", None), (f"{name}-fulfil", "link")}, f"{name}: ten whole requests across the queue")
        check(all(sum(hop["logs"] for hop in request["hops"]) == 1 for request in found), f"{name}: each has its log record")
        counted = daemon.value(f'max(orders_taken_total{{job="shop"}})')
        check(counted == 10, f"{name}: the counter arrived")
    for receiver in ("otlp_grpc", "otlp_http"):
        books = daemon.ledger(receiver)
        check(books["applied"] == books["received"] > 0 and books["rejected"] == 0, f"{receiver}: every signal is applied: {books}")
