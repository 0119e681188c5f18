//! The rules beside the bank in the database: whole, and the one way to change them.
//!
//! They share the bank's revision: whoever follows that, hears of a changed rule. Rules come in valid ([`Rule::validate`])
//! and are not checked against the limits again when read.

use super::history::{ApplyError, Author, BATCH, BankChange, Edit, Record, batches, signed, tuple, tuples};
use super::{Database, StoreError};
use crate::bank::history::Subject;
use crate::bank::rule::file;
use crate::bank::{Rule, RuleId};
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Transaction, Type};
use std::collections::BTreeMap;

/// The rules on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rules {
    database: Database,
}

const SELECT: &str = "SELECT id, definition, created_at, created_by FROM reply_rule";

const INSERT: &str = "INSERT INTO reply_rule (id, definition, created_at, created_by, updated_at, updated_by, \
                      revision) VALUES ";

/// A row of `reply_rule`.
struct Stored {
    rule: Rule,
    created_at: i64,
    created_by: String,
}

impl Rules {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Every rule by id, whatever its state, and the bank's revision.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the rule and the column that cannot be read.
    pub async fn load(&self) -> Result<(u64, Vec<Rule>), StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let revision = self.database.bank_revision(&mut transaction).await?;
        Ok((revision, self.load_in(&mut transaction).await?))
    }

    /// By which way ([`Author::source`]) each rule was changed last.
    pub async fn sources(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let dialect = self.database.dialect;
        let mut transaction = self.database.begin_read().await?;
        let select = "SELECT subject_id, source FROM history WHERE subject = ? ORDER BY revision";
        let query = sqlx::query(dialect.sql(select)).bind(Subject::Rule.as_str());
        let rows = query.fetch_all(&mut *transaction).await;
        let rows = rows.map_err(|error| dialect.error(&error))?;
        let source = |row: &AnyRow| Ok((row.try_get("subject_id")?, row.try_get("source")?));
        let sources: Result<_, sqlx::Error> = rows.iter().map(source).collect();
        sources.map_err(|error| dialect.error(&error))
    }

    pub(super) async fn load_in(&self, transaction: &mut Transaction<'static, Any>) -> Result<Vec<Rule>, StoreError> {
        let stored = self.stored(transaction).await?;
        Ok(stored.into_values().map(|stored| stored.rule).collect())
    }

    /// Makes one change of rules that follows from all of them; terms and errors as of [`Database::change`].
    pub async fn apply(
        &self,
        put: &[Rule],
        remove: &[RuleId],
        by: &Author,
        now: i64,
        expected_revision: u64,
    ) -> Result<u64, ApplyError> {
        let change = BankChange {
            put_rules: put,
            remove_rules: remove,
            ..BankChange::default()
        };
        self.database.change(change, by, now, expected_revision).await
    }

    /// Writes what differs, with its history; returns whether anything did.
    pub(super) async fn write(
        &self,
        transaction: &mut Transaction<'static, Any>,
        put: &[Rule],
        remove: &[RuleId],
        edit: Edit<'_>,
    ) -> Result<bool, StoreError> {
        if put.is_empty() && remove.is_empty() {
            return Ok(false);
        }
        let before = self.stored(transaction).await?;
        let differs = |rule: &&Rule| before.get(&rule.id).is_none_or(|stored| stored.rule != **rule);
        let put: Vec<&Rule> = put.iter().filter(differs).collect();
        let remove: Vec<&RuleId> = remove.iter().filter(|id| before.contains_key(*id)).collect();
        if put.is_empty() && remove.is_empty() {
            return Ok(false);
        }
        self.write_change(transaction, &put, &remove, &before, edit).await?;
        Ok(true)
    }

    async fn write_change(
        &self,
        transaction: &mut Transaction<'static, Any>,
        put: &[&Rule],
        remove: &[&RuleId],
        before: &BTreeMap<RuleId, Stored>,
        edit: Edit<'_>,
    ) -> Result<(), StoreError> {
        let dialect = self.database.dialect;
        let changed = put.iter().map(|rule| (&rule.id, Some(*rule)));
        let all: Vec<(&RuleId, Option<&Rule>)> = changed.chain(remove.iter().map(|id| (*id, None))).collect();
        for batch in all.chunks(BATCH) {
            let delete = dialect.sql(&format!("DELETE FROM reply_rule WHERE id IN {}", tuple(batch.len())));
            let query = batch
                .iter()
                .fold(sqlx::query(delete), |query, (id, _)| query.bind(id.to_string()));
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        let record = |(id, after): (&RuleId, Option<&Rule>)| Record {
            id: id.to_string(),
            before: before.get(id).map(|stored| file::to_line(&stored.rule)),
            after: after.map(file::to_line),
        };
        let records: Vec<Record> = all.into_iter().map(record).collect();
        for batch in batches(records[..put.len()].iter().map(Record::size_after)) {
            let batch = &put[batch];
            let insert = dialect.sql(&format!("{INSERT}{}", tuples(batch.len(), 7)));
            let query = batch.iter().fold(sqlx::query(insert), |query, rule| {
                let (created_at, created_by) = match before.get(&rule.id) {
                    Some(stored) => (stored.created_at, &stored.created_by),
                    None => (edit.now, &edit.by.who),
                };
                query
                    .bind(rule.id.to_string())
                    .bind(file::to_line(rule))
                    .bind(created_at)
                    .bind(created_by.clone())
                    .bind(edit.now)
                    .bind(edit.by.who.clone())
                    .bind(signed(edit.revision))
            });
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        self.database.record(transaction, Subject::Rule, &records, edit).await
    }

    async fn stored(
        &self,
        transaction: &mut Transaction<'static, Any>,
    ) -> Result<BTreeMap<RuleId, Stored>, StoreError> {
        let dialect = self.database.dialect;
        let query = sqlx::query(dialect.sql(SELECT));
        let rows = self.database.answer(query.fetch_all(&mut **transaction)).await?;
        let stored = |row: &AnyRow| self.read(row).map(|stored| (stored.rule.id.clone(), stored));
        rows.iter().map(stored).collect()
    }

    fn read(&self, row: &AnyRow) -> Result<Stored, StoreError> {
        let id: String = self.get(row, "?", "id")?;
        let definition: String = self.get(row, &id, "definition")?;
        let rule = file::from_line(&definition).map_err(|reason| self.corrupt(&id, "definition", &reason))?;
        if rule.id.as_str() != id {
            return Err(self.corrupt(&id, "definition", &format!("is that of {}", rule.id)));
        }
        Ok(Stored {
            rule,
            created_at: self.get(row, &id, "created_at")?,
            created_by: self.get(row, &id, "created_by")?,
        })
    }

    fn get<'r, T: Decode<'r, Any> + Type<Any>>(
        &self,
        row: &'r AnyRow,
        id: &str,
        column: &'static str,
    ) -> Result<T, StoreError> {
        row.try_get(column).map_err(|error| self.corrupt(id, column, &error))
    }

    fn corrupt(&self, id: &str, column: &str, reason: &dyn std::fmt::Display) -> StoreError {
        StoreError::Corrupt {
            backend: self.database.dialect.name(),
            reason: format!("rule {id}, column {column}: {reason}"),
        }
    }
}
