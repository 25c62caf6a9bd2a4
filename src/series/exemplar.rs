//! Exemplars: of each recent minute of a histogram, its slowest and its newest observation.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::signal::{Exemplar, Labels, Text, Timestamp};

/// Minutes kept for each series: an hour's panel shows a point a minute, beyond that the archive
/// finds slow requests.
const MINUTES_MAX: usize = 60;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Minute {
    slowest: Exemplar,
    newest: Exemplar,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exemplars(BTreeMap<i64, Minute>);

impl Exemplars {
    pub(crate) fn note(&mut self, at: Timestamp, value: f64, trace_id: &Text) {
        let t = at.as_millis();
        let minute = t.div_euclid(60_000);
        if self.0.len() >= MINUTES_MAX
            && self.0.keys().next().is_some_and(|oldest| minute < *oldest)
        {
            return;
        }
        let seen =
            || Exemplar { trace_id: Text::clone(trace_id), others: Labels::default(), value, t };
        match self.0.get_mut(&minute) {
            None => {
                let seen = seen();
                self.0.insert(minute, Minute { slowest: seen.clone(), newest: seen });
            }
            Some(held) => {
                if value > held.slowest.value {
                    held.slowest = seen();
                }
                if t >= held.newest.t {
                    held.newest = seen();
                }
            }
        }
        while self.0.len() > MINUTES_MAX {
            self.0.pop_first();
        }
    }

    /// A correction took the observation away; the other one of its minute stands in for both.
    pub(crate) fn withdraw(&mut self, at: Timestamp, value: f64, trace_id: &Text) {
        let t = at.as_millis();
        let minute = t.div_euclid(60_000);
        let is_it = |held: &Exemplar| {
            held.t == t && held.value.total_cmp(&value).is_eq() && held.trace_id == *trace_id
        };
        let Some(held) = self.0.get_mut(&minute) else { return };
        match (is_it(&held.slowest), is_it(&held.newest)) {
            (true, true) => {
                self.0.remove(&minute);
            }
            (true, false) => held.slowest = held.newest.clone(),
            (false, true) => held.newest = held.slowest.clone(),
            (false, false) => {}
        }
    }

    /// Takes out those of these traces and requests; the other of its minute stands in for one. Gives how
    /// many minutes showed one.
    pub(crate) fn forget(&mut self, ids: &BTreeSet<Text>) -> usize {
        let is_meant = |exemplar: &Exemplar| ids.contains(&exemplar.trace_id);
        let mut n = 0;
        self.0.retain(|_, minute| {
            let (slowest, newest) = (is_meant(&minute.slowest), is_meant(&minute.newest));
            n += usize::from(slowest || newest);
            match (slowest, newest) {
                (true, true) => return false,
                (true, false) => minute.slowest = minute.newest.clone(),
                (false, true) => minute.newest = minute.slowest.clone(),
                (false, false) => {}
            }
            true
        });
        n
    }

    /// Those in `[start, end]` (milliseconds), ascending, each once.
    pub(crate) fn within(&self, start: i64, end: i64) -> Vec<Exemplar> {
        let mut found: Vec<Exemplar> = self
            .0
            .values()
            .flat_map(|minute| [&minute.slowest, &minute.newest])
            .filter(|exemplar| (start..=end).contains(&exemplar.t))
            .cloned()
            .collect();
        found.sort_by(|a, b| a.t.cmp(&b.t).then_with(|| a.trace_id.cmp(&b.trace_id)));
        found.dedup();
        found
    }

    pub(crate) fn newest(&self) -> Option<&Exemplar> {
        self.0.values().next_back().map(|minute| &minute.newest)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len() * (size_of::<Minute>() + 96)
    }
}
