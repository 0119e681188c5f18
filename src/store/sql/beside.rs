//! What is kept beside the entries in the database, rules and categories: whole, and the one way to change it.
//!
//! All of it shares the bank's revision: whoever follows that, hears of a changed rule. Things come in valid
//! ([`Beside::validate`]) and are not checked against the limits again when read.

use super::history::{ApplyError, Author, BATCH, BankChange, Edit, Record, batches, signed, tuple, tuples};
use super::{Database, StoreError};
use crate::bank::beside::{self, Beside};
use crate::bank::{Category, Rule};
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Transaction, Type};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A kind of thing with a table: id, definition (its line in a file), who made and changed it and when, revision.
pub trait Tabled: Beside {
    #[expect(missing_docs, reason = "the name says it")]
    const TABLE: &'static str;

    /// The change of nothing else.
    fn change<'a>(put: &'a [Self], remove: &'a [Self::Id]) -> BankChange<'a>;
}

impl Tabled for Rule {
    const TABLE: &'static str = "reply_rule";

    fn change<'a>(put_rules: &'a [Self], remove_rules: &'a [Self::Id]) -> BankChange<'a> {
        BankChange {
            put_rules,
            remove_rules,
            ..BankChange::default()
        }
    }
}

impl Tabled for Category {
    const TABLE: &'static str = "category";

    fn change<'a>(put_categories: &'a [Self], remove_categories: &'a [Self::Id]) -> BankChange<'a> {
        BankChange {
            put_categories,
            remove_categories,
            ..BankChange::default()
        }
    }
}

/// What of a change would change anything.
struct Differing<'a, T: Beside> {
    put: Vec<&'a T>,
    remove: Vec<&'a T::Id>,
}

impl<'a, T: Tabled> Differing<'a, T> {
    fn of(before: &BTreeMap<T::Id, Stored<T>>, put: &'a [T], remove: &'a [T::Id]) -> Self {
        let differs = |thing: &&T| before.get(thing.id()).is_none_or(|stored| stored.thing != **thing);
        Self {
            put: put.iter().filter(differs).collect(),
            remove: remove.iter().filter(|id| before.contains_key(*id)).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }

    /// What a restore brought may be too much already: then whatever makes it no more is taken.
    fn refuse_too_many(&self, before: &BTreeMap<T::Id, Stored<T>>) -> Result<(), ApplyError> {
        let all: BTreeMap<&T::Id, &T> = before.iter().map(|(id, stored)| (id, &stored.thing)).collect();
        let mut after = all.clone();
        after.retain(|id, _| !self.remove.contains(id));
        after.extend(self.put.iter().map(|thing| (thing.id(), *thing)));
        match beside::too_many(all.values().copied(), after.values().copied()) {
            None => Ok(()),
            Some(count) => Err(ApplyError::TooMany(count.to_string())),
        }
    }
}

/// The things of one kind on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Things<T> {
    database: Database,
    kind: PhantomData<T>,
}

/// The rules beside the bank.
pub type Rules = Things<Rule>;
/// What is set for categories.
pub type Categories = Things<Category>;

const COLUMNS: &str = "id, definition, created_at, created_by, updated_at, updated_by, revision";

/// A row.
struct Stored<T> {
    thing: T,
    created_at: i64,
    created_by: String,
}

impl<T: Tabled> Things<T> {
    pub(super) fn new(database: Database) -> Self {
        let kind = PhantomData;
        Self { database, kind }
    }

    /// Every one by id, whatever its state, and the bank's revision.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the thing and the column that cannot be read.
    pub async fn load(&self) -> Result<(u64, Vec<T>), StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let revision = self.database.bank_revision(&mut transaction).await?;
        Ok((revision, self.load_in(&mut transaction).await?))
    }

    /// By which way ([`Author::source`]) each was changed last.
    pub async fn sources(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let dialect = self.database.dialect;
        let mut transaction = self.database.begin_read().await?;
        let select = "SELECT subject_id, source FROM history WHERE subject = ? ORDER BY revision";
        let query = sqlx::query(dialect.sql(select)).bind(T::SUBJECT.as_str());
        let rows = query.fetch_all(&mut *transaction).await;
        let rows = rows.map_err(|error| dialect.error(&error))?;
        let source = |row: &AnyRow| Ok((row.try_get("subject_id")?, row.try_get("source")?));
        let sources: Result<_, sqlx::Error> = rows.iter().map(source).collect();
        sources.map_err(|error| dialect.error(&error))
    }

    pub(super) async fn load_in(&self, transaction: &mut Transaction<'static, Any>) -> Result<Vec<T>, StoreError> {
        let stored = self.stored(transaction).await?;
        Ok(stored.into_values().map(|stored| stored.thing).collect())
    }

    /// All of them as they are, if any has changed since the bank's `revision`.
    pub(super) async fn changed_in(
        &self,
        transaction: &mut Transaction<'static, Any>,
        revision: u64,
    ) -> Result<Option<Vec<T>>, StoreError> {
        let changes = self.database.changes_of(transaction, &[T::SUBJECT], revision);
        match changes.await? {
            0 => Ok(None),
            _ => Ok(Some(self.load_in(transaction).await?)),
        }
    }

    /// Makes one change that follows from all of them; terms and errors as of [`Database::change`].
    pub async fn apply(
        &self,
        put: &[T],
        remove: &[T::Id],
        by: &Author,
        now: i64,
        expected_revision: u64,
    ) -> Result<u64, ApplyError> {
        let change = T::change(put, remove);
        self.database.change(change, by, now, expected_revision).await
    }

    /// Where they are.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Writes what differs, with its history; returns whether anything did.
    pub(super) async fn write(
        &self,
        transaction: &mut Transaction<'static, Any>,
        put: &[T],
        remove: &[T::Id],
        edit: Edit<'_>,
    ) -> Result<bool, ApplyError> {
        if put.is_empty() && remove.is_empty() {
            return Ok(false);
        }
        let before = self.stored(transaction).await?;
        let differing = Differing::of(&before, put, remove);
        if differing.is_empty() {
            return Ok(false);
        }
        differing.refuse_too_many(&before)?;
        self.write_change(transaction, &differing, &before, edit).await?;
        Ok(true)
    }

    /// Whether a change would leave more of them than are allowed; writes nothing.
    pub(super) async fn look_for_too_many(&self, put: &[T], remove: &[T::Id]) -> Result<(), ApplyError> {
        if put.is_empty() {
            return Ok(());
        }
        let mut transaction = self.database.begin_read().await?;
        let before = self.stored(&mut transaction).await?;
        Differing::of(&before, put, remove).refuse_too_many(&before)
    }

    async fn write_change(
        &self,
        transaction: &mut Transaction<'static, Any>,
        Differing { put, remove }: &Differing<'_, T>,
        before: &BTreeMap<T::Id, Stored<T>>,
        edit: Edit<'_>,
    ) -> Result<(), StoreError> {
        let dialect = self.database.dialect;
        let changed = put.iter().map(|thing| (thing.id(), Some(*thing)));
        let all: Vec<(&T::Id, Option<&T>)> = changed.chain(remove.iter().map(|id| (*id, None))).collect();
        for batch in all.chunks(BATCH) {
            let delete = dialect.sql(&format!("DELETE FROM {} WHERE id IN {}", T::TABLE, tuple(batch.len())));
            let query = batch
                .iter()
                .fold(sqlx::query(delete), |query, (id, _)| query.bind(id.to_string()));
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        let record = |(id, after): (&T::Id, Option<&T>)| Record {
            id: id.to_string(),
            before: before.get(id).map(|stored| beside::to_line(&stored.thing)),
            after: after.map(beside::to_line),
        };
        let records: Vec<Record> = all.into_iter().map(record).collect();
        for batch in batches(records[..put.len()].iter().map(Record::size_after)) {
            let batch = &put[batch];
            let insert = format!("INSERT INTO {} ({COLUMNS}) VALUES {}", T::TABLE, tuples(batch.len(), 7));
            let insert = dialect.sql(&insert);
            let query = batch.iter().fold(sqlx::query(insert), |query, thing| {
                let (created_at, created_by) = match before.get(thing.id()) {
                    Some(stored) => (stored.created_at, &stored.created_by),
                    None => (edit.now, &edit.by.who),
                };
                query
                    .bind(thing.id().to_string())
                    .bind(beside::to_line(*thing))
                    .bind(created_at)
                    .bind(created_by.clone())
                    .bind(edit.now)
                    .bind(edit.by.who.clone())
                    .bind(signed(edit.revision))
            });
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        self.database.record(transaction, T::SUBJECT, &records, edit).await
    }

    async fn stored(
        &self,
        transaction: &mut Transaction<'static, Any>,
    ) -> Result<BTreeMap<T::Id, Stored<T>>, StoreError> {
        let dialect = self.database.dialect;
        let select = format!("SELECT id, definition, created_at, created_by FROM {}", T::TABLE);
        let query = sqlx::query(dialect.sql(&select));
        let rows = self.database.answer(query.fetch_all(&mut **transaction)).await?;
        let stored = |row: &AnyRow| self.read(row).map(|stored| (stored.thing.id().clone(), stored));
        rows.iter().map(stored).collect()
    }

    fn read(&self, row: &AnyRow) -> Result<Stored<T>, StoreError> {
        let id: String = self.get(row, "?", "id")?;
        let definition: String = self.get(row, &id, "definition")?;
        let thing = beside::from_line::<T>(&definition).map_err(|reason| self.corrupt(&id, "definition", &reason))?;
        if thing.id().to_string() != id {
            return Err(self.corrupt(&id, "definition", &format!("is that of {}", thing.id())));
        }
        Ok(Stored {
            thing,
            created_at: self.get(row, &id, "created_at")?,
            created_by: self.get(row, &id, "created_by")?,
        })
    }

    fn get<'r, C: Decode<'r, Any> + Type<Any>>(
        &self,
        row: &'r AnyRow,
        id: &str,
        column: &'static str,
    ) -> Result<C, StoreError> {
        row.try_get(column).map_err(|error| self.corrupt(id, column, &error))
    }

    fn corrupt(&self, id: &str, column: &str, reason: &dyn std::fmt::Display) -> StoreError {
        StoreError::Corrupt {
            backend: self.database.dialect.name(),
            reason: format!("{} {id}, column {column}: {reason}", T::SUBJECT.as_str()),
        }
    }
}
