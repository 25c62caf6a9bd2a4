//! Label sets worked out from others, remembered. What comes in: a label set that many steps of a
//! query share. What goes out: the one made from it, made once. What is never true: an entry whose
//! source is gone; each holds on to it, so that its address stays its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::signal::Labels;

/// Entries of one query; more start over.
const ENTRIES_MAX: usize = 20_000;

struct Entry {
    _source: Arc<Labels>,
    made: Arc<Labels>,
}

#[derive(Default)]
pub(super) struct Derived {
    /// By what it is made for, and the address of what it is made from.
    entries: RefCell<HashMap<(usize, usize), Entry, foldhash::fast::RandomState>>,
}

impl Derived {
    /// What `make` makes of `source`; `purpose` names one way of making.
    pub(super) fn get(
        &self,
        purpose: usize,
        source: &Arc<Labels>,
        make: impl FnOnce(&Labels) -> Labels,
    ) -> Arc<Labels> {
        let key = (purpose, Arc::as_ptr(source).addr());
        let mut entries = self.entries.borrow_mut();
        if let Some(entry) = entries.get(&key) {
            return Arc::clone(&entry.made);
        }
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        let labels = Arc::new(make(source));
        entries.insert(key, Entry { _source: Arc::clone(source), made: Arc::clone(&labels) });
        labels
    }
}
