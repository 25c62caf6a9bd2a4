//! What is wrong with a signal and does not make it worthless: mended, counted, and told with the delivery.
//!
//! A signal and its speaker come in; the signal stays without what cannot be, and remarks go out, one for
//! each function and kind.

use std::collections::BTreeMap;

use super::json_fields::ID_BYTES_MAX;
use super::shorten::shorten;
use crate::signal::{
    Facts, MessageRef, OddKind, Oddity, Remark, Resource, SignalKind, Span, Text, Workflow,
};

/// Functions and kinds that one delivery tells of; of more only the first.
const TOLD_MAX: usize = 100;
/// Bytes of a huge id that are shown.
const SHOWN_BYTES: usize = 40;

/// What one delivery has told so far.
#[derive(Debug, Default)]
pub(crate) struct Odd {
    found: BTreeMap<(Text, OddKind), (u32, Text)>,
}

impl Odd {
    /// Takes out what cannot be, and remembers it.
    pub(crate) fn mend(&mut self, speaker: &Resource, kind: &mut SignalKind) {
        let function = || {
            let own = match &*kind {
                SignalKind::Span(span) => span.facts.function.as_ref(),
                SignalKind::Log(record) => record.facts.function.as_ref(),
                SignalKind::Platform(_) | SignalKind::Metric(_) => None,
            };
            own.or(speaker.function_or_service()).cloned().unwrap_or_else(|| "unknown".into())
        };
        let function = is_odd(kind).then(function);
        let Some(function) = function else { return };
        if let Some(example) = without_huge_ids(kind) {
            self.note(&function, OddKind::HugeId, example);
        }
        if let SignalKind::Span(span) = kind
            && span.end < span.start
        {
            span.end = span.start;
            self.note(&function, OddKind::EndsBeforeStart, span.span_id.to_string().into());
        }
    }

    fn note(&mut self, function: &Text, kind: OddKind, example: Text) {
        let key = (Text::clone(function), kind);
        if self.found.len() < TOLD_MAX || self.found.contains_key(&key) {
            self.found.entry(key).or_insert((0, example)).0 += 1;
        }
    }

    pub(crate) fn into_remarks(self) -> impl Iterator<Item = Remark> {
        self.found.into_iter().map(|((function, kind), (n, example))| {
            Remark::Odd(Oddity { kind, function, n, example })
        })
    }
}

fn is_huge(id: &Text) -> bool {
    id.len() > ID_BYTES_MAX
}

fn messages(facts: &Facts) -> impl Iterator<Item = &MessageRef> {
    facts.sent.iter().chain(&facts.received)
}

fn has_huge_ids(facts: &Facts) -> bool {
    let execution = facts.workflow.as_ref().map(|workflow| &workflow.execution_id);
    let ids = facts.correlation_ids.iter().chain(&facts.invocation_id).chain(execution);
    ids.chain(messages(facts).map(|message| &message.id)).any(is_huge)
}

fn is_odd(kind: &SignalKind) -> bool {
    let of_span = |span: &Span| {
        let mut linked = span.links.iter().filter_map(|link| link.message_id.as_ref());
        span.end < span.start || linked.any(is_huge) || has_huge_ids(&span.facts)
    };
    match kind {
        SignalKind::Span(span) => of_span(span),
        SignalKind::Log(record) => has_huge_ids(&record.facts),
        SignalKind::Platform(event) => event.invocation_id.as_ref().is_some_and(is_huge),
        SignalKind::Metric(_) => false,
    }
}

/// Takes all huge ids out; answers how the first of them begins.
fn without_huge_ids(kind: &mut SignalKind) -> Option<Text> {
    let mut first: Option<Text> = None;
    let mut is_huge = |id: &Text| {
        let is_huge = is_huge(id);
        if is_huge && first.is_none() {
            first = Some(shorten(id, SHOWN_BYTES).into());
        }
        is_huge
    };
    let mut of_facts = |facts: &mut Facts| {
        facts.invocation_id.take_if(|id| is_huge(id));
        facts.correlation_ids.retain(|id| !is_huge(id));
        facts.sent.retain(|message| !is_huge(&message.id));
        facts.received.retain(|message| !is_huge(&message.id));
        facts.workflow.take_if(|Workflow { execution_id, .. }| is_huge(execution_id));
    };
    match kind {
        SignalKind::Log(record) => of_facts(&mut record.facts),
        SignalKind::Span(span) => {
            of_facts(&mut span.facts);
            for link in &mut span.links {
                link.message_id.take_if(|id| is_huge(id));
            }
        }
        SignalKind::Platform(event) => drop(event.invocation_id.take_if(|id| is_huge(id))),
        SignalKind::Metric(_) => {}
    }
    first
}

#[cfg(test)]
mod tests {
    use super::super::otlp::{self, Body, Encoding, OtlpSignal};
    use super::super::{Config, Normalized, Origin, json_log, show};
    use crate::signal::Receiver;

    fn spans(body: &str) -> Normalized {
        let (signal, encoding) = (OtlpSignal::Traces, Encoding::Json);
        let body = Body { bytes: body.as_bytes(), signal, encoding, receiver: Receiver::OtlpHttp };
        let arrived = crate::signal::Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap();
        let origin = Origin { arrived, ..Origin::default() };
        otlp::normalize(&body, &origin, &Config::default()).unwrap()
    }

    #[test]
    fn a_span_that_ends_before_it_begins_ends_at_its_start_and_is_named_with_its_function() {
        let span = |id: &str, start: u64, end: u64| {
            format!(
                r#"{{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"{id}","name":"x","startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"}}"#
            )
        };
        let (t, u) = (1_795_600_000_000_000_000, 1_795_600_000_500_000_000);
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"faas.name","value":{{"stringValue":"pay"}}}}]}},"scopeSpans":[{{"spans":[{},{},{}]}}]}}]}}"#,
            span("00f067aa0ba902b7", u, t),
            span("00f067aa0ba902b8", t, u),
            span("00f067aa0ba902b9", u, t)
        );
        let read = spans(&body);
        assert_eq!(read.batch.signals.len(), 3, "none is refused");
        let told: Vec<String> = read.batch.remarks.iter().map(show::remark).collect();
        assert_eq!(told, ["odd: EndsBeforeStart 2 of pay, 00f067aa0ba902b7"]);
        assert!(show::text(&read).matches("0ns").count() <= 2);
    }

    #[test]
    fn an_id_of_a_kilobyte_joins_nothing_and_is_named_and_its_neighbours_stay() {
        let huge = "x".repeat(1024);
        let body = format!(
            r#"{{"correlation_id":"{huge}","message_id":"m-1","msg":"one"}}
{{"correlation_id":"c-2","message_id":"{huge}","msg":"two"}}"#
        );
        let origin = Origin { function: Some("pay".to_owned()), ..Origin::default() };
        let read = json_log::normalize(body.as_bytes(), &origin, &Config::default()).unwrap();
        let told: Vec<String> = read.batch.remarks.iter().map(show::remark).collect();
        let cut = "x".repeat(super::SHOWN_BYTES);
        assert_eq!(told, [format!("odd: HugeId 2 of pay, {cut}")]);
        let text = show::text(&read);
        assert!(!text.contains(&huge), "{text}");
        assert!(text.contains("c-2") && text.contains("m-1"), "{text}");
    }
}
