//! Gaps: what the telemetry of a function lacks or lacks from now on.
//!
//! Batches and ticks come in; findings go out: fields of a function's records or spans that vanished or
//! changed type, log records that the platform says it dropped, and signals that were taken without what
//! could not be. A function whose correlation id is
//! gone still runs well and no request of it is whole any more, so somebody should hear of it before it
//! is missed. Of every function a few signals a second are looked at, so a flood costs no more than a
//! trickle. What is told depends on what was known when, as alerts do.

mod field;
mod lost;
mod odd;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::field::{Fields, Kind};
use self::lost::Lost;
use self::odd::Odd;
use crate::number::{u64_from_usize, usize_from_u32};
use crate::signal::{Batch, Facts, Remark, Resource, Signal, SignalKind, Text, Timestamp};

/// Functions that are watched; of later ones nothing is told, which is a finding.
const FUNCTIONS_MAX: usize = 500;
/// Fields of all functions together, some 150 bytes each.
const FIELDS_MAX: usize = 20_000;
/// Signals of one function that are looked at between two ticks: enough to learn its fields in seconds.
const LOOKED_AT_MAX: u32 = 32;
/// Signals of all functions that are looked at between two ticks; about a millisecond of work.
const ALL_LOOKED_AT_MAX: u32 = 2_000;
/// How long a finding is shown, and how long a function that says nothing is remembered.
const KEPT: Duration = Duration::from_hours(24);
/// Findings that wait to be told; of more only the first.
const NEW_MAX: usize = 100;
/// Between two looks for what is over or has vanished.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Something that somebody should know of a function's telemetry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `schema_drift`, `logs_dropped`, `ends_before_start` or `huge_id`.
    pub kind: &'static str,
    pub function: Text,
    /// The field that drifted.
    pub field: Option<Text>,
    pub message: String,
    pub since: Timestamp,
}

/// Which signals of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Of {
    Records,
    Spans,
}

impl Of {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "log records",
            Self::Spans => "spans",
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Function {
    records: Fields,
    spans: Fields,
    lost: Lost,
    odd: Odd,
    /// When it spoke last.
    last: Timestamp,
    /// Looked at since the last tick.
    n_looked_at: u32,
}

/// All that is watched.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Gaps {
    functions: BTreeMap<Text, Function>,
    n_fields: usize,
    n_looked_at: u32,
    swept: Timestamp,
    /// Found and not yet told.
    #[serde(skip)]
    new: Vec<Finding>,
    /// Functions or fields found no room.
    is_full: bool,
}

impl Gaps {
    /// Looks at some signals of each function of a batch, at log time.
    pub fn apply(&mut self, batch: &Batch, now: Timestamp) {
        self.note_odd(batch, now);
        // Of a large batch, signals spread over all of it: what stands at its end says other things than
        // what stands at its start. Where the first lies, the body decides.
        let stride = (batch.signals.len() / usize_from_u32(LOOKED_AT_MAX)).max(1);
        let first = usize::try_from(batch.body_hash % u128::from(u64_from_usize(stride)));
        let chosen = |idx: usize| idx % stride == first.unwrap_or_default();
        for (idx, signal) in batch.signals.iter().enumerate() {
            let resource = batch.resources.get(usize_from_u32(signal.resource));
            match (&signal.kind, resource) {
                (SignalKind::Platform(event), Some(resource)) => {
                    let Some((name, function)) = self.of_lost(event, resource, now) else {
                        continue;
                    };
                    if function.lost.note(signal.identity, event, now) {
                        let finding = function.lost.finding(&name, now);
                        self.tell(finding);
                    }
                }
                (SignalKind::Log(_) | SignalKind::Span(_), Some(resource))
                    if chosen(idx) && self.n_looked_at < ALL_LOOKED_AT_MAX =>
                {
                    self.look_at(signal, resource, now);
                }
                _ => {}
            }
        }
    }

    /// Notes what was mended in a batch.
    fn note_odd(&mut self, batch: &Batch, now: Timestamp) {
        for remark in &batch.remarks {
            if let Remark::Odd(odd) = remark
                && let Some(function) = self.function(&odd.function)
            {
                function.last = now;
                function.odd.note(odd, now);
            }
        }
    }

    /// What was found since this was asked last.
    pub fn take_new(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.new)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Timestamp) {
        self.n_looked_at = 0;
        self.functions.values_mut().for_each(|function| function.n_looked_at = 0);
        if now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.sweep(now);
        }
    }

    /// What holds now.
    pub fn findings(&self) -> Vec<Finding> {
        let of = |(name, function): (&Text, &Function)| {
            let mut found = function.records.findings(name, Of::Records);
            found.extend(function.spans.findings(name, Of::Spans));
            found.extend(function.lost.finding(name, self.swept));
            found.extend(function.odd.findings(name, self.swept));
            found
        };
        let mut found: Vec<Finding> = self.functions.iter().flat_map(of).collect();
        if self.is_full {
            found.push(Finding {
                kind: "schema_drift",
                function: Text::default(),
                field: None,
                message: format!(
                    "more than {FUNCTIONS_MAX} functions or {FIELDS_MAX} fields: drift of those that came later is not watched"
                ),
                since: self.swept,
            });
        }
        found
    }

    /// All of it, for a snapshot.
    ///
    /// # Errors
    /// Only where memory fails.
    pub fn save(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    /// What was saved.
    ///
    /// # Errors
    /// Where the bytes are not what [`Gaps::save`] of this version wrote.
    pub fn restore(saved: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(saved)
    }

    fn tell(&mut self, finding: Option<Finding>) {
        if self.new.len() < NEW_MAX {
            self.new.extend(finding);
        }
    }

    /// The function, made known where there is room for another.
    fn function(&mut self, name: &Text) -> Option<&mut Function> {
        let has_room = self.functions.len() < FUNCTIONS_MAX;
        match self.functions.entry(Text::clone(name)) {
            Entry::Occupied(held) => Some(held.into_mut()),
            Entry::Vacant(place) if has_room => Some(place.insert(Function::default())),
            Entry::Vacant(_) => {
                self.is_full = true;
                None
            }
        }
    }

    /// The function whose logs the platform dropped.
    fn of_lost(
        &mut self,
        event: &crate::signal::Platform,
        resource: &Resource,
        now: Timestamp,
    ) -> Option<(Text, &mut Function)> {
        let name = Text::clone(resource.function_or_service().filter(|_| lost::is_loss(event))?);
        let function = self.function(&name)?;
        function.last = now;
        Some((name, function))
    }

    fn look_at(&mut self, signal: &Signal, resource: &Resource, now: Timestamp) {
        let Some(name) = resource.function_or_service() else { return };
        let room = FIELDS_MAX.saturating_sub(self.n_fields);
        let Some(function) = self.function(name) else { return };
        if function.n_looked_at >= LOOKED_AT_MAX {
            return;
        }
        function.n_looked_at += 1;
        function.last = now;
        let (fields, of) = match signal.kind {
            SignalKind::Span(_) => (&mut function.spans, Of::Spans),
            _ => (&mut function.records, Of::Records),
        };
        let before = fields.len();
        let drifted = fields.look(&told(signal), room, now);
        let grown = fields.len() - before;
        let found = drifted.into_iter().filter_map(|field| fields.finding(&field, name, of));
        let found: Vec<Finding> = found.collect();
        self.is_full |= room == 0;
        self.n_fields += grown;
        self.n_looked_at += 1;
        found.into_iter().for_each(|one| self.tell(Some(one)));
    }

    /// Finds what has vanished, and forgets what is long over.
    fn sweep(&mut self, now: Timestamp) {
        let mut found = Vec::new();
        self.functions.retain(|name, function| {
            for (fields, of) in
                [(&mut function.records, Of::Records), (&mut function.spans, Of::Spans)]
            {
                let vanished = fields.sweep(now);
                found.extend(
                    vanished.into_iter().filter_map(|field| fields.finding(&field, name, of)),
                );
            }
            now.since(function.last) < KEPT
        });
        self.n_fields = self.functions.values().map(|f| f.records.len() + f.spans.len()).sum();
        let has_room = self.functions.len() < FUNCTIONS_MAX && self.n_fields < FIELDS_MAX;
        self.is_full &= !has_room;
        found.into_iter().for_each(|one| self.tell(Some(one)));
    }
}

/// The fields that a signal has, by name: what it tells in its platform's own words, and what requests are
/// joined by, whatever its platform calls that.
fn told(signal: &Signal) -> Vec<(&str, Kind)> {
    let (attributes, facts) = match &signal.kind {
        SignalKind::Log(record) => (&record.attributes, &record.facts),
        SignalKind::Span(span) => (&span.attributes, &span.facts),
        SignalKind::Platform(_) | SignalKind::Metric(_) => return Vec::new(),
    };
    let attributes = attributes.0.iter().filter(|(name, _)| !is_of_failure(name));
    let mut fields: Vec<(&str, Kind)> =
        attributes.map(|(name, value)| (&**name, Kind::of(value))).collect();
    let joins = joins(facts).into_iter().filter(|(_, is_told)| *is_told);
    fields.extend(joins.map(|(name, _)| (name, Kind::Text)));
    fields
}

/// Fields that are there where something failed: they are many while something fails, and that they are
/// gone is good news.
fn is_of_failure(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let is_one =
        |word: &str| ["error", "exception", "stacktrace"].iter().any(|w| word.starts_with(w));
    words.any(is_one) || name.contains("stack_trace")
}

/// What requests are joined by.
fn joins(facts: &Facts) -> [(&'static str, bool); 3] {
    [
        ("the invocation's id", facts.invocation_id.is_some()),
        ("the correlation id", !facts.correlation_ids.is_empty()),
        ("message ids", !facts.sent.is_empty() || !facts.received.is_empty()),
    ]
}
