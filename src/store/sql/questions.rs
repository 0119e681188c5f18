//! The question bank in the database: whole, as changes since a revision, and the one way to change it.
//!
//! The bank's revision rises by one with every change; [`Questions::apply`] writes rows, history and revision in one
//! transaction, so a reader sees a change whole or not at all, and one that was acknowledged outlives a crash. Entries
//! come in valid ([`Entry::validate`]) and are not checked against the limits again when read.

use super::{Database, StoreError};
use crate::bank::{Answer, Channel, Entry, EntryId, State, format};
use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Decode, Row, Transaction, Type};
use std::collections::{HashMap, HashSet};
use std::iter;

/// The bank on one database; every instance and every process on it sees the same one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Questions {
    database: Database,
}

/// What has changed between two revisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// The revision after them.
    pub revision: u64,
    /// Entries new or changed, as they are now, by id.
    pub put: Vec<Entry>,
    /// Entries that are gone, by id; may hold some that came and went in between.
    pub removed: Vec<EntryId>,
}

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
    /// The change speaks of one entry twice.
    #[error("entry {0} is changed twice")]
    Repeated(EntryId),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Store(#[from] StoreError),
}

/// Rows one statement writes or asks for. With 18 columns 9,000 parameters, of at most 32,766 in SQLite and 65,535 in
/// the others.
const BATCH: usize = 500;

const SELECT: &str = "SELECT id, question, similar_questions, kind, answer, category, tags, state, accounts, channels, \
                      valid_from, valid_until, priority, created_at, created_by FROM entry";

const INSERT: &str = "INSERT INTO entry (id, question, similar_questions, kind, answer, category, tags, state, \
                      accounts, channels, valid_from, valid_until, priority, created_at, created_by, updated_at, \
                      updated_by, revision) VALUES ";

const INSERT_HISTORY: &str = "INSERT INTO history (revision, subject, subject_id, operation, value_before, \
                              value_after, changed_at, changed_by, source) VALUES ";

/// What [`INSERT_HISTORY`] calls a question in `subject`; templates and dictionaries will have their own names.
const SUBJECT: &str = "entry";

impl Questions {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The bank's revision; 0: never changed.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        self.revision_in(&mut transaction).await
    }

    /// The whole bank by id, whatever the entries' state, and its revision.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the entry and the column that cannot be read.
    pub async fn load(&self) -> Result<(u64, Vec<Entry>), StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let revision = self.revision_in(&mut transaction).await?;
        let query = sqlx::query(self.database.dialect.sql(SELECT));
        let stored = self.fetch(&mut transaction, query).await?;
        Ok((revision, sorted(stored)))
    }

    /// What has changed since `revision`; `None`: the bank has not come so far, it must have been put back to an older
    /// one, and has to be loaded whole.
    pub async fn changes_since(&self, revision: u64) -> Result<Option<Changes>, StoreError> {
        let dialect = self.database.dialect;
        let since = signed(revision);
        let mut transaction = self.database.begin_read().await?;
        let current = self.revision_in(&mut transaction).await?;
        if current < revision {
            return Ok(None);
        }
        let query = sqlx::query(dialect.sql(&format!("{SELECT} WHERE revision > ?"))).bind(since);
        let put = self.fetch(&mut transaction, query).await?;
        let gone = "SELECT DISTINCT subject_id FROM history WHERE subject = ? AND revision > ? \
                    AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.id = history.subject_id)";
        let query = sqlx::query(dialect.sql(gone)).bind(SUBJECT).bind(since);
        let rows = query
            .fetch_all(&mut *transaction)
            .await
            .map_err(|error| dialect.error(&error))?;
        let id = |row: &AnyRow| self.cells(row, "subject_id")?.id();
        let mut removed = rows.iter().map(id).collect::<Result<Vec<_>, _>>()?;
        removed.sort_unstable();
        Ok(Some(Changes {
            revision: current,
            put: sorted(put),
            removed,
        }))
    }

    /// Makes one change of the bank, whole and durably, and returns the revision after it.
    ///
    /// Entries in `put` are added or replace the one with their id; absent ids in `remove` are no error. What is the
    /// same already is left alone, and if all of it is, the revision stays. `now` is in Unix seconds.
    ///
    /// # Errors
    /// [`ApplyError::Conflict`] when the bank is not at `expected_revision`, also when it was changed by another
    /// process this very moment. [`StoreError::Unavailable`] when another writer holds SQLite's lock for longer than
    /// 200 ms.
    pub async fn apply(
        &self,
        put: &[Entry],
        remove: &[EntryId],
        by: &Author,
        now: i64,
        expected_revision: u64,
    ) -> Result<u64, ApplyError> {
        let ids: Vec<&EntryId> = put.iter().map(|entry| &entry.id).chain(remove).collect();
        let mut seen = HashSet::with_capacity(ids.len());
        if let Some(repeated) = ids.iter().find(|id| !seen.insert(**id)) {
            return Err(ApplyError::Repeated((*repeated).clone()));
        }
        let mut transaction = self.database.begin_write().await?;
        self.advance(&mut transaction, expected_revision).await?;
        let before = self.stored(&mut transaction, &ids).await?;
        let differs = |entry: &&Entry| before.get(&entry.id).is_none_or(|stored| stored.entry != **entry);
        let change = Change {
            put: put.iter().filter(differs).collect(),
            remove: remove.iter().filter(|id| before.contains_key(*id)).collect(),
            before: &before,
            by,
            now,
            revision: expected_revision + 1,
        };
        if change.put.is_empty() && change.remove.is_empty() {
            return Ok(expected_revision);
        }
        self.write(&mut transaction, &change).await?;
        let committed = transaction.commit().await;
        committed.map_err(|error| self.database.dialect.error(&error))?;
        Ok(change.revision)
    }

    async fn revision_in(&self, transaction: &mut Transaction<'static, Any>) -> Result<u64, StoreError> {
        let dialect = self.database.dialect;
        let query = sqlx::query(dialect.sql("SELECT revision FROM bank_revision"));
        let row = query
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|error| dialect.error(&error))?;
        let revision = row.and_then(|row| row.try_get::<i64, _>("revision").ok());
        revision
            .and_then(|revision| u64::try_from(revision).ok())
            .ok_or_else(|| StoreError::Corrupt {
                backend: dialect.name(),
                reason: "bank_revision does not hold one number".to_owned(),
            })
    }

    /// Takes the bank from `expected` to the next revision, and with it the right to change the bank.
    async fn advance(&self, transaction: &mut Transaction<'static, Any>, expected: u64) -> Result<(), ApplyError> {
        let dialect = self.database.dialect;
        let update = dialect.sql("UPDATE bank_revision SET revision = revision + 1 WHERE revision = ?");
        let query = sqlx::query(update).bind(signed(expected));
        let done = query
            .execute(&mut **transaction)
            .await
            .map_err(|error| dialect.error(&error))?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        let found = self.revision_in(transaction).await?;
        Err(ApplyError::Conflict { expected, found })
    }

    async fn stored(
        &self,
        transaction: &mut Transaction<'static, Any>,
        ids: &[&EntryId],
    ) -> Result<HashMap<EntryId, Stored>, StoreError> {
        let mut found = HashMap::new();
        for batch in ids.chunks(BATCH) {
            let select = format!("{SELECT} WHERE id IN {}", tuple(batch.len()));
            let query = batch
                .iter()
                .fold(sqlx::query(self.database.dialect.sql(&select)), |query, id| {
                    query.bind(id.as_str())
                });
            let stored = self.fetch(transaction, query).await?;
            found.extend(stored.into_iter().map(|stored| (stored.entry.id.clone(), stored)));
        }
        Ok(found)
    }

    async fn write(&self, transaction: &mut Transaction<'static, Any>, change: &Change<'_>) -> Result<(), StoreError> {
        let dialect = self.database.dialect;
        let put = change.put.iter().map(|entry| (&entry.id, Some(*entry)));
        let all: Vec<_> = put.chain(change.remove.iter().map(|id| (*id, None))).collect();
        let old: Vec<_> = all
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| change.before.contains_key(*id))
            .collect();
        for batch in old.chunks(BATCH) {
            let delete = dialect.sql(&format!("DELETE FROM entry WHERE id IN {}", tuple(batch.len())));
            let query = batch
                .iter()
                .fold(sqlx::query(delete), |query, id| query.bind(id.as_str()));
            query
                .execute(&mut **transaction)
                .await
                .map_err(|error| dialect.error(&error))?;
        }
        for batch in change.put.chunks(BATCH) {
            let insert = dialect.sql(&format!("{INSERT}{}", tuples(batch.len(), 18)));
            let query = batch
                .iter()
                .fold(sqlx::query(insert), |query, entry| change.bind_entry(query, entry));
            query
                .execute(&mut **transaction)
                .await
                .map_err(|error| dialect.error(&error))?;
        }
        for batch in all.chunks(BATCH) {
            let insert = dialect.sql(&format!("{INSERT_HISTORY}{}", tuples(batch.len(), 9)));
            let query = batch.iter().fold(sqlx::query(insert), |query, (id, after)| {
                change.bind_history(query, id, *after)
            });
            query
                .execute(&mut **transaction)
                .await
                .map_err(|error| dialect.error(&error))?;
        }
        Ok(())
    }

    /// Runs a [`SELECT`].
    async fn fetch(
        &self,
        transaction: &mut Transaction<'static, Any>,
        query: AnyQuery<'_>,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut rows = query.fetch(&mut **transaction);
        let mut entries = Vec::new();
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(|error| self.database.dialect.error(&error))?
        {
            entries.push(self.cells(&row, "id")?.stored()?);
        }
        Ok(entries)
    }

    fn cells<'r>(&self, row: &'r AnyRow, id_column: &'static str) -> Result<Cells<'r>, StoreError> {
        let mut cells = Cells {
            row,
            id: String::from("?"),
            backend: self.database.dialect.name(),
        };
        cells.id = cells.get(id_column)?;
        Ok(cells)
    }
}

/// A change with what was there before it.
struct Change<'a> {
    put: Vec<&'a Entry>,
    remove: Vec<&'a EntryId>,
    before: &'a HashMap<EntryId, Stored>,
    by: &'a Author,
    now: i64,
    revision: u64,
}

type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

impl Change<'_> {
    /// The parameters of one row of [`INSERT`].
    fn bind_entry<'q>(&self, query: AnyQuery<'q>, entry: &Entry) -> AnyQuery<'q> {
        let (created_at, created_by) = match self.before.get(&entry.id) {
            Some(stored) => (stored.created_at, stored.created_by.clone()),
            None => (self.now, self.by.who.clone()),
        };
        query
            .bind(entry.id.to_string())
            .bind(entry.question.clone())
            .bind(json(&entry.similar))
            .bind(entry.answer.kind())
            .bind(entry.answer.content().into_owned())
            .bind(entry.category.clone())
            .bind(json(&entry.tags))
            .bind(entry.state.as_str())
            .bind(json(&entry.accounts))
            .bind(json(&entry.channels))
            .bind(entry.valid_from)
            .bind(entry.valid_until)
            .bind(i64::from(entry.priority))
            .bind(created_at)
            .bind(created_by)
            .bind(self.now)
            .bind(self.by.who.clone())
            .bind(signed(self.revision))
    }

    /// The parameters of one row of [`INSERT_HISTORY`].
    fn bind_history<'q>(&self, query: AnyQuery<'q>, id: &EntryId, after: Option<&Entry>) -> AnyQuery<'q> {
        let before = self.before.get(id).map(|stored| &stored.entry);
        query
            .bind(signed(self.revision))
            .bind(SUBJECT)
            .bind(id.to_string())
            .bind(if after.is_some() { "put" } else { "remove" })
            .bind(before.map(format::to_line))
            .bind(after.map(format::to_line))
            .bind(self.now)
            .bind(self.by.who.clone())
            .bind(self.by.source.clone())
    }
}

/// A row of `entry`.
struct Stored {
    entry: Entry,
    created_at: i64,
    created_by: String,
}

/// The cells of one row; complaints name the entry and the column.
struct Cells<'r> {
    row: &'r AnyRow,
    id: String,
    backend: &'static str,
}

impl Cells<'_> {
    fn stored(&self) -> Result<Stored, StoreError> {
        let id = self.id()?;
        let question = self.get("question")?;
        let (kind, content): (String, String) = (self.get("kind")?, self.get("answer")?);
        let answer = Answer::parse(&kind, &content).map_err(|error| self.corrupt(error.field, &error.reason))?;
        let state: String = self.get("state")?;
        let priority: i64 = self.get("priority")?;
        let entry = Entry {
            similar: self.json("similar_questions")?,
            category: self.get("category")?,
            tags: self.json("tags")?,
            state: State::parse(&state).ok_or_else(|| self.corrupt("state", &format!("{state:?} is not a state")))?,
            accounts: self.json("accounts")?,
            channels: self.json::<Vec<Channel>>("channels")?,
            valid_from: self.get("valid_from")?,
            valid_until: self.get("valid_until")?,
            priority: i32::try_from(priority).map_err(|error| self.corrupt("priority", &error))?,
            ..Entry::new(id, question, answer)
        };
        Ok(Stored {
            entry,
            created_at: self.get("created_at")?,
            created_by: self.get("created_by")?,
        })
    }

    fn id(&self) -> Result<EntryId, StoreError> {
        EntryId::parse(&self.id).map_err(|error| self.corrupt("id", &error.reason))
    }

    fn get<'a, T: Decode<'a, Any> + Type<Any>>(&'a self, column: &'static str) -> Result<T, StoreError> {
        self.row.try_get(column).map_err(|error| self.corrupt(column, &error))
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|error| self.corrupt(column, &error))
    }

    fn corrupt(&self, column: &str, reason: &dyn std::fmt::Display) -> StoreError {
        StoreError::Corrupt {
            backend: self.backend,
            reason: format!("entry {}, column {column}: {reason}", self.id),
        }
    }
}

/// By id, here and not in SQL: databases sort texts each in its own way.
fn sorted(stored: Vec<Stored>) -> Vec<Entry> {
    let mut entries: Vec<_> = stored.into_iter().map(|stored| stored.entry).collect();
    entries.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    entries
}

/// `(?, ?, …)` with that many parameters, at least one.
fn tuple(parameters: usize) -> String {
    format!("({})", iter::repeat_n("?", parameters).collect::<Vec<_>>().join(", "))
}

/// That many of them, separated by commas.
fn tuples(rows: usize, parameters: usize) -> String {
    iter::repeat_n(tuple(parameters), rows).collect::<Vec<_>>().join(", ")
}

fn json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).expect("a list of texts")
}

/// Revisions count edits, they never come near the limit.
fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
