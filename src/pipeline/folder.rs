//! The data directory as a folder: made, closed to others, locked.
//!
//! A path comes in; the right to use what lies there goes out. Never do two use it at once.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::troubles::{Kind, Trouble};

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

/// As [`lock_existing`], to look at a folder that may lie where nothing can be written, so that nobody uses it.
pub(super) fn lock_to_read(dir: &Path) -> Result<Option<File>, String> {
    let is_fixed = File::options().append(true).open(dir.join("lock"));
    if is_fixed.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem) {
        return Ok(None);
    }
    lock_existing(dir).map(Some)
}

/// One user a folder: the lock lasts as long as the file is open.
pub(super) fn lock_existing(dir: &Path) -> Result<File, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(format!(
            "{} is in use by another daemon; stop it, or choose another directory",
            dir.display()
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
