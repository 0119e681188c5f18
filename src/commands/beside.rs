//! What `wxfaq rule` and `wxfaq category` have in common: things beside the bank from a file and into one.
//!
//! A file is taken whole or not at all, as the bank's.

use super::import::{ImportError, parse_mode};
use super::{Exit, Failure, export, open_to_try, operator, unix_seconds};
use crate::app::{self, AppError};
use crate::bank::beside::{self, Beside, Row, Verdict, plan};
use crate::bank::format::{RowError, decode};
use crate::bank::import::Mode;
use crate::bank::terminal::lines;
use crate::config::Config;
use crate::store::sql::{Author, BankChange, Database, Tabled, Things};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Larger than any file within the limits.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// How often the comparison is made anew because somebody edited the bank meanwhile.
const ATTEMPTS: u32 = 5;

/// What makes an import harmless; of texts, too.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Care {
    /// Only report what would happen.
    #[arg(long)]
    pub dry_run: bool,
    /// The revision at which it was exported: refused when somebody changed since what it would change.
    #[arg(long, value_name = "N")]
    pub made_from: Option<u64>,
}

/// `import`
#[derive(Debug, Clone, clap::Args)]
pub struct ImportArgs {
    /// .jsonl
    pub file: PathBuf,
    /// append adds and updates; replace also removes what the file lacks.
    #[arg(long, default_value = "append", value_parser = parse_mode)]
    pub mode: Mode,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub care: Care,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// How things are imported.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    #[expect(missing_docs, reason = "the type says it")]
    pub mode: Mode,
    #[expect(missing_docs, reason = "the type says it")]
    pub care: Care,
    /// For the history.
    pub who: &'a str,
    /// For the history: by which way.
    pub source: &'a str,
}

/// What an import did, or why it did nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Report<W> {
    #[expect(missing_docs, reason = "the terms' value")]
    pub dry_run: bool,
    /// Whether they are now as the file says. `false`: nothing was written.
    pub applied: bool,
    /// The bank's, afterwards.
    pub revision: u64,
    /// What was, or would be, removed.
    pub removed: Vec<String>,
    /// One a row, in the file's order.
    pub rows: Vec<Row>,
    /// Of all of them as they are afterwards.
    pub warnings: Vec<W>,
}

impl<W> Report<W> {
    /// [`Exit::BadData`] when a row keeps the file from being imported.
    pub fn exit(&self) -> Exit {
        match self.count(|verdict| matches!(verdict, Verdict::Error { .. })) {
            0 => Exit::Ok,
            _ => Exit::BadData,
        }
    }

    fn count(&self, which: impl Fn(&Verdict) -> bool) -> usize {
        self.rows.iter().filter(|row| which(&row.verdict)).count()
    }
}

impl<W: fmt::Display> fmt::Display for Report<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let is_shown = match row.verdict {
                Verdict::Error { .. } => true,
                Verdict::New | Verdict::Changed => self.dry_run,
                Verdict::Same => false,
            };
            if is_shown {
                writeln!(f, "{row}")?;
            }
        }
        if self.dry_run {
            self.removed.iter().try_for_each(|id| writeln!(f, "removed, {id}"))?;
        }
        self.warnings
            .iter()
            .try_for_each(|warning| writeln!(f, "warning: {warning}"))?;
        let refused = self.count(|verdict| matches!(verdict, Verdict::Error { .. }));
        if refused > 0 {
            return write!(
                f,
                "nothing imported: {refused} of {} rows cannot be taken",
                self.rows.len()
            );
        }
        if self.dry_run {
            write!(f, "dry run, nothing written: ")?;
        }
        let count = |verdict: Verdict| self.count(|found| *found == verdict);
        write!(
            f,
            "{} new, {} changed, {} same, {} removed; the bank is at revision {}",
            count(Verdict::New),
            count(Verdict::Changed),
            count(Verdict::Same),
            self.removed.len(),
            self.revision
        )
    }
}

/// Imports the rows that `rows` gives, anew when somebody else changes the bank meanwhile. `review` says what is probably
/// not meant of what would be there.
pub async fn import<T: Tabled, R, W>(
    things: &Things<T>,
    rows: impl Fn() -> R,
    terms: Terms<'_>,
    review: impl AsyncFn(&[T]) -> Result<Vec<W>, Failure>,
) -> Result<Report<W>, Failure>
where
    R: Iterator<Item = (u64, Result<T, RowError>)>,
{
    let author = Author {
        who: terms.who.to_owned(),
        source: terms.source.to_owned(),
    };
    let mut attempt = 1;
    loop {
        let (revision, existing) = things.load().await.map_err(ImportError::from)?;
        let plan = plan(&existing, rows(), terms.mode);
        if terms.mode == Mode::Replace && plan.rows.is_empty() {
            let text = format!(
                "the file names nothing: every {} there is would be removed",
                T::SUBJECT.as_str()
            );
            return Err(Failure::report(Exit::BadData, text));
        }
        let mut report = Report {
            dry_run: terms.care.dry_run,
            applied: false,
            revision,
            removed: plan.remove.iter().map(ToString::to_string).collect(),
            warnings: review(&plan.outcome).await?,
            rows: plan.rows.clone(),
        };
        if !plan.is_applicable() {
            return Ok(report);
        }
        let change = BankChange {
            made_from: terms.care.made_from,
            ..T::change(&plan.put, &plan.remove)
        };
        let database = things.database();
        if terms.care.dry_run {
            database.look_for_overtaking(change).await.map_err(ImportError::from)?;
            return Ok(report);
        }
        match database.change(change, &author, unix_seconds(), revision).await {
            Ok(revision) => {
                (report.applied, report.revision) = (true, revision);
                return Ok(report);
            }
            Err(error) if error.is_passing() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(ImportError::from(error).into()),
        }
    }
}

/// Imports a file and says what was done; `review` as of [`import`].
pub async fn import_file<T: Tabled, W: fmt::Display + Serialize>(
    config: &Config,
    args: &ImportArgs,
    of: fn(&Database) -> Things<T>,
    review: impl AsyncFn(&Database, &[T]) -> Result<Vec<W>, Failure>,
) -> Result<Exit, Failure> {
    let text = read(&args.file)?;
    let terms = Terms {
        mode: args.mode,
        care: args.care,
        who: &operator(),
        source: "import",
    };
    let place = app::place_of(config);
    let opened = match args.care.dry_run {
        true => open_to_try(place).await,
        false => Database::open(place).await,
    };
    let database = opened.map_err(AppError::from)?;
    let looked = async |things: &[T]| review(&database, things).await;
    let report = import(&of(&database), || beside::read(&text), terms, looked).await;
    database.close().await;
    let report = report?;
    if report.applied {
        app::announce_revision(config, report.revision).await;
    }
    match args.json {
        true => say!("{}", serde_json::to_string_pretty(&report).unwrap_or_default()),
        false => say!("{}", lines(&report.to_string())),
    }
    Ok(report.exit())
}

/// Every one as it is stored, and the bank's revision.
pub async fn load<T: Tabled>(config: &Config, of: fn(&Database) -> Things<T>) -> Result<(u64, Vec<T>), Failure> {
    let database = Database::open_to_read(app::place_of(config))
        .await
        .map_err(AppError::from)?;
    let loaded = of(&database).load().await;
    database.close().await;
    Ok(loaded.map_err(AppError::from)?)
}

/// Writes every one of `things` to `file`, but does not empty a file that is there. `kind`: what they are called.
pub fn export<T: Beside>(file: &Path, kind: &str, (revision, things): &(u64, Vec<T>)) -> Result<(), Failure> {
    check_name(file)?;
    if things.is_empty() && file.exists() {
        let text = format!(
            "there are no {kind}, and {} is there already: it is kept as it is",
            file.display()
        );
        return Err(Failure::report(Exit::BadData, text));
    }
    let written = export::replace_file(file, |out| beside::write(things, out));
    written.map_err(|error| Failure::report(Exit::CannotCreate, format!("{}: {error}", file.display())))?;
    say!("{}: {} {kind}, revision {revision}", file.display(), things.len());
    Ok(())
}

fn check_name(file: &Path) -> Result<(), Failure> {
    if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl")) {
        return Ok(());
    }
    let text = format!("{}: the name must end in .jsonl", file.display());
    Err(Failure::report(Exit::Usage, text))
}

/// The text of a file that is to be imported.
pub fn read(file: &Path) -> Result<String, Failure> {
    check_name(file)?;
    let unreadable = |error| Failure::report(Exit::NoInput, format!("{}: {error}", file.display()));
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > MAX_FILE_BYTES {
        let text = format!(
            "{} has {bytes} bytes, at most {MAX_FILE_BYTES} are read",
            file.display()
        );
        return Err(Failure::report(Exit::BadData, text));
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let text =
        decode(&bytes).map_err(|error| Failure::report(Exit::BadData, format!("{}: {error}", file.display())))?;
    Ok(text.to_owned())
}
