//! The data directory as a folder: made, closed to others, locked.
//!
//! A path comes in; the right to use what lies there goes out. Never do two use it at once.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::troubles::{Kind, Trouble};

/// Held by whoever uses the folder.
const LOCK: &str = "lock";

/// Makes the folder, whose content is nobody else's to read, and locks it before anything in it is
/// touched.
pub(super) fn lock_data_dir(dir: &Path) -> Result<File, String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        let is_there = error.kind() == std::io::ErrorKind::AlreadyExists;
        let why = if is_there { "it is there and no folder".to_owned() } else { error.to_string() };
        format!("the data directory {} cannot be made: {why}", dir.display())
    })?;
    lock_existing(dir)
}

/// A folder that was there before may let others in: what requests say is not theirs to read.
pub(super) fn ours_alone(dir: &Path) -> Option<Trouble> {
    // The lowest six bits are the group's and everybody's.
    let held = std::fs::metadata(dir).map(|found| found.permissions().mode() & 0o777);
    if held.as_ref().is_ok_and(|mode| mode.trailing_zeros() >= 6) {
        return None;
    }
    let closed = std::fs::set_permissions(dir, Permissions::from_mode(0o700));
    let error = closed.err()?;
    let mode = held.unwrap_or_default();
    let message = format!(
        "others may read the data directory (mode {mode:o}), which is not ours to change: {error}; as its owner, chmod 700 {}",
        dir.display()
    );
    Some(Trouble { kind: Kind::OpenDataDir, message })
}

/// To look at a folder, which may be a copy that nobody may write to, or one without its locks: nobody uses it
/// for as long as these are held, of those that are there. Others may look too.
pub(super) fn lock_to_read(dir: &Path) -> Result<Vec<File>, String> {
    let mut locks = Vec::new();
    // The folder's own, and its log's: a daemon holds both.
    for name in [LOCK, "journal/lock"] {
        let path = dir.join(name);
        let lock = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.map_err(|error| format!("{}: {error}", path.display()))?,
        };
        held(dir, lock.try_lock_shared())?;
        locks.push(lock);
    }
    Ok(locks)
}

/// One user a folder: the lock lasts as long as the file is open.
pub(super) fn lock_existing(dir: &Path) -> Result<File, String> {
    let failed = |error: std::io::Error| {
        format!(
            "the data directory {} cannot be written: {error}; give it to this user, or choose another with --data-dir",
            dir.display()
        )
    };
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join(LOCK))
        .map_err(failed)?;
    held(dir, lock.try_lock()).map(|()| lock)
}

fn held(dir: &Path, locked: Result<(), TryLockError>) -> Result<(), String> {
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => format!(
            "{} is in use by another daemon; stop it, or choose another directory",
            dir.display()
        ),
        TryLockError::Error(error) => format!("{}: {error}", dir.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_without_locks_can_be_looked_at_and_what_a_daemon_uses_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        assert!(lock_to_read(dir).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0, "nothing is made");
        std::fs::create_dir(dir.join("journal")).unwrap();
        for name in [LOCK, "journal/lock"] {
            std::fs::write(dir.join(name), "").unwrap();
            std::fs::set_permissions(dir.join(name), Permissions::from_mode(0o400)).unwrap();
            let first = lock_to_read(dir).unwrap();
            let second = lock_to_read(dir).unwrap();
            assert!(!first.is_empty() && !second.is_empty(), "two may look at once");
            drop((first, second));
            let used = File::open(dir.join(name)).unwrap();
            used.try_lock().unwrap();
            assert!(lock_to_read(dir).unwrap_err().contains("is in use by another daemon"));
        }
        let read = lock_to_read(dir).unwrap();
        assert!(lock_existing(dir).is_err(), "no daemon starts meanwhile");
        drop(read);
    }
}
