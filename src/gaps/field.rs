//! The fields of one function's records, or of its spans: how often each is there, and of which type.
//!
//! Statements log different fields, so a field that is missing says nothing by itself. One has vanished
//! when it is missing for many times as long as ever before, in records and in time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Finding, KEPT, Of};
use crate::signal::{Text, Timestamp, Value};

/// Fields of a function's records, or of its spans, that are watched.
const FIELDS_MAX: usize = 64;
/// Longest name that is watched, in bytes: longer ones are data.
const NAME_BYTES_MAX: usize = 120;
/// So often a field must have been there before anything is told of it.
const USUAL_MIN: u64 = 20;
/// So many records lack a vanished field at the least.
const LACKING_MIN: u64 = 50;
/// And so many times as many as usually lie between two that have it: one in e^20 by chance.
const LACKING_TIMES: u64 = 20;
/// So long it is missing at the least: a restart or a quiet branch of the code is no drift.
const MISSING_MIN: Duration = Duration::from_mins(5);
/// And so many times as long as ever before.
const MISSING_TIMES: u32 = 4;
/// So much more often than the usual type another one is seen before it is told.
const RETYPED_MIN: u32 = 5;
/// A field that is rarer than this is forgotten.
const RARE: Duration = Duration::from_hours(1);

/// A field's type, as JSON has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Text,
    Number,
    Truth,
    List,
    Object,
}

impl Kind {
    pub(super) const fn of(value: &Value) -> Self {
        match value {
            Value::Str(_) => Self::Text,
            Value::Int(_) | Value::Float(_) => Self::Number,
            Value::Bool(_) => Self::Truth,
            Value::List(_) => Self::List,
            Value::Map(_) => Self::Object,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Truth => "true or false",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// How a field's type stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Type {
    One(Kind),
    /// It was of one, and some say another since.
    Turning {
        from: Kind,
        to: Kind,
        n: u32,
        since: Timestamp,
    },
    /// It always was of several: nothing to tell.
    Mixed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Field {
    n_seen: u64,
    /// The number of the record that had it first, and last.
    first: u64,
    last: u64,
    last_at: Timestamp,
    longest: Duration,
    kind: Type,
    has_vanished: bool,
}

/// What is known of the fields of one function's records, or of its spans.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Fields {
    /// Records that were looked at.
    n: u64,
    by_name: BTreeMap<Text, Field>,
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Looks at a record's fields; gives the names of those whose type has just turned. New fields are
    /// taken as far as there is `room`.
    pub(super) fn look(&mut self, told: &[(&str, Kind)], room: usize, now: Timestamp) -> Vec<Text> {
        self.n += 1;
        let mut turned = Vec::new();
        let mut room = room.min(FIELDS_MAX.saturating_sub(self.by_name.len()));
        for &(name, kind) in told {
            if let Some(field) = self.by_name.get_mut(name) {
                if field.see(kind, self.n, now) {
                    turned.push(Text::from(name));
                }
            } else if room > 0 && name.len() <= NAME_BYTES_MAX {
                room -= 1;
                self.by_name.insert(Text::from(name), Field::new(kind, self.n, now));
            }
        }
        turned
    }

    /// Forgets what is rare or long over; gives the names of fields that have just vanished.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Vec<Text> {
        let n = self.n;
        let mut vanished = Vec::new();
        self.by_name.retain(|name, field| {
            if !field.has_vanished && field.is_gone(n, now) {
                field.has_vanished = true;
                vanished.push(Text::clone(name));
            }
            field.settle(now);
            let missing = now.since(field.last_at);
            missing < if field.n_seen < USUAL_MIN { RARE } else { KEPT }
        });
        vanished
    }

    pub(super) fn findings(&self, function: &Text, of: Of) -> Vec<Finding> {
        self.by_name.keys().filter_map(|name| self.finding(name, function, of)).collect()
    }

    /// What is to be said of a field.
    pub(super) fn finding(&self, name: &Text, function: &Text, of: Of) -> Option<Finding> {
        let field = self.by_name.get(name)?;
        let what = of.as_str();
        let (message, since) = match field.kind {
            _ if field.has_vanished => {
                let lacking = self.n.saturating_sub(field.last);
                let message = format!(
                    "{what} of {function} no longer have `{name}`: {lacking} since {} lack it",
                    field.last_at
                );
                (message, field.last_at)
            }
            Type::Turning { from, to, n, since } if n >= RETYPED_MIN => {
                let (from, to) = (from.as_str(), to.as_str());
                let message = format!(
                    "`{name}` in {what} of {function} was {from} and is {to} since {since}"
                );
                (message, since)
            }
            Type::One(_) | Type::Turning { .. } | Type::Mixed => return None,
        };
        let (function, field) = (Text::clone(function), Some(Text::clone(name)));
        Some(Finding { kind: "schema_drift", function, field, message, since })
    }
}

impl Field {
    fn new(kind: Kind, n: u64, now: Timestamp) -> Self {
        Self {
            n_seen: 1,
            first: n,
            last: n,
            last_at: now,
            longest: Duration::ZERO,
            kind: Type::One(kind),
            has_vanished: false,
        }
    }

    /// Sees it in the n-th record; true where its type has just turned.
    fn see(&mut self, kind: Kind, n: u64, now: Timestamp) -> bool {
        self.longest = self.longest.max(now.since(self.last_at));
        (self.last, self.last_at, self.has_vanished) = (n, now, false);
        self.n_seen += 1;
        let is_usual = self.n_seen > USUAL_MIN;
        match &mut self.kind {
            Type::One(usual) if *usual != kind && is_usual => {
                self.kind = Type::Turning { from: *usual, to: kind, n: 1, since: now };
            }
            Type::One(usual) if *usual != kind => self.kind = Type::Mixed,
            Type::Turning { to, n, .. } if *to == kind => {
                *n = n.saturating_add(1);
                return *n == RETYPED_MIN;
            }
            Type::Turning { from, n, .. } if *from == kind && *n < RETYPED_MIN => {
                *n = n.saturating_sub(1);
            }
            Type::One(_) | Type::Turning { .. } | Type::Mixed => {}
        }
        false
    }

    /// Whether it is missing for far longer than ever before.
    fn is_gone(&self, n: u64, now: Timestamp) -> bool {
        let lacking = n.saturating_sub(self.last);
        let between = (self.last - self.first).div_ceil(self.n_seen.max(1));
        let missing = now.since(self.last_at);
        self.n_seen >= USUAL_MIN
            && lacking >= LACKING_MIN.saturating_add(LACKING_TIMES.saturating_mul(between))
            && missing >= MISSING_MIN.max(self.longest.saturating_mul(MISSING_TIMES))
    }

    /// After a day, what it turned to is what it is.
    fn settle(&mut self, now: Timestamp) {
        if let Type::Turning { to, n, since, .. } = self.kind
            && now.since(since) >= KEPT
        {
            self.kind = if n >= RETYPED_MIN { Type::One(to) } else { Type::Mixed };
        }
    }
}
