//! What the commands do once arguments and configuration are read: one module a command, one function to run it.
//!
//! They put the rooms together for one task and return a report; printing it, as text or as JSON, and ending the
//! process is the command line's work. [`Exit`] says with which code.

pub mod export;
pub mod import;

use crate::store::StoreError;
use crate::store::sql::OpenError;

/// How a command ended, in the numbers of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Ok = 0,
    /// The command was called wrongly.
    Usage = 64,
    /// A file or a database holds what cannot be taken.
    BadData = 65,
    /// A file to read is not there or not readable.
    NoInput = 66,
    /// A service the command needs is not there.
    Unavailable = 69,
    /// A file to write cannot be written.
    CannotCreate = 73,
    /// The configuration must be changed first.
    Configuration = 78,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<&StoreError> for Exit {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::Unavailable,
            StoreError::Corrupt { .. } => Self::BadData,
        }
    }
}

impl From<&OpenError> for Exit {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::Configuration(_) | OpenError::Newer { .. } => Self::Configuration,
            OpenError::Store(error) => error.into(),
        }
    }
}
