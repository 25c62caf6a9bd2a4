import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** Two functions in one trace, told by Java's SDK over each transport: Orders GRPC_PORT HTTP_PORT */
public final class Orders {
  private static final int ORDERS = 10;

  private record Transport(String name, Supplier<SpanExporter> exporter) {}

  private static Resource of(String function) {
    return Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), "shop", AttributeKey.stringKey("faas.name"), function));
  }

  private static SdkTracerProvider tracer(String function, SpanExporter exporter) {
    return SdkTracerProvider.builder().setResource(of(function)).addSpanProcessor(BatchSpanProcessor.builder(exporter).build()).build();
  }

  public static void main(String[] ports) {
    String grpc = "http://127.0.0.1:" + ports[0];
    String http = "http://127.0.0.1:" + ports[1];
    List<Transport> transports = List.of(
        new Transport("grpc", () -> OtlpGrpcSpanExporter.builder().setEndpoint(grpc).build()),
        new Transport("proto", () -> OtlpHttpSpanExporter.builder().setEndpoint(http + "/v1/traces").setCompression("gzip").build()));
    SdkLoggerProvider logs = SdkLoggerProvider.builder().setResource(of("proto-web"))
        .addLogRecordProcessor(BatchLogRecordProcessor.builder(OtlpHttpLogRecordExporter.builder().setEndpoint(http + "/v1/logs").build()).build()).build();
    SdkMeterProvider meters = SdkMeterProvider.builder().setResource(of("proto-web"))
        .registerMetricReader(PeriodicMetricReader.create(OtlpHttpMetricExporter.builder().setEndpoint(http + "/v1/metrics").build())).build();
    var counter = meters.get("shop").counterBuilder("java.orders").build();

    for (Transport transport : transports) {
      String name = transport.name();
      SdkTracerProvider web = tracer(name + "-web", transport.exporter().get());
      SdkTracerProvider stock = tracer(name + "-stock", transport.exporter().get());
      for (int n = 0; n < ORDERS; n++) {
        Span server = web.get("shop").spanBuilder("GET /" + name).setNoParent().setSpanKind(SpanKind.SERVER)
            .setAttribute("http.request.method", "GET").setAttribute("http.route", "/" + name).startSpan();
        Context inServer = Context.root().with(server);
        Span client = web.get("shop").spanBuilder("stock").setParent(inServer).setSpanKind(SpanKind.CLIENT).setAttribute("peer.service", "stock").startSpan();
        Span callee = stock.get("shop").spanBuilder("count").setParent(inServer.with(client)).setSpanKind(SpanKind.SERVER).startSpan();
        logs.get("shop").logRecordBuilder().setContext(inServer).setSeverity(Severity.INFO).setBody("order " + n).emit();
        counter.add(1);
        callee.end();
        client.end();
        server.end();
      }
      web.shutdown().join(30, TimeUnit.SECONDS);
      stock.shutdown().join(30, TimeUnit.SECONDS);
    }
    logs.shutdown().join(30, TimeUnit.SECONDS);
    meters.shutdown().join(30, TimeUnit.SECONDS);
  }
}
