//! What the platform says of a run: Telemetry API events (schema 2022-12-13), or START, END and REPORT
//! lines in CloudWatch Logs.

use std::time::Duration;

use serde_json::{Value, json};

use super::exporter::{Item, LogEvent, Told};
use super::logs::timeout_line;
use super::plan::VERSION;
use super::run::{Ending, Reporting, Run};
use super::wire::{iso_micros, trace_header};
use crate::correlate::request::millis;
use crate::signal::{Text, Timestamp};

const INITIALIZATION: &str = "on-demand";
const RUNTIME: &str = "nodejs:22.v35";

/// Whether the platform tells of a run at all.
fn is_silent(run: &Run) -> bool {
    run.reporting == Reporting::Filtered && !run.is_timed_out()
}

/// How long after its end a run's report comes; None where it never does.
fn report_wait(run: &Run, usual: Duration) -> Option<Duration> {
    match run.reporting {
        Reporting::Usual | Reporting::Filtered => Some(usual),
        Reporting::Late(wait) => Some(wait),
        Reporting::Lost => None,
    }
}

/// Events of a run; its report usually comes so long after its end.
pub(super) fn events(run: &Run, usual: Duration) -> Vec<Told> {
    if is_silent(run) {
        return Vec::new();
    }
    let mut events = Vec::new();
    let mut tell = |time: Timestamp, ready: Timestamp, kind: &str, record: Value| {
        let event = json!({ "time": iso_micros(time), "type": kind, "record": record });
        events.push(Told { ready, item: Item::Event(event) });
    };
    if let Some(init) = run.init {
        // An extension subscribes during init, so that what came before comes to it afterwards.
        let begin = run.begin();
        let done = begin.saturating_add(init);
        tell(begin, done, "platform.initStart", init_start(run));
        tell(done, done, "platform.initReport", init_report(init));
    }
    tell(run.start, run.start, "platform.start", start(run));
    tell(run.end, run.end, "platform.runtimeDone", runtime_done(run));
    if let Some(wait) = report_wait(run, usual) {
        tell(run.end, run.end.saturating_add(wait), "platform.report", report(run));
    }
    events
}

fn init_start(run: &Run) -> Value {
    json!({
        "initializationType": INITIALIZATION,
        "phase": "init",
        "runtimeVersion": RUNTIME,
        "functionName": run.function.as_str(),
        "functionVersion": VERSION,
        "functionArn": run.function.arn(),
        "instanceId": &*run.instance,
        "instanceMaxMemory": u64::from(run.function.memory_mb()) << 20,
    })
}

fn init_report(init: Duration) -> Value {
    json!({
        "initializationType": INITIALIZATION,
        "phase": "init",
        "status": "success",
        "metrics": { "durationMs": millis(init) },
    })
}

fn start(run: &Run) -> Value {
    let mut record = json!({
        "requestId": run.invocation_id,
        "version": VERSION,
        "functionArn": run.function.arn(),
    });
    if let (Some(header), Some(fields)) = (trace_header(run), record.as_object_mut()) {
        let tracing = json!({ "type": "X-Amzn-Trace-Id", "value": header });
        fields.insert("tracing".to_owned(), tracing);
    }
    record
}

/// The platform's word for an ending.
const fn status(ending: &Ending) -> &'static str {
    match ending {
        Ending::Ok => "success",
        Ending::Failed(_) => "error",
        Ending::TimedOut => "timeout",
    }
}

fn with_status(run: &Run, mut record: Value) -> Value {
    if let Some(fields) = record.as_object_mut() {
        fields.insert("requestId".to_owned(), run.invocation_id.as_str().into());
        fields.insert("status".to_owned(), status(&run.ending).into());
        if let Some(failure) = run.ending.failure() {
            fields.insert("errorType".to_owned(), failure.kind.into());
        }
    }
    record
}

fn runtime_done(run: &Run) -> Value {
    with_status(run, json!({ "metrics": { "durationMs": millis(run.duration()) } }))
}

fn report(run: &Run) -> Value {
    let mut metrics = json!({
        "durationMs": millis(run.duration()),
        "billedDurationMs": u64::try_from(run.billed().as_millis()).unwrap_or(u64::MAX),
        "memorySizeMB": run.function.memory_mb(),
        "maxMemoryUsedMB": run.memory_used_mb,
    });
    if let (Some(init), Some(fields)) = (run.init, metrics.as_object_mut()) {
        fields.insert("initDurationMs".to_owned(), millis(init).into());
    }
    with_status(run, json!({ "metrics": metrics }))
}

/// Lines of a run, as they stand in its log stream.
pub(super) fn lines(run: &Run) -> Vec<Told> {
    let id = &run.invocation_id;
    let line = |time: Timestamp, message: String| {
        let stream = Text::clone(&run.instance);
        Told { ready: time, item: Item::Log(LogEvent { stream, time, message }) }
    };
    let mut lines = Vec::new();
    if is_silent(run) {
        return lines;
    }
    if run.init.is_some() {
        lines.push(line(run.begin(), format!("INIT_START Runtime Version: {RUNTIME}\n")));
    }
    lines.push(line(run.start, format!("START RequestId: {id} Version: {VERSION}\n")));
    lines.extend(timeout_line(run).map(|text| line(run.end, format!("{text}\n\n"))));
    lines.push(line(run.end, format!("END RequestId: {id}\n")));
    lines.extend(report_wait(run, Duration::ZERO).map(|wait| Told {
        ready: run.end.saturating_add(wait),
        ..line(run.end, report_line(run))
    }));
    lines
}

/// A handled error leaves no trace in a REPORT line; only what the platform stopped does.
fn report_line(run: &Run) -> String {
    let init = run.init.map(|init| format!("Init Duration: {:.2} ms\t", millis(init)));
    format!(
        "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\t\
         Max Memory Used: {} MB\t{}{}\n",
        run.invocation_id,
        millis(run.duration()),
        run.billed().as_millis(),
        run.function.memory_mb(),
        run.memory_used_mb,
        init.unwrap_or_default(),
        if run.is_timed_out() { "Status: timeout\t" } else { "" },
    )
}
