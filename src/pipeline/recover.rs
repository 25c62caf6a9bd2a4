//! From a data directory to the state that it holds.
//!
//! The newest good snapshot and the log behind it come in; the state goes out, with what was found
//! wrong. What the log makes again is removed before it is made, so nothing is there twice.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

use super::erase;
use super::skipped::Skipped;
use super::state::{Entry, State, write};
use super::terms::Terms;
use super::threads::{Item, Log};
use super::troubles::{Kind, Progress, STEP_MIN, Trouble};
use crate::archive::{self, Archive};
use crate::clock::Clock;
use crate::config::Config;
use crate::internal_telemetry::happening::JournalReplayed;
use crate::journal::{self, Committed, Journal, Recovery, Snapshot, repair};
use crate::notify;
use crate::series::Series;
use crate::signal::Timestamp;

/// What a start found.
pub(super) struct Recovered {
    pub(super) log: Log,
    pub(super) replayed: JournalReplayed,
    pub(super) troubles: Vec<Trouble>,
    pub(super) skipped: Skipped,
}

/// The folder of the series' blocks.
pub(super) fn blocks(data_dir: &Path) -> PathBuf {
    data_dir.join("series")
}

/// Opens the archive; one that cannot be read is set aside, and said.
pub(super) fn archive(
    data_dir: &Path,
    config: &archive::Config,
) -> Result<(Archive, Option<Trouble>), String> {
    let dir = data_dir.join("archive");
    let error = match Archive::open(&dir, config.clone()) {
        Ok(archive) => return Ok((archive, None)),
        Err(error) => error,
    };
    let aside = data_dir.join("archive.damaged");
    let failed = |error: std::io::Error| format!("{}: {error}", aside.display());
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(failed)?;
    }
    std::fs::rename(&dir, &aside).map_err(failed)?;
    let archive = Archive::open(&dir, config.clone()).map_err(|error| error.to_string())?;
    let message = format!(
        "{error}; it was moved to {} and kept requests begin anew with the log",
        aside.display()
    );
    Ok((archive, Some(Trouble { kind: Kind::ArchiveLost, message })))
}

/// The state before anything is read.
pub(super) fn state(config: &Config, archive: Archive) -> State {
    State::new(&Terms::of(config), notify::Config::clone(&config.notify), archive)
}

impl State {
    /// The whole log is to be replayed: nothing that an earlier life left may be there.
    pub(super) fn begin_anew(&self, blocks: &Path) -> Result<(), String> {
        self.archive.clear().map_err(|error| error.to_string())?;
        let mut series = write(&self.series);
        let settings = series.config().clone();
        let thresholds = self.measure().thresholds();
        *series = Series::create(settings, blocks).map_err(|error| error.to_string())?;
        series.set_thresholds(&thresholds);
        Ok(())
    }

    /// Takes one record of the log as it was written.
    pub(super) fn replay(&self, replayed: journal::Replayed<'_>) -> Result<(), String> {
        let entry = Entry::decode(replayed.payload).map_err(|error| error.to_string())?;
        // What was due is offered again by the first tick after recovery.
        self.apply(&entry, replayed.log_time);
        Ok(())
    }
}

/// A state that comes back: from the newest good snapshot, else from nothing.
#[derive(Debug)]
pub(super) struct Return<'a> {
    state: &'a State,
    blocks: &'a Path,
    has_begun: Cell<bool>,
}

impl<'a> Return<'a> {
    pub(super) const fn of(state: &'a State, blocks: &'a Path) -> Self {
        Self { state, blocks, has_begun: Cell::new(false) }
    }

    pub(super) fn restore(&self, snapshot: &Snapshot) -> Result<(), String> {
        self.state.restore(snapshot, self.blocks)?;
        self.has_begun.set(true);
        Ok(())
    }

    /// Before a record is applied, and once there are no more.
    pub(super) fn begin(&self) -> Result<(), String> {
        if self.has_begun.replace(true) { Ok(()) } else { self.state.begin_anew(self.blocks) }
    }
}

/// Who hears of records: of new ones that are on disk, and of those that are replayed.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) records: SyncSender<Committed<Item>>,
    pub(super) progress: Progress,
}

/// Brings the state to where the log ends, off the runtime's threads.
pub(super) async fn recover(
    config: &Config,
    clock: &Clock,
    state: &State,
    Told { records, progress }: Told,
) -> Result<Recovered, String> {
    let journal_config =
        journal::Config::new(config.data_dir.join("journal"), config.journal_size_max_bytes);
    let journal_dir = journal_config.dir.clone();
    let skipped = Skipped::read(&config.data_dir)?;
    let left_out = skipped.clone();
    let blocks = blocks(&config.data_dir);
    let (clock, state, data_dir) = (clock.clone(), state.clone(), config.data_dir.clone());
    // An accelerated clock is meant to differ.
    let at_start = (!clock.is_accelerated()).then(|| clock.now());
    let opened = tokio::task::spawn_blocking(move || {
        let stopwatch = Clock::stopwatch();
        let back = Return::of(&state, &blocks);
        let mut told = journal::Back {
            restore: &mut |snapshot| back.restore(&snapshot),
            replay: &mut |replayed| {
                back.begin()?;
                if left_out.is_left_out(replayed.seq) {
                    return Ok(());
                }
                let log_time = replayed.log_time;
                left_out.guard(replayed.seq, || state.replay(replayed))??;
                progress.replayed(log_time);
                Ok(())
            },
        };
        let on_commit = move |committed| drop(records.send(committed));
        let (journal, recovery) = Journal::open(journal_config, clock, &mut told, on_commit)
            .map_err(|error| error.to_string())?;
        erase::forget_unfinished(&data_dir)?;
        back.begin()?;
        let replayed = JournalReplayed { records: recovery.records, took: stopwatch.elapsed() };
        let mut troubles = troubles(&recovery);
        troubles.extend(at_start.and_then(|now| ahead(recovery.log_time, now)));
        let told = left_out.told();
        troubles.extend(told.map(|message| Trouble { kind: Kind::RecordSkipped, message }));
        troubles.extend(repair::reports(&journal_dir).iter().map(repaired));
        Ok(Recovered { log: Log::new(journal), replayed, troubles, skipped })
    });
    opened.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// Said at every start for as long as the damaged files are there.
fn repaired(report: &repair::Report) -> Trouble {
    let message = format!(
        "the journal was damaged and repaired: {report}; what was damaged lies in {} of the data directory, remove it once nobody needs it",
        report.aside
    );
    Trouble { kind: Kind::JournalDamaged, message }
}

/// A clock that was set back while nobody watched, or was wrong before: log time waits for it, and what comes
/// meanwhile is old.
fn ahead(log_time: Timestamp, now: Timestamp) -> Option<Trouble> {
    let ahead = log_time.since(now);
    let message = format!(
        "the log ends {ahead:.0?} ahead of the clock, at {log_time}: log time waits until then, and what happens before counts as late. If the clock was wrong when the log was written, begin with another data directory"
    );
    (ahead >= STEP_MIN).then_some(Trouble { kind: Kind::ClockStep, message })
}

fn troubles(recovery: &Recovery) -> Vec<Trouble> {
    let mut found = Vec::new();
    if recovery.damaged_snapshots > 0 {
        let message = format!(
            "{} snapshots cannot be read; an older one and the log stood in for them",
            recovery.damaged_snapshots
        );
        found.push(Trouble { kind: Kind::DamagedSnapshot, message });
    }
    if recovery.torn_bytes > 0 {
        let message = format!(
            "an unfinished write of {} bytes at the end of the log was cut; nobody was told that it was on disk",
            recovery.torn_bytes
        );
        found.push(Trouble { kind: Kind::TornTail, message });
    }
    found
}
