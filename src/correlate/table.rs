//! Hash tables of the engine: seeded for each process, since attackers choose keys, and four times as
//! fast on short keys as the standard library's hasher. Nobody may depend on their order.

use std::collections::{HashMap, HashSet};

pub(super) type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
pub(super) type Set<K> = HashSet<K, foldhash::fast::RandomState>;
