//! What the extension reads of a telemetry batch: how many events, which invocations ended, and what of
//! it must not be lost. The rest is the destination's business.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What is in a batch.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) n_events: u64,
    /// What happened to invocations, in the batch's order.
    pub(super) turns: Vec<Turn>,
    /// The platform's own events: few, small, and all that outcome and cost need.
    pub(super) platform: Vec<&'a RawValue>,
}

/// An invocation, by its request id, begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Started(String),
    Done(String),
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, rename = "requestId", default)]
    request_id: Cow<'a, str>,
}

/// Reads a batch; `None` where it is no JSON array.
pub(super) fn survey(body: &[u8]) -> Option<Survey<'_>> {
    let events: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    let mut survey = Survey {
        n_events: crate::number::u64_from_usize(events.len()),
        turns: Vec::new(),
        platform: Vec::new(),
    };
    for raw in events {
        // What is no event is the destination's to reject.
        let Ok(event) = serde_json::from_str::<Event<'_>>(raw.get()) else { continue };
        if !event.kind.starts_with("platform.") {
            continue;
        }
        survey.platform.push(raw);
        let turn = match &*event.kind {
            "platform.start" => Turn::Started,
            "platform.runtimeDone" => Turn::Done,
            _ => continue,
        };
        let record =
            event.record.and_then(|raw| serde_json::from_str::<Record<'_>>(raw.get()).ok());
        survey.turns.extend(record.map(|record| turn(record.request_id.into_owned())));
    }
    Some(survey)
}

/// The array of these events.
pub(super) fn array(events: &[&RawValue]) -> Vec<u8> {
    let texts: Vec<&str> = events.iter().map(|event| event.get()).collect();
    format!("[{}]", texts.join(",")).into_bytes()
}

/// Joins arrays of events into one. Each is a JSON array, as [`survey`] accepted it.
pub(super) fn joined<'a>(arrays: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut all = vec![b'['];
    for array in arrays {
        let inner = array.trim_ascii().get(1..).unwrap_or_default();
        let inner = inner.strip_suffix(b"]").unwrap_or(inner).trim_ascii();
        if !inner.is_empty() {
            if all.len() > 1 {
                all.push(b',');
            }
            all.extend_from_slice(inner);
        }
    }
    all.push(b']');
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_tells_whose_invocation_ended_and_what_is_the_platforms() {
        let body = br#" [{"time":"t","type":"platform.start","record":{"requestId":"a"}},
            {"time":"t","type":"function","record":"platform.runtimeDone {\"requestId\":\"b\"}"},
            {"time":"t","type":"platform.runtimeDone","record":{"requestId":"a","status":"success"}},
            {"type":"platform.runtimeDone","record":"an older text"}] "#;
        let survey = survey(body).expect("a batch");
        assert_eq!(survey.n_events, 4);
        assert_eq!(survey.turns, [Turn::Started("a".to_owned()), Turn::Done("a".to_owned())]);
        assert_eq!(survey.platform.len(), 3);
        assert!(super::survey(b"{}").is_none());
        assert_eq!(super::survey(b"[1]").map(|survey| survey.n_events), Some(1));
    }

    #[test]
    fn joined_batches_are_one_array() {
        let parts: [&[u8]; 4] = [b"[1, 2]", b" [ ] ", b"[{\"a\":[]}]\n", b"[]"];
        assert_eq!(joined(parts.into_iter()), b"[1, 2,{\"a\":[]}]");
        assert_eq!(joined(std::iter::empty()), b"[]");
    }
}
