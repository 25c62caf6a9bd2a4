//! Which signals of the log carry a key, and by which ids they lead to requests.

use std::collections::BTreeSet;
use std::path::Path;

use super::{ErasureKey, text};
use crate::journal::inspect;
use crate::pipeline::state::Entry;
use crate::signal::{Attributes, Batch, Facts, Signal, SignalKind, Text, TraceId, Value};

/// What the log tells of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Signals that carry one.
    pub(super) signals: u64,
    /// Of the whole log.
    pub(super) records: u64,
    /// What leads to requests: values of ids as they are, and of attributes the ids beside them.
    pub(super) ids: BTreeSet<Text>,
}

impl Carried {
    pub(super) fn read(journal: &Path, keys: &[ErasureKey]) -> Result<Self, String> {
        let ids = keys.iter().filter(|key| is_id(&key.name));
        let mut carried =
            Self { ids: ids.map(|key| Text::clone(&key.value)).collect(), ..Self::default() };
        let from = inspect::begin(journal).map_err(text)?;
        let read = inspect::read(journal, from, &mut |replayed| {
            carried.records += 1;
            if let Entry::Batch(batch) = Entry::decode(replayed.payload).map_err(text)? {
                batch.signals.iter().for_each(|signal| carried.look_at(&batch, signal, keys));
            }
            Ok(())
        });
        read.map_err(text)?;
        Ok(carried)
    }

    fn look_at(&mut self, batch: &Batch, signal: &Signal, keys: &[ErasureKey]) {
        let said = Said::of(batch, signal);
        let carries = |key: &&ErasureKey| said.ids_of(&key.name).contains(&key.value);
        let mut is_carried = keys.iter().any(|key| carries(&key));
        if keys.iter().any(|key| !is_id(&key.name) && said.has_attribute(key)) {
            is_carried = true;
            self.ids.extend(said.leading());
        }
        self.signals += u64::from(is_carried);
    }
}

const TRACE: &str = "trace_id";
const CORRELATION: &str = "correlation_id";
const INVOCATION: &str = "invocation_id";
const MESSAGE: &str = "message_id";
const EXECUTION: &str = "execution_id";
/// A request's own id: no signal carries it.
const REQUEST: &str = "request";

fn is_id(name: &str) -> bool {
    [TRACE, CORRELATION, INVOCATION, MESSAGE, EXECUTION, REQUEST].contains(&name)
}

/// What one signal says that keys are looked for in.
struct Said<'a> {
    traces: Vec<TraceId>,
    invocation: Option<&'a Text>,
    facts: Option<&'a Facts>,
    attributes: [Option<&'a Attributes>; 2],
    labels: Option<&'a crate::signal::Labels>,
    link_messages: Vec<&'a Text>,
}

impl<'a> Said<'a> {
    fn of(batch: &'a Batch, signal: &'a Signal) -> Self {
        let resource = usize::try_from(signal.resource).ok();
        let resource = resource.and_then(|resource| batch.resources.get(resource));
        let mut said = Self {
            traces: Vec::new(),
            invocation: None,
            facts: None,
            attributes: [None, resource.map(|resource| &resource.attributes)],
            labels: None,
            link_messages: Vec::new(),
        };
        match &signal.kind {
            SignalKind::Span(span) => {
                said.traces.push(span.trace_id);
                said.facts = Some(&span.facts);
                said.attributes[0] = Some(&span.attributes);
                said.link_messages =
                    span.links.iter().filter_map(|l| l.message_id.as_ref()).collect();
            }
            SignalKind::Log(record) => {
                said.traces.extend(record.trace.map(|trace| trace.trace_id));
                said.facts = Some(&record.facts);
                said.attributes[0] = Some(&record.attributes);
            }
            SignalKind::Platform(event) => {
                said.traces.extend(event.trace.map(|trace| trace.trace_id));
                said.invocation = event.invocation_id.as_ref();
            }
            SignalKind::Metric(point) => said.labels = Some(&point.labels),
        }
        said.invocation = said.invocation.or(said.facts.and_then(|f| f.invocation_id.as_ref()));
        said
    }

    fn ids_of(&self, name: &str) -> BTreeSet<Text> {
        let facts = self.facts.into_iter();
        match name {
            TRACE => self.traces.iter().map(|trace| trace.to_string().into()).collect(),
            CORRELATION => facts.flat_map(|facts| &facts.correlation_ids).cloned().collect(),
            INVOCATION => self.invocation.into_iter().cloned().collect(),
            MESSAGE => {
                let messages = facts.flat_map(|facts| facts.sent.iter().chain(&facts.received));
                let linked = self.link_messages.iter().copied();
                messages.map(|message| &message.id).chain(linked).cloned().collect()
            }
            EXECUTION => {
                let workflows = facts.filter_map(|facts| facts.workflow.as_ref());
                workflows.map(|workflow| Text::clone(&workflow.execution_id)).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    fn has_attribute(&self, key: &ErasureKey) -> bool {
        let values = self.attributes.iter().flatten().filter_map(|all| all.get(&key.name));
        let is_attribute = values.map(Value::to_text).any(|value| *value == *key.value);
        is_attribute || self.labels.is_some_and(|l| l.get(&key.name) == Some(&*key.value))
    }

    /// The ids that lead to its own request: the narrowest that it has.
    fn leading(&self) -> BTreeSet<Text> {
        let kinds = [&[INVOCATION, TRACE][..], &[CORRELATION, EXECUTION], &[MESSAGE]];
        let ids = kinds.iter().map(|kinds| -> BTreeSet<Text> {
            kinds.iter().flat_map(|kind| self.ids_of(kind)).collect()
        });
        ids.into_iter().find(|ids| !ids.is_empty()).unwrap_or_default()
    }
}
