//! Pieces of blocks that were read lately, decompressed: rules read the same hours every second.
//!
//! Two generations: what is read moves to the young one; when that is full it becomes the old one, and
//! the old one goes. What is never true: more than [`BYTES_MAX`] held (and one piece beyond).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::block::Index;

/// Of both generations.
const BYTES_MAX: usize = 32 << 20;

/// A block, and the number of its group, or `u32::MAX` for its index.
type Key = (u64, u32);

#[derive(Clone, Debug)]
pub(crate) enum Held {
    Index(Arc<Index>),
    Group(Arc<[u8]>),
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, (Held, usize)>,
    old: HashMap<Key, (Held, usize)>,
    young_bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Generations>);

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        // A map of copies is as good after a panic as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: Key) -> Option<Held> {
        let mut held = self.lock();
        if let Some((found, _)) = held.young.get(&key) {
            return Some(found.clone());
        }
        let (found, size) = held.old.remove(&key)?;
        held.put(key, found.clone(), size);
        Some(found)
    }

    pub(crate) fn put(&self, key: Key, piece: Held, size: usize) {
        self.lock().put(key, piece, size);
    }
}

impl Generations {
    fn put(&mut self, key: Key, piece: Held, size: usize) {
        if self.young_bytes + size > BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if let Some((_, before)) = self.young.insert(key, (piece, size)) {
            self.young_bytes = self.young_bytes.saturating_sub(before);
        }
        self.young_bytes += size;
    }
}
