//! `wxfaq export`: the whole bank into a file, in the format its extension names.
//!
//! The file is there whole or not at all: [`replace_file`] writes beside it and renames.

use super::Exit;
use super::replacement::{Readers, Replacement};
use crate::bank::Entry;
use crate::bank::format::{Format, Layout};
use crate::store::StoreError;
use crate::store::sql::{Database, OpenError, Place};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    #[expect(missing_docs, reason = "the type says it")]
    pub file: PathBuf,
    /// How many it has.
    pub entries: usize,
    /// Entries of the bank that the layout has no row for.
    pub left_out: usize,
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
        )?;
        match self.left_out {
            0 => Ok(()),
            left_out => write!(
                f,
                "; {left_out} left out, whose answers are no texts: --layout full has them"
            ),
        }
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
pub async fn run<'a>(file: &Path, layout: Layout, database: impl Into<Place<'a>>) -> Result<ExportReport, ExportError> {
    let format = Format::of(file).ok_or_else(|| ExportError::UnknownFormat(file.to_owned()))?;
    let database = Database::open_to_read(database).await?;
    let done = write_pages(&database, format, layout, file).await;
    database.close().await;
    done
}

/// Entries in memory at a time, however large the bank is: pages that are read, that wait, and that are being written.
const WAITING_PAGES: usize = 2;

async fn write_pages(
    database: &Database,
    format: Format,
    layout: Layout,
    file: &Path,
) -> Result<ExportReport, ExportError> {
    let mut pages = database.questions().pages().await?;
    let mut page = pages.next().await?;
    if page.is_empty() && file.exists() {
        return Err(ExportError::Empty(file.to_owned()));
    }
    let (give, mut take) = mpsc::channel::<Vec<Entry>>(WAITING_PAGES);
    // Told only when every page has been given: what ends before is no file.
    let (finish, finished) = oneshot::channel::<()>();
    let path = file.to_owned();
    let writer = spawn_blocking(move || {
        replace_file(&path, |out| {
            let entries = std::iter::from_fn(|| take.blocking_recv()).flatten();
            format.write(layout, entries, out)?;
            let broken_off = |_| io::Error::new(io::ErrorKind::UnexpectedEof, "the bank could not be read to its end");
            finished.blocking_recv().map_err(broken_off)
        })
    });
    let (mut entries, mut left_out) = (0, 0);
    let mut read = Ok(());
    while !page.is_empty() {
        let taken = page.iter().filter(|entry| layout.takes(format, entry)).count();
        entries += taken;
        left_out += page.len() - taken;
        // Nobody takes it any more: the writer says why.
        if give.send(page).await.is_err() {
            break;
        }
        page = match pages.next().await {
            Ok(page) => page,
            Err(error) => {
                read = Err(error);
                break;
            }
        };
    }
    if read.is_ok() {
        // As above.
        let _ = finish.send(());
    } else {
        drop(finish);
    }
    drop(give);
    let written = writer
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    read?;
    written.map_err(|source| ExportError::Write {
        file: file.to_owned(),
        source,
    })?;
    Ok(ExportReport {
        file: file.to_owned(),
        entries,
        left_out,
        revision: pages.revision,
    })
}

/// Puts what `write` writes in the place of `path`: after a crash the old content is there or the new one, whole.
pub fn replace_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = Replacement::begin(path, Readers::Usual)?;
    write(&mut file.out)?;
    file.finish()
}
