//! What goes first when memory is short: signals of requests that are held.
//!
//! A batch comes in before it is on disk; whether it is mostly of work that is known goes out. Nothing is
//! changed: what the batch says is judged when it is applied.

use super::engine::Engine;
use crate::signal::{Batch, Facts, SignalKind, TraceId};

impl Engine {
    /// Whether most of what a batch joins by is held already. Points of metrics and records that name
    /// nothing count for neither side: they take no memory of requests.
    pub fn is_of_held(&self, batch: &Batch) -> bool {
        let (mut n_held, mut n_new) = (0_usize, 0_usize);
        for signal in &batch.signals {
            match self.joins_held(&signal.kind) {
                Some(true) => n_held += 1,
                Some(false) => n_new += 1,
                None => {}
            }
        }
        n_held >= n_new
    }

    /// None: it names nothing to join by.
    fn joins_held(&self, kind: &SignalKind) -> Option<bool> {
        match kind {
            SignalKind::Metric(_) => None,
            SignalKind::Platform(event) => {
                let id = event.invocation_id.as_ref()?;
                Some(self.held.cells.runs.contains_key(id))
            }
            SignalKind::Span(span) => {
                let links = || span.links.iter().any(|link| self.holds_trace(&link.trace_id));
                Some(self.holds_trace(&span.trace_id) || links() || self.holds_named(&span.facts))
            }
            SignalKind::Log(record) => {
                let is_held = record.trace.is_some_and(|trace| self.holds_trace(&trace.trace_id))
                    || self.holds_named(&record.facts);
                let facts = &record.facts;
                let names_nothing = record.trace.is_none()
                    && facts.invocation_id.is_none()
                    && facts.correlation_ids.is_empty()
                    && facts.workflow.is_none()
                    && facts.sent.is_empty()
                    && facts.received.is_empty();
                (!names_nothing).then_some(is_held)
            }
        }
    }

    fn holds_trace(&self, trace: &TraceId) -> bool {
        self.held.cells.traces.contains_key(trace)
    }

    fn holds_named(&self, facts: &Facts) -> bool {
        let is_run = |id| self.held.cells.runs.contains_key(id);
        let messages = facts.received.iter().chain(&facts.sent).map(|message| &message.id);
        let workflow = facts.workflow.as_ref().map(|workflow| &workflow.execution_id);
        facts.invocation_id.as_ref().is_some_and(is_run)
            || facts
                .correlation_ids
                .iter()
                .chain(workflow)
                .chain(messages)
                .any(|name| self.held.graph.named(name).next().is_some())
    }
}
