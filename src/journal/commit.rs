//! The committer: one thread that writes, syncs, tells.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::oneshot;

use super::disk::Disk;
use super::keeper::{self, Spares};
use super::mark::{self, Mark};
use super::recover::Position;
use super::segment::{Head, Rank};
use super::snapshot::Point;
use super::{Committed, Refused, Status, segment};
use crate::clock::Clock;
use crate::number::u64_from_usize;

/// Bytes of one group; what queues beyond them is the next group.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// A record that waits.
#[derive(Debug)]
pub(super) struct Queued<T> {
    pub(super) payload: Vec<u8>,
    pub(super) item: T,
    pub(super) answer: oneshot::Sender<Result<u64, Refused>>,
}

impl<T> Queued<T> {
    /// At most what it takes on disk; never 0, so that empty payloads end a group too.
    const fn bytes(&self) -> usize {
        segment::RECORD_HEAD_BYTES + self.payload.len()
    }
}

#[derive(Debug)]
pub(super) struct Committer<D> {
    disk: D,
    position: Position,
    segment_bytes_max: u64,
    clock: Clock,
    status: Arc<Status>,
    spares: Spares,
    buffer: Vec<u8>,
}

impl<D: Disk> Committer<D> {
    pub(super) fn new(disk: D, position: Position, segment_bytes_max: u64, clock: Clock) -> Self {
        let (status, spares) = (Arc::default(), Spares::default());
        Self { disk, position, segment_bytes_max, clock, status, spares, buffer: Vec::new() }
    }

    /// Whom to tell, and where emptied files come from.
    pub(super) fn with(self, status: Arc<Status>, spares: Spares) -> Self {
        Self { status, spares, ..self }
    }

    /// Runs until the queue closes or the disk fails.
    pub(super) fn run<T>(
        mut self,
        queue: &Receiver<Queued<T>>,
        mut on_commit: impl FnMut(Committed<T>),
    ) {
        while let Ok(first) = queue.recv() {
            let mut group = vec![first];
            let mut bytes = group.iter().map(Queued::bytes).sum::<usize>();
            while bytes < GROUP_BYTES_MAX
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.bytes();
                group.push(next);
            }
            if !self.commit(group, &mut on_commit) {
                // Whoever still waits must not be told that anything is on disk.
                while let Ok(queued) = queue.try_recv() {
                    let _ = queued.answer.send(Err(Refused::Poisoned));
                }
                return;
            }
        }
        // All of it is synced; the mark need not be behind at the next start.
        if let Err(error) = self.disk.sync(mark::FILE) {
            tracing::debug!(%error, "the mark stays behind");
        }
    }

    /// Writes and syncs one group, then tells. False: the disk failed, nobody was told.
    pub(super) fn commit<T>(
        &mut self,
        group: Vec<Queued<T>>,
        on_commit: &mut impl FnMut(Committed<T>),
    ) -> bool {
        let bytes: usize = group.iter().map(|queued| queued.payload.len()).sum();
        self.status.queued_bytes.fetch_sub(u64_from_usize(bytes), Ordering::Relaxed);
        if self.status.poisoned.load(Ordering::Acquire) {
            refuse(group, Refused::Poisoned);
            return false;
        }
        match self.write(&group) {
            Ok(points) => {
                for (point, Queued { item, answer, .. }) in points.into_iter().zip(group) {
                    on_commit(Committed { point, item });
                    // A client that has gone is no reason to stop.
                    let _ = answer.send(Ok(point.seq));
                }
                true
            }
            Err(Failed::NoSpace) => {
                refuse(group, Refused::DiskFull);
                true
            }
            Err(Failed::Disk(error)) => {
                // After one failed sync the page cache cannot be trusted (Rebello et al., USENIX ATC
                // 2020): no second try. The next start reads what is really there.
                tracing::error!(event = "journal.sync.failed", %error);
                self.status.poisoned.store(true, Ordering::Release);
                refuse(group, Refused::Poisoned);
                false
            }
        }
    }

    fn write<T>(&mut self, group: &[Queued<T>]) -> Result<Vec<Point>, Failed> {
        self.buffer.clear();
        let mut points = Vec::with_capacity(group.len());
        let mut last = self.position.last;
        for queued in group {
            let rank = if points.is_empty() { Rank::FirstOfGroup } else { Rank::Further };
            let seq = last.seq + 1;
            let log_time =
                self.clock.now().max(last.log_time.saturating_add(Duration::from_nanos(1)));
            let head = Head { seq, log_time, rank };
            let chain = segment::write_record(&mut self.buffer, last.chain, head, &queued.payload);
            last = Point { seq, log_time, chain };
            points.push(last);
        }
        let name = self.place()?;
        self.disk.sync(&name)?;
        let written = u64_from_usize(self.buffer.len());
        self.position.segment_bytes += written;
        let grown = self.position.segment_bytes.saturating_sub(self.position.segment_length);
        self.position.segment_length += grown;
        self.position.last = last;
        self.status.disk_bytes.fetch_add(grown, Ordering::Relaxed);
        self.status.since_snapshot.fetch_add(written, Ordering::Relaxed);
        if let Err(error) = (Mark { seq: last.seq, chain: last.chain }).write(&mut self.disk) {
            // It may be behind; a disk that fails says so at the next sync.
            tracing::debug!(%error, "the mark stays behind");
        }
        Ok(points)
    }

    /// Puts the buffer behind the last record. A write that finds no space has changed nothing that
    /// anybody was told: the same is written into a file whose blocks are ours, a spare one or the reserve.
    fn place(&mut self) -> Result<String, Failed> {
        match self.try_place() {
            Err(Failed::NoSpace) => {
                self.status.disk_full.store(true, Ordering::Release);
                self.begin_in_what_is_ours();
                self.try_place()
            }
            placed => placed,
        }
    }

    /// The next group begins a segment, in a file that was filled before.
    fn begin_in_what_is_ours(&mut self) {
        if !self.spares.is_empty() {
            self.position.segment = None;
            return;
        }
        let name = segment::file_name(self.position.last.seq + 1).replace(".journal", ".spare");
        match keeper::use_reserve(&mut self.disk, &name) {
            Ok(()) => {
                let length = self.disk.len(&name).unwrap_or(0);
                self.status.disk_bytes.fetch_add(length, Ordering::Relaxed);
                self.spares.put(name);
                self.position.segment = None;
            }
            Err(error) => tracing::debug!(%error, "there is no reserve to use"),
        }
    }

    fn try_place(&mut self) -> Result<String, Failed> {
        let name = self.segment()?;
        let at = self.position.segment_bytes;
        self.disk.write_at(&name, at, &self.buffer).map_err(Failed::of_write)?;
        Ok(name)
    }

    /// The segment that takes the next group; another one where there is none or it is full.
    fn segment(&mut self) -> Result<String, Failed> {
        if let Some(name) = &self.position.segment
            && self.position.segment_bytes < self.segment_bytes_max
        {
            return Ok(name.clone());
        }
        let Point { seq, chain, .. } = self.position.last;
        let name = segment::file_name(seq + 1);
        let header = segment::header(seq + 1, chain);
        let spare = self.spares.take();
        let file = spare.as_deref().unwrap_or(keeper::FRESH);
        if spare.is_none() {
            self.disk.create(file).map_err(Failed::of_write)?;
        }
        // The header is there before the name is: a segment never begins with what the file held before.
        self.disk.write_at(file, 0, &header).map_err(Failed::of_write)?;
        self.disk.sync(file)?;
        let length = self.disk.len(file)?;
        self.disk.rename(file, &name)?;
        self.disk.sync_dir()?;
        if spare.is_none() {
            self.status.disk_bytes.fetch_add(length, Ordering::Relaxed);
        }
        self.position.segment = Some(name.clone());
        self.position.segment_bytes = u64_from_usize(header.len());
        self.position.segment_length = length;
        Ok(name)
    }
}

fn refuse<T>(group: Vec<Queued<T>>, refused: Refused) {
    for queued in group {
        let _ = queued.answer.send(Err(refused));
    }
}

/// Why a group is not on disk.
#[derive(Debug)]
enum Failed {
    /// A write was refused before anything was synced; there may be space later.
    NoSpace,
    Disk(std::io::Error),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Failed {
    /// Only of a write: a sync that fails for want of space has lost pages (ext4 on a full host did).
    fn of_write(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Disk(error),
        }
    }
}
