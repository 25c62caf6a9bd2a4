//! The keeper: a thread beside the committer that writes snapshots, cuts the log behind them, and keeps
//! spare files and the reserve ready.
//!
//! Snapshots come in, not yet in bytes; fewer files go out. Never is a record removed that the older of two snapshots on
//! disk does not hold.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::disk::{Disk, FileId, LOCK};
use super::snapshot::{self, Packed, Point, Snapshot};
use super::{Status, segment};
use crate::number::u64_from_usize;

/// Under this name a segment is begun; it is nothing until it is renamed.
pub(super) const FRESH: &str = "fresh";
/// Space for ticks, alerts and receipts once the disk is full.
const RESERVE: &str = "reserve";
/// The reserve while it is filled: only a whole one is used.
pub(super) const RESERVE_UNFINISHED: &str = "reserve.new";
/// While this file is there nothing is removed or used anew: a copy of the folder is being made.
pub(super) const HOLD: &str = "hold";
/// Snapshots that are kept: one may turn out damaged.
const SNAPSHOTS_KEPT: usize = 2;
/// Emptied files that wait to be used again; more are removed.
const SPARES_MAX: usize = 2;
/// How soon space is noticed after the disk was full.
const SPACE_POLL: Duration = Duration::from_secs(2);
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Gives the sections of a snapshot, one by one; called on the keeper's thread, so it holds its own of all that it
/// needs.
pub(super) type Make = Box<dyn FnOnce(&mut Packed) -> std::io::Result<()> + Send>;

/// A snapshot on its way to the disk.
pub struct Taken {
    /// Behind which record it was taken.
    pub point: Point,
    /// Turns what was taken into bytes, beside the work.
    pub make: Make,
    /// Brings what the snapshot speaks of to disk; an error means that there is no snapshot.
    pub before: Box<dyn FnOnce() -> std::io::Result<()> + Send>,
    /// Called when it is on disk and only one of those before it is kept.
    pub after: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken").field("point", &self.point).finish_non_exhaustive()
    }
}

impl From<Snapshot> for Taken {
    /// One that is in bytes already, and speaks of nothing outside of it.
    fn from(snapshot: Snapshot) -> Self {
        let point = snapshot.point;
        let make = Box::new(move |packed: &mut Packed| {
            snapshot.sections.iter().try_for_each(|section| packed.add(section))
        });
        Self { point, make, before: Box::new(|| Ok(())), after: Box::new(|| ()) }
    }
}

/// Files of former segments, to be overwritten in place: no space is asked for and no metadata changes
/// while records are synced.
#[derive(Clone, Debug, Default)]
pub(super) struct Spares(Arc<Mutex<Vec<String>>>);

impl Spares {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn put(&self, name: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

pub(super) fn is_spare(name: &str) -> bool {
    name.strip_suffix(".spare").is_some_and(|digits| digits.len() == 20)
}

/// Makes the reserve a file that waits to be written over, under this name: its blocks are ours already.
/// Were it removed to make space, whoever filled the disk could take that too.
pub(super) fn use_reserve(disk: &mut impl Disk, spare: &str) -> std::io::Result<()> {
    disk.rename(RESERVE, spare)?;
    disk.sync_dir()
}

#[derive(Debug)]
pub(super) struct Keeper<D> {
    disk: D,
    status: Arc<Status>,
    spares: Spares,
    reserve_bytes: usize,
    /// The lock that this process holds. It stays open, so file systems that make up numbers keep its own.
    lock: Option<FileId>,
}

impl<D: Disk> Keeper<D> {
    pub(super) fn new(mut disk: D, status: Arc<Status>, spares: Spares) -> Self {
        let lock = disk.identity(LOCK).unwrap_or_else(|error| {
            tracing::debug!(%error, "the lock will not be missed");
            None
        });
        Self { disk, status, spares, reserve_bytes: 0, lock }
    }

    pub(super) fn with_reserve(self, reserve_bytes: usize) -> Self {
        Self { reserve_bytes, ..self }
    }

    /// Runs until the channel closes.
    pub(super) fn run(mut self, snapshots: &Receiver<Taken>) {
        if self.reserve_bytes > 0 {
            self.fill_reserve();
        }
        loop {
            match snapshots.recv_timeout(SPACE_POLL) {
                Ok(taken) => {
                    self.keep(taken);
                    self.look_for_the_log();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look_for_the_log();
                    if self.status.disk_full.load(Ordering::Acquire) {
                        self.fill_reserve();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Files that are open can be written to long after their names are gone, as when something cleans up a
    /// temporary folder, or lead to others, as when a copy is put in the folder's place; and no start would
    /// find what was written. Without the lock's name a second daemon may start here. Nothing more may be
    /// acknowledged.
    pub(super) fn look_for_the_log(&mut self) {
        // A folder that cannot be looked at now is a matter of the next sync.
        let Ok(found) = self.disk.identity(LOCK) else { return };
        if self.lock.is_some()
            && found != self.lock
            && !self.status.poisoned.swap(true, Ordering::AcqRel)
        {
            let path = self.disk.path(LOCK);
            tracing::error!(event = "journal.folder.failed", path = %path.display(), "the log's folder was removed or another put in its place; stopping");
        }
    }

    /// Writes one snapshot and removes what it makes needless.
    pub(super) fn keep(&mut self, taken: Taken) {
        let Taken { point, make, before, after } = taken;
        let mut packed = Packed::default();
        let made = before().and_then(|()| make(&mut packed));
        match made.and_then(|()| snapshot::write(&mut self.disk, point, &packed)) {
            Ok(bytes) => {
                self.status.snapshots.fetch_add(1, Ordering::Relaxed);
                self.status.snapshot_bytes.store(bytes, Ordering::Relaxed);
                if let Err(error) = self.cut(after) {
                    tracing::warn!(event = "journal.cut.failed", %error, "the log stays longer than it need be");
                }
            }
            Err(error) => {
                self.status.snapshots_failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(event = "journal.snapshot.failed", %error, "the log is kept; the next snapshot is tried later");
                if let Err(error) = self.disk.remove(snapshot::UNFINISHED) {
                    tracing::debug!(%error, "no unfinished snapshot");
                }
            }
        }
        self.status.snapshot_busy.store(false, Ordering::Release);
    }

    /// Removes all but the two newest snapshots and the segments that the older of them holds, then calls
    /// `after`. Does neither while a copy is made.
    fn cut(&mut self, after: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
        let mut names = self.disk.list()?;
        if names.iter().any(|name| name == HOLD) {
            return Ok(());
        }
        names.sort();
        let snapshots: Vec<u64> =
            names.iter().rev().filter_map(|name| snapshot::seq_of(name)).collect();
        for seq in snapshots.iter().skip(SNAPSHOTS_KEPT) {
            self.disk.remove(&snapshot::file_name(*seq))?;
        }
        self.cut_segments(&names, &snapshots)?;
        after();
        Ok(())
    }

    fn cut_segments(&mut self, names: &[String], snapshots: &[u64]) -> std::io::Result<()> {
        let Some(older) = snapshots.get(SNAPSHOTS_KEPT - 1) else { return Ok(()) };
        let segments: Vec<(&String, u64)> =
            names.iter().filter_map(|name| Some((name, segment::first_seq(name)?))).collect();
        let needless = segments
            .iter()
            .zip(segments.iter().skip(1))
            .filter(|(_, (_, next))| *next <= older + 1)
            .map(|((name, _), _)| *name);
        let mut spares = Vec::new();
        for name in needless {
            if self.spares.len() + spares.len() < SPARES_MAX {
                let spare = name.replace(".journal", ".spare");
                self.disk.rename(name, &spare)?;
                spares.push(spare);
            } else {
                let length = self.disk.len(name)?;
                self.disk.remove(name)?;
                self.status.disk_bytes.fetch_sub(length, Ordering::Relaxed);
            }
        }
        // Only a name that is gone for good may be written over.
        self.disk.sync_dir()?;
        spares.into_iter().for_each(|spare| self.spares.put(spare));
        Ok(())
    }

    /// Asks for the reserve's space. Where it is given, batches are taken again.
    fn fill_reserve(&mut self) {
        match self.try_fill_reserve() {
            Ok(()) => self.status.disk_full.store(false, Ordering::Release),
            Err(error) => {
                if error.kind() != ErrorKind::StorageFull {
                    tracing::warn!(event = "journal.reserve.failed", %error);
                }
                self.status.disk_full.store(true, Ordering::Release);
                if let Err(error) = self.disk.remove(RESERVE_UNFINISHED) {
                    tracing::debug!(%error, "no unfinished reserve");
                }
            }
        }
    }

    fn try_fill_reserve(&mut self) -> std::io::Result<()> {
        let length = u64_from_usize(self.reserve_bytes);
        if length == 0 || self.disk.len(RESERVE).is_ok_and(|found| found >= length) {
            return Ok(());
        }
        self.disk.create(RESERVE_UNFINISHED)?;
        for at in (0..self.reserve_bytes).step_by(ZEROS.len()) {
            self.disk.write_at(RESERVE_UNFINISHED, u64_from_usize(at), &ZEROS)?;
        }
        // Space that is only promised may not be there when it is needed.
        self.disk.sync(RESERVE_UNFINISHED)?;
        self.disk.rename(RESERVE_UNFINISHED, RESERVE)?;
        self.disk.sync_dir()
    }
}
