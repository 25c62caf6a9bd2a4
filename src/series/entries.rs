//! Series by their id, side by side in pages: ids are given one after the other, so an id is a place, and
//! what a sample is appended to is found in a step or two, however many series there are.
//!
//! In: entries with ascending ids, each new one behind all others; ids that go. Out: entries by id, and in
//! the order of their ids. A copy costs a pointer a page: pages and entries are shared until one changes.
//! Never true: two entries of one id; a change of one copy that another sees.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::table::{Entry, SeriesId};
use crate::number::usize_from_u64;

/// Ids of one page.
const PAGE: u64 = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// A place takes eight bytes, so a page in which one lives on costs little.
    pages: BTreeMap<u64, Arc<Page>>,
    n: usize,
}

type Page = Vec<Option<Arc<Entry>>>;

fn place(id: SeriesId) -> (u64, usize) {
    (id / PAGE, usize_from_u64(id % PAGE))
}

impl Entries {
    pub(super) fn get(&self, id: SeriesId) -> Option<&Entry> {
        let (page, at) = place(id);
        self.pages.get(&page)?.get(at)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: SeriesId) -> Option<&mut Entry> {
        let (page, at) = place(id);
        let slot = Arc::make_mut(self.pages.get_mut(&page)?).get_mut(at)?;
        slot.as_mut().map(Arc::make_mut)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let (page, at) = place(entry.id);
        let page = Arc::make_mut(self.pages.entry(page).or_default());
        if page.len() <= at {
            page.resize_with(at + 1, || None);
        }
        let before = page.get_mut(at).and_then(|slot| slot.replace(Arc::new(entry)));
        debug_assert!(before.is_none(), "an id is given once");
        self.n += usize::from(before.is_none());
    }

    pub(super) fn len(&self) -> usize {
        self.n
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pages.values().flat_map(|page| page.iter()).flatten().map(|entry| &**entry)
    }

    /// Changes those of which `wants` says that they would change: what does not stays shared.
    pub(super) fn change(
        &mut self,
        wants: impl Fn(&Entry) -> bool,
        mut change: impl FnMut(&mut Entry),
    ) {
        for page in self.pages.values_mut() {
            let some = |entry: &Arc<Entry>| wants(entry);
            if page.iter().flatten().any(some) {
                let entries = Arc::make_mut(page).iter_mut().flatten();
                entries.filter(|entry| wants(entry)).for_each(|entry| change(Arc::make_mut(entry)));
            }
        }
    }

    /// Those with an id in the range, which is of a few hundred.
    pub(super) fn range(&self, ids: Range<SeriesId>) -> impl Iterator<Item = &Entry> {
        ids.filter_map(|id| self.get(id))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        for page in self.pages.values_mut() {
            if page.iter().flatten().all(|entry| keep(entry)) {
                continue;
            }
            for slot in Arc::make_mut(page) {
                if slot.as_ref().is_some_and(|entry| !keep(entry)) {
                    *slot = None;
                    self.n -= 1;
                }
            }
        }
        self.pages.retain(|_, page| page.iter().any(Option::is_some));
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.n))?;
        for entry in self.iter() {
            map.serialize_entry(&entry.id, entry)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut entries = Self::default();
        let read = BTreeMap::<SeriesId, Entry>::deserialize(d)?;
        read.into_values().for_each(|entry| entries.insert(entry));
        Ok(entries)
    }
}
