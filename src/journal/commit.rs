//! The committer: one thread that appends, syncs, tells.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::oneshot;

use super::disk::Disk;
use super::recover::Position;
use super::{Committed, Refused, Status, segment};
use crate::clock::Clock;
use crate::signal::Timestamp;

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
    buffer: Vec<u8>,
}

impl<D: Disk> Committer<D> {
    pub(super) fn new(
        disk: D,
        position: Position,
        segment_bytes_max: u64,
        clock: Clock,
        status: Arc<Status>,
    ) -> Self {
        Self { disk, position, segment_bytes_max, clock, status, buffer: Vec::new() }
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
    }

    /// Writes and syncs one group, then tells. False: the disk failed, nobody was told.
    pub(super) fn commit<T>(
        &mut self,
        group: Vec<Queued<T>>,
        on_commit: &mut impl FnMut(Committed<T>),
    ) -> bool {
        let stamps = match self.write(&group) {
            Ok(stamps) => stamps,
            Err(error) => {
                // After one failed sync the page cache cannot be trusted (Rebello et al., USENIX ATC
                // 2020): no second try. The next start reads what is really there.
                tracing::error!(event = "journal.sync.failed", %error);
                self.status.poisoned.store(true, Ordering::Release);
                for queued in group {
                    let _ = queued.answer.send(Err(Refused::Poisoned));
                }
                return false;
            }
        };
        for ((seq, log_time), Queued { payload, item, answer }) in stamps.into_iter().zip(group) {
            let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
            self.status.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            on_commit(Committed { seq, log_time, item });
            // A client that has gone is no reason to stop.
            let _ = answer.send(Ok(seq));
        }
        true
    }

    fn write<T>(&mut self, group: &[Queued<T>]) -> std::io::Result<Vec<(u64, Timestamp)>> {
        let name = self.segment()?;
        self.buffer.clear();
        let mut stamps = Vec::with_capacity(group.len());
        let Position { mut chain, mut next_seq, mut log_time, .. } = self.position;
        for queued in group {
            log_time = self.clock.now().max(log_time.saturating_add(Duration::from_nanos(1)));
            chain =
                segment::write_record(&mut self.buffer, chain, next_seq, log_time, &queued.payload);
            stamps.push((next_seq, log_time));
            next_seq += 1;
        }
        self.disk.append(&name, &self.buffer)?;
        self.disk.sync(&name)?;
        let written = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.position.segment_bytes += written;
        self.status.disk_bytes.fetch_add(written, Ordering::Relaxed);
        (self.position.chain, self.position.next_seq, self.position.log_time) =
            (chain, next_seq, log_time);
        Ok(stamps)
    }

    /// The segment that takes the next group; a new one where there is none or it is full.
    fn segment(&mut self) -> std::io::Result<String> {
        if let Some(name) = &self.position.segment
            && self.position.segment_bytes < self.segment_bytes_max
        {
            return Ok(name.clone());
        }
        let name = segment::file_name(self.position.next_seq);
        let header = segment::header(self.position.next_seq, self.position.chain);
        self.disk.create(&name)?;
        self.disk.append(&name, &header)?;
        self.disk.sync(&name)?;
        self.disk.sync_dir()?;
        let written = u64::try_from(header.len()).unwrap_or(u64::MAX);
        self.status.disk_bytes.fetch_add(written, Ordering::Relaxed);
        self.position.segment = Some(name.clone());
        self.position.segment_bytes = written;
        Ok(name)
    }
}
