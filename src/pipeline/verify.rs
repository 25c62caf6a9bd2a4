//! Whether a data directory holds together: journal, snapshots, blocks and state.
//!
//! A folder that no daemon uses comes in; a list of checks goes out. Nothing in the folder is changed:
//! the state is put together in memory, beside a throw-away folder.

use std::path::Path;

use super::recover::blocks;
use super::saved::Differences;
use super::scratch::Scratch;
use super::skipped::{self, Skipped};
use super::state::State;
use super::terms::Terms;
use crate::archive::Archive;
use crate::journal::inspect::{self, Inspection};
use crate::journal::repair::{self, Report};
use crate::journal::{Point, Snapshot};
use crate::notify;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    pub what: String,
    pub found: String,
    /// None: it is well.
    pub problem: Option<String>,
}

impl Check {
    fn new(what: &str, found: String, problem: Option<String>) -> Self {
        Self { what: what.to_owned(), found, problem }
    }
}

/// Looks at everything in `data_dir`.
///
/// # Errors
/// Where it is no data directory, or a daemon uses it.
pub fn verify(data_dir: &Path) -> Result<Vec<Check>, String> {
    let journal = data_dir.join("journal");
    if !journal.is_dir() {
        return Err(format!("{}: there is no journal in it", data_dir.display()));
    }
    let _locks = super::folder::lock_to_read(data_dir)?;
    let seen = inspect::inspect(&journal).map_err(|error| error.to_string())?;
    let mut checks = vec![log(&seen)];
    for one in &seen.snapshots {
        let found = format!("{} holds the state behind record {}", one.name, one.seq);
        checks.push(Check::new("snapshot", found, one.problem.clone()));
    }
    if seen.damage.is_none() || seen.snapshots.iter().any(|one| one.problem.is_none()) {
        checks.extend(state(data_dir, &seen)?);
    }
    checks.extend(blocks_in(&blocks(data_dir))?);
    Ok(checks)
}

/// Whether acknowledged records may be left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Refused,
    Accepted,
}

/// What became of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A start takes the directory as it is.
    NotNeeded,
    /// It would lose what the report says, and nobody accepted that: nothing was changed.
    WouldLose(Report),
    Done(Report),
}

/// Makes a journal that a start refuses one that it takes: what is damaged is set aside, what is whole goes
/// on.
///
/// # Errors
/// Where it is no data directory, a daemon uses it, or files cannot be read or written.
pub fn repair(data_dir: &Path, loss: Loss) -> Result<Repair, String> {
    let journal = data_dir.join("journal");
    if !journal.is_dir() {
        return Err(format!("{}: there is no journal in it", data_dir.display()));
    }
    let _lock = super::folder::lock_existing(data_dir)?;
    match repair::outlook(&journal).map_err(|error| error.to_string())? {
        None => Ok(Repair::NotNeeded),
        Some(report) if report.n_lost() > 0 && loss == Loss::Refused => {
            Ok(Repair::WouldLose(report))
        }
        Some(_) => {
            let done = repair::repair(&journal).map_err(|error| error.to_string())?;
            // Records have other numbers now; one that still cannot be applied is noted again.
            let noted = data_dir.join(skipped::FILE);
            if let (Some(report), true) = (&done, noted.exists()) {
                let aside = data_dir.join(&report.aside).join(skipped::FILE);
                std::fs::rename(&noted, aside).map_err(|error| error.to_string())?;
            }
            Ok(done.map_or(Repair::NotNeeded, Repair::Done))
        }
    }
}

fn log(seen: &Inspection) -> Check {
    let Inspection { segments, records, first_seq, last_seq, torn_bytes, .. } = seen;
    let torn = if *torn_bytes > 0 {
        format!("; an unfinished write of {torn_bytes} bytes at its end, which the next start cuts")
    } else {
        String::new()
    };
    let files = if *segments == 1 { "segment" } else { "segments" };
    let found =
        format!("{records} records, {first_seq} to {last_seq}, in {segments} {files}{torn}");
    Check::new("journal", found, seen.damage.clone())
}

/// Every block file of the series; none where nothing was sealed yet.
fn blocks_in(folder: &Path) -> Result<Vec<Check>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "block") {
            names.push(path);
        }
    }
    names.sort();
    let mut damaged = Vec::new();
    for path in &names {
        if !crate::series::is_whole_block(&std::fs::read(path).map_err(failed)?) {
            damaged.push(path.display().to_string());
        }
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let problem = (!damaged.is_empty()).then(|| format!("damaged: {}", damaged.join(", ")));
    Ok(vec![Check::new("blocks", format!("{} blocks of series", names.len()), problem)])
}

fn read(journal: &Path, name: &str) -> Result<Snapshot, String> {
    inspect::snapshot(journal, name).map_err(|error| error.to_string())
}

/// Where a replay begins.
struct Base {
    beside: Beside,
    from: Point,
}

/// The state of the oldest of these snapshots, the newest of which is the first; of nothing, where there are
/// none. None: no state of any, which is among the checks then.
fn base(
    journal: &Path,
    mut good: Vec<&str>,
    checks: &mut Vec<Check>,
) -> Result<Option<Base>, String> {
    let Some(mut name) = good.pop() else {
        return Ok(Some(Base { beside: Beside::new(None)?, from: Point::default() }));
    };
    loop {
        let snapshot = read(journal, name)?;
        let problem = match Beside::new(Some(&snapshot)) {
            Ok(beside) => return Ok(Some(Base { beside, from: snapshot.point })),
            Err(problem) => problem,
        };
        let Some(newer) = good.pop() else {
            checks.push(Check::new("state", "the snapshot's".to_owned(), Some(problem)));
            return Ok(None);
        };
        // A start passes over it too.
        let found = format!("{name} is of another version, and passed over: {problem}");
        checks.push(Check::new("state", found, None));
        name = newer;
    }
}

/// The same state by two ways: from as far back as the log goes, and from the newest snapshot.
fn state(data_dir: &Path, seen: &Inspection) -> Result<Vec<Check>, String> {
    let journal = data_dir.join("journal");
    let mut good: Vec<&str> = seen
        .snapshots
        .iter()
        .filter(|one| one.problem.is_none())
        .map(|one| one.name.as_str())
        .collect();
    let newest = good.first().map(|name| read(&journal, name)).transpose()?;
    if seen.first_seq <= 1 && seen.damage.is_none() {
        good.clear();
    }
    let mut checks = Vec::new();
    let Some(Base { beside: base, from }) = base(&journal, good, &mut checks)? else {
        return Ok(checks);
    };
    let skipped = Skipped::read(data_dir)?;
    let mut differing = None;
    let end = inspect::read(&journal, from, &mut |replayed| {
        let seq = replayed.seq;
        if !skipped.is_left_out(seq) {
            base.state.replay(replayed)?;
        }
        if let Some(newest) = newest.as_ref().filter(|newest| newest.point.seq == seq) {
            let other = Beside::new(Some(newest))?.state;
            differing = Some(base.state.differences(&other));
        }
        Ok(())
    });
    if let Some(Differences { parts, are_series_compared }) = differing {
        let series = if are_series_compared {
            "series (counts since ever, samples of the newest 20 minutes)"
        } else {
            "but no series: memory was short, and what that cost is in no record"
        };
        let found = format!(
            "the newest snapshot against a replay from record {}: requests and what measures, messages, kept requests, gaps, terms, alerts, {series}",
            from.seq + 1
        );
        let problem = (!parts.is_empty()).then(|| format!("differs in {}", parts.join(", ")));
        checks.push(Check::new("state", found, problem));
    }
    let found = match &end {
        Ok(point) => format!("replayed from record {} to {}", from.seq + 1, point.seq),
        Err(_) => format!("replayed from record {}", from.seq + 1),
    };
    checks.push(Check::new("replay", found, end.err().map(|error| error.to_string())));
    Ok(checks)
}

/// The state of a snapshot, or of nothing, beside a throw-away folder.
struct Beside {
    state: State,
    /// Goes after the state.
    _folder: Scratch,
}

impl Beside {
    fn new(snapshot: Option<&Snapshot>) -> Result<Self, String> {
        let folder = Scratch::new("verify")?;
        let config = crate::archive::Config::default();
        let archive = Archive::open(&folder.path().join("archive"), config)
            .map_err(|error| error.to_string())?;
        let state = State::new(&Terms::default(), notify::Config::default(), archive);
        match snapshot {
            Some(snapshot) => state.restore(snapshot, &blocks(folder.path()))?,
            None => state.begin_anew(&blocks(folder.path()))?,
        }
        Ok(Self { state, _folder: folder })
    }
}
