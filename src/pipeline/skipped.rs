//! Records that cannot be applied: one that makes the state panic would do so at every start, for ever.
//!
//! A record and what applies it come in; whether it was applied goes out. A panic puts the record's number
//! into a file of the data directory, on disk before anything else happens: from the next start on it is
//! left out, the same at every replay, and said. The record itself stays in the log.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// One number a line.
pub(super) const FILE: &str = "skipped";

/// The numbers of records that are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Skipped {
    data_dir: PathBuf,
    seqs: BTreeSet<u64>,
}

impl Skipped {
    /// What the file says; nothing where there is none.
    ///
    /// # Errors
    /// Where it cannot be read or holds no numbers: what it held back would be applied.
    pub(super) fn read(data_dir: &Path) -> Result<Self, String> {
        let path = data_dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| format!("{}: {error}", path.display()))?,
        };
        let seqs = text.lines().map(str::parse).collect::<Result<_, _>>();
        let seqs = seqs.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { data_dir: data_dir.to_owned(), seqs })
    }

    pub(super) fn is_left_out(&self, seq: u64) -> bool {
        self.seqs.contains(&seq)
    }

    /// For a finding; none: nothing is left out.
    pub(super) fn told(&self) -> Option<String> {
        let first = self.seqs.first()?;
        Some(format!(
            "{} records could not be applied and are left out, the first is number {first}; each is in the log, and this is a fault of throughline: please tell us what was in it",
            self.seqs.len()
        ))
    }

    /// Applies a record. The state is of no use after an error: it may hold half of the record.
    ///
    /// # Errors
    /// Where it panicked.
    pub(super) fn guard<T>(&self, seq: u64, apply: impl FnOnce() -> T) -> Result<T, String> {
        catch_unwind(AssertUnwindSafe(apply)).map_err(|_panic| match self.note(seq) {
            Ok(()) => "it is left out from the next start on".to_owned(),
            Err(error) => format!("it could not be noted to be left out: {error}"),
        })
    }

    fn note(&self, seq: u64) -> std::io::Result<()> {
        let path = self.data_dir.join(FILE);
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        writeln!(file, "{seq}")?;
        file.sync_all()?;
        File::open(&self.data_dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_panics_is_left_out_from_the_next_start_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let skipped = Skipped::read(dir.path()).expect("no file");
        assert_eq!((skipped.told(), skipped.guard(7, || 1)), (None, Ok(1)));
        let failed = skipped.guard(8, || panic!("a record that this test made up"));
        assert_eq!(failed, Err::<(), _>("it is left out from the next start on".to_owned()));
        let next = Skipped::read(dir.path()).expect("a file");
        assert!(next.is_left_out(8) && !next.is_left_out(7));
        assert!(next.told().is_some_and(|told| told.contains("number 8")));
        std::fs::write(dir.path().join(FILE), "8\nnine\n").expect("a writable folder");
        assert!(Skipped::read(dir.path()).is_err());
    }
}
