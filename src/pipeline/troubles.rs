//! Troubles: what is wrong with the data directory, the clock or a notifier while the daemon goes on.
//!
//! What recovery found, the journal's health, the clock and attempts to deliver come in; findings and the reasons why the
//! daemon is not ready go out. Never is a trouble counted without being shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::failing::Failing;
use super::refusing::{Refusing, SAID_FOR};
use super::threads::Log;
use crate::clock::{Clock, Stopwatch};
use crate::internal_telemetry::happening::{TroubleEnded, TroubleFound};
use crate::internal_telemetry::{JournalSeen, Metrics};
use crate::journal;
use crate::notify::{Failure, Message};
use crate::serve::starting::Start;
use crate::signal::Timestamp;

/// The wall clock may differ from the monotonic one by this much between two ticks before it counts as
/// stepped: slewing and a busy machine stay below.
pub(super) const STEP_MIN: Duration = Duration::from_secs(5);
/// Troubles that are shown; of more only the newest.
const SHOWN_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    DamagedSnapshot,
    TornTail,
    /// Damage that was repaired; what was damaged is still there.
    JournalDamaged,
    /// A record that the state could not take.
    RecordSkipped,
    ArchiveLost,
    ClockStep,
    DiskFull,
    SnapshotsFail,
    FewDescriptors,
    /// Others on the machine may read the data directory.
    OpenDataDir,
    CertificateRefused,
    CertificateEnds,
}

impl Kind {
    /// It lasts until it is over, and is one however often it is found meanwhile.
    const fn lasts(self) -> bool {
        matches!(
            self,
            Self::DiskFull | Self::SnapshotsFail | Self::CertificateRefused | Self::CertificateEnds
        )
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::DamagedSnapshot => "damaged_snapshot",
            Self::TornTail => "torn_tail",
            Self::JournalDamaged => "journal_damaged",
            Self::RecordSkipped => "record_skipped",
            Self::ArchiveLost => "archive_lost",
            Self::ClockStep => "clock_step",
            Self::DiskFull => "disk_full",
            Self::SnapshotsFail => "snapshots_fail",
            Self::FewDescriptors => "few_descriptors",
            Self::OpenDataDir => "open_data_dir",
            Self::CertificateRefused => "certificate_refused",
            Self::CertificateEnds => "certificate_ends",
        }
    }
}

/// What is said of a trouble in `/api/findings`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Told {
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) since: Timestamp,
    /// It lasted until then; not there while it lasts, and of what has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// All troubles since the start. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Troubles {
    held: Arc<Mutex<Held>>,
    pub(super) progress: Progress,
    metrics: Arc<Metrics>,
}

/// How far recovery is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Reached>);

#[derive(Debug, Default)]
struct Reached {
    records: AtomicU64,
    /// Nanoseconds of log time; 0: nothing was replayed yet.
    log_time: AtomicU64,
}

impl Progress {
    /// A record was applied again.
    pub(super) fn replayed(&self, log_time: Timestamp) {
        self.0.records.fetch_add(1, Ordering::Relaxed);
        self.0.log_time.store(log_time.as_nanos(), Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Held {
    log: Option<Log>,
    found: Vec<Told>,
    failing: Failing,
    refusing: Refusing,
    /// What the journal said when it was asked last.
    health: journal::Health,
    /// When it was asked last.
    seen_at: Timestamp,
    is_stopping: bool,
}

impl Troubles {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { held: Arc::default(), progress: Progress::default(), metrics }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, trouble: &Trouble, at: Timestamp) {
        let Trouble { kind, message } = trouble;
        TroubleFound { kind: kind.as_str(), message, lasts: kind.lasts() }.emit(&self.metrics);
        let mut held = self.held();
        let is_same = |told: &&mut Told| told.kind == kind.as_str() && told.until.is_none();
        if kind.lasts()
            && let Some(told) = held.found.iter_mut().find(is_same)
        {
            told.message.clone_from(message);
            return;
        }
        if held.found.len() >= SHOWN_MAX {
            held.found.remove(0);
        }
        let told = Told { kind: kind.as_str(), message: message.clone(), since: at, until: None };
        held.found.push(told);
    }

    /// A trouble that lasted is over, if it was there: it is said as what was, for a while.
    pub(super) fn over(&self, kind: Kind, was: &str, at: Timestamp) {
        let mut held = self.held();
        let lasting =
            held.found.iter_mut().filter(|told| told.kind == kind.as_str() && told.until.is_none());
        let mut is_news = false;
        for told in lasting {
            was.clone_into(&mut told.message);
            told.until = Some(at);
            is_news = true;
        }
        drop(held);
        if is_news {
            TroubleEnded { kind: kind.as_str() }.emit(&self.metrics);
        }
    }

    /// Recovery is over: from now on the journal is asked how it is.
    pub(super) fn watch(&self, log: Log) {
        self.held().log = Some(log);
    }

    pub(super) fn stopping(&self) {
        let mut held = self.held();
        held.is_stopping = true;
        held.log = None;
    }

    /// Looks at the journal, once a tick.
    pub(super) fn look(&self, at: Timestamp) {
        let Some(health) = self.held().log.as_ref().map(Log::health) else { return };
        self.see(health, at);
    }

    /// Tells what has got worse since the journal was asked last, and what is over.
    pub(super) fn see(&self, health: journal::Health, at: Timestamp) {
        let journal::Health { disk_bytes, is_disk_full, snapshots, snapshots_failed, .. } = health;
        self.metrics.note_journal(JournalSeen { disk_bytes, is_disk_full });
        let before = {
            let mut held = self.held();
            held.seen_at = at;
            held.found.retain(|told| told.until.is_none_or(|until| at.since(until) < SAID_FOR));
            held.refusing.look(self.metrics.refusals(), at);
            std::mem::replace(&mut held.health, health)
        };
        if is_disk_full && !before.is_disk_full {
            let message = "the disk is full: batches are refused, alerting goes on from the reserve; make space";
            self.add(&Trouble { kind: Kind::DiskFull, message: message.to_owned() }, at);
        } else if !is_disk_full {
            let was =
                "the disk was full and batches were refused; there is space, and they are taken";
            self.over(Kind::DiskFull, was, at);
        }
        if snapshots_failed > before.snapshots_failed {
            let message = "a snapshot could not be written: the log is kept and grows until one can; why is in the daemon's log (`journal.snapshot.failed`)";
            self.add(&Trouble { kind: Kind::SnapshotsFail, message: message.to_owned() }, at);
        } else if snapshots > before.snapshots {
            let was = "snapshots could not be written and the log grew; one was written since";
            self.over(Kind::SnapshotsFail, was, at);
        }
    }

    /// An attempt to deliver a message ended.
    pub(super) fn attempted(&self, message: &Message, failure: Option<&Failure>, at: Timestamp) {
        let (said, is_over) = {
            let failing = &mut self.held().failing;
            let had_trouble = failing.has_trouble();
            let said = failing.attempted(message, failure, at);
            (said, had_trouble && !failing.has_trouble())
        };
        if let Some(message) = said {
            TroubleFound { kind: "notifier_fails", message: &message, lasts: true }
                .emit(&self.metrics);
        }
        if is_over {
            TroubleEnded { kind: "notifier_fails" }.emit(&self.metrics);
        }
    }

    /// For `/api/findings`.
    pub(super) fn findings(&self) -> Vec<Told> {
        let held = self.held();
        let refusing = held.refusing.finding(held.seen_at);
        held.found.iter().cloned().chain(held.failing.findings()).chain(refusing).collect()
    }

    /// How far the start is: over when what is shown is the whole state.
    pub(super) fn start(&self) -> Start {
        let Reached { records, log_time } = &*self.progress.0;
        let held = self.held();
        Start {
            records: records.load(Ordering::Relaxed),
            reached: Some(log_time.load(Ordering::Relaxed))
                .filter(|nanos| *nanos > 0)
                .map(Timestamp::from_nanos),
            is_over: held.log.is_some() || held.is_stopping,
        }
    }

    /// Why no work can be taken; none: ready.
    pub(super) fn reasons(&self) -> Vec<String> {
        let start = self.start();
        let held = self.held();
        if held.is_stopping {
            return vec!["the daemon is stopping".to_owned()];
        }
        let Some(log) = &held.log else { return vec![start.to_string()] };
        let health = log.health();
        let mut reasons = Vec::new();
        if health.is_poisoned {
            reasons.push("the disk failed".to_owned());
        }
        if health.is_disk_full {
            reasons.push("the disk is full: batches are refused".to_owned());
        }
        reasons
    }
}

/// Compares the wall clock with the monotonic one.
#[derive(Debug)]
pub(super) struct StepWatch {
    wall: Timestamp,
    since: Stopwatch,
}

impl StepWatch {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { wall: clock.now(), since: Clock::stopwatch() }
    }

    /// What the clock did since the last look, where time alone does not explain it. An accelerated
    /// clock is not watched: it is meant to differ.
    pub(super) fn look(&mut self, clock: &Clock) -> Option<Trouble> {
        let before = std::mem::replace(self, Self::new(clock));
        if clock.is_accelerated() {
            return None;
        }
        let expected = before.wall.saturating_add(before.since.elapsed());
        let (ahead, behind) = (self.wall.since(expected), expected.since(self.wall));
        let message = if ahead >= STEP_MIN {
            format!(
                "the clock was set {ahead:.0?} forward; nothing ages by more than it was watched"
            )
        } else if behind >= STEP_MIN {
            format!("the clock was set {behind:.0?} back; log time waits until it is reached again")
        } else {
            return None;
        };
        Some(Trouble { kind: Kind::ClockStep, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_ready_says_why() {
        let metrics = Metrics::try_new().expect("names are unique");
        let troubles = Troubles::new(Arc::new(metrics));
        assert_eq!(troubles.reasons(), ["replaying the journal: reading the newest snapshot"]);
        assert!(!troubles.start().is_over, "half a state is there");
        troubles.progress.replayed(Timestamp::EPOCH.saturating_add(Duration::from_secs(1)));
        assert_eq!(
            troubles.reasons(),
            [
                "replaying the journal: 1 records so far, up to what came at 1970-01-01T00:00:01.000000000Z"
            ]
        );
        troubles.stopping();
        assert_eq!(troubles.reasons(), ["the daemon is stopping"]);
        assert!(troubles.start().is_over, "what is there is whole");
    }
}
