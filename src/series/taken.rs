//! What a query takes of the store under its lock: short looks, each at a few series, so that nobody who
//! adds to the store waits for a query that is large.
//!
//! In: the conditions of a selector. Out: of each series that meets them what its head holds (shared, not
//! copied, where it is packed) and which blocks go with it. Decoding it needs no lock. Never true: a
//! series whose head and blocks are of two moments.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::block::Span;
use super::blocks::{Block, SHARD};
use super::bounds::le;
use super::counter::Counter;
use super::distribution::Distribution;
use super::looks::Looks;
use super::plain::Plain;
use super::read::{Conditions, View};
use super::slots::Zones;
use super::table::{Data, Entry, SeriesId};
use super::{RawSeries, Sample, Selection, Series};
use crate::signal::{Labels, METRIC_NAME, Text};

/// Series of one look: a millisecond or two. Each look waits for its turn with those who add, so many
/// small ones would make a large query slow on a busy store.
pub(super) const LOOK: usize = if cfg!(test) { 64 } else { 4096 };
/// So many series of which only the newest sample is taken, or names that are looked up, are as much work as
/// one that is taken with what it holds.
const LIGHT: usize = 8;

/// Asked now and then by what takes long: whether anybody still waits for it.
pub type GoesOn<'a> = &'a (dyn Fn() -> bool + Sync);

/// A way to the store.
#[derive(Clone, Copy)]
pub(super) enum Access<'a> {
    /// By somebody who holds it already.
    Held(&'a Series),
    /// Locked for each look.
    Shared(&'a RwLock<Series>),
}

impl Access<'_> {
    pub(super) fn look<T>(self, look: impl FnOnce(&Series) -> T) -> T {
        match self {
            Self::Held(series) => look(series),
            Self::Shared(series) => look(&series.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Shows these, at each look as many as are as much work as `look` series, as long as it goes on. What
    /// shows some tells as how many they count.
    pub(super) fn each<T>(
        self,
        all: &[T],
        look: usize,
        goes_on: GoesOn<'_>,
        mut show: impl FnMut(&Series, &[T]) -> usize,
    ) {
        let mut groups = all.chunks((look / LIGHT).max(1)).peekable();
        while groups.peek().is_some() && goes_on() {
            self.look(|series| {
                let mut n_shown = 0;
                for group in groups.by_ref() {
                    n_shown += show(series, group);
                    if n_shown >= look {
                        break;
                    }
                }
            });
        }
    }

    /// Ids of the series that may meet the conditions: those of the names, or of the narrowest label.
    pub(super) fn candidates(self, wanted: &Conditions<'_>, goes_on: GoesOn<'_>) -> Vec<SeriesId> {
        let candidates = self.look(|series| series.candidates(wanted));
        self.resolved(candidates, wanted, goes_on)
    }

    /// The same of what a first look gave; names are matched outside of a look.
    pub(super) fn resolved(
        self,
        candidates: Candidates,
        wanted: &Conditions<'_>,
        goes_on: GoesOn<'_>,
    ) -> Vec<SeriesId> {
        let (names, histograms) = match candidates {
            Candidates::Ids(ids) => return ids,
            Candidates::Names { names, histograms } => (names, histograms),
        };
        let may_match =
            |name: &Text| wanted.may_accept(name, || histograms.binary_search(name).is_ok());
        let names = names.into_iter().take_while(|_| goes_on());
        let names: Vec<Text> = names.filter(may_match).collect();
        let mut ids = Vec::new();
        self.each(&names, LOOK, goes_on, |series, names| {
            ids.extend(names.iter().flat_map(|name| series.table.ids_named(name)));
            names.len().div_ceil(LIGHT)
        });
        ids
    }
}

/// What a first look at a store tells of the series that may meet some conditions.
pub(super) enum Candidates {
    Ids(Vec<SeriesId>),
    /// Nothing but their names tells them apart, and to compare these would make the look long: all there
    /// are, and those of histograms, ascending.
    Names {
        names: Vec<Text>,
        histograms: Vec<Text>,
    },
}

impl Candidates {
    pub(super) fn ids(&self) -> &[SeriesId] {
        match self {
            Self::Ids(ids) => ids,
            Self::Names { .. } => &[],
        }
    }
}

/// One series as it was at one moment.
pub(super) struct Taken {
    pub(super) id: SeriesId,
    pub(super) views: Vec<(Labels, View)>,
    pub(super) parts: i64,
    pub(super) sealed: Option<Span>,
    /// From which to which second a derived series answers.
    pub(super) seen: Option<(i64, i64)>,
    pub(super) zones: Zones,
    pub(super) head: Head,
    pub(super) blocks: Arc<[Block]>,
}

/// What a look at some series gives.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) taken: Vec<Taken>,
    /// Of which all that is asked for was at hand.
    pub(super) newest: Vec<RawSeries>,
}

pub(super) enum Head {
    Counter(Counter),
    Distribution(Box<Distribution>),
    Plain(Plain),
}

/// In which forms the series of one name are wanted.
#[derive(Default)]
pub(super) struct Forms {
    name: Text,
    is_own: bool,
    /// View, name, bound.
    views: Vec<(View, String, String)>,
}

impl Series {
    pub(super) fn candidates(&self, wanted: &Conditions<'_>) -> Candidates {
        let narrowest = wanted.narrowest(&self.table);
        let Some(name) = wanted.exact_name() else {
            return match narrowest {
                Some(narrow) => {
                    Candidates::Ids(narrow.entries(&self.table).map(|entry| entry.id).collect())
                }
                None => self.candidates_by_name(wanted),
            };
        };
        let bases = ["", "_bucket", "_sum", "_count"].iter().filter_map(|end| {
            let base = name.strip_suffix(end)?;
            (end.is_empty() || self.table.has_histograms(base)).then_some(base)
        });
        let of_base = |base| match &narrowest {
            Some(narrow) if narrow.n_series < self.table.n_named(base) => {
                let entries = narrow.entries(&self.table);
                let named = entries.filter(|entry| entry.labels.name() == base);
                named.map(|entry| entry.id).collect()
            }
            _ => self.table.ids_named(base).to_vec(),
        };
        Candidates::Ids(bases.flat_map(of_base).collect())
    }

    fn candidates_by_name(&self, wanted: &Conditions<'_>) -> Candidates {
        if self.table.names().len() > wanted.look() * LIGHT {
            return Candidates::Names {
                names: self.table.names().cloned().collect(),
                histograms: self.table.histogram_names().cloned().collect(),
            };
        }
        let may_match = |name: &&Text| wanted.may_accept(name, || self.table.has_histograms(name));
        let names = self.table.names().filter(may_match);
        Candidates::Ids(names.flat_map(|name| self.table.ids_named(name)).copied().collect())
    }

    /// Takes of these series those that are wanted; as how many that counts, see [`Access::each`].
    pub(super) fn take(
        &self,
        ids: &[SeriesId],
        wanted: &Conditions<'_>,
        selection: &Selection<'_>,
        seen: &mut Seen,
    ) -> usize {
        let mut n_light = 0;
        let mut forms = self.forms(wanted, "");
        // From what is needed of slots on: what is later adds up.
        let first = selection.start.div_euclid(1000);
        let end = selection.end.div_euclid(1000).saturating_add(1);
        let mut blocks: HashMap<(u64, bool), Arc<[Block]>> = HashMap::new();
        for entry in ids.iter().filter_map(|id| self.table.get(*id)) {
            if selection.looks.is_some_and(Looks::is_one)
                && let Some(sample) = newest(entry, selection)
            {
                if self.is_wanted(entry, wanted, &mut forms) {
                    seen.newest.push(RawSeries::new(entry.labels.clone(), vec![sample]));
                }
                n_light += 1;
                continue;
            }
            let views = self.views(entry, wanted, &mut forms);
            if views.is_empty() {
                continue;
            }
            let head = match &entry.data {
                Data::Counter(counter) => Head::Counter(counter.clone()),
                Data::Distribution(held, _) => Head::Distribution(held.clone()),
                Data::Plain(plain) => {
                    Head::Plain(plain.part(selection.start.saturating_add(1), selection.end))
                }
            };
            let (shard, is_plain) = (entry.id / SHARD, matches!(head, Head::Plain(_)));
            let to = if is_plain { end } else { i64::MAX };
            let of_shard = || self.blocks.of_shard(shard, (first, to));
            seen.taken.push(Taken {
                id: entry.id,
                views,
                parts: entry.parts,
                sealed: entry.sealed,
                seen: self.seen(entry),
                zones: self.zones,
                head,
                blocks: Arc::clone(blocks.entry((shard, is_plain)).or_insert_with(of_shard)),
            });
        }
        ids.len() - n_light + n_light.div_ceil(LIGHT)
    }

    /// Whether a series is wanted under its own labels.
    fn is_wanted(&self, entry: &Entry, wanted: &Conditions<'_>, forms: &mut Forms) -> bool {
        if *forms.name != *entry.labels.name() {
            *forms = self.forms(wanted, entry.labels.name());
        }
        forms.is_own && wanted.accept_le_of(&entry.labels) && wanted.accept_others(&entry.labels)
    }

    /// The labels under which a series is wanted, and how it is looked at for each.
    pub(super) fn views(
        &self,
        entry: &Entry,
        wanted: &Conditions<'_>,
        forms: &mut Forms,
    ) -> Vec<(Labels, View)> {
        let mut views = Vec::new();
        if self.is_wanted(entry, wanted, forms) {
            views.push((entry.labels.clone(), View::AsIs));
        }
        if matches!(entry.data, Data::Distribution(..)) && wanted.accept_others(&entry.labels) {
            views.extend(forms.views.iter().map(|(view, name, bound)| {
                let labels = entry.labels.with(METRIC_NAME, name).with(super::read::LE, bound);
                (labels, *view)
            }));
        }
        views
    }

    pub(super) fn forms(&self, wanted: &Conditions<'_>, name: &str) -> Forms {
        let mut forms =
            Forms { name: name.into(), is_own: wanted.accept_name(name), views: Vec::new() };
        if !self.table.has_histograms(name) {
            return forms;
        }
        let buckets = self.bounds.shown().into_iter().map(View::Bucket);
        for view in [View::Sum, View::Count].into_iter().chain(buckets) {
            let name = format!("{name}{}", view.suffix());
            let bound = if let View::Bucket(bound) = view { le(bound) } else { String::new() };
            if wanted.accept_name(&name) && wanted.accept_le(&bound) {
                forms.views.push((view, name, bound));
            }
        }
        forms
    }
}

/// The newest sample of the selection, where it is at hand and nothing in blocks is newer.
fn newest(entry: &Entry, selection: &Selection<'_>) -> Option<Sample> {
    let Data::Plain(plain) = &entry.data else { return None };
    let sample = plain.newest(selection.start.saturating_add(1), selection.end)?;
    entry.sealed.is_none_or(|span| span.last < sample.t).then_some(sample)
}
