//! Counts by name, added up where metrics are not known and read by who knows them.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often each of some things happened since it was asked last.
#[derive(Debug)]
pub struct Tally {
    names: &'static [&'static str],
    counts: Vec<AtomicU64>,
}

impl Tally {
    /// A name is in it once.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names, counts: names.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    pub fn count(&self, name: &str) {
        let at = self.names.iter().position(|known| *known == name);
        debug_assert!(at.is_some(), "{name} is none of {:?}", self.names);
        if let Some(count) = at.and_then(|at| self.counts.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What happened; a second asker hears of what came since.
    pub fn take(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = self.names.iter().zip(&self.counts);
        named.map(|(name, count)| (*name, count.swap(0, Ordering::Relaxed))).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once() {
        let tally = Tally::new(&["a", "b"]);
        tally.count("b");
        tally.count("b");
        assert_eq!(tally.take().collect::<Vec<_>>(), [("b", 2)]);
        assert_eq!(tally.take().count(), 0);
    }
}
