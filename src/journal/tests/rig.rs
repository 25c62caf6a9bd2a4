//! A journal on a simulated disk, without its threads, for simulations of what stands on it: the caller says
//! what is a group, and when the power goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::super::commit::{Committer, Queued};
use super::super::keeper::Keeper;
use super::super::{Back, Committed, Error, Point, Refused, Status, Taken, recover};
use super::simulated_disk::SimulatedDisk;
use crate::clock::Clock;

/// Committer and keeper, moved by hand.
pub(crate) struct Rig {
    committer: Committer<SimulatedDisk>,
    keeper: Keeper<SimulatedDisk>,
    status: Arc<Status>,
}

impl Rig {
    /// Recovers as a start does.
    pub(crate) fn open(
        disk: &SimulatedDisk,
        clock: Clock,
        back: &mut Back<'_>,
    ) -> Result<Self, Error> {
        let found = recover::recover(&mut disk.clone(), back)?;
        let status = Arc::new(Status::default());
        let keeper = Keeper::new(disk.clone(), Arc::clone(&status), found.spares.clone());
        let committer = Committer::new(disk.clone(), found.position, 1 << 14, clock)
            .with(Arc::clone(&status), found.spares);
        Ok(Self { committer, keeper, status })
    }

    /// Writes and syncs one group, then tells of each. Why it is not on disk, where it is not.
    pub(crate) fn commit(
        &mut self,
        payloads: Vec<Vec<u8>>,
        on_commit: &mut dyn FnMut(Point, usize),
    ) -> Result<(), Refused> {
        let (group, answers): (Vec<_>, Vec<_>) = payloads
            .into_iter()
            .enumerate()
            .map(|(item, payload)| {
                let (answer, durable) = oneshot::channel();
                (Queued { payload, item, answer }, durable)
            })
            .unzip();
        self.committer.commit(group, &mut |Committed { point, item }: Committed<usize>| {
            on_commit(point, item);
        });
        let mut answers = answers.into_iter().map(oneshot::Receiver::blocking_recv);
        answers.try_for_each(|answer| answer.unwrap_or(Err(Refused::Poisoned)).map(drop))
    }

    /// True if the snapshot is on disk and the log cut behind it.
    pub(crate) fn keep(&mut self, taken: Taken) -> bool {
        let before = self.status.snapshots.load(Ordering::Relaxed);
        self.keeper.keep(taken);
        self.status.snapshots.load(Ordering::Relaxed) > before
    }
}
