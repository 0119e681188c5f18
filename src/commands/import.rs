//! `wxfaq import`: a file into the bank, all of it or nothing.
//!
//! [`run`] puts together what [`intake`] does: read the file in a process of its own, compare, write. Here
//! are the name's extension, the progress bar and the result file.

use super::export::replace_file;
use super::replacement::{Readers, Replacement};
use super::{Exit, Failure, open_to_try};
use crate::bank::format::{Format, write_template};
use crate::bank::import::Mode;
use crate::intake::{self, Event, ImportReport, ImportTerms, IntakeError, Limits, Sheet, check_result, write_result};
use crate::store::StoreError;
use crate::store::sql::{ApplyError, Database, OpenError, Place, Questions};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// This program, also after an upgrade has put another in its place: the child must be of the same version.
const PROGRAM: &str = "/proc/self/exe";

/// What to import, and how.
#[derive(Clone, Copy)]
pub struct ImportOptions<'a> {
    /// Its extension must be a known one; what it is, its content says.
    pub file: &'a Path,
    /// Where every row is written again with what became of it.
    pub result: Option<&'a Path>,
    #[expect(missing_docs, reason = "the type says it")]
    pub database: Place<'a>,
    #[expect(missing_docs, reason = "the type says it")]
    pub terms: ImportTerms<'a>,
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
    /// The result would stand in the place of what it is about.
    #[error("{}: is the file that is imported; give the result another name", .0.display())]
    ResultIsInput(PathBuf),
    /// The result could not be begun; nothing has been done.
    #[error("{}: {source}; nothing imported", .file.display())]
    NoResult {
        #[expect(missing_docs, reason = "the type says it")]
        file: PathBuf,
        #[expect(missing_docs, reason = "the type says it")]
        source: io::Error,
    },
    /// The result cannot be written to its end. What it would tell of has happened.
    #[error("{}: {source}; {report}", .file.display())]
    Result {
        #[expect(missing_docs, reason = "the type says it")]
        file: PathBuf,
        #[expect(missing_docs, reason = "the type says it")]
        source: io::Error,
        #[expect(missing_docs, reason = "the type says it")]
        report: Box<ImportReport>,
    },
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Intake(#[from] IntakeError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Open(#[from] OpenError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Import(#[from] intake::ImportError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Import(error.into())
    }
}

impl From<ApplyError> for ImportError {
    fn from(error: ApplyError) -> Self {
        Self::Import(error.into())
    }
}

impl ImportError {
    /// With which code the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::UnknownFormat(_) | Self::ResultIsInput(_) => Exit::Usage,
            Self::Read { .. } => Exit::NoInput,
            Self::Result { .. } | Self::NoResult { .. } => Exit::CannotCreate,
            Self::Intake(IntakeError::Refused(_)) => Exit::BadData,
            Self::Intake(IntakeError::Broken(_)) => Exit::Unavailable,
            Self::Open(error) => error.into(),
            Self::Import(error) => error.into(),
        }
    }
}

impl From<&intake::ImportError> for Exit {
    fn from(error: &intake::ImportError) -> Self {
        match error {
            intake::ImportError::Apply(ApplyError::Store(error)) => error.into(),
            intake::ImportError::Apply(ApplyError::Conflict { .. }) => Self::Unavailable,
            intake::ImportError::Empty
            | intake::ImportError::Apply(
                ApplyError::Ahead { .. }
                | ApplyError::PutBack { .. }
                | ApplyError::Repeated(_)
                | ApplyError::TooMany(_)
                | ApplyError::Overtaken(_)
                | ApplyError::Duplicates(_),
            ) => Self::BadData,
        }
    }
}

impl From<&ImportReport> for Exit {
    /// [`Exit::BadData`] when a row keeps the file from being imported.
    fn from(report: &ImportReport) -> Self {
        match report.refused() {
            0 => Self::Ok,
            _ => Self::BadData,
        }
    }
}

/// As clap wants it.
pub fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "append" => Ok(Mode::Append),
        "replace" => Ok(Mode::Replace),
        _ => Err("append or replace".to_owned()),
    }
}

/// Imports a file, with a progress bar on standard error if that is a terminal.
///
/// # Errors
/// Rows that cannot be taken are no error here: the report names them, and [`ImportReport::applied`] is false.
pub async fn run(options: ImportOptions<'_>) -> Result<ImportReport, ImportError> {
    run_by(Path::new(PROGRAM), options).await
}

/// Whether both are there and one file.
fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(a).is_some_and(|real_a| real(b) == Some(real_a))
}

/// A file to read, and no folder, which can be opened, too.
pub fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}

/// As [`run`], the file being read by a child of `program`.
pub async fn run_by(program: &Path, options: ImportOptions<'_>) -> Result<ImportReport, ImportError> {
    let path = options.file;
    let format_of = |path: &Path| Format::of(path).ok_or_else(|| ImportError::UnknownFormat(path.to_owned()));
    let named = format_of(path)?;
    let result = options
        .result
        .map(|path| format_of(path).map(|format| (path, format)))
        .transpose()?;
    if let Some((result, _)) = &result
        && is_same(result, path)
    {
        return Err(ImportError::ResultIsInput(result.to_path_buf()));
    }
    let file = open_file(path).map_err(|source| ImportError::Read {
        file: path.to_owned(),
        source,
    })?;
    let result = result.map(|(path, format)| begin_result(path).map(|file| (path, format, file)));
    let result = result.transpose()?;
    let bar = progress_bar();
    let listener = |event| show(&bar, event);
    let mut sheet = intake::read(program, file, &Limits::OWN_FILE, &listener).await?;
    if sheet.format != named && !sheet.rows.is_empty() {
        let (named, held) = (named.as_str(), sheet.format.as_str());
        sheet.notices.insert(
            0,
            format!("the name says {named}, the file holds {held} and is read so"),
        );
    }
    if let Some((path, format, _)) = &result {
        check_result(&sheet, *format).map_err(|error| ImportError::NoResult {
            file: path.to_path_buf(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
    }
    let database = match options.terms.dry_run {
        true => open_to_try(options.database).await?,
        false => Database::open(options.database).await?,
    };
    let report = intake::import(&database.questions(), &sheet, options.terms, &listener).await;
    bar.finish_and_clear();
    database.close().await;
    let report = report?;
    if let Some((path, format, mut file)) = result {
        let written = write_result(&sheet, &report, format, &mut file.out).and_then(|()| file.finish());
        if let Err(source) = written {
            return Err(ImportError::Result {
                file: path.to_owned(),
                source,
                report: Box::new(report),
            });
        }
    }
    Ok(report)
}

/// Before the import, for what cannot be written then is known while nothing has been done.
fn begin_result(path: &Path) -> Result<Replacement, ImportError> {
    let begun = match path.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Replacement::begin(path, Readers::Usual),
    };
    begun.map_err(|source| ImportError::NoResult {
        file: path.to_owned(),
        source,
    })
}

/// Imports what is embedded: the sample bank, on the first start.
pub async fn run_embedded(
    questions: &Questions,
    file: &[u8],
    terms: ImportTerms<'_>,
) -> Result<ImportReport, ImportError> {
    let sheet = Sheet::of_trusted(file).map_err(IntakeError::from)?;
    Ok(intake::import(questions, &sheet, terms, &|_| ()).await?)
}

/// Writes a workbook to fill in.
pub fn template(path: &Path) -> Result<(), Failure> {
    if Format::of(path) != Some(Format::Xlsx) {
        let text = format!(
            "{}: the template is a workbook, its name must end in .xlsx",
            path.display()
        );
        return Err(Failure::report(Exit::Usage, text));
    }
    if path.exists() {
        let text = format!(
            "{}: is there already, and may be filled in; give another name",
            path.display()
        );
        return Err(Failure::report(Exit::CannotCreate, text));
    }
    let written = replace_file(path, |out| write_template(out));
    written.map_err(|error| Failure::report(Exit::CannotCreate, format!("{}: {error}", path.display())))
}

/// On standard error; hidden when that is no terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}").expect("a valid template");
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, event: Event) {
    match event {
        Event::Reading { rows } => {
            bar.set_message("reading");
            bar.set_length(rows);
            bar.set_position(rows);
        }
        Event::Comparing { rows, of } => {
            bar.set_message("comparing");
            bar.set_length(of);
            bar.set_position(rows);
        }
        Event::Writing => bar.set_message("writing"),
    }
}
