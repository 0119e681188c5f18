//! The question bank in the database: whole, as changes since a revision, and the one way to change it.
//!
//! The bank's revision rises by one with every change; [`Database::change`] writes rows, history and revision in one
//! transaction, so a reader sees a change whole or not at all, and one that was acknowledged outlives a crash. Entries
//! come in valid ([`Entry::validate`]) and are not checked against the limits again when read.

use super::history::{
    AnyQuery, ApplyError, Author, BATCH, BankChange, Edit, Edition, Record, batches, signed, tuple, tuples,
};
use super::{Database, StoreError, StoredText};
use crate::bank::history::Subject;
use crate::bank::{Answer, Category, Channel, Entry, EntryId, Rule, State, format};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Transaction, Type};
use std::collections::HashMap;

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
    /// Every rule by id as it is now, if any has changed.
    pub rules: Option<Vec<Rule>>,
    /// What is set for categories, all of it as it is now, if any has changed.
    pub categories: Option<Vec<Category>>,
    /// Every template and dictionary of the database as it is now, if any has changed.
    pub texts: Option<Vec<StoredText>>,
}

/// Entries and what is kept beside them at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Bank {
    /// As in [`Edition::bank`].
    pub id: String,
    #[expect(missing_docs, reason = "the type says it")]
    pub revision: u64,
    /// By id, whatever their state.
    pub entries: Vec<Entry>,
    /// By id, whatever their state.
    pub rules: Vec<Rule>,
    /// What is set for categories, by name.
    pub categories: Vec<Category>,
    /// By name.
    pub texts: Vec<StoredText>,
}

/// A [`Bank`] whose entries are still to be read.
#[derive(Debug)]
#[expect(missing_docs, reason = "as there")]
pub struct OpenBank {
    pub id: String,
    pub rules: Vec<Rule>,
    pub categories: Vec<Category>,
    pub texts: Vec<StoredText>,
    /// Some thousands of entries each.
    pub pages: Pages,
}

/// Entries that are read at a time by who keeps them all.
const LARGE_PAGE: usize = 8_192;

/// The bank in pieces, of one state of it whatever is written meanwhile.
#[derive(Debug)]
pub struct Pages {
    /// The bank's.
    pub revision: u64,
    /// Entries in a piece, at most.
    size: usize,
    questions: Questions,
    transaction: Transaction<'static, Any>,
    /// The last id of the piece before.
    after: String,
}

impl Pages {
    /// The next entries by id, whatever their state; empty: there are no more.
    ///
    /// # Errors
    /// As of [`Questions::load`].
    pub async fn next(&mut self) -> Result<Vec<Entry>, StoreError> {
        // Ids sort alike in every database: their columns compare bytes.
        let select = format!("{SELECT_ENTRIES} WHERE id > ? ORDER BY id LIMIT {}", self.size);
        let query = sqlx::query(self.questions.database.dialect.sql(&select)).bind(self.after.clone());
        let entries = self.questions.fetch(&mut self.transaction, query).await?;
        let entries = sorted(entries);
        if let Some(last) = entries.last() {
            last.id.as_str().clone_into(&mut self.after);
        }
        Ok(entries)
    }
}

impl Database {
    /// All of it, as it is together.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the thing and the column that cannot be read.
    pub async fn load_bank(&self) -> Result<Bank, StoreError> {
        let OpenBank {
            id,
            rules,
            categories,
            texts,
            mut pages,
        } = self.open_bank().await?;
        let mut entries = Vec::new();
        loop {
            match pages.next().await? {
                page if page.is_empty() => break,
                page => entries.extend(page),
            }
        }
        Ok(Bank {
            id,
            revision: pages.revision,
            entries,
            rules,
            categories,
            texts,
        })
    }

    /// All of it, as it is together, with the entries in pieces: for who works on the first while others are read.
    ///
    /// # Errors
    /// As of [`Database::load_bank`].
    pub async fn open_bank(&self) -> Result<OpenBank, StoreError> {
        let mut transaction = self.begin_read().await?;
        let Edition { bank, revision } = self.edition(&mut transaction).await?;
        Ok(OpenBank {
            id: bank,
            rules: self.rules().load_in(&mut transaction).await?,
            categories: self.categories().load_in(&mut transaction).await?,
            texts: self.texts().load_in(&mut transaction).await?,
            pages: self.questions().pages_in(transaction, revision, LARGE_PAGE),
        })
    }
}

/// An entry with what the database knows of its making.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredEntry {
    #[expect(missing_docs, reason = "the type says it")]
    #[serde(skip)]
    pub entry: Entry,
    /// The bank's revision that brought it to what it is, at least the one at which a backup was restored.
    pub revision: u64,
    /// Unix seconds.
    pub created_at: i64,
    #[expect(missing_docs, reason = "the name says it")]
    pub created_by: String,
    /// Unix seconds.
    pub updated_at: i64,
    #[expect(missing_docs, reason = "the name says it")]
    pub updated_by: String,
}

/// What is read of an entry alone; of a large bank every column more takes its time.
const SELECT_ENTRIES: &str = "SELECT id, question, similar_questions, kind, answer, category, tags, state, accounts, \
                              channels, valid_from, valid_until, priority FROM entry";

const SELECT: &str = "SELECT id, question, similar_questions, kind, answer, category, tags, state, accounts, channels, \
                      valid_from, valid_until, priority, created_at, created_by, \
                      updated_at, updated_by, revision FROM entry";

const INSERT: &str = "INSERT INTO entry (id, question, similar_questions, kind, answer, category, tags, state, \
                      accounts, channels, valid_from, valid_until, priority, created_at, created_by, updated_at, \
                      updated_by, revision) VALUES ";

impl Questions {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The bank's revision; 0: never changed.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        self.database.bank_revision(&mut transaction).await
    }

    /// Which bank it is, and its revision.
    pub async fn edition(&self) -> Result<Edition, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        self.database.edition(&mut transaction).await
    }

    /// The whole bank by id, whatever the entries' state, and its revision.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the entry and the column that cannot be read.
    pub async fn load(&self) -> Result<(u64, Vec<Entry>), StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let revision = self.database.bank_revision(&mut transaction).await?;
        Ok((revision, self.load_in(&mut transaction).await?))
    }

    async fn load_in(&self, transaction: &mut Transaction<'static, Any>) -> Result<Vec<Entry>, StoreError> {
        let query = sqlx::query(self.database.dialect.sql(SELECT_ENTRIES));
        Ok(sorted(self.fetch(transaction, query).await?))
    }

    /// What has changed since `known`; `None`: a backup has been put in its place, which has to be loaded whole.
    pub async fn changes_after(&self, known: &Edition) -> Result<Option<Changes>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let found = self.database.edition(&mut transaction).await?;
        match found.bank == known.bank && found.revision >= known.revision {
            true => Ok(Some(
                self.changes_in(&mut transaction, known.revision, found.revision)
                    .await?,
            )),
            false => Ok(None),
        }
    }

    /// As [`Questions::changes_after`], of whatever bank it is; `None`: it has not come to `revision`.
    pub async fn changes_since(&self, revision: u64) -> Result<Option<Changes>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let current = self.database.bank_revision(&mut transaction).await?;
        match current >= revision {
            true => Ok(Some(self.changes_in(&mut transaction, revision, current).await?)),
            false => Ok(None),
        }
    }

    /// What has changed from one revision to the current one, rules included, as it is together.
    async fn changes_in(
        &self,
        transaction: &mut Transaction<'static, Any>,
        revision: u64,
        current: u64,
    ) -> Result<Changes, StoreError> {
        let dialect = self.database.dialect;
        let since = signed(revision);
        let query = sqlx::query(dialect.sql(&format!("{SELECT_ENTRIES} WHERE revision > ?"))).bind(since);
        let put = self.fetch(transaction, query).await?;
        let gone = "SELECT DISTINCT subject_id FROM history WHERE subject = ? AND revision > ? \
                    AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.id = history.subject_id)";
        let query = sqlx::query(dialect.sql(gone)).bind(Subject::Entry.as_str()).bind(since);
        let rows = self.database.answer(query.fetch_all(&mut **transaction)).await?;
        let id = |row: &AnyRow| self.cells(row, "subject_id")?.id();
        let mut removed = rows.iter().map(id).collect::<Result<Vec<_>, _>>()?;
        removed.sort_unstable();
        let rules = self.database.rules().changed_in(transaction, revision).await?;
        let categories = self.database.categories().changed_in(transaction, revision).await?;
        Ok(Changes {
            revision: current,
            put: sorted(put),
            removed,
            rules,
            categories,
            texts: self.database.texts().changed_in(transaction, revision).await?,
        })
    }

    /// Makes one change of entries that follows from the whole bank; terms and errors as of [`Database::change`].
    pub async fn apply(
        &self,
        put: &[Entry],
        remove: &[EntryId],
        by: &Author,
        now: i64,
        expected_revision: u64,
    ) -> Result<u64, ApplyError> {
        let change = BankChange {
            put,
            remove,
            ..BankChange::default()
        };
        self.change(change, by, now, expected_revision).await
    }

    /// [`Database::change`] of their database.
    pub async fn change(
        &self,
        change: BankChange<'_>,
        by: &Author,
        now: i64,
        expected_revision: u64,
    ) -> Result<u64, ApplyError> {
        self.database.change(change, by, now, expected_revision).await
    }

    /// [`Database::look_for_overtaking`] of their database.
    pub async fn look_for_overtaking(&self, change: BankChange<'_>) -> Result<(), ApplyError> {
        self.database.look_for_overtaking(change).await
    }

    /// The whole bank by id in pieces, for who cannot hold it.
    pub async fn pages(&self) -> Result<Pages, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let revision = self.database.bank_revision(&mut transaction).await?;
        Ok(self.pages_in(transaction, revision, BATCH))
    }

    fn pages_in(&self, transaction: Transaction<'static, Any>, revision: u64, size: usize) -> Pages {
        Pages {
            revision,
            size,
            questions: self.clone(),
            transaction,
            after: String::new(),
        }
    }

    /// The entry as it is stored, whatever its state; `None`: there is none.
    pub async fn find(&self, id: &EntryId) -> Result<Option<StoredEntry>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let Some(mut stored) = self.stored(&mut transaction, &[id]).await?.remove(id) else {
            return Ok(None);
        };
        stored.revision = stored.revision.max(self.database.bank_since(&mut transaction).await?);
        Ok(Some(stored))
    }

    /// Writes what differs, with its history; returns whether anything did.
    pub(super) async fn write(
        &self,
        transaction: &mut Transaction<'static, Any>,
        put: &[Entry],
        remove: &[EntryId],
        edit: Edit<'_>,
    ) -> Result<bool, StoreError> {
        let ids: Vec<&EntryId> = put.iter().map(|entry| &entry.id).chain(remove).collect();
        let before = self.stored(transaction, &ids).await?;
        let differs = |entry: &&Entry| before.get(&entry.id).is_none_or(|stored| stored.entry != **entry);
        let change = Change {
            put: put.iter().filter(differs).collect(),
            remove: remove.iter().filter(|id| before.contains_key(*id)).collect(),
            before: &before,
            edit,
        };
        if change.put.is_empty() && change.remove.is_empty() {
            return Ok(false);
        }
        self.write_change(transaction, &change).await?;
        Ok(true)
    }

    async fn stored(
        &self,
        transaction: &mut Transaction<'static, Any>,
        ids: &[&EntryId],
    ) -> Result<HashMap<EntryId, StoredEntry>, StoreError> {
        let mut found = HashMap::new();
        for batch in ids.chunks(BATCH) {
            let select = format!("{SELECT} WHERE id IN {}", tuple(batch.len()));
            let query = batch
                .iter()
                .fold(sqlx::query(self.database.dialect.sql(&select)), |query, id| {
                    query.bind(id.as_str())
                });
            let stored = self.fetch(transaction, query).await?;
            found.extend(
                stored
                    .into_iter()
                    .map(|stored: StoredEntry| (stored.entry.id.clone(), stored)),
            );
        }
        Ok(found)
    }

    async fn write_change(
        &self,
        transaction: &mut Transaction<'static, Any>,
        change: &Change<'_>,
    ) -> Result<(), StoreError> {
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
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        let record = |(id, after): (&EntryId, Option<&Entry>)| Record {
            id: id.to_string(),
            before: change.before.get(id).map(|stored| format::to_line(&stored.entry)),
            after: after.map(format::to_line),
        };
        let records: Vec<Record> = all.into_iter().map(record).collect();
        // An entry takes about as much room as its line.
        let sizes = records[..change.put.len()].iter().map(Record::size_after);
        for batch in batches(sizes) {
            let batch = &change.put[batch];
            let insert = dialect.sql(&format!("{INSERT}{}", tuples(batch.len(), 18)));
            let query = batch
                .iter()
                .fold(sqlx::query(insert), |query, entry| change.bind_entry(query, entry));
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        self.database
            .record(transaction, Subject::Entry, &records, change.edit)
            .await
    }

    /// Runs a [`SELECT`] or [`SELECT_ENTRIES`] and makes something of each row.
    async fn fetch<T: FromCells>(
        &self,
        transaction: &mut Transaction<'static, Any>,
        query: AnyQuery<'_>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = query.fetch(&mut **transaction);
        let mut found = Vec::new();
        while let Some(row) = self.database.answer(rows.try_next()).await? {
            found.push(T::read(&self.cells(&row, "id")?)?);
        }
        Ok(found)
    }

    fn cells<'r>(&self, row: &'r AnyRow, id_column: &'static str) -> Result<Cells<'r>, StoreError> {
        let unnamed = Cells {
            row,
            id: "?",
            backend: self.database.dialect.name(),
        };
        let id = unnamed.get(id_column)?;
        Ok(Cells { id, ..unnamed })
    }
}

/// A change with what was there before it.
struct Change<'a> {
    put: Vec<&'a Entry>,
    remove: Vec<&'a EntryId>,
    before: &'a HashMap<EntryId, StoredEntry>,
    edit: Edit<'a>,
}

impl Change<'_> {
    /// The parameters of one row of [`INSERT`].
    fn bind_entry<'q>(&self, query: AnyQuery<'q>, entry: &Entry) -> AnyQuery<'q> {
        let edit = self.edit;
        let (created_at, created_by) = match self.before.get(&entry.id) {
            Some(stored) => (stored.created_at, stored.created_by.clone()),
            None => (edit.now, edit.by.who.clone()),
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
            .bind(edit.now)
            .bind(edit.by.who.clone())
            .bind(signed(edit.revision))
    }
}

/// The cells of one row; complaints name the entry and the column.
struct Cells<'r> {
    row: &'r AnyRow,
    id: &'r str,
    backend: &'static str,
}

/// What a row is read as.
trait FromCells: Sized {
    fn read(cells: &Cells<'_>) -> Result<Self, StoreError>;
}

/// Of a [`SELECT_ENTRIES`] or a [`SELECT`].
impl FromCells for Entry {
    fn read(cells: &Cells<'_>) -> Result<Self, StoreError> {
        let (kind, content): (&str, &str) = (cells.get("kind")?, cells.get("answer")?);
        let answer = Answer::parse(kind, content).map_err(|error| cells.corrupt(error.field, &error.reason))?;
        let state = cells.get("state")?;
        let priority: i64 = cells.get("priority")?;
        Ok(Self {
            similar: cells.json("similar_questions")?,
            category: cells.get("category")?,
            tags: cells.json("tags")?,
            state: State::parse(state).ok_or_else(|| cells.corrupt("state", &format!("{state:?} is not a state")))?,
            accounts: cells.json("accounts")?,
            channels: cells.json::<Box<[Channel]>>("channels")?,
            valid_from: cells.get("valid_from")?,
            valid_until: cells.get("valid_until")?,
            priority: i32::try_from(priority).map_err(|error| cells.corrupt("priority", &error))?,
            ..Self::new(cells.id()?, cells.get("question")?, answer)
        })
    }
}

/// Of a [`SELECT`].
impl FromCells for StoredEntry {
    fn read(cells: &Cells<'_>) -> Result<Self, StoreError> {
        let revision: i64 = cells.get("revision")?;
        Ok(Self {
            entry: Entry::read(cells)?,
            revision: u64::try_from(revision).map_err(|error| cells.corrupt("revision", &error))?,
            created_at: cells.get("created_at")?,
            created_by: cells.get("created_by")?,
            updated_at: cells.get("updated_at")?,
            updated_by: cells.get("updated_by")?,
        })
    }
}

impl<'r> Cells<'r> {
    fn id(&self) -> Result<EntryId, StoreError> {
        EntryId::parse(self.id).map_err(|error| self.corrupt("id", &error.reason))
    }

    fn get<T: Decode<'r, Any> + Type<Any>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.try_get(column).map_err(|error| self.corrupt(column, &error))
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: &str = self.get(column)?;
        serde_json::from_str(text).map_err(|error| self.corrupt(column, &error))
    }

    fn corrupt(&self, column: &str, reason: &dyn std::fmt::Display) -> StoreError {
        StoreError::Corrupt {
            backend: self.backend,
            reason: format!("entry {}, column {column}: {reason}", self.id),
        }
    }
}

/// By id, here and not in SQL: databases sort texts each in its own way.
fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    entries
}

fn json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).expect("a list of texts")
}
