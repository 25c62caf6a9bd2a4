// Two functions in one trace, told by Go's SDK over each transport: orders GRPC_PORT HTTP_PORT
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const orders = 10

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func of(function string) *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.String("faas.name", function))
}

func tracer(function string, exporter sdktrace.SpanExporter) *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithResource(of(function)), sdktrace.WithBatcher(exporter))
}

func main() {
	ctx := context.Background()
	grpc, http := "127.0.0.1:"+os.Args[1], "127.0.0.1:"+os.Args[2]
	exporters := map[string]func() sdktrace.SpanExporter{
		"grpc": func() sdktrace.SpanExporter {
			return must(otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(grpc), otlptracegrpc.WithInsecure()))
		},
		"proto": func() sdktrace.SpanExporter {
			return must(otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(http), otlptracehttp.WithInsecure(), otlptracehttp.WithCompression(otlptracehttp.GzipCompression)))
		},
	}
	// Durations go as exponential histograms.
	exponential := sdkmetric.NewView(sdkmetric.Instrument{Name: "go.wait"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})
	reader := sdkmetric.NewPeriodicReader(must(otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(http), otlpmetrichttp.WithInsecure())))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithResource(of("proto-web")), sdkmetric.WithReader(reader), sdkmetric.WithView(exponential))
	meter := meters.Meter("shop")
	counter := must(meter.Int64Counter("go.orders"))
	wait := must(meter.Float64Histogram("go.wait", metric.WithUnit("s")))

	for name, exporter := range exporters {
		web, stock := tracer(name+"-web", exporter()), tracer(name+"-stock", exporter())
		for range orders {
			route := attribute.String("http.route", "/"+name)
			inServer, server := web.Tracer("shop").Start(ctx, "GET /"+name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.request.method", "GET"), route))
			inClient, client := web.Tracer("shop").Start(inServer, "stock", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("peer.service", "stock")))
			_, callee := stock.Tracer("shop").Start(inClient, "count", trace.WithSpanKind(trace.SpanKindServer))
			counter.Add(ctx, 1)
			wait.Record(ctx, 0.25)
			callee.End()
			client.End()
			server.End()
		}
		for _, provider := range []*sdktrace.TracerProvider{web, stock} {
			if err := provider.Shutdown(ctx); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := meters.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent")
}
