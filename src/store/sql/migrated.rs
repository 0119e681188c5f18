//! That a database was migrated, for whoever opened it: any command does so, and what has been migrated is closed to
//! older releases. So nobody is left to find out: [`Place::told`](super::Place::told) hears of it.

use super::schema::Pending;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A database is of this release now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The last migration it had.
    pub from: i64,
    /// The last one it has.
    pub to: i64,
    /// What it held before, if that was kept.
    pub kept: Option<PathBuf>,
}

impl Migrated {
    /// After it was done; `name`: what the names of kept files in the folder begin with.
    pub(super) fn new(pending: Pending, folder: Option<&Path>, name: &str) -> Self {
        let Pending { from, next, to } = pending;
        let mark = format!("-migration-{next}");
        Self {
            from,
            to,
            kept: folder.and_then(|folder| newest(folder, name, &mark)),
        }
    }
}

/// What a kept file of SQLite has beside it while it is written, or once somebody has opened it.
const BESIDE: [&str; 4] = [".tmp", ".lock", "-wal", "-shm"];

/// The file written last of those so named. It is for a message: what cannot be read is not there.
fn newest(folder: &Path, name: &str, mark: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let meant = files.filter(|file| {
        let found = file.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name));
        let end = rest.and_then(|rest| rest.split_once(mark)).map(|(_, end)| end);
        end.is_some_and(|end| {
            !end.starts_with(|c: char| c.is_ascii_digit()) && !BESIDE.iter().any(|own| end.ends_with(own))
        })
    });
    let written = meant.filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())));
    written.max().map(|(_, path)| path)
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, kept } = self;
        write!(
            f,
            "the database has been migrated from {from} to {to} and is closed to older releases"
        )?;
        match kept {
            Some(kept) => write!(f, "; what it held before is kept in {}", kept.display()),
            None => write!(f, "; nothing was kept of what it held before"),
        }
    }
}
