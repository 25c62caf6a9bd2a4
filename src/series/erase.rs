//! Erasure: exemplars that lead to somebody are taken out, and series that name somebody are told.
//!
//! Ids come in; counts stay as they are. A label is part of what a series is, so a series that bears an id
//! stays, and is said.

use std::collections::BTreeSet;

use super::Series;
use super::table::{Data, Entry};
use crate::signal::{Labels, Text};

impl Series {
    /// Takes out exemplars of these traces and requests. Gives how many.
    pub fn forget_exemplars(&mut self, ids: &BTreeSet<Text>) -> usize {
        let mut n = self.remarks.forget(ids);
        let may_know = |entry: &Entry| matches!(entry.data, Data::Distribution(..));
        self.table.change(may_know, |entry| {
            if let Data::Distribution(_, exemplars) = &mut entry.data {
                n += exemplars.forget(ids);
            }
        });
        n
    }

    /// Series with a label that has one of these values.
    pub fn that_name(&self, ids: &BTreeSet<Text>) -> Vec<Labels> {
        let names = |labels: &Labels| labels.iter().any(|(_, value)| ids.contains(value));
        self.table
            .iter()
            .map(|entry| &entry.labels)
            .filter(|labels| names(labels))
            .cloned()
            .collect()
    }
}
