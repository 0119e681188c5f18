//! A sheet into the bank, all of it or nothing.
//!
//! The rows are compared with the bank first ([`bank::import`](crate::bank::import)); then everything is written by one
//! call of [`Questions::apply`], one transaction. Killed at any moment, this leaves the bank as it was or as the file
//! says, so importing the file again is always right: what is there already is the same then.

use super::{Event, ImportReport, Listener, Sheet};
use crate::bank::format::{Record, Row, RowError};
use crate::bank::import::{Conventions, Mode, plan};
use crate::bank::{Answer, EntryId};
use crate::store::StoreError;
use crate::store::sql::{ApplyError, Author, BankChange, Questions};
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// How often the comparison is made anew because somebody edited the bank meanwhile.
const ATTEMPTS: u32 = 5;
/// Rows between two events.
const EVENT_ROWS: u64 = 1_000;

/// What is to be done with the rows, whatever they come from.
#[derive(Clone, Copy)]
pub struct ImportTerms<'a> {
    #[expect(missing_docs, reason = "the type says it")]
    pub mode: Mode,
    /// Report only, write nothing.
    pub dry_run: bool,
    /// The revision at which the file's entries were seen: what somebody changed since is not overwritten. `None`: the file
    /// is the last word.
    pub made_from: Option<u64>,
    /// Who imports, for the bank's history.
    pub who: &'a str,
    /// As in [`Conventions::normalise`].
    pub normalise: &'a (dyn Fn(&str) -> String + Sync),
    /// Why followers would not see the file of an answer, if it names one.
    pub file_problem: &'a (dyn Fn(&Answer) -> Option<String> + Sync),
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Replacing the bank by a file without entries would empty it; nobody means that.
    #[error("the file has no entries: replacing the bank by it would remove every question")]
    Empty,
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Apply(#[from] ApplyError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Apply(error.into())
    }
}

/// Brings the sheet's rows into the bank, or says what that would do.
///
/// # Errors
/// Rows that cannot be taken are no error here: the report names them, and [`ImportReport::applied`] is false.
pub async fn import(
    questions: &Questions,
    sheet: &Sheet,
    terms: ImportTerms<'_>,
    listener: Listener<'_>,
) -> Result<ImportReport, ImportError> {
    if terms.mode == Mode::Replace && sheet.rows.is_empty() {
        return Err(ImportError::Empty);
    }
    let author = Author {
        who: terms.who.to_owned(),
        source: "import".to_owned(),
    };
    let conventions = || Conventions {
        normalise: terms.normalise,
        new_id: &id_of,
    };
    let mut attempt = 1;
    loop {
        let (revision, existing) = questions.load().await?;
        let (plan, mut report) = aside(|| {
            let plan = plan(&existing, told_of(sheet, listener), terms.mode, conventions());
            let mut report = ImportReport::new(sheet, &plan, terms, revision);
            report.look_at_files(&plan.put, terms.file_problem);
            (plan, report)
        });
        if !plan.is_applicable() {
            return Ok(report);
        }
        let change = BankChange {
            put: &plan.put,
            remove: &plan.remove,
            made_from: terms.made_from,
            ..BankChange::default()
        };
        if terms.dry_run {
            questions.look_for_overtaking(change).await?;
            return Ok(report);
        }
        listener(Event::Writing);
        let now = unix_seconds();
        match questions.change(change, &author, now, revision).await {
            Ok(revision) => {
                report.applied = true;
                report.revision = revision;
                return Ok(report);
            }
            Err(error) if error.is_passing() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Does what takes a second with a large bank, where other tasks of the runtime go on meanwhile, if it has other threads.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

/// The rows, the listener being told of some.
fn told_of<'a>(sheet: &'a Sheet, listener: Listener<'a>) -> impl Iterator<Item = Result<Row, RowError>> + 'a {
    let of = sheet.rows.len() as u64;
    (1..).zip(&sheet.rows).map(move |(rows, row)| {
        if rows % EVENT_ROWS == 0 || rows == of {
            listener(Event::Comparing { rows, of });
        }
        row.clone().and_then(Record::row)
    })
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
