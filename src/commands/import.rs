//! `wxfaq import`: a file into the bank, all of it or nothing.
//!
//! The file is read and compared with the bank first ([`bank::import`](crate::bank::import)); then everything is written
//! by one call of [`Questions::apply`], one transaction. Killed at any moment, the command leaves the bank as it was or
//! as the file says, so running it again is always right.

use super::{Exit, media};
use crate::bank::EntryWarning;
use crate::bank::format::{self, Format};
use crate::bank::import::{Conventions, ImportPlan, Mode, RowReport, Verdict, plan};
use crate::bank::{Entry, EntryId};
use crate::store::StoreError;
use crate::store::sql::{ApplyError, Author, Database, OpenError, Questions};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fmt, io, iter};

/// Largest file: 100,000 entries with everything filled in have about a quarter of it.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// How often the comparison is made anew because somebody edited the bank meanwhile.
const ATTEMPTS: u32 = 5;
/// Refused rows listed in the report for people; the JSON has all.
const SHOWN_REFUSALS: usize = 100;

/// What to import, and how.
#[derive(Clone, Copy)]
pub struct ImportOptions<'a> {
    /// Its extension names the format.
    pub file: &'a Path,
    /// As in the configuration.
    pub database_url: &'a str,
    #[expect(missing_docs, reason = "the type says it")]
    pub terms: ImportTerms<'a>,
}

/// The part of [`ImportOptions`] that does not depend on where the rows come from.
#[derive(Clone, Copy)]
pub struct ImportTerms<'a> {
    #[expect(missing_docs, reason = "the type says it")]
    pub mode: Mode,
    /// Report only, write nothing.
    pub dry_run: bool,
    /// Who imports, for the bank's history.
    pub who: &'a str,
    /// As in [`Conventions::normalise`].
    pub normalise: &'a (dyn Fn(&str) -> String + Sync),
    /// `paths.media`, where the files of answers are looked for.
    pub media: Option<&'a Path>,
}

/// What an import did, or why it did nothing.
#[derive(Debug, Clone, Serialize)]
pub struct ImportReport {
    #[expect(missing_docs, reason = "the type says it")]
    pub mode: Mode,
    #[expect(missing_docs, reason = "the options' value")]
    pub dry_run: bool,
    /// Whether the bank is now as the file says. `false`: nothing was written.
    pub applied: bool,
    /// The bank's, afterwards.
    pub revision: u64,
    #[expect(missing_docs, reason = "the type says it")]
    pub counts: Counts,
    /// Entries that were, or would be, removed.
    pub removed: Vec<EntryId>,
    /// One a row, in the file's order.
    pub rows: Vec<RowReport>,
}

/// Rows by verdict, and removed entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the verdicts' names")]
pub struct Counts {
    pub new: usize,
    pub changed: usize,
    pub same: usize,
    pub duplicate: usize,
    pub error: usize,
    pub removed: usize,
}

impl ImportReport {
    /// [`Exit::BadData`] when a row keeps the file from being imported.
    pub fn exit(&self) -> Exit {
        if self.refused() == 0 { Exit::Ok } else { Exit::BadData }
    }

    fn refused(&self) -> usize {
        self.counts.duplicate + self.counts.error
    }

    fn new(plan: &ImportPlan, terms: ImportTerms<'_>, revision: u64) -> Self {
        let mut counts = Counts {
            removed: plan.remove.len(),
            ..Counts::default()
        };
        for row in &plan.rows {
            *match row.verdict {
                Verdict::New => &mut counts.new,
                Verdict::Changed => &mut counts.changed,
                Verdict::Same => &mut counts.same,
                Verdict::Duplicate { .. } => &mut counts.duplicate,
                Verdict::Error { .. } => &mut counts.error,
            } += 1;
        }
        Self {
            mode: terms.mode,
            dry_run: terms.dry_run,
            applied: false,
            revision,
            counts,
            removed: plan.remove.clone(),
            rows: plan.rows.clone(),
        }
    }
}

impl ImportReport {
    /// Warns of files that followers would not see.
    fn look_at_files(&mut self, entries: &[Entry], folder: Option<&Path>) {
        for entry in entries {
            let Some(reason) = media::problem(folder, &entry.answer) else {
                continue;
            };
            let field = "answer";
            let mut rows = self.rows.iter_mut().filter(|row| row.id.as_ref() == Some(&entry.id));
            if let Some(row) = rows.find(|row| !row.verdict.is_refusal()) {
                row.warnings.push(EntryWarning { field, reason });
            }
        }
    }

    /// Of rows that change something; the others have been told before.
    fn show_warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = |row: &&RowReport| matches!(row.verdict, Verdict::New | Verdict::Changed);
        let warned = self.rows.iter().filter(changes);
        let warnings = warned.flat_map(|row| row.warnings.iter().map(move |warning| (row.place, warning)));
        let mut count = 0;
        for (place, warning) in warnings {
            count += 1;
            if count <= SHOWN_REFUSALS {
                writeln!(f, "warning  {place}, column {}: {}", warning.field, warning.reason)?;
            }
        }
        if count > SHOWN_REFUSALS {
            writeln!(f, "… and {} more warnings", count - SHOWN_REFUSALS)?;
        }
        Ok(())
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusals = self.rows.iter().filter(|row| row.verdict.is_refusal());
        if self.dry_run {
            for row in self
                .rows
                .iter()
                .filter(|row| matches!(row.verdict, Verdict::New | Verdict::Changed))
            {
                writeln!(f, "{row}")?;
            }
            for id in &self.removed {
                writeln!(f, "removed, {id}")?;
            }
        }
        for row in refusals.take(SHOWN_REFUSALS) {
            writeln!(f, "{row}")?;
        }
        if self.refused() > SHOWN_REFUSALS {
            writeln!(f, "… and {} more", self.refused() - SHOWN_REFUSALS)?;
        }
        self.show_warnings(f)?;
        let Counts {
            new,
            changed,
            same,
            removed,
            ..
        } = self.counts;
        match self.refused() {
            0 if self.dry_run => write!(f, "dry run, nothing written: ")?,
            0 => {}
            refused => {
                return write!(
                    f,
                    "nothing imported: {refused} of {} rows cannot be taken",
                    self.rows.len()
                );
            }
        }
        write!(
            f,
            "{new} new, {changed} changed, {same} same, {removed} removed; the bank is at revision {}",
            self.revision
        )
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The extension names no format.
    #[error("{}: the name must end in .{}", .0.display(), Format::EXTENSIONS.join(" or ."))]
    UnknownFormat(PathBuf),
    /// The file is not there or not readable.
    #[error("{}: {source}", .file.display())]
    Read {
        #[expect(missing_docs, reason = "the type says it")]
        file: PathBuf,
        #[expect(missing_docs, reason = "the type says it")]
        source: io::Error,
    },
    /// The file is larger than this program reads.
    #[error("{} has {bytes} bytes, at most {MAX_FILE_BYTES} are read", .file.display())]
    TooLarge {
        #[expect(missing_docs, reason = "the type says it")]
        file: PathBuf,
        #[expect(missing_docs, reason = "the name says it")]
        bytes: u64,
    },
    /// Replacing the bank by a file without entries would empty it; nobody means that.
    #[error("the file has no entries: replacing the bank by it would remove every question")]
    Empty,
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Open(#[from] OpenError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Apply(#[from] ApplyError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Apply(error.into())
    }
}

impl ImportError {
    /// With which code the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::UnknownFormat(_) => Exit::Usage,
            Self::Read { .. } => Exit::NoInput,
            Self::TooLarge { .. } | Self::Empty | Self::Apply(ApplyError::Repeated(_)) => Exit::BadData,
            Self::Open(error) => error.into(),
            Self::Apply(ApplyError::Store(error)) => error.into(),
            Self::Apply(ApplyError::Conflict { .. }) => Exit::Unavailable,
        }
    }
}

/// Imports a file, with a progress bar on standard error if that is a terminal.
///
/// # Errors
/// Rows that cannot be taken are no error here: the report names them, and [`ImportReport::applied`] is false.
pub async fn run(options: ImportOptions<'_>) -> Result<ImportReport, ImportError> {
    let file = options.file;
    let format = Format::of(file).ok_or_else(|| ImportError::UnknownFormat(file.to_owned()))?;
    let bytes = read(file)?;
    let database = Database::open(options.database_url).await?;
    let bar = progress_bar(bytes.split(|&b| b == b'\n').count() as u64);
    let report = import(&database.questions(), format, &bytes, options.terms, &bar).await;
    bar.finish_and_clear();
    database.close().await;
    report
}

/// Imports what is in memory: the sample bank, on the first start.
pub async fn run_embedded(
    questions: &Questions,
    file: &[u8],
    format: Format,
    terms: ImportTerms<'_>,
) -> Result<ImportReport, ImportError> {
    import(questions, format, file, terms, &ProgressBar::hidden()).await
}

fn read(file: &Path) -> Result<Vec<u8>, ImportError> {
    let unreadable = |source| ImportError::Read {
        file: file.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(ImportError::TooLarge {
            file: file.to_owned(),
            bytes,
        });
    }
    std::fs::read(file).map_err(unreadable)
}

/// On standard error; hidden when that is no terminal.
fn progress_bar(rows: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}").expect("a valid template");
    ProgressBar::new(rows).with_style(style)
}

async fn import(
    questions: &Questions,
    format: Format,
    file: &[u8],
    terms: ImportTerms<'_>,
    bar: &ProgressBar,
) -> Result<ImportReport, ImportError> {
    let author = Author {
        who: terms.who.to_owned(),
        source: "import".to_owned(),
    };
    let mut attempt = 1;
    loop {
        let (revision, existing) = questions.load().await?;
        bar.reset();
        bar.set_message("comparing");
        let rows: Box<dyn Iterator<Item = _>> = match format::decode(file) {
            Ok(text) => Box::new(format.read(text)),
            Err(error) => Box::new(iter::once(Err(error))),
        };
        let conventions = Conventions {
            normalise: terms.normalise,
            new_id: &id_of,
        };
        let plan = plan(&existing, rows.inspect(|_| bar.inc(1)), terms.mode, conventions);
        if terms.mode == Mode::Replace && plan.rows.is_empty() {
            return Err(ImportError::Empty);
        }
        let mut report = ImportReport::new(&plan, terms, revision);
        report.look_at_files(&plan.put, terms.media);
        if terms.dry_run || !plan.is_applicable() {
            return Ok(report);
        }
        bar.set_message("writing");
        match questions
            .apply(&plan.put, &plan.remove, &author, unix_seconds(), revision)
            .await
        {
            Ok(revision) => {
                report.applied = true;
                report.revision = revision;
                return Ok(report);
            }
            Err(ApplyError::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The id of a new entry. Made from its question, so that one file gives the same ids in every database.
fn id_of(question: &str, attempt: u32) -> EntryId {
    let digest = Sha256::digest(format!("{question}\n{attempt}"));
    let mut first = [0; 8];
    first[2..].copy_from_slice(&digest[..6]);
    EntryId::parse(&format!("q-{:012x}", u64::from_be_bytes(first))).expect("hex digits are allowed in ids")
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
