//! Many small records that come and go in about the same order, packed side by side.
//!
//! Bytes come in and a handle goes out. An allocation for each record would leave pages that are mostly
//! free between those that live long; here a segment goes as a whole once its records are gone, and one
//! that is mostly gone is packed anew. A clone shares the segments, for a snapshot that is being written.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::number::{u32_from_usize, usize_from_u32};

/// Room of a segment; a record that is larger has one of its own.
const SEGMENT_BYTES: usize = 1 << 16;
/// Before each record: its handle and its length.
const HEAD_BYTES: usize = 8;

/// Names a record for as long as it lies here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    segment: u32,
    from: u32,
}

const NOWHERE: Spot = Spot { segment: u32::MAX, from: 0 };

#[derive(Clone, Debug, Default)]
struct Segment {
    bytes: Arc<Vec<u8>>,
    /// Of records that are still here.
    n_live: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    segments: Vec<Segment>,
    /// Where what comes next goes.
    open: Option<u32>,
    free_segments: Vec<u32>,
    spots: Vec<Spot>,
    free_handles: Vec<u32>,
}

impl Shelf {
    pub(crate) fn put(&mut self, record: &[u8]) -> Handle {
        let handle = self.free_handles.pop().unwrap_or_else(|| {
            self.spots.push(NOWHERE);
            u32_from_usize(self.spots.len() - 1)
        });
        self.put_as(handle, record);
        Handle(handle)
    }

    fn put_as(&mut self, handle: u32, record: &[u8]) {
        let n_bytes = HEAD_BYTES + record.len();
        let number = self.with_room_for(n_bytes);
        let Some(segment) = self.segments.get_mut(usize_from_u32(number)) else { return };
        // Where a snapshot shares it, there was said to be no room.
        let Some(bytes) = Arc::get_mut(&mut segment.bytes) else { return };
        let from = u32_from_usize(bytes.len());
        bytes.extend(handle.to_le_bytes());
        bytes.extend(u32_from_usize(record.len()).to_le_bytes());
        bytes.extend_from_slice(record);
        segment.n_live += n_bytes;
        if let Some(spot) = self.spots.get_mut(usize_from_u32(handle)) {
            *spot = Spot { segment: number, from };
        }
    }

    /// The segment that takes so many bytes.
    fn with_room_for(&mut self, n_bytes: usize) -> u32 {
        if let Some(open) = self.open
            && let Some(segment) = self.segments.get_mut(usize_from_u32(open))
            && Arc::get_mut(&mut segment.bytes)
                .is_some_and(|bytes| bytes.capacity() - bytes.len() >= n_bytes)
        {
            return open;
        }
        let number = self.free_segments.pop().unwrap_or_else(|| {
            self.segments.push(Segment::default());
            u32_from_usize(self.segments.len() - 1)
        });
        if let Some(segment) = self.segments.get_mut(usize_from_u32(number)) {
            let bytes = Vec::with_capacity(n_bytes.max(SEGMENT_BYTES));
            *segment = Segment { bytes: Arc::new(bytes), n_live: 0 };
        }
        if let Some(before) = self.open.replace(number) {
            self.tidy(before);
        }
        number
    }

    /// Nothing where there is none.
    pub(crate) fn get(&self, handle: Handle) -> &[u8] {
        let spot = self.spots.get(usize_from_u32(handle.0));
        spot.and_then(|spot| self.at(*spot)).map_or(&[], |(_, record)| record)
    }

    fn at(&self, spot: Spot) -> Option<(u32, &[u8])> {
        let segment = self.segments.get(usize_from_u32(spot.segment))?;
        read(segment.bytes.get(usize_from_u32(spot.from)..)?)
    }

    pub(crate) fn remove(&mut self, handle: Handle) {
        let Some(spot) = self.spots.get_mut(usize_from_u32(handle.0)) else { return };
        let spot = std::mem::replace(spot, NOWHERE);
        let Some((_, record)) = self.at(spot) else { return };
        let n_bytes = HEAD_BYTES + record.len();
        self.free_handles.push(handle.0);
        if let Some(segment) = self.segments.get_mut(usize_from_u32(spot.segment)) {
            segment.n_live -= n_bytes;
        }
        self.tidy(spot.segment);
    }

    /// Packs what is left of a segment anew, where less than half of it is.
    fn tidy(&mut self, number: u32) {
        if self.open == Some(number) {
            return;
        }
        let Some(segment) = self.segments.get_mut(usize_from_u32(number)) else { return };
        if segment.n_live >= segment.bytes.len().div_ceil(2) {
            return;
        }
        let Segment { bytes, .. } = std::mem::take(segment);
        let mut from = 0;
        while let Some((handle, record)) = bytes.get(from..).and_then(read) {
            let own = Spot { segment: number, from: u32_from_usize(from) };
            if self.spots.get(usize_from_u32(handle)) == Some(&own) {
                self.put_as(handle, record);
            }
            from += HEAD_BYTES + record.len();
        }
        self.free_segments.push(number);
    }
}

/// The handle and the record that begin here.
fn read(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (handle, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let record = rest.get(..usize_from_u32(u32::from_le_bytes(*length)))?;
    Some((u32::from_le_bytes(*handle), record))
}

/// Bytes of a snapshot as bytes, not one by one.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(d).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn n_held(shelf: &Shelf) -> usize {
        shelf.segments.iter().map(|segment| segment.bytes.len()).sum()
    }

    proptest! {
        /// Whatever comes and goes, in whatever order and beside whatever snapshots: each record is what it
        /// was, a snapshot is what it was when it was taken, and what is gone takes at most as much again.
        #[test]
        fn records_stay_what_they_were(
            steps in prop::collection::vec((0_usize..40, 0_usize..30_000, 0_u8..8), 1..200),
        ) {
            let mut shelf = Shelf::default();
            let mut model: BTreeMap<usize, (Handle, Vec<u8>)> = BTreeMap::new();
            let mut snapshot = None;
            for (n, (key, length, what)) in steps.into_iter().enumerate() {
                if let Some((handle, _)) = model.remove(&key) {
                    shelf.remove(handle);
                } else if what == 0 {
                    snapshot = Some((shelf.clone(), model.clone()));
                } else {
                    let record = vec![u8::try_from(n % 256).unwrap(); length];
                    model.insert(key, (shelf.put(&record), record));
                }
                for (handle, record) in model.values() {
                    prop_assert_eq!(shelf.get(*handle), record.as_slice());
                }
                if let Some((shelf, model)) = &snapshot {
                    for (handle, record) in model.values() {
                        prop_assert_eq!(shelf.get(*handle), record.as_slice());
                    }
                }
                let live: usize = model.values().map(|(_, own)| HEAD_BYTES + own.len()).sum();
                prop_assert!(n_held(&shelf) <= 2 * live + 2 * SEGMENT_BYTES);
            }
        }
    }

    #[test]
    fn what_is_gone_takes_nothing() {
        let mut shelf = Shelf::default();
        for _ in 0..3 {
            let handles: Vec<Handle> = (0..10_000).map(|_| shelf.put(&[7; 100])).collect();
            let n_segments = shelf.segments.len();
            assert!(n_segments > 10);
            handles.into_iter().for_each(|handle| shelf.remove(handle));
            assert!(n_held(&shelf) <= SEGMENT_BYTES);
            assert!(shelf.segments.len() <= n_segments + 1, "numbers are used again");
        }
    }
}
