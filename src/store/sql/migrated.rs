//! That a database was migrated, for whoever opened it: any command that changes something does so, and what has been migrated is closed
//! to older releases. So nobody is left to find out: [`Place::told`](super::Place::told) hears of it.

use super::schema::Pending;
use std::fmt;
use std::path::PathBuf;

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
    /// After it was done.
    pub(super) fn new(pending: Pending, kept: Option<PathBuf>) -> Self {
        let Pending { from, to, .. } = pending;
        Self { from, to, kept }
    }
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
