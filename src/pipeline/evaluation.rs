//! One evaluation of the rules over the state: what the daemon does after every tick, and a rehearsal too.

use std::sync::PoisonError;

use super::evidence;
use super::state::{Entry, State};
use crate::evaluate::{Elapsed, Evaluation, Transition};
use crate::series::select_shared;
use crate::signal::Timestamp;

/// What an evaluation found as records of the journal, in their order; none where it found nothing.
pub(super) fn entries(found: Evaluation) -> Vec<Entry> {
    let Evaluation { transitions, recorded, kept, .. } = found;
    let mut entries = Vec::new();
    if !transitions.is_empty() || !recorded.is_empty() {
        entries.push(Entry::Alerts { transitions, recorded });
    }
    if !kept.is_empty() {
        entries.push(Entry::Kept(kept));
    }
    entries
}

impl State {
    /// What the rules find at `now` (log time). Nothing has changed before it is applied. The engine
    /// must not wait for rules: no lock is held while they are evaluated.
    pub(super) fn evaluate(&self, now: Timestamp, elapsed: &Elapsed<'_>) -> Evaluation {
        let read = || self.series.read().unwrap_or_else(PoisonError::into_inner);
        let evaluator = || self.evaluator.write().unwrap_or_else(PoisonError::into_inner);
        let round = evaluator().begin(now, &|metric| read().lateness(metric));
        let finished =
            round.evaluate(&|selection| select_shared(&self.series, selection, &|| true), elapsed);
        evaluator().finish(finished)
    }

    /// Gives transitions a real request and figures.
    pub(super) fn gather_evidence(&self, transitions: &mut [Transition], external_url: &str) {
        let (engine, evaluator) = (&self.engine, &self.evaluator);
        let select = |selection: &crate::series::Selection<'_>| {
            select_shared(&self.series, selection, &|| true)
        };
        let sources = evidence::Sources {
            requests: &|find| find(&engine.read().unwrap_or_else(PoisonError::into_inner)),
            select: &select,
            objective: &|service, name, at| {
                let named = {
                    let evaluator = evaluator.read().unwrap_or_else(PoisonError::into_inner);
                    evaluator.objective_named(service, name)
                };
                named.map(|slo| slo.state_json(at, &select))
            },
            reads: &|rule| evaluator.read().unwrap_or_else(PoisonError::into_inner).reads(rule),
            external_url,
        };
        evidence::attach(transitions, &sources);
    }
}
