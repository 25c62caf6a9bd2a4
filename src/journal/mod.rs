//! Journal: accepted input on disk, in order, before it is acknowledged.
//!
//! What comes in: opaque payloads with an item that rides along. What goes out: each item after its
//! payload is synced, in order; at recovery, every payload again. Never is a failed sync retried, and
//! never is a record dropped that was known to be on disk.
//!
//! One committer thread writes whatever queued during the last `fdatasync` and syncs it as one group:
//! no timers, no added latency when idle (`segment` has the format, `recover` the way back). Beside it
//! the keeper writes snapshots and cuts the log behind them.

mod commit;
mod disk;
pub mod inspect;
mod keeper;
mod mark;
mod recover;
pub mod renewal;
pub mod repair;
mod salvage;
mod segment;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::number::usize_from_u64;
use crate::signal::Timestamp;
use commit::{Committer, Queued};
use disk::{Disk, RealDisk};
use keeper::Keeper;
pub use keeper::Taken;
pub use snapshot::{Packed, Point, Section, Snapshot};

/// Records that wait for the committer; more are refused.
const QUEUE_MAX: usize = 4096;
/// Bytes of payloads that wait for the committer; more are refused.
const QUEUE_BYTES_MAX: u64 = 256 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub dir: PathBuf,
    /// Batches are refused when the segments reach this; essential records still pass.
    pub size_max_bytes: u64,
    /// A segment that reaches this is closed and the next one begun.
    pub segment_bytes: u64,
    /// Records of this many bytes make a snapshot due; more where the last one was larger.
    pub snapshot_every_bytes: u64,
    /// Written over by ticks, alerts and receipts when the disk is full; 0: none.
    pub reserve_bytes: usize,
}

/// At some KiB a second, space for ticks, alerts and receipts for an hour; no more than a segment, which
/// it becomes.
const RESERVE_BYTES: usize = 16 << 20;
/// Log, spares and what two snapshots hold fit into the journal's size several times over.
const SEGMENTS_MIN: u64 = 8;
/// Beyond this, files only become unwieldy.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// A snapshot is due after this time even where little was written: how long the log keeps what was
/// received is then a matter of hours.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_hours(1);

impl Config {
    /// Segments of 64 MiB, or an eighth of the size, and a snapshot for each of them.
    pub fn new(dir: PathBuf, size_max_bytes: u64) -> Self {
        let segment_bytes = (size_max_bytes / SEGMENTS_MIN).min(SEGMENT_BYTES_MAX);
        Self {
            dir,
            size_max_bytes,
            segment_bytes,
            snapshot_every_bytes: segment_bytes,
            reserve_bytes: usize_from_u64(segment_bytes).min(RESERVE_BYTES),
        }
    }
}

/// A record that is on disk, and what rode along.
#[derive(Debug)]
pub struct Committed<T> {
    pub point: Point,
    pub item: T,
}

/// What recovery calls.
pub struct Back<'a> {
    /// Takes the state of a snapshot, once at the most with success, before any record. An error means
    /// that nothing of it was taken; then an older one is offered.
    pub restore: &'a mut dyn FnMut(Snapshot) -> Result<(), String>,
    /// Takes every record behind the snapshot, in order.
    pub replay: &'a mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
}

impl std::fmt::Debug for Back<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Back")
    }
}

/// A record read back at recovery.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    pub seq: u64,
    pub log_time: Timestamp,
    pub payload: &'a [u8],
}

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub records: u64,
    pub segments: u64,
    /// Bytes of an unfinished write after the last whole record; nobody was told that they are on disk.
    pub torn_bytes: u64,
    /// Snapshots that could not be read; an older one or the whole log stood in for them.
    pub damaged_snapshots: u64,
    /// Of the last record; the epoch where there is none.
    pub log_time: Timestamp,
}

/// What still passes when space is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Refused at `size_max_bytes`.
    Batch,
    /// Ticks, transitions, receipts: they keep alerting alive.
    Essential,
}

/// Not on disk, and not acknowledged: send it again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too much waits for the disk; send it again later")]
    Full,
    #[error(
        "the disk is full or the journal has reached its size; make space or raise journal.size_max"
    )]
    DiskFull,
    #[error("the disk failed; the daemon is stopping")]
    Poisoned,
}

impl Refused {
    /// All of them: nothing here is the record's fault.
    pub const fn is_retryable(self) -> bool {
        true
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is in use by another daemon; stop it, or choose another --data-dir", .0.display())]
    Locked(PathBuf),
    #[error("{}: written by another version of the format ({found}); this one reads version {}", path.display(), segment::VERSION)]
    Version { path: PathBuf, found: u32 },
    #[error("{} is damaged at byte {offset}: {reason}. This is no unfinished write, and nothing was changed: see `throughline verify` for what is left, `throughline verify --repair` for the way on", path.display())]
    Corrupt { path: PathBuf, offset: u64, reason: &'static str },
    #[error("{}: no snapshot can be taken ({reasons}), and the log was cut behind them; nothing was changed. If another version of throughline wrote them, start that one; if they are damaged, `throughline verify --repair` goes on with what the log still holds", path.display())]
    NoState { path: PathBuf, reasons: String },
    #[error("{}: a repair was cut short; run `throughline verify --repair` on the data directory again, which finishes it", .0.display())]
    RepairUnfinished(PathBuf),
    #[error("{}: an erasure was cut short; run the same `throughline erase` again, which finishes it", .0.display())]
    ErasureUnfinished(PathBuf),
    #[error("record {seq} cannot be applied: {reason}")]
    Replay { seq: u64, reason: String },
}

/// The way in. Cheap to clone; the committer ends when [`Journal::close`] is called.
pub struct Journal<T> {
    shared: Arc<Shared<T>>,
}

impl<T> std::fmt::Debug for Journal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("status", &self.shared.status).finish_non_exhaustive()
    }
}

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    queue: Mutex<Option<SyncSender<Queued<T>>>>,
    /// To the keeper; one snapshot at a time.
    snapshots: Mutex<Option<SyncSender<Taken>>>,
    status: Arc<Status>,
    size_max_bytes: u64,
    snapshot_every_bytes: u64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held open: the lock lasts as long as the file does.
    _lock: Option<File>,
}

/// What committer and keeper say of themselves.
#[derive(Debug, Default)]
struct Status {
    poisoned: AtomicBool,
    /// There is no space but the reserve's.
    disk_full: AtomicBool,
    queued_bytes: AtomicU64,
    disk_bytes: AtomicU64,
    /// Written since the last snapshot was taken.
    since_snapshot: AtomicU64,
    /// Log time of the last snapshot, or of the first question for one, in nanoseconds.
    snapshot_at: AtomicU64,
    snapshot_busy: AtomicBool,
    /// A batch was refused for the journal's size since the last snapshot was taken.
    wants_room: AtomicBool,
    snapshot_bytes: AtomicU64,
    snapshots: AtomicU64,
    snapshots_failed: AtomicU64,
}

/// How the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// A write or sync failed: nothing more will be acknowledged.
    pub is_poisoned: bool,
    /// The disk has no space: batches are refused, ticks and receipts go to the reserve.
    pub is_disk_full: bool,
    /// Bytes of all segments, spare ones included.
    pub disk_bytes: u64,
    pub snapshots: u64,
    pub snapshots_failed: u64,
    /// Of the newest snapshot; 0 before the first.
    pub snapshot_bytes: u64,
}

impl<T: Send + 'static> Journal<T> {
    /// Opens or makes the journal in `config.dir`, gives the newest good snapshot and every record
    /// behind it to `back`, makes what was read durable, and starts. `on_commit` is called in order,
    /// after the sync and before the acknowledgement.
    pub fn open(
        config: Config,
        clock: Clock,
        back: &mut Back<'_>,
        on_commit: impl FnMut(Committed<T>) + Send + 'static,
    ) -> Result<(Self, Recovery), Error> {
        let disk = RealDisk::open(&config.dir)?;
        let lock = disk.lock()?;
        Self::open_on((disk, Some(lock)), config, clock, back, on_commit)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the journal owns its configuration")]
    fn open_on(
        disk: (impl Disk, Option<File>),
        config: Config,
        clock: Clock,
        back: &mut Back<'_>,
        on_commit: impl FnMut(Committed<T>) + Send + 'static,
    ) -> Result<(Self, Recovery), Error> {
        let (mut disk, lock) = disk;
        let mut found = recover::recover(&mut disk, back)?;
        found.recovery.log_time = found.position.last.log_time;
        let status = Arc::new(Status::default());
        status.disk_bytes.store(found.disk_bytes, Ordering::Relaxed);
        status.since_snapshot.store(found.replayed_bytes, Ordering::Relaxed);
        let (queue, queued) = std::sync::mpsc::sync_channel(QUEUE_MAX);
        let (snapshots, taken) = std::sync::mpsc::sync_channel(1);
        let keeper = Keeper::new(disk.another(), Arc::clone(&status), found.spares.clone())
            .with_reserve(config.reserve_bytes);
        let committer = Committer::new(disk, found.position, config.segment_bytes, clock)
            .with(Arc::clone(&status), found.spares);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|source| Error::Io { path: config.dir.clone(), source })
        };
        let threads = vec![
            spawn("journal", Box::new(move || committer.run(&queued, on_commit)))?,
            spawn("keeper", Box::new(move || keeper.run(&taken)))?,
        ];
        let shared = Shared {
            queue: Mutex::new(Some(queue)),
            snapshots: Mutex::new(Some(snapshots)),
            status,
            size_max_bytes: config.size_max_bytes,
            snapshot_every_bytes: config.snapshot_every_bytes,
            threads: Mutex::new(threads),
            _lock: lock,
        };
        Ok((Self { shared: Arc::new(shared) }, found.recovery))
    }

    /// Queues a record. The receiver resolves after the sync, or says why it never will.
    pub fn append(
        &self,
        payload: Vec<u8>,
        item: T,
        priority: Priority,
    ) -> Result<oneshot::Receiver<Result<u64, Refused>>, Refused> {
        let status = &self.shared.status;
        if status.poisoned.load(Ordering::Acquire) {
            return Err(Refused::Poisoned);
        }
        if payload.len() > segment::PAYLOAD_MAX {
            // Recovery would take it for damage: it must not be acknowledged, however essential.
            return Err(Refused::Full);
        }
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        if priority == Priority::Batch {
            if status.disk_full.load(Ordering::Acquire) {
                return Err(Refused::DiskFull);
            }
            if status.disk_bytes.load(Ordering::Relaxed).saturating_add(bytes)
                > self.shared.size_max_bytes
            {
                status.wants_room.store(true, Ordering::Relaxed);
                return Err(Refused::DiskFull);
            }
            if status.queued_bytes.load(Ordering::Relaxed).saturating_add(bytes) > QUEUE_BYTES_MAX {
                return Err(Refused::Full);
            }
        }
        let (answer, durable) = oneshot::channel();
        let queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = queue.as_ref().ok_or(Refused::Full)?;
        status.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        sender.try_send(Queued { payload, item, answer }).map_err(|error| {
            status.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => Refused::Full,
                TrySendError::Disconnected(_) => Refused::Poisoned,
            }
        })?;
        Ok(durable)
    }

    /// A write or sync failed: nothing more will be acknowledged.
    pub fn is_poisoned(&self) -> bool {
        self.shared.status.poisoned.load(Ordering::Acquire)
    }

    pub fn health(&self) -> Health {
        let status = &self.shared.status;
        Health {
            is_poisoned: self.is_poisoned(),
            is_disk_full: status.disk_full.load(Ordering::Acquire),
            disk_bytes: status.disk_bytes.load(Ordering::Relaxed),
            snapshots: status.snapshots.load(Ordering::Relaxed),
            snapshots_failed: status.snapshots_failed.load(Ordering::Relaxed),
            snapshot_bytes: status.snapshot_bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether a snapshot should be taken now, at this log time.
    pub fn is_snapshot_due(&self, now: Timestamp) -> bool {
        let status = &self.shared.status;
        let written = status.since_snapshot.load(Ordering::Relaxed);
        if status.snapshot_busy.load(Ordering::Acquire) || written == 0 {
            return false;
        }
        let at = status.snapshot_at.load(Ordering::Relaxed);
        if at == 0 {
            status.snapshot_at.store(now.as_nanos(), Ordering::Relaxed);
        }
        // A large state is written less often, so that snapshots never outweigh the log. Where the log has
        // reached its size nothing but a snapshot makes room, and too little may be written for one.
        let size =
            status.snapshot_bytes.load(Ordering::Relaxed).min(self.shared.size_max_bytes / 4);
        let is_old = at != 0 && now.since(Timestamp::from_nanos(at)) >= SNAPSHOT_AGE_MAX;
        let wants_room = status.wants_room.load(Ordering::Relaxed);
        written >= self.shared.snapshot_every_bytes.max(size) || is_old || wants_room
    }

    /// Hands a snapshot to the keeper, which writes it beside the work. While one is being written
    /// another is not taken.
    pub fn keep(&self, taken: Taken) {
        let status = &self.shared.status;
        let now = taken.point.log_time.as_nanos();
        status.snapshot_busy.store(true, Ordering::Release);
        let sender = self.shared.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_some_and(|sender| sender.try_send(taken).is_ok()) {
            status.since_snapshot.store(0, Ordering::Relaxed);
            status.wants_room.store(false, Ordering::Relaxed);
            status.snapshot_at.store(now, Ordering::Relaxed);
        } else {
            status.snapshot_busy.store(false, Ordering::Release);
        }
    }

    /// Takes no more, syncs what is queued, ends the threads. Blocks.
    pub fn close(&self) {
        drop(self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.shared.snapshots.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(
            &mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(event = "journal.thread.failed");
            }
        }
    }
}
