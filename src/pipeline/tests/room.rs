//! What is promised to a batch is no less than what the engine holds of it once a tick has worked it out.

use super::*;
use crate::correlate::room_for;
use crate::normalize::otlp::{self, Encoding, OtlpSignal};
use crate::receive::room::Claim;
use crate::signal::Batch;

const N: usize = 400;

/// A body of a dialect, as a batch.
fn logs(record: impl Fn(usize) -> String) -> Batch {
    let body = (0..N).map(record).collect::<Vec<_>>().join("\n");
    let origin = Origin { arrived: at(0), ..Origin::default() };
    json_log::normalize(body.as_bytes(), &origin, &normalize::Config::default()).unwrap().batch
}

/// As many spans, of which every `each`th begins a trace and the others are below it.
fn spans(each: usize, kind: usize) -> Batch {
    let start = at(0).as_nanos();
    let span = |n: usize| {
        let (trace, root) = (n / each + 1, n / each * each + 1);
        let parent = if n.is_multiple_of(each) {
            String::new()
        } else {
            format!(r#""parentSpanId":"{root:016x}","#)
        };
        format!(
            r#"{{"traceId":"{trace:032x}","spanId":"{:016x}",{parent}"kind":{kind},"name":"s","startTimeUnixNano":"{start}","endTimeUnixNano":"{}"}}"#,
            n + 1,
            start + 1_000_000
        )
    };
    let spans = (0..N).map(span).collect::<Vec<_>>().join(",");
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#
    );
    let (signal, encoding) = (OtlpSignal::Traces, Encoding::Json);
    let body =
        otlp::Body { bytes: body.as_bytes(), signal, encoding, receiver: Receiver::OtlpHttp };
    let origin = Origin { arrived: at(0), ..Origin::default() };
    otlp::normalize(&body, &origin, &normalize::Config::default()).unwrap().batch
}

fn record(n: usize, more: &str) -> String {
    let time = at(0);
    format!(r#"{{"timestamp":"{time}","function_name":"f","message":"m{n}",{more}}}"#)
}

#[test]
fn a_batch_takes_no_more_than_was_promised() {
    let batches = [
        logs(|n| record(n, &format!(r#""requestId":"r-{n}""#))),
        logs(|n| record(n, &format!(r#""requestId":"r-{n}","correlation_id":"c-{n}""#))),
        logs(|n| record(n, &format!(r#""requestId":"r-{}""#, n / 20))),
        logs(|n| record(n, &format!(r#""requestId":"r-{}""#, n % 20))),
        logs(|n| record(n, &format!(r#""correlation_id":"c-{n}""#))),
        logs(|n| record(n, &format!(r#""requestId":"r-{n}","sentMessageId":"m-{n}""#))),
        logs(|n| record(n, &format!(r#""requestId":"r-{n}","messageId":"m-{n}""#))),
        logs(|n| record(n, &format!(r#""level":"INFO","order":{n}"#))),
        spans(1, 2),
        spans(1, 1),
        spans(10, 2),
        spans(10, 1),
        spans(28, 3),
    ];
    for (n, batch) in batches.into_iter().enumerate() {
        assert!(batch.signals.len() >= N, "{n}");
        let (promised, folder) = (room_for(&batch), tempfile::tempdir().unwrap());
        let state = state(folder.path());
        let promise = state.room.promise(promised, Claim::New).unwrap();
        state.apply(&Entry::Batch(Box::new(batch)), at(0));
        promise.keep();
        state.apply(&Entry::Tick, at(1));
        let held = state.engine.read().unwrap().bytes();
        assert!(held <= promised, "batch {n}: {held} held, {promised} promised");
        // Nor so much more that what could be taken is refused.
        assert!(promised <= 8 * held + 300_000, "batch {n}: {held} held, {promised} promised");
    }
}
