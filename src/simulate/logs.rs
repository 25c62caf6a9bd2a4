//! Runs as structured logs, in the words of Powertools for AWS Lambda, with the ids of messages that
//! were sent and received.
//!
//! The same records leave as JSON lines, as `function` events of the Telemetry API, or as CloudWatch log
//! events.

use serde_json::{Map, Value, json};

use super::book::timeout_text;
use super::exporter::{Item, LogEvent, Told};
use super::instances::whole_millis;
use super::plan::{SERVICE, queue_arn};
use super::run::{Failure, Message, Run, Step, Taken, What};
use super::wire::{iso_micros, iso_millis, powertools};
use crate::signal::{Text, Timestamp, Via};

struct Record {
    time: Timestamp,
    fields: Map<String, Value>,
}

impl Record {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    fn failed(self, failure: &Failure) -> Self {
        self.with("exception_name", failure.kind)
            .with("exception_message", failure.message.as_str())
    }
}

/// JSON lines; a timeout is a line of text between them, as the platform writes it.
pub(super) fn lines(run: &Run) -> Vec<Told> {
    let mut told: Vec<Told> = records(run)
        .into_iter()
        .map(|record| Told { ready: record.time, item: Item::Line(json(record)) })
        .collect();
    told.extend(timeout_line(run).map(|line| Told { ready: run.end, item: Item::Line(line) }));
    told
}

/// Events of the type `function`, as the Telemetry API sends them where the log format is JSON.
pub(super) fn events(run: &Run) -> Vec<Told> {
    let event = |record: Record| {
        let value = json!({
            "time": iso_micros(record.time),
            "type": "function",
            "record": Value::Object(record.fields),
        });
        Told { ready: record.time, item: Item::Event(value) }
    };
    records(run).into_iter().map(event).collect()
}

pub(super) fn log_events(run: &Run) -> Vec<Told> {
    let event = |record: Record| {
        let time = record.time;
        let stream = Text::clone(&run.instance);
        Told { ready: time, item: Item::Log(LogEvent { stream, time, message: json(record) }) }
    };
    records(run).into_iter().map(event).collect()
}

/// What the platform writes into the log of a function that it stopped.
pub(super) fn timeout_line(run: &Run) -> Option<String> {
    run.is_timed_out().then(|| {
        let (time, id) = (iso_millis(run.end), &run.invocation_id);
        format!("{time} {id} {}", timeout_text(run.function))
    })
}

fn json(record: Record) -> String {
    Value::Object(record.fields).to_string()
}

/// The records of a run in order of time.
fn records(run: &Run) -> Vec<Record> {
    let mut records = vec![started(run)];
    records.extend(run.steps.iter().filter_map(|step| stepped(run, step, None)));
    if run.taken.len() > 1 && run.via == Via::Stream {
        records.push(batch(run));
    } else {
        for taken in &run.taken {
            records.extend(message(run, taken));
        }
    }
    records.extend(ended(run));
    records.sort_by_key(|record| record.time);
    records
}

fn record(run: &Run, time: Timestamp, level: &str, message: &str) -> Record {
    let record = Record { time, fields: Map::new() }
        .with("level", level)
        .with("location", "handler:42")
        .with("message", message)
        .with("timestamp", powertools(time))
        .with("service", SERVICE)
        .with("cold_start", run.init.is_some())
        .with("function_name", run.function.as_str())
        .with("function_memory_size", run.function.memory_mb().to_string())
        .with("function_arn", run.function.arn())
        .with("function_request_id", run.invocation_id.as_str());
    match &run.correlation_id {
        Some(id) => record.with("correlation_id", id.as_str()),
        None => record,
    }
}

fn started(run: &Run) -> Record {
    let record = record(run, run.start, "INFO", "started");
    if let Some(state) = &run.state {
        return record.with(
            "event",
            json!({
                "Execution": { "Id": state.execution },
                "State": { "Name": state.name, "RetryCount": state.n_retries },
            }),
        );
    }
    let Some(http) = &run.http else { return record };
    record.with(
        "event",
        json!({
            "httpMethod": http.method,
            "resource": http.route,
            "path": http.route,
            "requestContext": { "httpMethod": http.method, "resourcePath": http.route },
        }),
    )
}

/// How it ended, unless it was stopped: then it says nothing more.
fn ended(run: &Run) -> Option<Record> {
    if run.is_timed_out() {
        return None;
    }
    Some(match run.ending.failure() {
        Some(failure) => record(run, run.end, "ERROR", &failure.message).failed(failure),
        None => record(run, run.end, "INFO", "done"),
    })
}

/// A send always leaves a record, another step only where it went wrong.
fn stepped(run: &Run, step: &Step, message: Option<&Message>) -> Option<Record> {
    let record = match (&step.what, &step.failure) {
        (What::Send { message_id, queue, via }, _) => {
            record(run, whole_millis(step.start), "INFO", "sent")
                .with("sent_message_id", message_id.as_str())
                .with(place(*via), *queue)
        }
        (_, Some(failure)) => record(run, step.end, "WARN", "call failed").failed(failure),
        (_, None) => return None,
    };
    Some(match message.and_then(Message::correlation_id) {
        Some(id) => record.with("correlation_id", id),
        None => record,
    })
}

/// The field that names a queue, stream or bus.
const fn place(via: Via) -> &'static str {
    match via {
        Via::Stream => "stream",
        Via::EventBus => "event_bus",
        _ => "queue",
    }
}

fn batch(run: &Run) -> Record {
    let time = run.taken.first().map_or(run.start, |taken| whole_millis(taken.start));
    let ids: Vec<&str> = run.taken.iter().map(|taken| taken.message.id.as_str()).collect();
    let stream = run.taken.first().map_or("", |taken| taken.message.queue);
    record(run, time, "INFO", "batch received").with("message_ids", ids).with("stream", stream)
}

/// What one message leaves: that it was taken up, what it led to, and whether it failed.
fn message(run: &Run, taken: &Taken) -> Vec<Record> {
    let message = &taken.message;
    let about = |time, level, text: &str| {
        let record = record(run, time, level, text);
        let record = match message.correlation_id() {
            Some(id) => record.with("correlation_id", id),
            None => record,
        };
        record
            .with("message_id", message.id.as_str())
            .with(place(message.via), message.queue)
            .with("sent_timestamp", message.sent.as_millis())
    };
    let mut received = about(taken.start, "INFO", "message received");
    if message.via == Via::Queue {
        received = received.with("receive_count", message.n_receives);
    }
    if let Some(source) = message.dead_letter_source {
        received = received.with("DeadLetterQueueSourceArn", queue_arn(source));
    }
    let mut records = vec![received];
    records.extend(taken.steps.iter().filter_map(|step| stepped(run, step, Some(message))));
    if let Some(failure) = &taken.failure {
        records.push(about(taken.end, "ERROR", "message failed").failed(failure));
    }
    records
}
