//! Signals of a function that were taken without what could not be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Finding, KEPT};
use crate::signal::{OddKind, Oddity, Text, Timestamp};

/// What one function told, by what was wrong with it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Odd(BTreeMap<OddKind, Seen>);

#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    n: u64,
    /// The first of them, and the last.
    since: Timestamp,
    last: Timestamp,
    example: Text,
}

impl Odd {
    pub(super) fn note(&mut self, odd: &Oddity, now: Timestamp) {
        let new = || Seen { n: 0, since: now, last: now, example: Text::clone(&odd.example) };
        let seen = self.0.entry(odd.kind).or_insert_with(new);
        if now.since(seen.last) >= KEPT {
            *seen = new();
        }
        seen.n = seen.n.saturating_add(u64::from(odd.n));
        seen.last = now;
    }

    pub(super) fn findings(
        &self,
        function: &Text,
        now: Timestamp,
    ) -> impl Iterator<Item = Finding> {
        let lately = self.0.iter().filter(move |(_, seen)| now.since(seen.last) < KEPT);
        lately.map(move |(kind, Seen { n, since, last, example })| {
            let (function, field, since) = (Text::clone(function), None, *since);
            match kind {
                OddKind::EndsBeforeStart => Finding {
                    kind: "ends_before_start",
                    message: format!(
                        "{n} spans of {function} end before they begin, the first of them {example}, the last at {last}: they count as ended at their start; a clock was set back, or the SDK is wrong"
                    ),
                    function,
                    field,
                    since,
                },
                OddKind::HugeId => Finding {
                    kind: "huge_id",
                    message: format!(
                        "{n} signals of {function} tell ids of more than 512 bytes, the last at {last}: these join nothing; the first begins with `{example}`"
                    ),
                    function,
                    field,
                    since,
                },
            }
        })
    }
}
