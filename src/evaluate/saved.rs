//! The evaluator's state as bytes, for snapshots.
//!
//! What journaled records made (alerts, watched time, when `keep_firing_for` began to hold) is a function
//! of the log; what evaluations noted beside it (values, when a rule last ran) is not, and is here so that a restart ages nothing anew. Rules themselves are configuration and not here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::evaluation::RuleState;
use super::{AlertState, Evaluator, Evidence, GroupState, RuleKey};
use crate::signal::{Labels, Text, Timestamp};

/// Borrowed to be written, owned when read: the same bytes.
#[derive(Serialize)]
struct Written<'a> {
    groups: Vec<(&'a (Text, Text), &'a GroupState)>,
    rules: Vec<(&'a RuleKey, &'a RuleState)>,
    gone: &'a BTreeMap<Labels, u8>,
    ticked_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Read {
    groups: Vec<((Text, Text), GroupState)>,
    rules: Vec<(RuleKey, RuleState)>,
    gone: BTreeMap<Labels, u8>,
    ticked_at: Option<Timestamp>,
}

/// What records alone made of an alert. Its value and texts are those of the last evaluation, and when
/// `keep_firing_for` began to hold it is noted before its record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told<'a> {
    rule: &'a RuleKey,
    labels: &'a Labels,
    state: AlertState,
    active_at: Timestamp,
    ages_from: Timestamp,
    evidence: Option<&'a Evidence>,
}

impl Evaluator {
    /// What the log alone made of each alert that is not inactive, in one order.
    pub fn told(&self) -> impl Iterator<Item = Told<'_>> {
        self.rule_states.iter().flat_map(|(rule, state)| {
            state.alerts.iter().map(move |(labels, alert)| Told {
                rule,
                labels,
                state: alert.state,
                active_at: alert.active_at,
                ages_from: alert.ages_from,
                evidence: alert.evidence.as_ref(),
            })
        })
    }

    /// All state but the configuration, for a snapshot. [`Evaluator::restore`] reads it back.
    ///
    /// # Errors
    /// Never in practice: only where memory fails.
    pub fn save(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(&Written {
            groups: self.group_states.iter().collect(),
            rules: self.rule_states.iter().map(|(key, state)| (key, &**state)).collect(),
            gone: &self.gone,
            ticked_at: self.ticked_at,
        })
    }

    /// Takes the state that was saved; rules and settings stay. Alerts of rules that no file has any
    /// more resolve at the next evaluation.
    ///
    /// # Errors
    /// Where the bytes are not what [`Evaluator::save`] of this version wrote; then nothing changed.
    pub fn restore(&mut self, saved: &[u8]) -> Result<(), postcard::Error> {
        let Read { groups, rules, gone, ticked_at } = postcard::from_bytes(saved)?;
        self.group_states = groups.into_iter().collect();
        self.rule_states = rules.into_iter().map(|(key, state)| (key, Arc::new(state))).collect();
        self.gone = gone;
        self.ticked_at = ticked_at;
        Ok(())
    }
}
