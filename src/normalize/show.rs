//! Signals as text for people: one line a signal, for golden files and for reading captured payloads.

use std::fmt::Write;

use super::shorten::shorten;
use super::{Normalized, Undecodable};
use crate::number::usize_from_u32;
use crate::signal::{
    Batch, Facts, LogRecord, MessageRef, MetricPoint, MetricValue, Platform, Remark, Resource,
    Signal, SignalKind, Span, Timestamp, TraceContext,
};

/// Longest free text shown, in bytes.
const TEXT_BYTES_MAX: usize = 40;

/// Everything that a delivery became: signals, rejections, counts.
pub fn text(normalized: &Normalized) -> String {
    let batch = &normalized.batch;
    let mut lines: Vec<String> = batch.signals.iter().map(|s| signal_text(batch, s)).collect();
    lines.extend(batch.remarks.iter().map(remark));
    lines.extend(
        normalized.rejections.iter().map(|r| format!("rejected {}: {}", r.index, r.message)),
    );
    lines.push(format!(
        "{} signals, {} rejected, {} filtered",
        batch.signals.len(),
        batch.rejected,
        batch.filtered
    ));
    lines.join("\n")
}

/// What was said about series beside their samples.
pub fn remark(remark: &Remark) -> String {
    match remark {
        Remark::Metric(m) => format!("about {}: {:?} {:?} {:?}", m.name, m.kind, m.help, m.unit),
        Remark::Exemplar { series, exemplar: e } => {
            format!("exemplar of {series}: {} {} {}@{}", e.trace_id, e.others, e.value, e.t)
        }
        Remark::Target { labels, time } => format!("{labels} @{}", time.as_millis()),
        Remark::Odd(odd) => {
            format!("odd: {:?} {} of {}, {}", odd.kind, odd.n, odd.function, odd.example)
        }
    }
}

/// What a body became, or why it became nothing.
pub fn outcome(read: &Result<Normalized, Undecodable>) -> String {
    match read {
        Ok(normalized) => text(normalized),
        Err(undecodable) => format!("undecodable: {undecodable}"),
    }
}

fn signal_text(batch: &Batch, signal: &Signal) -> String {
    let mut line = Line::default();
    match &signal.kind {
        SignalKind::Platform(event) => platform(&mut line, event),
        SignalKind::Log(record) => log(&mut line, record),
        SignalKind::Metric(point) => metric(&mut line, point),
        SignalKind::Span(one) => span(&mut line, one),
    }
    if let Some(resource) = batch.resources.get(usize_from_u32(signal.resource)) {
        speaker(&mut line, resource);
    }
    if signal.identity.is_none() {
        line.0.push_str(" anonymous");
    }
    line.0
}

#[derive(Default)]
struct Line(String);

impl Line {
    fn start(&mut self, time: Timestamp, kind: impl std::fmt::Display) {
        self.0 = format!("{time} {kind}");
    }

    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing into a String cannot fail.
        let _ = write!(self.0, " {name}={value}");
    }

    fn add_some(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn add_debug(&mut self, name: &str, value: Option<impl std::fmt::Debug>) {
        if let Some(value) = value {
            let _ = write!(self.0, " {name}={value:?}");
        }
    }

    fn quote(&mut self, name: &str, text: &str) {
        let cut = shorten(text, TEXT_BYTES_MAX);
        let more = if cut.len() < text.len() { "…" } else { "" };
        let _ = write!(self.0, " {name}={cut:?}{more}");
    }
}

fn speaker(line: &mut Line, resource: &Resource) {
    line.add_some("function", resource.function.as_deref());
    line.add_some("service", resource.service.as_deref());
    line.add_some("version", resource.version.as_deref());
    line.add_some("account", resource.account.as_deref());
    line.add_some("region", resource.region.as_deref());
    line.add_some("memory", resource.memory_bytes);
}

fn platform(line: &mut Line, event: &Platform) {
    line.start(event.time, format_args!("platform {:?}", event.stage));
    line.add_some("invocation", event.invocation_id.as_deref());
    line.add_debug("status", event.status);
    line.add_some("error_type", event.error_type.as_deref());
    line.add_debug("duration", event.duration);
    line.add_debug("billed", event.billed);
    line.add_debug("init", event.init_duration);
    line.add_some("size", event.memory_size_bytes);
    line.add_some("used", event.memory_used_bytes);
    line.add_some("trace", event.trace.map(trace));
    line.add_some("span", event.span_id);
    if let Some(text) = &event.text {
        line.quote("text", text);
    }
}

fn log(line: &mut Line, record: &LogRecord) {
    line.start(record.time, "log");
    line.add_debug("severity", record.severity);
    line.add_some("trace", record.trace.map(trace));
    facts(line, &record.facts);
    line.quote("body", &record.body);
    let keys: Vec<&str> = record.attributes.0.iter().map(|(key, _)| &**key).collect();
    if !keys.is_empty() {
        line.add("attributes", keys.join(","));
    }
}

fn facts(line: &mut Line, facts: &Facts) {
    line.add_some("invocation", facts.invocation_id.as_deref());
    line.add_some("names_function", facts.function.as_deref());
    for id in &facts.correlation_ids {
        line.add("correlation", id);
    }
    for message in &facts.sent {
        line.add("sent", format_args!("({})", message_text(message)));
    }
    for message in &facts.received {
        line.add("received", format_args!("({})", message_text(message)));
    }
    line.add_some("cold_start", facts.cold_start);
    line.add_debug("trigger", facts.trigger);
    line.add_debug("took", facts.duration);
    line.add_some("stands_for", facts.stands_for);
    if let Some(error) = &facts.error {
        line.add("error", error.kind.as_str());
        line.quote("because", &error.message);
    }
    if let Some(http) = &facts.http {
        line.add_some("method", http.method.as_deref());
        line.add_some("route", http.route.as_deref());
    }
    if let Some(workflow) = &facts.workflow {
        line.add("workflow", &workflow.execution_id);
        line.add("state", &workflow.state);
        line.add_some("retry", workflow.retry_count);
    }
}

/// One message, as one side of it sees it.
pub(crate) fn message_text(message: &MessageRef) -> String {
    let mut line = Line(format!("{:?} {}", message.via, message.id));
    line.add_some("queue", message.queue.as_deref());
    line.add_some("sent", message.sent);
    line.add_some("receive_count", message.receive_count);
    line.add_some("dead_letter_source", message.dead_letter_source.as_deref());
    line.add_some("trace", message.trace.map(trace));
    if message.failed {
        line.0.push_str(" failed");
    }
    line.0
}

fn metric(line: &mut Line, point: &MetricPoint) {
    line.start(point.time, format_args!("metric {}", point.labels));
    match &point.value {
        MetricValue::Gauge(value) => line.add("gauge", value),
        MetricValue::Sum { value, temporality, .. } => {
            line.add("sum", value);
            line.add_debug("temporality", Some(temporality));
        }
        MetricValue::Histogram { .. } => line.0.push_str(" histogram"),
        MetricValue::Native(native) => {
            line.add("native", native.count);
            line.add("sum", native.sum);
            line.add("schema", native.schema);
        }
        MetricValue::Stale => line.0.push_str(" stale"),
        MetricValue::Summary(summary) => {
            line.add("summary", summary.count);
            line.add("sum", summary.sum);
            line.add_debug("quantiles", Some(&summary.quantiles));
        }
    }
}

fn span(line: &mut Line, span: &Span) {
    line.start(span.start, format_args!("span {:?}", span.kind));
    line.add("trace", span.trace_id);
    line.add("span", span.span_id);
    line.add_some("parent", span.parent_id);
    line.add("end", span.end);
    facts(line, &span.facts);
    line.quote("name", &span.name);
}

fn trace(trace: TraceContext) -> String {
    match trace.span_id {
        Some(span) => format!("{}/{span}", trace.trace_id),
        None => trace.trace_id.to_string(),
    }
}
