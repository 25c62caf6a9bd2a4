//! Hash tables of the engine: seeded for each process, since attackers choose keys, and four times as
//! fast on short keys as the standard library's hasher. Nobody may depend on their order.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Tables with less room than this are left as they are.
const ROOM_MIN: usize = 4_096;

pub(super) type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
pub(super) type Set<K> = HashSet<K, foldhash::fast::RandomState>;

/// Gives back the room of a table that was much larger once.
pub(super) fn shrink<K: Eq + Hash, V>(table: &mut Table<K, V>) {
    if table.capacity() > ROOM_MIN && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
    }
}
