//! Names and values of labels, as a dashboard's variables ask for them.
//!
//! In: conditions, a range of time. Out: what series with a sample in it are labelled with, ascending.
//! Without conditions the index answers, and of each value one series is looked at where the first is
//! alive; a store of many series then costs no more than one of few. Who asks may end it early. Never true: a value that only
//! series without a sample in the range have.

use std::collections::{BTreeSet, HashSet};
use std::sync::RwLock;

use super::read::{LE, label_sets_shared};
use super::table::SeriesId;
use super::taken::{Access, GoesOn};
use super::{Matcher, Series};
use crate::signal::{METRIC_NAME, Text};

/// Values of one look.
const LOOK: usize = 64;

/// The values that the label has in series that match and have a sample in `[start, end]` (milliseconds).
pub fn label_values_shared(
    series: &RwLock<Series>,
    label: &str,
    matchers: &[Matcher],
    range: (i64, i64),
    goes_on: GoesOn<'_>,
) -> Vec<Text> {
    if !matchers.is_empty() || label == METRIC_NAME || label == LE {
        let sets = label_sets_shared(series, matchers, range, goes_on);
        let values: HashSet<&str> = sets.iter().filter_map(|set| set.get(label)).collect();
        let mut values: Vec<Text> = values.into_iter().map(Text::from).collect();
        values.sort();
        return values;
    }
    let access = Access::Shared(series);
    let mut values: Vec<Text> =
        access.look(|series| series.table.values_of(label).cloned().collect());
    values.sort();
    let mut alive = Vec::with_capacity(values.len());
    for values in values.chunks(LOOK).take_while(|_| goes_on()) {
        access.look(|series| {
            let is_alive =
                |value: &&Text| any_in(series, series.table.ids_labelled(label, value), range);
            alive.extend(values.iter().filter(is_alive).cloned());
        });
    }
    alive
}

/// The labels that series have that match and have a sample in `[start, end]` (milliseconds).
pub fn label_names_shared(
    series: &RwLock<Series>,
    matchers: &[Matcher],
    range: (i64, i64),
    goes_on: GoesOn<'_>,
) -> Vec<Text> {
    let mut names: BTreeSet<Text> = BTreeSet::new();
    if matchers.is_empty() {
        let access = Access::Shared(series);
        let labels: Vec<Text> = access.look(|series| series.table.label_names().cloned().collect());
        for label in labels.into_iter().take_while(|_| goes_on()) {
            let is_alive = access.look(|series| {
                let values = series.table.values_of(&label);
                let mut ids = values.map(|value| series.table.ids_labelled(&label, value));
                ids.any(|ids| any_in(series, ids, range))
            });
            names.extend(is_alive.then_some(label));
        }
        let (is_named, has_bounds) = access.look(|series| {
            let of = |name: &Text| any_in(series, series.table.ids_named(name), range);
            (series.table.names().any(of), series.table.histogram_names().any(of))
        });
        names.extend(is_named.then(|| Text::from(METRIC_NAME)));
        names.extend(has_bounds.then(|| Text::from(LE)));
        return names.into_iter().collect();
    }
    for set in label_sets_shared(series, matchers, range, goes_on) {
        for (name, _) in set.pairs() {
            if !names.contains(name) {
                names.insert(Text::clone(name));
            }
        }
    }
    names.into_iter().collect()
}

fn any_in(series: &Series, ids: &[SeriesId], (start, end): (i64, i64)) -> bool {
    let mut entries = ids.iter().filter_map(|id| series.table.get(*id));
    entries.any(|entry| series.has_in(entry, start, end))
}
