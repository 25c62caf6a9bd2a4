//! Where each file stands, on disk.
//!
//! The file of places is replaced as a whole and synced, so it is the old one or the new one. A range is
//! noted before it is sent: what is noted is sent again as it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::signal::Fnv128;

/// Places that are remembered of files that are not followed; the oldest inodes go first.
const PLACES_MAX: usize = 10_000;

/// The first bytes of a file: an inode that is used again has others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Of each 32 bytes that were there, a hash.
    parts: Vec<u64>,
}

impl Head {
    /// How much of a file is its head.
    pub(super) const BYTES: usize = 256;
    const PART: usize = 32;

    /// Only whole parts count: a file that grows keeps those that it had. One that had less than a part
    /// is known by its inode and its length alone.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let hash = |part: &[u8]| {
            let hash = Fnv128::default().field(part).finish();
            u64::try_from(hash >> 64).unwrap_or_default()
        };
        Self { parts: bytes.chunks_exact(Self::PART).map(hash).collect() }
    }

    /// Whether a file that had this head may have grown into one with that.
    fn continues_as(&self, now: &Self) -> bool {
        now.parts.starts_with(&self.parts)
    }
}

/// Where a file stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Bytes of it that are on our disk.
    pub(super) offset: u64,
    /// The end of a range that was perhaps sent.
    pub(super) pending: Option<u64>,
    /// How often it began anew.
    pub(super) generation: u64,
    /// Within a line that is too long.
    pub(super) is_skipping: bool,
    head: Head,
}

#[derive(Debug)]
pub(super) struct Places {
    store: PathBuf,
    by_file: BTreeMap<(u64, u64), Place>,
    /// Something moved that is not written down.
    has_changed: bool,
}

/// As it stands on disk; JSON has no keys but text.
#[derive(Serialize, Deserialize)]
struct Stored {
    dev: u64,
    ino: u64,
    #[serde(flatten)]
    place: Place,
}

impl Places {
    /// What is on disk; nothing where nothing is, or where it cannot be read, which is said.
    pub(super) fn load(store: PathBuf) -> Self {
        let read = std::fs::read(&store);
        let stored: Vec<Stored> = match read.map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(stored)) => stored,
            Ok(Err(error)) => {
                tracing::error!(event = "collect.places.failed", %error, "files are read from their beginning");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let by_file = stored.into_iter().map(|one| ((one.dev, one.ino), one.place)).collect();
        Self { store, by_file, has_changed: false }
    }

    /// A file that was found. One that is known goes on; a new one begins at `start`.
    pub(super) fn meet(&mut self, id: (u64, u64), head: &Head, start: u64) {
        match self.by_file.get_mut(&id) {
            Some(place) if place.head.continues_as(head) => place.head = head.clone(),
            Some(place) => place.begin_anew(head),
            None => {
                let place = Place { offset: start, head: head.clone(), ..Place::default() };
                self.by_file.insert(id, place);
            }
        }
    }

    /// Where to read on; a file that was truncated or written anew begins at its beginning.
    pub(super) fn begin(&mut self, id: (u64, u64), head: &Head, length: u64) -> Option<Place> {
        let place = self.by_file.get_mut(&id)?;
        let reached = place.pending.unwrap_or(place.offset);
        if length < reached || !place.head.continues_as(head) {
            place.begin_anew(head);
        }
        place.head = head.clone();
        Some(place.clone())
    }

    /// Notes a range before it is sent; false where that could not be written.
    pub(super) fn intend(&mut self, id: (u64, u64), end: u64) -> bool {
        let Some(place) = self.by_file.get_mut(&id) else { return false };
        if place.pending == Some(end) {
            return true;
        }
        place.pending = Some(end);
        self.save()
    }

    /// A range is on disk. The next note writes it down: until then the range would come again, under
    /// the same name.
    pub(super) fn done(&mut self, id: (u64, u64), end: u64, is_skipping: bool) {
        if let Some(place) = self.by_file.get_mut(&id) {
            (place.offset, place.pending, place.is_skipping) = (end, None, is_skipping);
            self.has_changed = true;
        }
    }

    pub(super) fn forget(&mut self, id: (u64, u64)) {
        self.by_file.remove(&id);
        self.has_changed = true;
    }

    /// Writes down what moved.
    pub(super) fn save_if_changed(&mut self) {
        if self.has_changed {
            self.save();
        }
    }

    fn save(&mut self) -> bool {
        while self.by_file.len() > PLACES_MAX {
            self.by_file.pop_first();
        }
        let stored: Vec<Stored> = self
            .by_file
            .iter()
            .map(|((dev, ino), place)| Stored { dev: *dev, ino: *ino, place: place.clone() })
            .collect();
        let written = replace(&self.store, &stored);
        if let Err(error) = &written {
            tracing::warn!(event = "collect.places.failed", %error, "files are read on when places can be written");
        }
        self.has_changed &= written.is_err();
        written.is_ok()
    }
}

impl Place {
    fn begin_anew(&mut self, head: &Head) {
        *self = Self { generation: self.generation + 1, head: head.clone(), ..Self::default() };
    }
}

fn replace(store: &Path, stored: &[Stored]) -> std::io::Result<()> {
    let dir = store.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(dir)?;
    let fresh = store.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(stored)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, store)?;
    File::open(dir)?.sync_all()
}
