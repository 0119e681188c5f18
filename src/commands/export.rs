//! `wxfaq export`: the whole bank into a file, in the format its extension names.
//!
//! The file is there whole or not at all: [`replace_file`] writes beside it and renames.

use super::Exit;
use super::replacement::{Readers, Replacement};
use crate::bank::format::{Format, Layout};
use crate::store::StoreError;
use crate::store::sql::{Database, OpenError};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    #[expect(missing_docs, reason = "the type says it")]
    pub file: PathBuf,
    /// How many.
    pub entries: usize,
    /// The bank's at that moment.
    pub revision: u64,
}

impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} entries, revision {}",
            self.file.display(),
            self.entries,
            self.revision
        )
    }
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The extension names no format.
    #[error("{}: the name must end in .{}", .0.display(), Format::EXTENSIONS.join(" or ."))]
    UnknownFormat(PathBuf),
    /// The file cannot be written.
    #[error("{}: {source}", .file.display())]
    Write {
        #[expect(missing_docs, reason = "the type says it")]
        file: PathBuf,
        #[expect(missing_docs, reason = "the type says it")]
        source: io::Error,
    },
    /// Nobody means to lose a file to a bank without entries; more likely it is another database's.
    #[error("the bank is empty, and {} is there already: it is kept as it is", .0.display())]
    Empty(PathBuf),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Open(#[from] OpenError),
}

impl ExportError {
    /// With which code the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::UnknownFormat(_) => Exit::Usage,
            Self::Write { .. } => Exit::CannotCreate,
            Self::Empty(_) => Exit::BadData,
            Self::Open(error) => error.into(),
        }
    }
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// Writes the bank to `file`, replacing what is there unless the bank is empty.
///
/// The database must be there: one that `export` had made would be empty.
pub async fn run(file: &Path, layout: Layout, database_url: &str) -> Result<ExportReport, ExportError> {
    let format = Format::of(file).ok_or_else(|| ExportError::UnknownFormat(file.to_owned()))?;
    let database = Database::open_existing(database_url).await?;
    let (revision, entries) = database.questions().load().await?;
    database.close().await;
    if entries.is_empty() && file.exists() {
        return Err(ExportError::Empty(file.to_owned()));
    }
    let written = replace_file(file, |out| format.write(layout, &entries, out));
    written.map_err(|source| ExportError::Write {
        file: file.to_owned(),
        source,
    })?;
    Ok(ExportReport {
        file: file.to_owned(),
        entries: entries.len(),
        revision,
    })
}

/// Puts what `write` writes in the place of `path`: after a crash the old content is there or the new one, whole.
pub fn replace_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = Replacement::begin(path, Readers::Usual)?;
    write(&mut file.out)?;
    file.finish()
}
