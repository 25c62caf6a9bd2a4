//! Maps and sets of the engine that nearly always hold one or two entries: a tree's first leaf has room for
//! eleven, which is most of the memory of an open request. Few lie sorted in a vector; many, in a tree.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As many lie in a vector.
const FEW: usize = 16;

/// A sorted map. In a snapshot it is what a tree would be.
#[derive(Clone)]
pub(super) enum FewMap<K, V> {
    Few(Vec<(K, V)>),
    Many(BTreeMap<K, V>),
}

/// A sorted set.
pub(super) type FewSet<K> = FewMap<K, ()>;

impl<K, V> Default for FewMap<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

/// Shows the entries: a map that was large once is no other than one that never was.
impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for FewMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for FewMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K, V> FewMap<K, V> {
    pub(super) fn into_keys(self) -> impl Iterator<Item = K> {
        let (few, many) = match self {
            Self::Few(few) => (few, None),
            Self::Many(many) => (Vec::new(), Some(many)),
        };
        few.into_iter().map(|(key, _)| key).chain(many.into_iter().flatten().map(|(key, _)| key))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => (<&[_]>::default(), Some(many)),
        };
        few.iter().map(|(key, value)| (key, value)).chain(many.into_iter().flatten())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        let (few, many) = match self {
            Self::Few(few) => (few.as_mut_slice(), None),
            Self::Many(many) => (<&mut [_]>::default(), Some(many)),
        };
        few.iter_mut().map(|(key, value)| (&*key, value)).chain(many.into_iter().flatten())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(super) fn first(&self) -> Option<&K> {
        self.keys().next()
    }
}

impl<K: Ord, V> FewMap<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::Few(few) => few.get(place(few, key).ok()?).map(|(_, value)| value),
            Self::Many(many) => many.get(key),
        }
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::Few(few) => {
                let place = place(few, key).ok()?;
                few.get_mut(place).map(|(_, value)| value)
            }
            Self::Many(many) => many.get_mut(key),
        }
    }

    /// Gives what was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Self::Few(few) = self {
            match place(few, &key) {
                Ok(place) => {
                    return few.get_mut(place).map(|(_, own)| std::mem::replace(own, value));
                }
                Err(place) if few.len() < FEW => {
                    if few.is_empty() {
                        few.reserve_exact(1);
                    }
                    few.insert(place, (key, value));
                    return None;
                }
                Err(_) => {
                    let few = std::mem::take(few);
                    *self = Self::Many(few.into_iter().collect());
                }
            }
        }
        match self {
            Self::Many(many) => many.insert(key, value),
            Self::Few(_) => None,
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        match self {
            Self::Few(few) => {
                let place = place(few, key).ok()?;
                Some(few.remove(place).1)
            }
            Self::Many(many) => many.remove(key),
        }
    }
}

impl<K: Ord + Clone, V: Default> FewMap<K, V> {
    /// Changes the value of a key, which is made if there is none.
    pub(super) fn update(&mut self, key: &K, change: impl FnOnce(&mut V)) {
        if let Some(value) = self.get_mut(key) {
            return change(value);
        }
        let mut value = V::default();
        change(&mut value);
        self.insert(key.clone(), value);
    }
}

fn place<K: Ord, V>(few: &[(K, V)], key: &K) -> Result<usize, usize> {
    few.binary_search_by(|(own, _)| own.cmp(key))
}

impl<K: Ord, V> FromIterator<(K, V)> for FewMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::default();
        entries.into_iter().for_each(|(key, value)| drop(map.insert(key, value)));
        map
    }
}

impl<K: Serialize, V: Serialize> Serialize for FewMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        self.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for FewMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = FewMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = FewMap::default();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever goes in and out, it is what a tree would be, also when it is written and read.
        #[test]
        fn a_map_is_what_a_tree_is(steps in prop::collection::vec((0_u8..40, any::<bool>()), 0..120)) {
            let (mut map, mut model) = (FewMap::default(), BTreeMap::new());
            for (n, (key, goes_in)) in steps.into_iter().enumerate() {
                if goes_in {
                    prop_assert_eq!(map.insert(key, n), model.insert(key, n));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.first(), model.keys().next());
            }
            let written = postcard::to_stdvec(&map).unwrap();
            prop_assert_eq!(&written, &postcard::to_stdvec(&model).unwrap());
            prop_assert_eq!(postcard::from_bytes::<FewMap<u8, usize>>(&written).unwrap(), map);
        }
    }
}
