//! The one way to change the bank, its entries and what is kept beside them: [`Database::change`].
//!
//! A change takes the revision one further first, which makes changes follow one another, and writes its rows and their
//! history in the same transaction.

use super::{Database, StoreError};
use crate::bank::duplicates::Duplicate;
use crate::bank::history::{Overtaken, Recorded, Subject, Thing};
use crate::bank::{Category, Entry, EntryId, Rule, RuleId, Text, TextName};
use sqlx::any::AnyArguments;
use sqlx::any::AnyRow;
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction};
use std::collections::HashSet;
use std::fmt::Display;
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

/// One state of one bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// Random; another one once a backup has been put in the bank's place, whatever its revision.
    pub bank: String,
    #[expect(missing_docs, reason = "the type says it")]
    pub revision: u64,
}

/// Why a change was not made; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else changed the bank since it was read.
    #[error("the bank has changed meanwhile: it is at revision {found}, not {expected}; try again")]
    Conflict {
        /// The revision the change was made for.
        expected: u64,
        /// The bank's.
        found: u64,
    },
    /// Nobody can have seen the bank so.
    #[error("the bank has not come to revision {asked}: it is at {found}")]
    Ahead {
        /// The revision the change was made from.
        asked: u64,
        /// The bank's.
        found: u64,
    },
    /// What was shown is another bank's.
    #[error(
        "nothing was written: a backup has been restored since revision {asked} (the bank began anew at revision {since}); \
         look at it again"
    )]
    PutBack {
        /// The revision the change was made from.
        asked: u64,
        /// The first revision of the bank that is there now.
        since: u64,
    },
    /// The change speaks of one thing twice.
    #[error("{0} is changed twice")]
    Repeated(String),
    /// With it there would be more rules, regexes or categories than are allowed.
    #[error("nothing was written: with it there are {0}")]
    TooMany(String),
    /// Somebody else changed the very thing since it was shown.
    #[error(transparent)]
    Overtaken(#[from] Box<Overtaken>),
    /// What it would publish says what another entry says already; which of them would answer?
    #[error("nothing was written, merge them or change one: {}", lines(.0))]
    Duplicates(Vec<Duplicate>),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Store(#[from] StoreError),
}

impl ApplyError {
    /// Whether somebody else was just changing the bank, so that the same again may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Store(StoreError::Busy { .. }))
    }
}

/// The first of them, in one line.
fn lines(duplicates: &[Duplicate]) -> String {
    let mut shown: Vec<String> = duplicates.iter().take(10).map(ToString::to_string).collect();
    if duplicates.len() > shown.len() {
        shown.push(format!("and {} more", duplicates.len() - shown.len()));
    }
    shown.join("; ")
}

/// What becomes of entries, rules, categories and texts in one revision.
#[derive(Debug, Clone, Copy, Default)]
pub struct BankChange<'a> {
    /// Entries that are added, or replace the one with their id.
    pub put: &'a [Entry],
    /// Entries that go; absent ones are no error.
    pub remove: &'a [EntryId],
    /// Rules that are added, or replace the one with their id.
    pub put_rules: &'a [Rule],
    /// Rules that go; absent ones are no error.
    pub remove_rules: &'a [RuleId],
    /// Templates and dictionaries that are added, or replace the one of their name. Nobody looks at them again.
    pub put_texts: &'a [Text],
    /// Those that go; absent ones are no error.
    pub remove_texts: &'a [TextName],
    /// Settings of categories that are added, or replace those of the same category.
    pub put_categories: &'a [Category],
    /// Categories whose settings go; absent ones are no error.
    pub remove_categories: &'a [String],
    /// The revision at which all this was shown to who changes it. Whatever of it changed since is not overwritten;
    /// 0: it was never shown, so whatever of it is there is not overwritten. `None`: whoever changes it has looked at the
    /// whole bank.
    pub made_from: Option<u64>,
}

impl BankChange<'_> {
    /// Everything it speaks of.
    fn things(&self) -> Vec<Thing> {
        fn of<'t, T: Display + 't>(subject: Subject, ids: impl Iterator<Item = &'t T>) -> Vec<Thing> {
            ids.map(|id| Thing::new(subject, id.to_string())).collect()
        }
        let entries = self.put.iter().map(|entry| &entry.id).chain(self.remove);
        let rules = self.put_rules.iter().map(|rule| &rule.id).chain(self.remove_rules);
        let categories = self.put_categories.iter().map(|set| &set.category);
        let categories = categories.chain(self.remove_categories);
        let texts = self.put_texts.iter().map(|text| &text.name).chain(self.remove_texts);
        [
            of(Subject::Entry, entries),
            of(Subject::Rule, rules),
            of(Subject::Category, categories),
            texts.map(TextName::thing).collect(),
        ]
        .concat()
    }
}

/// Rows one statement writes or asks for. With 18 columns 9,000 parameters, of at most 32,766 in SQLite and 65,535 in
/// the others.
pub(super) const BATCH: usize = 500;
/// Bytes of values in one statement, unless a single row has more: MySQL 5.7 takes no more than 4 MiB by default.
const BATCH_BYTES: usize = 1 << 20;

pub(super) const SELECT_HISTORY: &str = "SELECT revision, subject, subject_id, value_before, value_after, changed_at, changed_by, \
                              source FROM history";

/// Things of which an overtaken editor is told what happened to them.
const MOST_TOLD: u32 = 20;

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

/// One changed thing, for the history. Values are as in files.
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
    /// Makes one change of the bank, whole and durably, and returns the revision after it.
    ///
    /// What is the same already is left alone, and if all of it is, the revision stays. `now` is in Unix seconds.
    ///
    /// # Errors
    /// [`ApplyError::Conflict`] when the bank is not at `expected_revision`, also when it was changed by another
    /// process this very moment. [`ApplyError::TooMany`] when it leaves more of what is limited than is allowed, and more
    /// than there was. [`ApplyError::Overtaken`] and [`ApplyError::PutBack`] as [`BankChange::made_from`] says.
    /// [`StoreError::Busy`] when another writer holds the lock for longer than 200 ms in SQLite, 5 seconds on a server.
    pub async fn change(
        &self,
        change: BankChange<'_>,
        by: &Author,
        now: i64,
        expected_revision: u64,
    ) -> Result<u64, ApplyError> {
        let things = change.things();
        let mut seen = HashSet::with_capacity(things.len());
        if let Some(repeated) = things.iter().find(|thing| !seen.insert(*thing)) {
            return Err(ApplyError::Repeated(repeated.to_string()));
        }
        let mut transaction = self.begin_write().await?;
        self.advance(&mut transaction, expected_revision).await?;
        if let Some(made_from) = change.made_from {
            self.refuse_overtaken(&mut transaction, &things, made_from, expected_revision)
                .await?;
        }
        let revision = expected_revision + 1;
        let edit = Edit { by, now, revision };
        let questions = self.questions();
        let mut changed = questions
            .write(&mut transaction, change.put, change.remove, edit)
            .await?;
        let rules = self.rules();
        changed |= rules
            .write(&mut transaction, change.put_rules, change.remove_rules, edit)
            .await?;
        let categories = self.categories();
        changed |= categories
            .write(&mut transaction, change.put_categories, change.remove_categories, edit)
            .await?;
        let texts = self.texts();
        changed |= texts
            .write(&mut transaction, change.put_texts, change.remove_texts, edit)
            .await?;
        if !changed {
            return Ok(expected_revision);
        }
        self.commit(transaction).await?;
        Ok(revision)
    }

    /// Whether [`Database::change`] would refuse the change because of [`BankChange::made_from`]; writes nothing.
    ///
    /// # Errors
    /// [`ApplyError::Overtaken`], [`ApplyError::PutBack`] and [`ApplyError::Ahead`].
    pub async fn look_for_overtaking(&self, change: BankChange<'_>) -> Result<(), ApplyError> {
        let Some(made_from) = change.made_from else {
            return Ok(());
        };
        let mut transaction = self.begin_read().await?;
        let found = self.bank_revision(&mut transaction).await?;
        self.refuse_overtaken(&mut transaction, &change.things(), made_from, found)
            .await
    }

    async fn refuse_overtaken(
        &self,
        transaction: &mut Transaction<'static, Any>,
        things: &[Thing],
        made_from: u64,
        found: u64,
    ) -> Result<(), ApplyError> {
        if made_from > found {
            let asked = made_from;
            return Err(ApplyError::Ahead { asked, found });
        }
        let since = self.bank_since(transaction).await?;
        // What nobody was shown is looked for below, whatever was restored.
        if 0 < made_from && made_from < since {
            let asked = made_from;
            return Err(ApplyError::PutBack { asked, since });
        }
        // One question however much is changed: little happens between showing and saving.
        let select = "SELECT DISTINCT subject, subject_id FROM history WHERE revision > ?";
        let query = sqlx::query(self.dialect.sql(select)).bind(signed(made_from));
        let rows = self.answer(query.fetch_all(&mut **transaction)).await?;
        let pair = |row: &AnyRow| Ok((row.try_get("subject")?, row.try_get("subject_id")?));
        let touched: Result<HashSet<(String, String)>, sqlx::Error> = rows.iter().map(pair).collect();
        let touched = touched.map_err(|error| self.dialect.error(&error))?;
        let is_touched = |thing: &&Thing| touched.contains(&(thing.subject.as_str().to_owned(), thing.id.clone()));
        let mut changes = Vec::new();
        let mut told = 0;
        for thing in things.iter().filter(is_touched) {
            let select =
                format!("{SELECT_HISTORY} WHERE subject = ? AND subject_id = ? AND revision > ? ORDER BY revision");
            let query = sqlx::query(self.dialect.sql(&select))
                .bind(thing.subject.as_str())
                .bind(thing.id.clone())
                .bind(signed(made_from));
            let mut since = self.recorded(transaction, query).await?;
            if made_from == 0 {
                since = since_removal(since);
            }
            told += u32::from(!since.is_empty());
            changes.extend(since);
            if told == MOST_TOLD {
                break;
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        Err(Box::new(Overtaken { made_from, changes }).into())
    }

    /// Runs a [`SELECT_HISTORY`].
    pub(super) async fn recorded(
        &self,
        transaction: &mut Transaction<'static, Any>,
        query: AnyQuery<'_>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let rows = self.answer(query.fetch_all(&mut **transaction)).await?;
        rows.iter().map(|row| self.recorded_row(row)).collect()
    }

    fn recorded_row(&self, row: &AnyRow) -> Result<Recorded, StoreError> {
        let corrupt = |reason: &dyn Display| StoreError::Corrupt {
            backend: self.dialect.name(),
            reason: format!("history: {reason}"),
        };
        let cells = || {
            let revision: i64 = row.try_get("revision")?;
            let (subject, id): (String, String) = (row.try_get("subject")?, row.try_get("subject_id")?);
            let recorded = Recorded {
                revision: u64::try_from(revision).unwrap_or(0),
                thing: Thing::new(Subject::Entry, id),
                before: row.try_get("value_before")?,
                after: row.try_get("value_after")?,
                changed_at: row.try_get("changed_at")?,
                changed_by: row.try_get("changed_by")?,
                source: row.try_get("source")?,
            };
            Ok((recorded, subject))
        };
        let (mut recorded, subject) = cells().map_err(|error: sqlx::Error| corrupt(&error))?;
        recorded.thing.subject =
            Subject::parse(&subject).ok_or_else(|| corrupt(&format_args!("{subject:?} is not known")))?;
        Ok(recorded)
    }

    /// How often things of these kinds were changed since the bank's `revision`.
    pub(super) async fn changes_of(
        &self,
        transaction: &mut Transaction<'static, Any>,
        subjects: &[Subject],
        revision: u64,
    ) -> Result<i64, StoreError> {
        let among = tuple(subjects.len());
        let select = format!("SELECT COUNT(*) AS changes FROM history WHERE revision > ? AND subject IN {among}");
        let query = sqlx::query(self.dialect.sql(&select)).bind(signed(revision));
        let query = subjects
            .iter()
            .fold(query, |query, subject| query.bind(subject.as_str()));
        let row = self.answer(query.fetch_one(&mut **transaction)).await?;
        row.try_get("changes").map_err(|error| self.dialect.error(&error))
    }

    /// Which bank it is, and its revision.
    pub(super) async fn edition(&self, transaction: &mut Transaction<'static, Any>) -> Result<Edition, StoreError> {
        let query = sqlx::query(self.dialect.sql("SELECT id FROM bank_id"));
        let row = self.answer(query.fetch_optional(&mut **transaction)).await?;
        let id = row.and_then(|row| row.try_get("id").ok());
        let bank = id.ok_or_else(|| StoreError::Corrupt {
            backend: self.dialect.name(),
            reason: "bank_id does not hold one id".to_owned(),
        })?;
        Ok(Edition {
            bank,
            revision: self.bank_revision(transaction).await?,
        })
    }

    /// The revision at which a backup was put in the bank's place; 0: never.
    pub(super) async fn bank_since(&self, transaction: &mut Transaction<'static, Any>) -> Result<u64, StoreError> {
        let query = sqlx::query(self.dialect.sql("SELECT since FROM bank_id"));
        let row = self.answer(query.fetch_one(&mut **transaction)).await?;
        let since: i64 = row.try_get("since").map_err(|error| self.dialect.error(&error))?;
        Ok(u64::try_from(since).unwrap_or(0))
    }

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
        subject: Subject,
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
                    .bind(subject.as_str())
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

/// What happened to a thing since it was removed last, of all that did, oldest first; empty: it is not there.
fn since_removal(mut history: Vec<Recorded>) -> Vec<Recorded> {
    let gone = history.iter().rposition(|recorded| recorded.after.is_none());
    history.split_off(gone.map_or(0, |gone| gone + 1))
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
