// Two functions in one trace, told by the real SDK over each transport: node orders.mjs GRPC_PORT HTTP_PORT
import { SpanKind, context, trace } from "@opentelemetry/api";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-proto";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter as Grpc } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as Json } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as Proto } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const [grpc, http] = process.argv.slice(2);
const base = `http://127.0.0.1:${http}`;
const exporters = {
  grpc: () => new Grpc({ url: `http://127.0.0.1:${grpc}` }),
  proto: () => new Proto({ url: `${base}/v1/traces`, compression: "gzip" }),
  json: () => new Json({ url: `${base}/v1/traces` }),
};
const resource = (name) => resourceFromAttributes({ "service.name": "shop", "faas.name": name });
const tracer = (name, exporter) =>
  new NodeTracerProvider({ resource: resource(name), spanProcessors: [new BatchSpanProcessor(exporter())] });

const logs = new LoggerProvider({ resource: resource("proto-web"), processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${base}/v1/logs` }) })] });
const reader = new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter({ url: `${base}/v1/metrics` }), exportIntervalMillis: 60000 });
const meters = new MeterProvider({ resource: resource("proto-web"), readers: [reader] });
const counter = meters.getMeter("shop").createCounter("node.orders");

for (const [name, exporter] of Object.entries(exporters)) {
  const web = tracer(`${name}-web`, exporter);
  const stock = tracer(`${name}-stock`, exporter);
  for (let n = 0; n < 10; n++) {
    const attributes = { "http.request.method": "GET", "http.route": `/${name}` };
    const server = web.getTracer("shop").startSpan(`GET /${name}`, { kind: SpanKind.SERVER, attributes });
    const inServer = trace.setSpan(context.active(), server);
    const client = web.getTracer("shop").startSpan("stock", { kind: SpanKind.CLIENT, attributes: { "peer.service": "stock" } }, inServer);
    const callee = stock.getTracer("shop").startSpan("count", { kind: SpanKind.SERVER }, trace.setSpan(inServer, client));
    logs.getLogger("shop").emit({ severityText: "INFO", body: `order ${n}`, context: inServer });
    counter.add(1);
    for (const span of [callee, client, server]) span.end();
  }
  await web.shutdown();
  await stock.shutdown();
}
await logs.shutdown();
await meters.shutdown();
