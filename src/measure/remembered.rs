//! What subjects that can still be corrected added, packed.
//!
//! Contributions come in and go out equal. Subjects of one function and outcome add to the same series in
//! the same order: they share that list, and each holds its amounts in a few bytes.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::contribution::{Contribution, Contributions, Id, Kind, Target};
use crate::number::{u32_from_usize, u64_from_f64, usize_from_u32};
use crate::shelf::{Handle, Raw, Shelf};
use crate::signal::{Labels, Timestamp};

/// Lists that are shared; at the bound the cache begins anew, which costs memory and nothing else.
const SHAPES_MAX: usize = 100_000;

/// An amount that does not fit into a byte follows as it is.
const REAL: u8 = u8::MAX;

/// The series that a subject adds to, in order.
#[derive(Debug)]
struct Shape(Box<[Arc<Target>]>);

impl Shape {
    fn is_of(&self, parts: &[Contribution]) -> bool {
        self.0.len() == parts.len()
            && self.0.iter().zip(parts).all(|(own, part)| Arc::ptr_eq(own, &part.target))
    }
}

/// What a subject added: to which series, and where the rest lies.
#[derive(Clone, Debug)]
struct Remembered {
    shape: Arc<Shape>,
    packed: Handle,
}

/// Subjects of one kind by their ids. A clone shares what they added, for a snapshot that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Subjects {
    by_id: HashMap<Id, Remembered, RandomState>,
    shelf: Shelf,
}

impl Subjects {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Remembers what a subject added, in the place of what it added before.
    pub(super) fn insert(&mut self, id: Id, counted: &Contributions, shapes: &mut Shapes) {
        let shape = shapes.of(&counted.parts);
        self.insert_packed(id, shape, &pack(counted));
    }

    fn insert_packed(&mut self, id: Id, shape: Arc<Shape>, packed: &[u8]) {
        let packed = self.shelf.put(packed);
        if let Some(old) = self.by_id.insert(id, Remembered { shape, packed }) {
            self.shelf.remove(old.packed);
        }
    }

    /// Forgets a subject. Gives what it added.
    pub(super) fn remove(&mut self, id: &Id) -> Option<Contributions> {
        let Remembered { shape, packed } = self.by_id.remove(id)?;
        // Whatever is held was packed here, or checked when it was restored.
        let counted = unpack(&shape, self.shelf.get(packed)).unwrap_or_default();
        self.shelf.remove(packed);
        Some(counted)
    }
}

/// Event time, times, exemplar; then the amounts.
fn pack(counted: &Contributions) -> Vec<u8> {
    let header = (counted.at, counted.times, &counted.exemplar);
    let room = Vec::with_capacity(32 + counted.parts.len() * (1 + size_of::<f64>()));
    // A vector takes whatever is written.
    let mut bytes = postcard::to_extend(&header, room).unwrap_or_default();
    for part in &counted.parts {
        if let Some(whole) = small(part.amount) {
            bytes.push(whole);
        } else {
            bytes.push(REAL);
            bytes.extend(part.amount.to_le_bytes());
        }
    }
    bytes
}

fn unpack(shape: &Shape, packed: &[u8]) -> Option<Contributions> {
    let (header, mut amounts): ((Timestamp, u32, Id), _) =
        postcard::take_from_bytes(packed).ok()?;
    let mut parts = Vec::with_capacity(shape.0.len());
    for target in &shape.0 {
        let amount;
        (amount, amounts) = match amounts.split_first()? {
            (&REAL, rest) => {
                let (bytes, rest) = rest.split_first_chunk()?;
                (f64::from_le_bytes(*bytes), rest)
            }
            (&whole, rest) => (f64::from(whole), rest),
        };
        parts.push(Contribution { target: Arc::clone(target), amount });
    }
    let (at, times, exemplar) = header;
    Some(Contributions { at, exemplar, times, parts })
}

/// The amount, where it is a whole number below [`REAL`].
fn small(amount: f64) -> Option<u8> {
    let whole = u8::try_from(u64_from_f64(amount)).ok()?;
    (whole < REAL && f64::from(whole).to_bits() == amount.to_bits()).then_some(whole)
}

/// Lists of series, each held once.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    held: HashMap<u64, Arc<Shape>, RandomState>,
    hasher: RandomState,
}

impl Shapes {
    fn of(&mut self, parts: &[Contribution]) -> Arc<Shape> {
        let mut hasher = self.hasher.build_hasher();
        parts.iter().for_each(|part| hasher.write_usize(Arc::as_ptr(&part.target).addr()));
        let hash = hasher.finish();
        if let Some(held) = self.held.get(&hash).filter(|held| held.is_of(parts)) {
            return Arc::clone(held);
        }
        let shape = Arc::new(Shape(parts.iter().map(|part| Arc::clone(&part.target)).collect()));
        if self.held.len() >= SHAPES_MAX {
            self.held.clear();
        }
        self.held.insert(hash, Arc::clone(&shape));
        shape
    }
}

/// Subjects of one kind, in the order of their ids: the same state gives the same bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct Listed<'a>(#[serde(borrow)] Vec<(Id, u32, Raw<'a>)>);

/// Series and lists of them, each once, in the order in which subjects name them.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Listing {
    targets: Vec<Arc<Target>>,
    shapes: Vec<Vec<u32>>,
}

/// Where they are in a [`Listing`].
#[derive(Default)]
pub(super) struct Places {
    targets: HashMap<(Labels, Kind), u32>,
    shapes: HashMap<Vec<u32>, u32>,
    /// By where they lie in memory, which is nearly always enough.
    known: HashMap<usize, u32, RandomState>,
}

impl Listing {
    pub(super) fn list<'a>(&mut self, subjects: &'a Subjects, places: &mut Places) -> Listed<'a> {
        let mut ids: Vec<(&Id, &Remembered)> = subjects.by_id.iter().collect();
        ids.sort_unstable_by_key(|(id, _)| *id);
        let listed = ids.into_iter().map(|(id, remembered)| {
            let packed = Raw(subjects.shelf.get(remembered.packed));
            (id.clone(), self.place(&remembered.shape, places), packed)
        });
        Listed(listed.collect())
    }

    fn place(&mut self, shape: &Arc<Shape>, places: &mut Places) -> u32 {
        let Places { targets, shapes, known } = places;
        *known.entry(Arc::as_ptr(shape).addr()).or_insert_with(|| {
            let place = |target: &Arc<Target>| {
                *targets.entry(target.named()).or_insert_with(|| {
                    self.targets.push(Arc::clone(target));
                    u32_from_usize(self.targets.len() - 1)
                })
            };
            let of: Vec<u32> = shape.0.iter().map(place).collect();
            *shapes.entry(of).or_insert_with_key(|of| {
                self.shapes.push(of.clone());
                u32_from_usize(self.shapes.len() - 1)
            })
        })
    }

    /// The lists that were saved; none if they name what is not there.
    pub(super) fn shapes(&self) -> Option<Saved> {
        let target = |&place: &u32| self.targets.get(usize_from_u32(place)).map(Arc::clone);
        let shape =
            |of: &Vec<u32>| Some(Arc::new(Shape(of.iter().map(target).collect::<Option<_>>()?)));
        self.shapes.iter().map(shape).collect::<Option<_>>().map(Saved)
    }
}

/// Lists of series that were saved.
pub(super) struct Saved(Vec<Arc<Shape>>);

impl Saved {
    /// The subjects that were listed; none if they are not whole.
    pub(super) fn subjects(&self, listed: Listed<'_>) -> Option<Subjects> {
        let mut subjects = Subjects::default();
        for (id, shape, Raw(packed)) in listed.0 {
            let shape = self.0.get(usize_from_u32(shape))?;
            unpack(shape, packed)?;
            subjects.insert_packed(id, Arc::clone(shape), packed);
        }
        Some(subjects)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::contribution::{LabelCache, Tally};

    proptest! {
        /// Whatever was added comes back as it was, to the bit.
        #[test]
        fn what_was_added_comes_back(
            amounts in prop::collection::vec(
                prop_oneof![
                    (0_u32..600).prop_map(f64::from),
                    prop::num::f64::ANY.prop_filter("never added", |amount| !amount.is_nan()),
                ],
                0..20,
            ),
            nanos in any::<u64>(),
            times in 1..u32::MAX,
            exemplar in "[0-9a-f]{32}|[a-zA-Z0-9-]{0,40}",
        ) {
            let (mut labels, mut shapes) = (LabelCache::default(), Shapes::default());
            let at = Timestamp::from_nanos(nanos);
            let mut tally = Tally::new(&mut labels, at, &exemplar.as_str().into()).times(times);
            for (n, amount) in amounts.iter().enumerate() {
                let place = (n % 7).to_string();
                match n % 3 {
                    0 => tally.observe("bench_seconds", &[("place", &place)], *amount),
                    _ => tally.add("bench_total", &[("place", &place)], *amount),
                }
            }
            let counted = tally.finish();
            let mut subjects = Subjects::default();
            let id = Id::of(&exemplar.as_str().into());
            subjects.insert(id.clone(), &counted, &mut shapes);
            let shape = Arc::clone(&subjects.by_id[&id].shape);
            let back = subjects.remove(&id).unwrap();
            prop_assert_eq!(&back, &counted);
            let bits = |counted: &Contributions| -> Vec<u64> {
                counted.parts.iter().map(|part| part.amount.to_bits()).collect()
            };
            prop_assert_eq!(bits(&back), bits(&counted));
            prop_assert!(Arc::ptr_eq(&shape, &shapes.of(&counted.parts)));
            prop_assert_eq!(subjects.len(), 0);
        }
    }
}
