//! Journal: accepted input on disk, in order, before it is acknowledged.
//!
//! What comes in: opaque payloads with an item that rides along. What goes out: each item after its
//! payload is synced, in order; at recovery, every payload again. Never is a failed sync retried, and
//! never is a record dropped that was known to be on disk.
//!
//! One committer thread appends whatever queued during the last `fdatasync` and syncs it as one group:
//! no timers, no added latency when idle (`segment` has the format, `recover` the way back).

mod commit;
mod disk;
mod recover;
mod segment;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::signal::Timestamp;
use commit::{Committer, Queued};
use disk::{Disk, RealDisk};

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
}

impl Config {
    /// 8 GiB in segments of 64 MiB.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, size_max_bytes: 8 << 30, segment_bytes: 64 << 20 }
    }
}

/// A record that is on disk, and what rode along.
#[derive(Debug)]
pub struct Committed<T> {
    pub seq: u64,
    pub log_time: Timestamp,
    pub item: T,
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
    #[error("the journal has reached its size; make space or raise journal.size_max")]
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
    #[error("{} is damaged at byte {offset}: {reason}. Whole records follow, so this is no unfinished write; move the data directory aside to start anew, nothing in it was changed", path.display())]
    Corrupt { path: PathBuf, offset: u64, reason: &'static str },
    #[error("record {seq} cannot be applied: {reason}")]
    Replay { seq: u64, reason: String },
}

/// The way in. Cheap to clone; the committer ends when [`Journal::close`] is called.
#[derive(Debug)]
pub struct Journal<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Option<SyncSender<Queued<T>>>>,
    status: Arc<Status>,
    size_max_bytes: u64,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Held open: the lock lasts as long as the file does.
    _lock: Option<File>,
}

/// What the committer says of itself.
#[derive(Debug, Default)]
struct Status {
    poisoned: AtomicBool,
    queued_bytes: AtomicU64,
    disk_bytes: AtomicU64,
}

impl<T: Send + 'static> Journal<T> {
    /// Opens or makes the journal in `config.dir`, gives every record to `replay` in order, rewrites an
    /// unproven tail, and starts the committer. `on_commit` is called in order, after the sync and
    /// before the acknowledgement.
    pub fn open(
        config: Config,
        clock: Clock,
        replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
        on_commit: impl FnMut(Committed<T>) + Send + 'static,
    ) -> Result<(Self, Recovery), Error> {
        let disk = RealDisk::open(&config.dir)?;
        let lock = disk.lock()?;
        Self::open_on((disk, Some(lock)), config, clock, replay, on_commit)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the journal owns its configuration")]
    fn open_on(
        disk: (impl Disk, Option<File>),
        config: Config,
        clock: Clock,
        replay: &mut dyn FnMut(Replayed<'_>) -> Result<(), String>,
        on_commit: impl FnMut(Committed<T>) + Send + 'static,
    ) -> Result<(Self, Recovery), Error> {
        let (mut disk, lock) = disk;
        let found = recover::recover(&mut disk, replay)?;
        let status = Arc::new(Status::default());
        status.disk_bytes.store(found.disk_bytes, Ordering::Relaxed);
        let (queue, queued) = std::sync::mpsc::sync_channel(QUEUE_MAX);
        let committer =
            Committer::new(disk, found.position, config.segment_bytes, clock, Arc::clone(&status));
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || committer.run(&queued, on_commit))
            .map_err(|source| Error::Io { path: config.dir.clone(), source })?;
        let shared = Shared {
            queue: Mutex::new(Some(queue)),
            status,
            size_max_bytes: config.size_max_bytes,
            committer: Mutex::new(Some(thread)),
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
            if status.disk_bytes.load(Ordering::Relaxed).saturating_add(bytes)
                > self.shared.size_max_bytes
            {
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

    /// Bytes of all segments.
    pub fn disk_bytes(&self) -> u64 {
        self.shared.status.disk_bytes.load(Ordering::Relaxed)
    }

    /// Takes no more, syncs what is queued, ends the committer. Blocks.
    pub fn close(&self) {
        drop(self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.shared.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(event = "journal.committer.failed");
        }
    }
}
