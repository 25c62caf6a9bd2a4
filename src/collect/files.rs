//! Files: records that are written as lines, followed through rotation.
//!
//! In: patterns of paths. Out: batches of whole lines, each named by its file, generation and offset. A
//! position moves only when its batch is on disk, and the range that is sent is noted before it is sent:
//! after kill -9 the same range comes again under the same name and counts nothing twice. A file is known
//! by its device, inode and first bytes: renamed files go on where they were, truncated ones begin anew.
//! Never is half a line read, never more of a line held than `LINE_BYTES_MAX`.

pub mod config;
mod lines;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::config::Job;
use self::lines::Chunk;
use self::place::{Head, Place, Places};
use super::{Shared, told};
use crate::number::{u64_from_usize, usize_from_u64};
use crate::receive::declared_id;
use crate::signal::{Batch, Receiver};

/// How often files are looked at.
const POLL: Duration = Duration::from_millis(500);
/// Files that are followed at once; each holds a descriptor.
const FILES_MAX: usize = 1000;
/// Looks at a file that no path leads to any more, before its last half line counts as whole.
const LOOKS_AFTER_GONE: u32 = 4;
/// How long a refused batch is offered before files are looked at again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The task that follows files now.
#[derive(Debug, Default)]
pub(super) struct Running {
    jobs: Vec<Job>,
    one: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl Running {
    /// Begins anew where the configuration is another one; positions are kept.
    pub(super) async fn come_to(&mut self, jobs: &[Job], data_dir: &Path, shared: &Shared) {
        if self.jobs == jobs {
            return;
        }
        self.end().await;
        self.jobs = jobs.to_vec();
        if jobs.is_empty() {
            return;
        }
        let (stop, stopped) = watch::channel(false);
        let store = data_dir.join("collect").join("files.json");
        let following = Following::new(jobs.to_vec(), store, shared.clone());
        self.one = Some((stop, tokio::spawn(following.run(stopped))));
    }

    /// Waits until it has ended.
    pub(super) async fn end(&mut self) {
        let Some((stop, task)) = self.one.take() else { return };
        stop.send_replace(true);
        if let Err(error) = task.await {
            tracing::error!(event = "collect.task.failed", %error);
        }
    }
}

/// A file that is followed.
#[derive(Debug)]
struct Followed {
    file: File,
    job: usize,
    /// Looks since no path led to it.
    n_gone: u32,
}

struct Following {
    jobs: Vec<Job>,
    places: Places,
    followed: BTreeMap<(u64, u64), Followed>,
    is_first_look: bool,
    shared: Shared,
}

impl Following {
    fn new(jobs: Vec<Job>, store: PathBuf, shared: Shared) -> Self {
        Self {
            jobs,
            places: Places::load(store),
            followed: BTreeMap::new(),
            is_first_look: true,
            shared,
        }
    }

    async fn run(mut self, mut unwanted: watch::Receiver<bool>) {
        let mut stopping = self.shared.stopping.clone();
        loop {
            self.look();
            loop {
                let is_over = *stopping.borrow() || *unwanted.borrow();
                if is_over || !self.round().await {
                    break;
                }
            }
            self.forget();
            // A range that is on disk must not be offered again after its name is forgotten.
            self.places.save_if_changed();
            tokio::select! {
                () = told(&mut stopping) => return,
                () = told(&mut unwanted) => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Finds files that are new, and notes which no path leads to any more.
    fn look(&mut self) {
        let mut seen = BTreeSet::new();
        for (job, path) in self.paths() {
            let Ok(file) = File::open(&path) else { continue };
            let Ok(about) = file.metadata() else { continue };
            if !about.is_file() {
                continue;
            }
            let id = (about.dev(), about.ino());
            seen.insert(id);
            if let Some(known) = self.followed.get_mut(&id) {
                known.n_gone = 0;
                continue;
            }
            if self.followed.len() >= FILES_MAX {
                tracing::warn!(event = "collect.file.refused", path = %path.display(), "more than {FILES_MAX} files");
                continue;
            }
            let from_end = self.is_first_look && self.jobs.get(job).is_some_and(|job| job.from_end);
            self.places.meet(id, &head_of(&file), if from_end { about.len() } else { 0 });
            tracing::info!(event = "collect.file.started", path = %path.display());
            self.followed.insert(id, Followed { file, job, n_gone: 0 });
        }
        for (id, one) in &mut self.followed {
            if !seen.contains(id) {
                one.n_gone += 1;
            }
        }
        self.is_first_look = false;
    }

    fn paths(&self) -> Vec<(usize, PathBuf)> {
        let mut found = Vec::new();
        for (at, job) in self.jobs.iter().enumerate() {
            for pattern in &job.paths {
                found.extend(matching(pattern).into_iter().map(|path| (at, path)));
            }
        }
        found
    }

    /// One chunk of every file; true where any had something.
    async fn round(&mut self) -> bool {
        let ids: Vec<(u64, u64)> = self.followed.keys().copied().collect();
        let mut had_any = false;
        for id in ids {
            had_any |= self.one(id).await;
        }
        had_any
    }

    /// The next chunk of a file; true where it is on disk now.
    async fn one(&mut self, id: (u64, u64)) -> bool {
        let Some(followed) = self.followed.get(&id) else { return false };
        let Ok(about) = followed.file.metadata() else { return false };
        let head = head_of(&followed.file);
        let Some(place) = self.places.begin(id, &head, about.len()) else { return false };
        let chunk = match chunk_of(followed, &place, about.len()) {
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::warn!(event = "collect.file.failed", %error);
                return false;
            }
        };
        let Some(chunk) = chunk else { return false };
        let end = place.offset + u64_from_usize(chunk.length);
        if !self.places.intend(id, end) {
            return false;
        }
        let Some(batch) = self.batch(id, &place, &chunk) else {
            self.places.done(id, end, chunk.is_skipping);
            return true;
        };
        match self.shared.deliver(batch, PATIENCE).await {
            Ok(()) => {
                self.places.done(id, end, chunk.is_skipping);
                true
            }
            // The place stays; the same range is read again.
            Err(refusal) => {
                tracing::debug!(event = "collect.batch.refused", %refusal);
                false
            }
        }
    }

    fn batch(&self, id: (u64, u64), place: &Place, chunk: &Chunk) -> Option<Batch> {
        let job = self.jobs.get(self.followed.get(&id)?.job)?;
        let arrived = self.shared.clock.now();
        let mut batch = lines::batch(&chunk.lines, job, arrived, &self.shared.normalize.load());
        batch.receiver = Receiver::File;
        batch.rejected += chunk.n_too_long;
        let (dev, ino) = id;
        let name = format!("{dev} {ino} {} {} {}", place.generation, place.offset, chunk.length);
        batch.declared_id = Some(declared_id(Receiver::File, &name));
        (!batch.signals.is_empty() || batch.rejected > 0).then_some(batch)
    }

    /// Lets go of files that are gone and read to their end.
    fn forget(&mut self) {
        let places = &mut self.places;
        self.followed.retain(|id, one| {
            let is_over = one.n_gone > LOOKS_AFTER_GONE;
            if is_over {
                places.forget(*id);
            }
            !is_over
        });
    }
}

fn head_of(file: &File) -> Head {
    let mut bytes = [0_u8; Head::BYTES];
    let mut n = 0;
    while let Ok(more) = file.read_at(bytes.get_mut(n..).unwrap_or_default(), u64_from_usize(n)) {
        n += more;
        if more == 0 {
            break;
        }
    }
    Head::of(bytes.get(..n).unwrap_or_default())
}

/// What is to be sent next; None where no whole line is there.
fn chunk_of(followed: &Followed, place: &Place, length: u64) -> std::io::Result<Option<Chunk>> {
    let available = usize_from_u64(length.saturating_sub(place.offset));
    // A range that was noted is sent as it was, whatever came behind it.
    let noted = place.pending.map(|end| usize_from_u64(end.saturating_sub(place.offset)));
    let wanted = noted.unwrap_or_else(|| available.min(Chunk::BYTES_MAX));
    if wanted == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0_u8; wanted];
    followed.file.read_exact_at(&mut bytes, place.offset)?;
    let is_last = followed.n_gone >= LOOKS_AFTER_GONE && wanted == available;
    Ok(Chunk::cut(&bytes, place.is_skipping, noted.is_some() || is_last))
}

/// The paths that a pattern names; `*` may stand in its last part.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains('*') {
        return vec![pattern.to_owned()];
    }
    let dir = pattern.parent().filter(|dir| !dir.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(dir.unwrap_or_else(|| Path::new("."))) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| fits(name, n)))
        .collect();
    found.sort();
    found
}

/// Whether a name fits a pattern with any number of `*`.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut rest = rest;
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.is_empty()
}
