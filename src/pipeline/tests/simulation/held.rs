//! What a state holds, as text that two states are compared by.

use std::collections::BTreeMap;

use super::super::super::state::{State, read};
use crate::correlate::RequestFilter;
use crate::evaluate::AlertState;
use crate::journal::Point;
use crate::signal::Timestamp;

/// State and age of every alert, by its labels.
pub(super) type Alerts = BTreeMap<String, (AlertState, Timestamp)>;

pub(super) fn alerts(state: &State) -> Alerts {
    let active = read(&state.evaluator).active().into_iter();
    active.map(|alert| (alert.labels.to_string(), (alert.state, alert.active_at))).collect()
}

/// Everything that the log alone decides, by its name.
pub(super) fn held(state: &State, last: Point) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for section in state.save(last).unwrap().sections {
        if ["terms", "measure", "dispatcher", "archive"]
            .iter()
            .any(|name| section.name.starts_with(name))
        {
            held.insert(section.name, format!("{:?}", section.bytes));
        }
    }
    let all = RequestFilter { limit: 100_000, ..RequestFilter::default() };
    let engine = read(&state.engine);
    held.insert("requests".to_owned(), format!("{:?}", engine.requests(&all)));
    held.insert("books".to_owned(), format!("{:?}", engine.ledger()));
    let alerts = read(&state.evaluator).active().into_iter();
    let alerts =
        alerts.map(|alert| format!("{:?} {:?} {:?}", alert.labels, alert.state, alert.active_at));
    held.insert("alerts".to_owned(), alerts.collect::<Vec<_>>().join("\n"));
    held
}
