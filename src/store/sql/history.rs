//! What every change of the bank, its entries and its rules, shares: the revision and the history.
//!
//! A change takes the revision one further first, which makes changes follow one another, and writes its rows and their
//! history in the same transaction.

use super::{Database, StoreError};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction};
use std::iter;
use std::ops::Range;

/// Who changes the bank, for its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The name of the editor, or of the program.
    pub who: String,
    /// By which way: `import`, `console`, …
    pub source: String,
}

/// Why a change was not made; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else changed the bank since it was read.
    #[error("the bank has changed meanwhile: it is at revision {found}, not {expected}")]
    Conflict {
        /// The revision the change was made for.
        expected: u64,
        /// The bank's.
        found: u64,
    },
    /// The change speaks of one entry, or one rule, twice.
    #[error("{0} is changed twice")]
    Repeated(String),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Store(#[from] StoreError),
}

/// Rows one statement writes or asks for. With 18 columns 9,000 parameters, of at most 32,766 in SQLite and 65,535 in
/// the others.
pub(super) const BATCH: usize = 500;
/// Bytes of values in one statement, unless a single row has more: MySQL 5.7 takes no more than 4 MiB by default.
const BATCH_BYTES: usize = 1 << 20;

const INSERT_HISTORY: &str = "INSERT INTO history (revision, subject, subject_id, operation, value_before, \
                              value_after, changed_at, changed_by, source) VALUES ";

pub(super) type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

/// Who changes the bank, when, and to which revision.
#[derive(Clone, Copy)]
pub(super) struct Edit<'a> {
    pub by: &'a Author,
    /// Unix seconds.
    pub now: i64,
    pub revision: u64,
}

/// One changed thing, for the history. Values are JSON as in files.
pub(super) struct Record {
    pub id: String,
    /// `None`: it was not there.
    pub before: Option<String>,
    /// `None`: it is gone.
    pub after: Option<String>,
}

impl Record {
    /// Bytes of the value it has become.
    pub fn size_after(&self) -> usize {
        self.after.as_ref().map_or(0, String::len)
    }

    fn size(&self) -> usize {
        self.size_after() + self.before.as_ref().map_or(0, String::len)
    }
}

impl Database {
    /// The bank's revision.
    pub(super) async fn bank_revision(&self, transaction: &mut Transaction<'static, Any>) -> Result<u64, StoreError> {
        let dialect = self.dialect;
        let query = sqlx::query(dialect.sql("SELECT revision FROM bank_revision"));
        let row = self.answer(query.fetch_optional(&mut **transaction)).await?;
        let revision = row.and_then(|row| row.try_get::<i64, _>("revision").ok());
        revision
            .and_then(|revision| u64::try_from(revision).ok())
            .ok_or_else(|| StoreError::Corrupt {
                backend: dialect.name(),
                reason: "bank_revision does not hold one number".to_owned(),
            })
    }

    /// Takes the bank from `expected` to the next revision, and with it the right to change the bank.
    pub(super) async fn advance(
        &self,
        transaction: &mut Transaction<'static, Any>,
        expected: u64,
    ) -> Result<(), ApplyError> {
        let dialect = self.dialect;
        let update = dialect.sql("UPDATE bank_revision SET revision = revision + 1 WHERE revision = ?");
        let query = sqlx::query(update).bind(signed(expected));
        let done = self.answer(query.execute(&mut **transaction)).await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        let found = self.bank_revision(transaction).await?;
        Err(ApplyError::Conflict { expected, found })
    }

    /// Writes what became of things of one kind, which `subject` names.
    pub(super) async fn record(
        &self,
        transaction: &mut Transaction<'static, Any>,
        subject: &'static str,
        records: &[Record],
        edit: Edit<'_>,
    ) -> Result<(), StoreError> {
        let dialect = self.dialect;
        for batch in batches(records.iter().map(Record::size)) {
            let batch = &records[batch];
            let insert = dialect.sql(&format!("{INSERT_HISTORY}{}", tuples(batch.len(), 9)));
            let query = batch.iter().fold(sqlx::query(insert), |query, record| {
                query
                    .bind(signed(edit.revision))
                    .bind(subject)
                    .bind(record.id.clone())
                    .bind(if record.after.is_some() { "put" } else { "remove" })
                    .bind(record.before.clone())
                    .bind(record.after.clone())
                    .bind(edit.now)
                    .bind(edit.by.who.clone())
                    .bind(edit.by.source.clone())
            });
            self.answer(query.execute(&mut **transaction)).await?;
        }
        Ok(())
    }
}

/// Which of the rows of these sizes, in bytes, one statement takes, and which the next.
pub(super) fn batches(sizes: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (row, size) in sizes.into_iter().enumerate() {
        bytes += size;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes <= BATCH_BYTES => batch.end = row + 1,
            _ => {
                batches.push(row..row + 1);
                bytes = size;
            }
        }
    }
    batches
}

/// `(?, ?, …)` with that many parameters, at least one.
pub(super) fn tuple(parameters: usize) -> String {
    format!("({})", iter::repeat_n("?", parameters).collect::<Vec<_>>().join(", "))
}

/// That many of them, separated by commas.
pub(super) fn tuples(rows: usize, parameters: usize) -> String {
    iter::repeat_n(tuple(parameters), rows).collect::<Vec<_>>().join(", ")
}

/// Revisions count edits, they never come near the limit.
pub(super) fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_takes_so_many_rows_and_so_many_bytes() {
        let check = |sizes: &[usize], expected: &[Range<usize>]| assert_eq!(batches(sizes.iter().copied()), expected);
        check(&[], &[]);
        check(
            &[1; BATCH * 2 + 1],
            &[0..BATCH, BATCH..2 * BATCH, 2 * BATCH..2 * BATCH + 1],
        );
        check(&[BATCH_BYTES, 1, BATCH_BYTES - 1, 1], &[0..1, 1..3, 3..4]);
        check(&[BATCH_BYTES + 1, BATCH_BYTES + 1], &[0..1, 1..2]);
    }
}
